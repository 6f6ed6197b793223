"""Writing to Kafka: one batch, one transaction; or, without transactions, one flush."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Protocol

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from connector.core.errors import ConnectorError
from connector.core.happenings import Tell
from connector.edges.kafka_clients import Complaints, Properties, new_producer, producer_properties, translated

COMMIT_TIMEOUT_S = 40.0
TRANSACTION_TIMEOUT_MS = 60_000

_FENCED = frozenset({KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED})
ABORT_TIMEOUT_S = 5.0


Headers = list[tuple[str, str | bytes | None]]
Outgoing = tuple[str, int, bytes | None, bytes | None, int, Headers | None]
"""One record for the broker: topic, partition (-1: the partitioner's choice), key, value, timestamp in milliseconds
(0: now), headers. A plain tuple, which a generator makes in a quarter of the time that one with names takes.
"""


class WriteError(ConnectorError):
    """What was to be written is in the topic whole, or not at all, or it is not known.

    The writer is of no more use. ``fenced``: another one has taken the lock.
    """

    def __init__(self, problem: str, *, fenced: bool) -> None:
        self.fenced = fenced
        super().__init__(problem)


class Writer(Protocol):
    """Whoever may write to the topic."""

    def write(self, outgoing: Iterable[Outgoing]) -> None:
        """Return when all is acknowledged; raise :class:`WriteError` otherwise."""

    def close(self) -> None:
        """Drop it; what is not acknowledged is given up."""


class TransactionalWriter:
    """Holds the topic's ``transactional.id``: opening it aborts and fences whoever held it before.

    Raises :class:`RetryableError` where the broker does not answer and
    :class:`ConfigurationError` where it refuses.
    """

    def __init__(self, properties: Properties, transactional_id: str, tell: Tell, *, init_timeout_s: float = 30.0):
        self._producer = new_producer(
            {
                **producer_properties(properties),
                "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
                "transactional.id": transactional_id,
            },
            Complaints("writer", tell),
        )
        try:
            self._producer.init_transactions(init_timeout_s)
        except KafkaException as error:
            self.close()
            raise translated(error, f"taking transactional.id {transactional_id!r}") from error

    def write(self, outgoing: Iterable[Outgoing]) -> None:
        deadline = time.monotonic() + COMMIT_TIMEOUT_S
        producer = self._producer
        try:
            producer.begin_transaction()
            produce_all(producer, outgoing, deadline)
            producer.commit_transaction(max(1.0, deadline - time.monotonic()))
        except KafkaException as error:
            kafka_error = error.args[0]
            if kafka_error.txn_requires_abort():
                self._abort()
            raise WriteError(
                f"{kafka_error.str()} ({kafka_error.name()})", fenced=kafka_error.code() in _FENCED
            ) from error

    def _abort(self) -> None:
        """An open transaction hides everything behind it from readers; where aborting fails too, the next
        writer's ``init_transactions`` or the transaction's own time limit ends it."""
        with suppress(KafkaException):
            self._producer.abort_transaction(ABORT_TIMEOUT_S)

    def close(self) -> None:
        self._producer.purge(in_queue=True, in_flight=True, blocking=False)


class PlainWriter:
    """For clusters without transactions: idempotent, acknowledged, and at least once."""

    def __init__(self, properties: Properties, tell: Tell) -> None:
        self._failures: list[KafkaError] = []
        self._producer = new_producer(
            {
                "message.timeout.ms": int(COMMIT_TIMEOUT_S * 1000),
                **producer_properties(properties),
                "on_delivery": self._delivered,
            },
            Complaints("writer", tell),
        )

    def _delivered(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._failures.append(error)

    def write(self, outgoing: Iterable[Outgoing]) -> None:
        deadline = time.monotonic() + COMMIT_TIMEOUT_S
        self._failures.clear()
        try:
            produce_all(self._producer, outgoing, deadline)
        except KafkaException as error:
            raise WriteError(f"{error.args[0].str()} ({error.args[0].name()})", fenced=False) from error
        waiting = self._producer.flush(max(1.0, deadline - time.monotonic()))
        if waiting or self._failures:
            problem = self._failures[0].str() if self._failures else "the broker does not answer"
            raise WriteError(f"{waiting + len(self._failures)} records not acknowledged: {problem}", fenced=False)

    def close(self) -> None:
        self._producer.purge(in_queue=True, in_flight=True, blocking=False)


def produce_all(producer: Producer, outgoing: Iterable[Outgoing], deadline: float) -> None:
    """Hand all to librdkafka; where its queue is full, wait for room, until the deadline (monotonic) at most.

    Raises :class:`KafkaException`.
    """
    produce = producer.produce
    for topic, partition, key, value, timestamp_ms, headers in outgoing:
        while True:
            try:
                # By place: names cost a third of the whole call. The two left out are delivery callbacks.
                produce(topic, value, key, partition, None, None, timestamp_ms, headers)
                break
            except BufferError:
                if time.monotonic() > deadline:
                    raise KafkaException(KafkaError(KafkaError._QUEUE_FULL)) from None
                producer.poll(0.05)
    producer.poll(0)


def headers_of(**values: str) -> Headers:
    """Kafka headers, as text in UTF-8."""
    return [(name.replace("_", "-"), value.encode("utf-8", "replace")) for name, value in values.items()]
