"""Records that must be acknowledged before what they tell of is forgotten. (With a broker: test_sink.py.)"""

from __future__ import annotations

import time

import pytest

from connector.core.errors import RetryableError
from connector.core.happenings import Happening, KafkaComplained
from connector.core.ledger_events import EventEncoder
from connector.edges import ledger
from connector.edges.ledger import Ledger
from connector.edges.schema_files import find_schema_file, read_schema_file

NOBODY: dict[str, str] = {"bootstrap.servers": "127.0.0.1:1"}


def opened(told: list[Happening]) -> Ledger:
    writes = Ledger(NOBODY, "ticks.events", "one", writes=lambda: False, tell=told.append)
    writes.open(EventEncoder(read_schema_file(find_schema_file("feed_event")), 2))
    return writes


def test_what_nobody_acknowledges_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "DELIVERED_WITHIN_S", 0.3)
    told: list[Happening] = []
    writes = opened(told)
    with pytest.raises(RetryableError, match="not acknowledged"):
        writes.deliver([("ticks.dlq", -1, None, b"bytes", 0, None)])
    writes.close(0.0)


def test_its_client_is_heard_without_an_entry() -> None:
    told: list[Happening] = []
    writes = opened(told)
    deadline = time.monotonic() + 5.0
    while not told and time.monotonic() < deadline:
        time.sleep(0.05)
        writes.serve()
    complaint = told[0]
    assert isinstance(complaint, KafkaComplained)
    assert complaint.client == "ledger"
    writes.close(0.0)
