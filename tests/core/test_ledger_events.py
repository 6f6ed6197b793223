from __future__ import annotations

from dataclasses import replace

import pytest

from connector.core.ledger_events import EVERY_SYMBOL, EventEncoder, EventKind, FeedEvent
from connector.edges.schema_files import find_schema_file, read_schema_file

TEXT = read_schema_file(find_schema_file("feed_event"))
ENTRY = FeedEvent(EventKind.WRITER_WANTED, EVERY_SYMBOL, 1_791_285_204_123, reason="stopping")


def test_what_was_encoded_is_decoded() -> None:
    encoder = EventEncoder(TEXT, schema_id=7)
    assert encoder.decode(encoder.encode(ENTRY, "one")) == (ENTRY, "one")


def test_what_only_a_person_needs_is_left_out() -> None:
    encoder = EventEncoder(TEXT, schema_id=7)
    gap = replace(ENTRY, kind=EventKind.GAP, first_missing=1, last_missing=2, periods=1, detail="more")
    assert encoder.decode(encoder.encode(gap, "one")) == (replace(ENTRY, kind=EventKind.GAP), "one")


@pytest.mark.parametrize("value", [b"", b"\0\0\0\0\x08", b"no entry at all"])
def test_entries_of_other_versions_are_passed_over(value: bytes) -> None:
    assert EventEncoder(TEXT, schema_id=7).decode(value) is None


def test_a_kind_that_is_not_known_yet_is_passed_over() -> None:
    encoder = EventEncoder(TEXT, schema_id=7)
    entry = encoder.encode(ENTRY, "one").replace(b"writer_wanted", b"writer_zanted")
    assert encoder.decode(entry) is None
