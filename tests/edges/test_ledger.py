"""Records that must be acknowledged before what they tell of is forgotten. (With a broker: test_sink.py.)"""

from __future__ import annotations

import pytest

from connector.core.errors import RetryableError
from connector.core.happenings import Happening
from connector.core.ledger_events import EventEncoder
from connector.edges import ledger
from connector.edges.ledger import Ledger
from connector.edges.schema_files import find_schema_file, read_schema_file


def test_what_nobody_acknowledges_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "DELIVERED_WITHIN_S", 0.3)
    told: list[Happening] = []
    kafka = {"bootstrap.servers": "127.0.0.1:1"}
    writes = Ledger(kafka, "ticks.events", "one", writes=lambda: False, tell=told.append)
    writes.open(EventEncoder(read_schema_file(find_schema_file("feed_event")), 2))
    with pytest.raises(RetryableError, match="not acknowledged"):
        writes.deliver([("ticks.dlq", -1, None, b"bytes", 0, None)])
    writes.close(0.0)
