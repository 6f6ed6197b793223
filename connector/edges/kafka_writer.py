"""Writing to Kafka: one batch, one transaction; or, without transactions, one flush."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice, repeat
from operator import length_hint
from typing import Protocol

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from connector.core.errors import ConnectorError
from connector.core.happenings import Tell
from connector.edges.kafka_clients import Complaints, Properties, new_producer, producer_properties, translated
from connector.edges.kafka_statistics import Statistics

COMMIT_TIMEOUT_S = 40.0
TRANSACTION_TIMEOUT_MS = 60_000

WHOLE_BATCHES: Properties = {"linger.ms": 50}
"""Committing and flushing send at once, whatever lingers: this keeps librdkafka from sending a batch in crumbs while it
is handed over."""

ANSWERS: Properties = {"delivery.report.only.error": False}
"""For the records that are asked about, one by one."""

_FENCED = frozenset({KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED})
ABORT_TIMEOUT_S = 5.0


OnDelivery = Callable[[KafkaError | None, Message], None]
NOBODY = repeat(None)
"""Asks for no answer."""

Headers = list[tuple[str, str | bytes | None]]
Outgoing = tuple[str, int, bytes | None, bytes | None, int, Headers | None]
"""One record for the broker: topic, partition (-1: the partitioner's choice), key, value, timestamp in milliseconds
(0: now), headers.
"""


@dataclass(frozen=True, slots=True)
class Records:
    """Records of one topic, as columns of the same length."""

    topic: str
    partitions: Sequence[int]
    keys: Sequence[bytes]
    values: Sequence[bytes]
    timestamps_ms: Sequence[int]

    def beyond(self, count: int) -> Iterable[Outgoing]:
        """One by one, without the first so many."""
        rows = zip(self.partitions, self.keys, self.values, self.timestamps_ms, strict=True)
        for partition, key, value, timestamp_ms in islice(rows, count, None):
            yield self.topic, partition, key, value, timestamp_ms, None


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Where the records of one write stand in one partition."""

    first: int
    last: int
    following: int
    """Where the next record comes to stand if nobody else writes: the marker of a commit takes an offset too."""


Written = Mapping[str, Mapping[int, Acknowledged]]
"""By topic and partition."""


class Deliveries:
    """What the broker answers for one write.

    Where records in columns came to stand is asked of the first and the last of each partition only: an answer for
    each is a call from C with a message made for it, 0.2 µs.
    """

    def __init__(self) -> None:
        self.failures: list[KafkaError] = []
        self._offsets: dict[tuple[str, int], list[int]] = {}

    def __call__(self, error: KafkaError | None, message: Message) -> None:
        self.failed(error, message)
        if error is None:
            offset = message.offset()
            where = (message.topic() or "", message.partition() or 0)
            self._offsets.setdefault(where, []).append(-1 if offset is None else offset)

    def failed(self, error: KafkaError | None, _: Message) -> None:
        """For the records in between, where no transaction fails with one that is refused: the offsets add up all the
        same if another process's record stands in its place."""
        if error is not None:
            self.failures.append(error)

    def of_first_and_last(self, records: Records, between: OnDelivery | None) -> list[OnDelivery | None]:
        """For each record: who is to hear of it. ``between``: for all but the first and the last."""
        heard_by = [between] * len(records.partitions)
        backwards = records.partitions[::-1]
        for partition in set(records.partitions):
            heard_by[records.partitions.index(partition)] = heard_by[-1 - backwards.index(partition)] = self
        return heard_by

    def written(self, *, markers: int) -> Written:
        """``markers``: how many stand behind the records in each partition."""
        found: dict[str, dict[int, Acknowledged]] = {}
        for (topic, partition), offsets in self._offsets.items():
            last = offsets[-1]
            found.setdefault(topic, {})[partition] = Acknowledged(offsets[0], last, last + 1 + markers)
        return found


class WriteError(ConnectorError):
    """What was to be written is in the topic whole, or not at all, or it is not known.

    The writer is of no more use. ``fenced``: another one has taken the lock.
    """

    def __init__(self, problem: str, *, fenced: bool) -> None:
        self.fenced = fenced
        super().__init__(problem)


class Writer(Protocol):
    """Whoever may write to the topic."""

    def write(self, records: Iterable[Records], others: Iterable[Outgoing]) -> Written:
        """Return when all is acknowledged; raise :class:`WriteError` otherwise."""

    def serve(self) -> None:
        """Hear what the client has to say; to be called now and then, as it keeps that until then."""

    def log_in(self, username: str, password: str) -> None:
        """The credentials for the client's next login. Any thread may call."""

    def close(self) -> None:
        """Drop it; what is not acknowledged is given up."""


class TransactionalWriter:
    """Holds the topic's ``transactional.id``: opening it aborts and fences whoever held it before.

    Raises :class:`RetryableError` where the broker does not answer and
    :class:`ConfigurationError` where it refuses.
    """

    def __init__(self, properties: Properties, transactional_id: str, tell: Tell, *, init_timeout_s: float = 30.0):
        self._statistics = Statistics("writer", tell)
        self._producer = new_producer(
            {
                **WHOLE_BATCHES,
                **producer_properties(properties),
                **ANSWERS,
                "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
                "transactional.id": transactional_id,
            },
            Complaints("writer", tell),
            stats_cb=self._statistics,
        )
        try:
            self._producer.init_transactions(init_timeout_s)
        except KafkaException as error:
            self.close()
            raise translated(error, f"taking transactional.id {transactional_id!r}") from error

    def write(self, records: Iterable[Records], others: Iterable[Outgoing]) -> Written:
        deadline = time.monotonic() + COMMIT_TIMEOUT_S
        producer = self._producer
        try:
            producer.begin_transaction()
            # One that is refused fails the whole transaction.
            deliveries = _produce(producer, records, others, deadline, all_answer=False)
            producer.commit_transaction(max(1.0, deadline - time.monotonic()))
        except KafkaException as error:
            kafka_error = error.args[0]
            if kafka_error.txn_requires_abort():
                self._abort()
            raise WriteError(
                f"{kafka_error.str()} ({kafka_error.name()})", fenced=kafka_error.code() in _FENCED
            ) from error
        return deliveries.written(markers=1)

    def _abort(self) -> None:
        """An open transaction hides everything behind it from readers; where aborting fails too, the next
        writer's ``init_transactions`` or the transaction's own time limit ends it."""
        with suppress(KafkaException):
            self._producer.abort_transaction(ABORT_TIMEOUT_S)

    def serve(self) -> None:
        self._producer.poll(0)

    def log_in(self, username: str, password: str) -> None:
        self._producer.set_sasl_credentials(username, password)

    def close(self) -> None:
        self._producer.purge(in_queue=True, in_flight=True, blocking=False)
        self._statistics.end()


class PlainWriter:
    """For clusters without transactions: idempotent, acknowledged, and at least once."""

    def __init__(self, properties: Properties, tell: Tell) -> None:
        self._statistics = Statistics("writer", tell)
        self._producer = new_producer(
            {
                "message.timeout.ms": int(COMMIT_TIMEOUT_S * 1000),
                **WHOLE_BATCHES,
                **producer_properties(properties),
                **ANSWERS,
            },
            Complaints("writer", tell),
            stats_cb=self._statistics,
        )

    def write(self, records: Iterable[Records], others: Iterable[Outgoing]) -> Written:
        deadline = time.monotonic() + COMMIT_TIMEOUT_S
        try:
            deliveries = _produce(self._producer, records, others, deadline, all_answer=True)
        except KafkaException as error:
            raise WriteError(f"{error.args[0].str()} ({error.args[0].name()})", fenced=False) from error
        waiting = self._producer.flush(max(1.0, deadline - time.monotonic()))
        failures = deliveries.failures
        if waiting or failures:
            problem = failures[0].str() if failures else "the broker does not answer"
            raise WriteError(f"not all records are acknowledged: {problem}", fenced=False)
        return deliveries.written(markers=0)

    def serve(self) -> None:
        self._producer.poll(0)

    def log_in(self, username: str, password: str) -> None:
        self._producer.set_sasl_credentials(username, password)

    def close(self) -> None:
        self._producer.purge(in_queue=True, in_flight=True, blocking=False)
        self._statistics.end()


def _produce(
    producer: Producer, records: Iterable[Records], others: Iterable[Outgoing], deadline: float, *, all_answer: bool
) -> Deliveries:
    deliveries = Deliveries()
    for each in records:
        heard_by = deliveries.of_first_and_last(each, deliveries.failed if all_answer else None)
        produce_columns(producer, each, deadline, heard_by)
    produce_all(producer, others, deadline, repeat(deliveries))
    return deliveries


def produce_columns(
    producer: Producer, records: Records, deadline: float, on_delivery: Sequence[OnDelivery | None]
) -> None:
    """As ``produce_all``, for many records of one topic: ``map`` calls ``produce`` from C, which takes a quarter less
    than a loop.

    Where the queue is full in between, what is left of the last column tells how far it came, and the rest goes one
    by one.
    """
    timestamps_ms = iter(records.timestamps_ms)
    where = (repeat(records.topic), records.values, records.keys, records.partitions)
    try:
        deque(map(producer.produce, *where, on_delivery, NOBODY, timestamps_ms), maxlen=0)
    except BufferError:
        refused = len(records.timestamps_ms) - length_hint(timestamps_ms) - 1
        produce_all(producer, records.beyond(refused), deadline, on_delivery[refused:])


def produce_all(
    producer: Producer,
    outgoing: Iterable[Outgoing],
    deadline: float,
    on_delivery: Iterable[OnDelivery | None] = NOBODY,
) -> None:
    """Hand all to librdkafka; where its queue is full, wait for room, until the deadline (monotonic) at most.

    Raises :class:`KafkaException`.
    """
    produce = producer.produce
    for (topic, partition, key, value, timestamp_ms, headers), heard_by in zip(outgoing, on_delivery, strict=False):
        while True:
            try:
                # By place: names cost a third of the whole call. The one left out is another name for a callback.
                produce(topic, value, key, partition, heard_by, None, timestamp_ms, headers)
                break
            except BufferError:
                if time.monotonic() > deadline:
                    raise KafkaException(KafkaError(KafkaError._QUEUE_FULL)) from None
                producer.poll(0.05)
    producer.poll(0)


def headers_of(**values: str) -> Headers:
    """Kafka headers, as text in UTF-8."""
    return [(name.replace("_", "-"), value.encode("utf-8", "replace")) for name, value in values.items()]
