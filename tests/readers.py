"""Readers that know nothing of the connector: confluent-kafka, and the registry's address.

:class:`Tail` reads along while a test runs and measures how late records become visible.
"""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    TIMESTAMP_CREATE_TIME,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.schema_registry import SchemaRegistryClient, topic_subject_name_strategy
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from tests.judge import Observed

QUIET_LIMIT_S = 30.0


def read_messages(bootstrap: str, topic: str, *, committed: bool = True) -> Iterator[Message]:
    """Every message of a topic from its beginning to its end at this time, each partition in order.

    ``committed`` False reads what aborted transactions left as well.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "judge",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "isolation.level": "read_committed" if committed else "read_uncommitted",
        }
    )
    try:
        unread = set(consumer.list_topics(topic, timeout=20).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in unread])
        quiet_since = time.monotonic()
        while unread:
            batch = consumer.consume(1000, timeout=0.05)  # it waits so long for a full batch
            if batch:
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since > QUIET_LIMIT_S:
                raise TimeoutError(f"{topic}: no end of partitions {sorted(unread)} within {QUIET_LIMIT_S:g} s")
            for message in batch:
                error = message.error()
                if error is None:
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    unread.discard(message.partition() or 0)
                else:
                    raise KafkaException(error)
    finally:
        consumer.close()


def read_records(bootstrap: str, registry_url: str, topic: str) -> Iterator[Observed]:
    """Every committed record, decoded with what the registry says."""
    with SchemaRegistryClient({"url": registry_url, "timeout": 20}) as registry:
        # By default it first asks for "associations", which this registry does not know and now and then never answers.
        deserialize = AvroDeserializer(registry, conf={"subject.name.strategy": topic_subject_name_strategy})
        context = SerializationContext(topic, MessageField.VALUE)
        for message in read_messages(bootstrap, topic):
            kind, timestamp_ms = message.timestamp()
            value = deserialize(message.value(), context)
            assert isinstance(value, dict)
            yield Observed(
                partition=message.partition() or 0,
                offset=message.offset() or 0,
                key=message.key(),
                timestamp_ms=timestamp_ms,
                timestamp_is_create_time=kind == TIMESTAMP_CREATE_TIME,
                headers=len(message.headers() or ()),
                value=value,
            )


def read_events(bootstrap: str, registry_url: str, topic: str) -> list[dict[str, Any]]:
    """The ledger: every committed event as the registry's schema decodes it, by partition and offset."""
    return [dict(record.value) for record in read_records(bootstrap, registry_url, topic)]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One message of the dead-letter topic."""

    key: str
    value: bytes
    headers: Mapping[str, str]


def read_dead_letters(bootstrap: str, topic: str) -> list[DeadLetter]:
    return [
        DeadLetter(
            key=(message.key() or b"").decode(),
            value=message.value() or b"",
            headers=_texts(message.headers()),
        )
        for message in read_messages(bootstrap, topic)
    ]


def _texts(headers: Any) -> dict[str, str]:
    return {name: (value or b"").decode() for name, value in headers or ()}


@dataclass(frozen=True, slots=True)
class Lateness:
    """Seconds from event time to being visible under ``read_committed``."""

    records: int
    p50_s: float
    p99_s: float
    max_s: float
    max_key: str
    max_event_time_ms: int


class Tail:
    """Follows a topic in a thread of its own, within ``with``; the topic must be there.

    Keys and timestamps only. Where the broker is away it waits for it.
    Lateness is measured of records whose event time is after :meth:`measure` was called.
    """

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._topic = topic
        self._bootstrap = bootstrap
        self._lock = threading.Lock()
        self._measured_from_ms: int | None = None
        self._records = 0
        self._late_ms = array("l")
        self._newest_ms: dict[str, int] = {}
        self._worst = (0, "", 0)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"tail-{topic}", daemon=True)

    def __enter__(self) -> Tail:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def measure(self) -> None:
        """From now on: what was written before had to wait for the connector to start."""
        with self._lock:
            self._measured_from_ms = time.time_ns() // 1_000_000

    @property
    def records(self) -> int:
        with self._lock:
            return self._records

    def newest_ms(self) -> dict[str, int]:
        """Newest event time seen, by key."""
        with self._lock:
            return dict(self._newest_ms)

    def wait_until(self, newest_ms: Mapping[str, int], timeout_s: float) -> None:
        """Block until every one of these keys was seen at this event time or later. Raises TimeoutError."""
        deadline = time.monotonic() + timeout_s
        while behind := {key: ms for key, ms in newest_ms.items() if self.newest_ms().get(key, -1) < ms}:
            if time.monotonic() > deadline:
                shown = ", ".join(f"{key} at {ms}" for key, ms in list(behind.items())[:3])
                raise TimeoutError(f"{len(behind)} keys not seen up to their newest in {timeout_s:g} s: {shown}")
            time.sleep(0.05)

    def wait_for_records(self, more: int, timeout_s: float) -> None:
        """Block until so many more records were seen. Raises TimeoutError."""
        goal, deadline = self.records + more, time.monotonic() + timeout_s
        while self.records < goal:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.records + more - goal} of {more} records came in {timeout_s:g} s")
            time.sleep(0.02)

    def lateness(self) -> Lateness:
        with self._lock:
            late_ms = sorted(self._late_ms)
            worst_ms, key, event_time_ms = self._worst
        if not late_ms:
            return Lateness(0, 0.0, 0.0, 0.0, "", 0)
        p50_ms, p99_ms = late_ms[len(late_ms) // 2], late_ms[len(late_ms) * 99 // 100]
        return Lateness(len(late_ms), p50_ms / 1000, p99_ms / 1000, worst_ms / 1000, key, event_time_ms)

    def _run(self) -> None:
        consumer = Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "group.id": "tail",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 100,
                "reconnect.backoff.max.ms": 500,
                "topic.metadata.refresh.interval.ms": 2000,
                "log_level": 0,
            }
        )
        known: set[int] = set()
        looked_at = 0.0
        try:
            while not self._stop.is_set():
                if time.monotonic() - looked_at > 2:  # partitions may be added while a test runs
                    looked_at = time.monotonic()
                    known = self._assign_new(consumer, known)
                messages = consumer.consume(2000, timeout=0.02)
                if messages:
                    self._take(messages, time.time() * 1000)
        finally:
            consumer.close()

    def _assign_new(self, consumer: Consumer, known: set[int]) -> set[int]:
        try:
            partitions = set(consumer.list_topics(self._topic, timeout=1).topics[self._topic].partitions)
        except KafkaException:
            return known  # the broker is away
        if new := partitions - known:
            consumer.incremental_assign([TopicPartition(self._topic, partition, 0) for partition in new])
        return known | partitions

    def _take(self, messages: list[Message], now_ms: float) -> None:
        with self._lock:
            for message in messages:
                if message.error() is not None:
                    continue
                key = (message.key() or b"").decode()
                event_time_ms = message.timestamp()[1]
                self._records += 1
                if self._measured_from_ms is not None and event_time_ms >= self._measured_from_ms:
                    late_ms = round(now_ms - event_time_ms)
                    self._late_ms.append(late_ms)
                    if late_ms > self._worst[0]:
                        self._worst = (late_ms, key, event_time_ms)
                if event_time_ms > self._newest_ms.get(key, -1):
                    self._newest_ms[key] = event_time_ms
