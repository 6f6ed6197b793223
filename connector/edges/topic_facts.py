"""What is known of a topic, as a stranger finds it: metadata, configuration, schemas, and its newest records."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import fastavro
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from fastavro.schema import SchemaParseException, UnknownType

from connector.core.errors import ConfigurationError, RetryableError
from connector.core.flink import TopicShape
from connector.core.happenings import Happening
from connector.core.joincheck import PartitionFacts, SampledRecord, TopicFacts, ValueForm, framed_schema_id
from connector.core.table import bad_types, read_record, time_field_of
from connector.edges.kafka_clients import Properties, consumer_properties, new_consumer, translated, unheard
from connector.edges.registry import Registered, Registry, subject_of
from connector.edges.topics import Admin

ASK_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 60.0
SAMPLED_RECORDS = 4_000
WATCH_S = 5.0
"""How long an open transaction is waited for before it is called stuck; one of ours is open for milliseconds."""


def topic_shape(kafka: Properties, topic: str) -> TopicShape:
    """The topic as it is. Raises ConfigurationError where it is not there, RetryableError without an answer."""
    count, config = _described(kafka, topic)
    return TopicShape(
        topic,
        count,
        compacted="compact" in _policies(config),
        keeps_event_time=config.get("message.timestamp.type") == "CreateTime",
    )


def kept_for_ms(kafka: Properties, topic: str) -> int | None:
    """For how long the broker keeps a record, by its event time: -1 for ever; ``None`` where the topic is not there.

    Raises ConfigurationError where it may not be asked, RetryableError without an answer.
    """
    admin = Admin(kafka, _unheard, ASK_TIMEOUT_S)
    if topic not in admin.partition_counts([topic]):
        return None
    config = admin.configs([topic])[topic]
    return int(config.get("retention.ms", "-1")) if "delete" in _policies(config) else -1


def topic_facts(
    kafka: Properties,
    registry: Registry,
    topic: str,
    *,
    time_field: str | None = None,
    sampled_records: int = SAMPLED_RECORDS,
    watch_s: float = WATCH_S,
) -> TopicFacts:
    """All that the rules of a join look at. Reads under ``read_committed``, joins no group, writes nothing."""
    count, config = _described(kafka, topic)
    versions = registry.versions(subject_of(topic))
    documents, problem = _records(versions, topic)
    named = _time_field(documents, topic, time_field)
    reader = _Reader(kafka, topic, count, _Values(registry, versions, named))
    try:
        reader.read(max(100, sampled_records // count))
        stuck = reader.stuck(watch_s)
        sizes = reader.sizes
    finally:
        reader.close()
    compacted = "compact" in _policies(config)
    return TopicFacts(
        name=topic,
        partitions=tuple(PartitionFacts(number, sizes[number], stuck.get(number)) for number in range(count)),
        timestamp_type=config.get("message.timestamp.type", ""),
        cleanup_policy=_policies(config),
        retention_ms=int(config.get("retention.ms", "-1")),
        records=tuple(reader.records),
        bad_types=bad_types([version.text for version in versions], topic) if documents else (),
        has_schema=bool(versions),
        schema_problem=problem,
        time_field=named,
        # In a compacted topic holes are what was compacted; at its end they are markers here too.
        transactional=reader.marker_at_end or bool(stuck) or (reader.holes and not compacted),
        watched_s=watch_s,
    )


def _records(versions: tuple[Registered, ...], topic: str) -> tuple[list[dict[str, Any]], str]:
    """The versions as records; none of them, and why, where one is no Avro record."""
    try:
        return [read_record(version.text, topic) for version in versions], ""
    except ConfigurationError as error:
        return [], str(error)


def _time_field(documents: list[dict[str, Any]], topic: str, given: str | None) -> str | None:
    """Raises ConfigurationError where the given one is in no version."""
    names = {str(field["name"]): None for document in documents for field in document["fields"]}
    if given is not None and documents and given not in names:
        raise ConfigurationError(f"topic {topic}: there is no field {given!r}; it has {', '.join(names)}")
    return given or (time_field_of(documents[-1]) if documents else None)


def _described(kafka: Properties, topic: str) -> tuple[int, Mapping[str, str]]:
    admin = Admin(kafka, _unheard, ASK_TIMEOUT_S)
    counts = admin.partition_counts([topic])
    if topic not in counts:
        raise ConfigurationError(f"topic {topic}: is not there")
    return counts[topic], admin.configs([topic])[topic]


def _policies(config: Mapping[str, str]) -> frozenset[str]:
    return frozenset(policy.strip() for policy in config.get("cleanup.policy", "").split(","))


def _unheard(happening: Happening) -> None:
    """What the broker's client complains of shows in the answers, or their absence."""


class _Reader:
    """The newest committed records of every partition."""

    def __init__(self, kafka: Properties, topic: str, count: int, values: _Values) -> None:
        self._topic = topic
        self._count = count
        self._values = values
        # The end of a partition is told when a fetch comes back; by default one waits half a second for more.
        self._committed = new_consumer({"fetch.wait.max.ms": 20, **consumer_properties(kafka)}, unheard)
        self._uncommitted = new_consumer(consumer_properties(kafka, committed_only=False), unheard)
        self.records: list[SampledRecord] = []
        self.sizes: dict[int, int] = {}
        self.holes = False
        self.marker_at_end = False
        self._open: dict[int, int] = {}

    def read(self, most_of_partition: int) -> None:
        starts = {}
        for number in range(self._count):
            first, stable = self._watermarks(self._committed, number)
            _, end = self._watermarks(self._uncommitted, number)
            self.sizes[number] = end - first
            if stable < end:
                self._open[number] = stable
            starts[number] = max(first, stable - most_of_partition)
        self._committed.assign([TopicPartition(self._topic, number, start) for number, start in starts.items()])
        unread, deadline = set(starts), time.monotonic() + READ_TIMEOUT_S
        next_offset: dict[int, int] = {}
        while unread:
            if time.monotonic() > deadline:
                raise RetryableError(f"topic {self._topic}: partitions {sorted(unread)} were not read to their end")
            for message in self._committed.consume(1000, timeout=0.1):
                self._take(message, next_offset, unread)
        self._committed.unassign()

    def stuck(self, watch_s: float) -> dict[int, int]:
        """The offset of each transaction that was open when we read, and still is after so long."""
        deadline = time.monotonic() + watch_s
        waiting = dict(self._open)
        while waiting:
            waiting = {
                number: stable
                for number, stable in waiting.items()
                if self._watermarks(self._committed, number)[1] == stable
            }
            if time.monotonic() > deadline:
                break
            time.sleep(0.2)
        return waiting

    def close(self) -> None:
        self._committed.close()
        self._uncommitted.close()

    def _take(self, message: Message, next_offset: dict[int, int], unread: set[int]) -> None:
        number, offset = message.partition() or 0, message.offset() or 0
        expected = next_offset.get(number, offset)
        error = message.error()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                unread.discard(number)
                self.marker_at_end = self.marker_at_end or offset > expected
            elif error.fatal() or error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                raise translated(error, f"reading {self._topic}")
            return
        self.holes = self.holes or offset > expected
        next_offset[number] = offset + 1
        key, value = message.key(), message.value()
        form, event_time_ms = self._values.look_at(value if isinstance(value, bytes) else None)
        self.records.append(
            SampledRecord(number, key if isinstance(key, bytes) else None, message.timestamp()[1], form, event_time_ms)
        )

    def _watermarks(self, consumer: Consumer, number: int) -> tuple[int, int]:
        """First offset and end; for a ``read_committed`` consumer the end is the last stable offset."""
        try:
            first, end = consumer.get_watermark_offsets(
                TopicPartition(self._topic, number), timeout=ASK_TIMEOUT_S, cached=False
            )
        except KafkaException as error:
            raise translated(error, f"asking for the end of {self._topic}") from error
        return int(first), int(end)


class _Values:
    """Looks into values: whether they are Avro, and their event time as the number that it is."""

    def __init__(self, registry: Registry, versions: tuple[Registered, ...], time_field: str | None) -> None:
        self._registry = registry
        self._time_field = time_field
        self._writers: dict[int, Any] = {version.id: _writer(version.text) for version in versions}

    def look_at(self, value: bytes | None) -> tuple[ValueForm, int | None]:
        if value is None:
            return ValueForm.TOMBSTONE, None
        schema_id = framed_schema_id(value)
        if schema_id is None:
            return ValueForm.NOT_AVRO, None
        if schema_id not in self._writers:
            text = self._registry.text_of(schema_id)
            self._writers[schema_id] = _writer(text) if text is not None else ValueForm.UNKNOWN_SCHEMA
        writer = self._writers[schema_id]
        if isinstance(writer, ValueForm):
            return writer, None
        buffer = BytesIO(value[5:])
        try:
            record = fastavro.schemaless_reader(buffer, writer, None)
        except (EOFError, ValueError, IndexError, KeyError, TypeError, MemoryError, OverflowError):
            return ValueForm.UNKNOWN_SCHEMA, None
        if buffer.read(1):
            return ValueForm.UNKNOWN_SCHEMA, None
        found = record.get(self._time_field) if isinstance(record, dict) else None
        return ValueForm.AVRO, found if isinstance(found, int) else None


def _writer(text: str) -> Any:
    """For fastavro, or that it is no Avro but JSON Schema or Protobuf."""
    try:
        return fastavro.parse_schema(_without_logical_types(json.loads(text)))
    except (ValueError, SchemaParseException, UnknownType):
        return ValueForm.NOT_AVRO


def _without_logical_types(node: Any) -> Any:
    """So that times are read as the numbers they are, in whatever unit."""
    if isinstance(node, dict):
        return {key: _without_logical_types(value) for key, value in node.items() if key != "logicalType"}
    if isinstance(node, list):
        return [_without_logical_types(each) for each in node]
    return node
