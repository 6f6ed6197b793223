"""Ledger entries that are told at once and at least once: sockets, takeovers, a gap that opens.

They do not wait for a transaction, and a replica that does not write tells
them too. Gaps themselves are not told here: they stand in the transaction of
the tick that ended them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from connector.core.errors import RetryableError
from connector.core.happenings import (
    FeedChanged,
    Happening,
    KafkaComplained,
    PartitionsGrown,
    QualityCleared,
    QualityFound,
    SocketClosed,
    SocketOpened,
    TakingOver,
    Tell,
    TookOver,
    WriterWanted,
)
from connector.core.ledger_events import EVERY_SYMBOL, EventEncoder, EventKind, FeedEvent
from connector.core.witness import ADVANCING
from connector.edges.kafka_clients import Complaints, Properties, new_producer, producer_properties, translated
from connector.edges.kafka_writer import Outgoing, flush, produce_all

_OF_THE_WRITER = frozenset({EventKind.GAP_OPENED, EventKind.QUALITY_FOUND, EventKind.QUALITY_CLEARED})
"""Every replica sees these; one says them."""
EXPIRES_AFTER_MS = 300_000
MOST_WAITING = 10_000
OLD_CLIENT_FLUSH_S = 5.0
DELIVERED_WITHIN_S = 30.0


class Ledger:
    """Turns happenings into entries and produces them without waiting. ``tell`` may be called from any thread.

    Until :meth:`open` the entries wait in memory, a bounded number of them.
    """

    def __init__(
        self, properties: Properties, topic: str, replica: str, writes: Callable[[], bool], tell: Tell
    ) -> None:
        self._properties = properties
        self._topic = topic
        self._replica = replica
        self._writes = writes
        self._tell = tell
        self._producer: Producer | None = None
        self._encoder: EventEncoder | None = None
        self._early: list[FeedEvent] = []
        self._failed = 0

    def open(self, encoder: EventEncoder) -> None:
        """Raises :class:`ConfigurationError` for properties that librdkafka refuses."""
        if self._producer is not None:
            return
        self._producer = self._new_producer()
        self._encoder = encoder
        early, self._early = self._early, []
        for event in early:
            self._produce(event)

    def _new_producer(self) -> Producer:
        return new_producer(
            {
                **producer_properties(self._properties),
                "message.timeout.ms": EXPIRES_AFTER_MS,
                "queue.buffering.max.messages": MOST_WAITING,
                "on_delivery": self._delivered,
            },
            Complaints("ledger", self._tell),
        )

    def tell(self, happening: Happening) -> None:
        make = _ENTRIES.get(type(happening))
        if make is None:
            return
        event = make(happening, time.time_ns() // 1_000_000)
        if event is None or (event.kind in _OF_THE_WRITER and not self._writes()):
            return
        if self._producer is None:
            if len(self._early) < MOST_WAITING:
                self._early.append(event)
            return
        self._produce(event)

    def _produce(self, event: FeedEvent) -> None:
        if self._producer is None or self._encoder is None:
            raise RuntimeError("open() first")
        value = self._encoder.encode(event, self._replica)
        entry = (self._topic, -1, event.about.encode(), value, event.time, None)
        try:
            produce_all(self._producer, [entry], deadline=0.0)
        except KafkaException as error:
            # Else the broker has been away for thousands of entries: the log and the metrics have them.
            if self._renewed(error):
                produce_all(self._producer, [entry], deadline=0.0)

    def _renewed(self, error: KafkaException) -> bool:
        """Where the client does not survive the error, as when the broker has lost what it had acknowledged: another
        one goes on. What waited in it is lost; the log and the metrics have it."""
        problem = error.args[0]
        if not problem.fatal() and problem.code() != KafkaError._FATAL:
            return False
        self._tell(KafkaComplained("ledger", problem.name(), problem.str()))
        self._producer = self._new_producer()
        return True

    def deliver(self, outgoing: Iterable[Outgoing]) -> None:
        """Produce records outside any transaction, and return when all are acknowledged.

        Raises :class:`RetryableError` where it is not known of all.
        """
        if self._producer is None:
            raise RuntimeError("open() first")
        producer, failed = self._producer, self._failed
        deadline = time.monotonic() + DELIVERED_WITHIN_S
        try:
            produce_all(producer, outgoing, deadline)
            waiting = flush(producer, deadline, lambda: self._failed > failed)
        except KafkaException as error:
            self._renewed(error)
            raise translated(error, "writing dead letters") from error
        if waiting or self._failed > failed:
            raise RetryableError(f"writing dead letters: not acknowledged within {DELIVERED_WITHIN_S:.0f} s")

    def _delivered(self, error: KafkaError | None, _: Message) -> None:
        self._failed += error is not None

    def serve(self) -> None:
        """Hear what the client has to say; to be called now and then, as hours may pass between two entries.

        Any thread may call.
        """
        if self._producer is not None:
            try:
                self._producer.poll(0)
            except KafkaException as error:
                self._renewed(error)

    def log_in(self, username: str, password: str) -> None:
        """The credentials for the client's next login. Any thread may call."""
        if self._producer is not None:
            self._producer.set_sasl_credentials(username, password)

    def start_over(self) -> None:
        """Make the client anew: what it was made with is no longer what it was."""
        if self._producer is not None:
            before, self._producer = self._producer, self._new_producer()
            self._flush(before, OLD_CLIENT_FLUSH_S)

    def close(self, timeout_s: float) -> None:
        if self._producer is not None:
            self._flush(self._producer, timeout_s)

    def _flush(self, producer: Producer, timeout_s: float) -> None:
        """As far as that client still can."""
        with suppress(KafkaException):
            flush(producer, time.monotonic() + timeout_s, lambda: False)


def _feed_changed(happening: FeedChanged, now_ms: int) -> FeedEvent | None:
    if happening.state == ADVANCING:
        return None
    return FeedEvent(
        EventKind.GAP_OPENED, EVERY_SYMBOL, now_ms, reason=f"feed {happening.state}", detail=happening.detail
    )


_ENTRIES: dict[type[Happening], Callable[[Any, int], FeedEvent | None]] = {
    SocketOpened: lambda h, now: FeedEvent(EventKind.SOCKET_OPENED, h.connection, now, detail=h.url),
    SocketClosed: lambda h, now: FeedEvent(
        EventKind.SOCKET_CLOSED, h.connection, now, reason=h.reason, detail=h.detail
    ),
    WriterWanted: lambda h, _: FeedEvent(
        EventKind.WRITER_WANTED, EVERY_SYMBOL, max(0, h.topic_event_time_ms), reason=h.reason
    ),
    TakingOver: lambda h, _: FeedEvent(EventKind.TAKING_OVER, EVERY_SYMBOL, max(0, h.topic_event_time_ms)),
    TookOver: lambda h, now: FeedEvent(
        EventKind.TAKEOVER,
        EVERY_SYMBOL,
        now,
        detail=f"topic idle {h.topic_idle_s:.1f} s, {h.frames_beyond} frames beyond it, took {h.duration_s:.1f} s",
    ),
    PartitionsGrown: lambda h, now: FeedEvent(
        EventKind.PARTITIONS_GROWN, h.topic, now, detail=f"from {h.before} to {h.after}"
    ),
    FeedChanged: _feed_changed,
    QualityFound: lambda h, now: FeedEvent(EventKind.QUALITY_FOUND, h.about, now, reason=h.finding, detail=h.detail),
    QualityCleared: lambda h, now: FeedEvent(EventKind.QUALITY_CLEARED, h.about, now, reason=h.finding),
}
