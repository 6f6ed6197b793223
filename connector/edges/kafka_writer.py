"""Writing to Kafka: one batch, one transaction; or, without transactions, one flush."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice, repeat
from operator import length_hint
from typing import Protocol, cast

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from connector.core.errors import ConnectorError
from connector.core.happenings import Tell
from connector.edges.kafka_clients import Complaints, Properties, new_producer, producer_properties, translated
from connector.edges.kafka_statistics import Statistics

COMMIT_TIMEOUT_S = 40.0
COMMIT_STEP_S = 1.0
"""Where a record was refused, those behind it may never be answered; only a call that begins anew says so."""
FLUSH_STEP_S = 0.15
"""From 0.2 s on, confluent-kafka goes on with callbacks after one has failed, and they fail for that."""
TRANSACTION_TIMEOUT_MS = 60_000

WHOLE_BATCHES: Properties = {"linger.ms": 50}
"""Committing and flushing send at once, whatever lingers: this keeps librdkafka from sending a batch in crumbs while it
is handed over."""

ANSWERS: Properties = {"delivery.report.only.error": False}
"""For the records that are asked about, one by one."""

NO_HOLES: Properties = {"enable.gapless.guarantee": True, "message.timeout.ms": int(2 * COMMIT_TIMEOUT_S * 1000)}
"""For a producer without transactions: of a partition, nothing is written behind a record that was refused, nor behind
one that waited for too long, as it waits longer than we do. Else a symbol's next tick would shut it out. Only of a
producer's first request do brokers not know what is missing behind it."""

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
    values: Sequence[bytes | None]
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

    Of records in columns the first and the last of each partition are asked about only: an answer for each is a call
    from C with a message made for it, 0.2 µs. It is enough: where one is refused, none behind it is written, or it was
    in one request with the first (:data:`NO_HOLES`); and it fails a transaction.
    """

    def __init__(self) -> None:
        self.failures: list[str] = []
        self._offsets: dict[tuple[str, int], list[int]] = {}

    def __call__(self, error: KafkaError | None, message: Message) -> None:
        topic, partition = message.topic() or "", message.partition() or 0
        if error is not None:
            self.failures.append(f"{topic} [{partition}]: {error.str()} ({error.name()})")
        else:
            offset = message.offset()
            self._offsets.setdefault((topic, partition), []).append(-1 if offset is None else offset)

    def of_first_and_last(self, partitions: Sequence[int]) -> list[OnDelivery | None]:
        """For each record: who is to hear of it."""
        heard_by: list[OnDelivery | None] = [None] * len(partitions)
        backwards = partitions[::-1]
        for partition in set(partitions):
            heard_by[partitions.index(partition)] = heard_by[-1 - backwards.index(partition)] = self
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
        """Return when all is acknowledged, and where the records stand; raise :class:`WriteError` otherwise.

        No record is in the topic without the others: gaps that it ends are not found again.
        """

    def serve(self) -> None:
        """Hear what the client has to say; to be called now and then, as it keeps that until then. Raises as
        :func:`serve`."""

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
        try:
            self._producer.begin_transaction()
            produce_all(self._producer, others, deadline)  # one that is refused fails the whole transaction
            deliveries = produce_records(self._producer, records, deadline)
            self._commit(deadline)
        except KafkaException as error:
            kafka_error = error.args[0]
            if kafka_error.txn_requires_abort():
                self._abort()
            raise WriteError(
                f"{kafka_error.str()} ({kafka_error.name()})", fenced=kafka_error.code() in _FENCED
            ) from error
        return deliveries.written(markers=1)

    def _commit(self, deadline: float) -> None:
        """In steps: a call that has timed out is to be made again, and goes on where it was."""
        while True:
            try:
                self._producer.commit_transaction(COMMIT_STEP_S)
            except KafkaException as error:
                if error.args[0].code() != KafkaError._TIMED_OUT or time.monotonic() > deadline:
                    raise
            else:
                return

    def _abort(self) -> None:
        """An open transaction hides everything behind it from readers; where aborting fails too, the next
        writer's ``init_transactions`` or the transaction's own time limit ends it."""
        with suppress(KafkaException):
            self._producer.abort_transaction(ABORT_TIMEOUT_S)

    def serve(self) -> None:
        serve(self._producer)

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
            {**WHOLE_BATCHES, **producer_properties(properties), **ANSWERS, **NO_HOLES},
            Complaints("writer", tell),
            stats_cb=self._statistics,
        )

    def write(self, records: Iterable[Records], others: Iterable[Outgoing]) -> Written:
        deadline = time.monotonic() + COMMIT_TIMEOUT_S
        answers = Deliveries()
        try:
            produce_all(self._producer, others, deadline, repeat(answers))
            self._wait_for(answers, deadline)
            deliveries = produce_records(self._producer, records, deadline)
            self._wait_for(deliveries, deadline)
        except KafkaException as error:
            cause = self._cause(error.args[0])
            raise WriteError(f"{cause.str()} ({cause.name()})", fenced=False) from error
        return deliveries.written(markers=0)

    def _cause(self, error: KafkaError) -> KafkaError:
        """What became of a client that takes nothing more is told once, where it is served."""
        if error.code() == KafkaError._FATAL:
            try:
                self._producer.poll(0)
            except KafkaException as told:
                return cast(KafkaError, told.args[0])
        return error

    def _wait_for(self, deliveries: Deliveries, deadline: float) -> None:
        waiting = flush(self._producer, deadline, lambda: bool(deliveries.failures))
        if deliveries.failures:
            raise WriteError(f"not all records are acknowledged: {deliveries.failures[0]}", fenced=False)
        # Also where nothing waits any longer: in a process that was stopped for a minute, records that had not been
        # sent are given up, which nobody hears of those in the middle, and later ones are sent.
        if waiting or time.monotonic() > deadline:
            raise WriteError("not all records are acknowledged in time: the broker does not answer", fenced=False)

    def serve(self) -> None:
        serve(self._producer)

    def log_in(self, username: str, password: str) -> None:
        self._producer.set_sasl_credentials(username, password)

    def close(self) -> None:
        self._producer.purge(in_queue=True, in_flight=True, blocking=False)
        self._statistics.end()


def produce_records(producer: Producer, records: Iterable[Records], deadline: float) -> Deliveries:
    """Hand all to librdkafka, as :func:`produce_all` does; the answers are heard when the producer is served."""
    deliveries = Deliveries()
    for each in records:
        produce_columns(producer, each, deadline, deliveries.of_first_and_last(each.partitions))
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
                    problem = "the broker does not answer, and no more records can wait for it"
                    raise KafkaException(KafkaError(KafkaError._QUEUE_FULL, problem)) from None
                producer.poll(0.05)
    producer.poll(0)


def flush(producer: Producer, deadline: float, has_failed: Callable[[], bool]) -> int:
    """Wait for the answers to all that was handed over, until the deadline (monotonic) or a failure. How many are
    missing.

    Raises :class:`KafkaException` where the client has met an error that it does not survive.
    """
    while waiting := producer.flush(FLUSH_STEP_S):
        if has_failed() or time.monotonic() > deadline:
            break
    return waiting


def serve(producer: Producer) -> None:
    """Raises :class:`ConfigurationError` or :class:`RetryableError` where the client has met an error that it does not
    survive: it takes nothing more."""
    try:
        producer.poll(0)
    except KafkaException as error:
        raise translated(error, "writing") from error


def headers_of(**values: str) -> Headers:
    """Kafka headers, as text in UTF-8."""
    return [(name.replace("_", "-"), value.encode("utf-8", "replace")) for name, value in values.items()]
