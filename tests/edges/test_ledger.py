"""Records that must be acknowledged before what they tell of is forgotten. (With a broker: test_sink.py.)"""

from __future__ import annotations

import time
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from connector.core.errors import RetryableError
from connector.core.happenings import Happening, KafkaComplained, SocketOpened
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


class Client:
    """A producer that at some point meets an error that it does not survive."""

    def __init__(self) -> None:
        self.dies_at = ""
        self.is_dead = False
        self.taken: list[str] = []

    def produce(self, topic: str, *_: Any) -> None:
        if self.is_dead:
            raise KafkaException(KafkaError(KafkaError._FATAL))
        self.taken.append(topic)

    def poll(self, _: float) -> int:
        self._meet("poll")
        return 0

    def flush(self, _: float) -> int:
        self._meet("flush")
        return 0

    def _meet(self, where: str) -> None:
        if self.dies_at == where and not self.is_dead:
            self.is_dead = True
            raise KafkaException(KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "the broker lost its end", True))


LETTER = ("ticks.dlq", -1, None, b"bytes", 0, None)


def test_a_client_that_is_of_no_more_use_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that comes back without the end of its log ends every idempotent producer that wrote there."""
    clients: list[Client] = []

    def new_producer(*_: object) -> Client:
        clients.append(Client())
        return clients[-1]

    monkeypatch.setattr(ledger, "new_producer", new_producer)
    told: list[Happening] = []
    writes = opened(told)

    clients[0].dies_at = "flush"
    with pytest.raises(RetryableError, match="lost its end"):
        writes.deliver([LETTER])
    writes.deliver([LETTER])
    assert clients[1].taken == ["ticks.dlq"]

    clients[1].dies_at = "poll"
    writes.serve()
    writes.tell(SocketOpened("ws-1", "wss://exchange"))
    assert clients[2].taken == ["ticks.events"]

    clients[2].dies_at = "poll"
    writes.tell(SocketOpened("ws-2", "wss://exchange"))
    assert clients[3].taken == ["ticks.events"], "said while it was met"
    assert told == [KafkaComplained("ledger", "OUT_OF_ORDER_SEQUENCE_NUMBER", "the broker lost its end")] * 3

    clients[3].dies_at = "flush"
    writes.close(1.0)
