"""Reading a topic back as any consumer would: committed records only, decoded with nothing but the registry."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from connector.core.errors import ConfigurationError, FatalError, RetryableError
from connector.edges.kafka_clients import Complaints, Properties, consumer_properties, new_consumer, translated
from connector.edges.topic_offsets import TopicOffsets

ASK_TIMEOUT_S = 10.0
POLL_RECORDS = 1000
POLL_S = 0.01

Decode = Callable[[bytes], Any]


@dataclass(frozen=True, slots=True)
class Row:
    """One record. ``value`` is decoded: decimals as :class:`~decimal.Decimal`, times as aware datetimes;
    ``None`` for a tombstone."""

    partition: int
    offset: int
    key: str
    timestamp_ms: int
    value: dict[str, Any] | None
    read_at_ms: int


class TopicReader:
    """All partitions of one topic, from some time on or from the end. Joins no group and commits nothing.

    Raises :class:`ConfigurationError` where the topic is not there or not to be read and :class:`RetryableError`
    where the broker does not answer.
    """

    def __init__(self, properties: Properties, topic: str, decode: Decode) -> None:
        self._topic = topic
        self._decode = decode
        self._consumer = new_consumer(
            {**consumer_properties(properties), "fetch.wait.max.ms": 100}, Complaints("reader", lambda _: None)
        )
        self._offsets = TopicOffsets(properties, topic)
        self._at_end: set[int] = set()
        self.partitions = self._count_partitions()

    def start(self, from_ms: int | None) -> None:
        """At the first record with a timestamp of ``from_ms`` or later; ``None``: at the end."""
        if from_ms is None:
            starts = self._offsets.ends(self.partitions, committed_only=True)
        else:
            found = self._offsets.since(self.partitions, from_ms)
            starts = {partition: each.offset for partition, each in found.items()}
        self._at_end.clear()
        self._consumer.assign([TopicPartition(self._topic, partition, start) for partition, start in starts.items()])

    @property
    def at_end(self) -> bool:
        """Whether every partition was read to its end at least once."""
        return len(self._at_end) == self.partitions

    def rows(self, timeout_s: float) -> Iterator[Row]:
        """What comes within that time, each when it comes."""
        deadline = time.monotonic() + timeout_s
        while True:
            # consume() waits for the whole batch or the whole time: a short one, so that rows are read when they come.
            for message in self._consumer.consume(POLL_RECORDS, timeout=POLL_S):
                error = message.error()
                if error is None:
                    yield self._row(message)
                elif error.code() == KafkaError._PARTITION_EOF:
                    self._at_end.add(message.partition() or 0)
                elif error.fatal():
                    raise translated(error, f"reading {self._topic}")
            if time.monotonic() >= deadline:
                return

    def close(self) -> None:
        self._consumer.close()

    def _row(self, message: Message) -> Row:
        key, value = message.key(), message.value()
        return Row(
            message.partition() or 0,
            message.offset() or 0,
            key.decode("utf-8", "replace") if isinstance(key, bytes) else "",
            message.timestamp()[1],
            self._decode(value) if isinstance(value, bytes) else None,
            time.time_ns() // 1_000_000,
        )

    def _count_partitions(self) -> int:
        try:
            found = self._consumer.list_topics(self._topic, timeout=ASK_TIMEOUT_S).topics[self._topic]
        except KafkaException as error:
            raise translated(error, f"asking for {self._topic}") from error
        if found.error is not None:
            raise ConfigurationError(
                f"topic {self._topic}: {found.error.str()}; see topic.name, and that the connector has run"
            )
        return len(found.partitions)


def registry_decoder(registry_properties: Properties, topic: str) -> Decode:
    """Confluent's own deserializer: the writer's schema comes from the registry by the record's id."""
    import httpx
    from confluent_kafka.schema_registry import SchemaRegistryClient, topic_subject_name_strategy
    from confluent_kafka.schema_registry.avro import AvroDeserializer
    from confluent_kafka.schema_registry.error import SchemaRegistryError
    from confluent_kafka.serialization import MessageField, SerializationContext, SerializationError

    # By default it first asks for "associations", which registries other than Confluent's do not know.
    deserializer = AvroDeserializer(
        SchemaRegistryClient({"timeout": 10, **registry_properties}),
        conf={"subject.name.strategy": topic_subject_name_strategy},
    )
    context = SerializationContext(topic, MessageField.VALUE)

    def decode(value: bytes) -> Any:
        try:
            return deserializer(value, context)
        except (SerializationError, SchemaRegistryError) as error:
            raise FatalError(f"topic {topic}: a record is no Avro that this registry knows: {error}") from error
        except httpx.HTTPError as error:
            raise RetryableError(f"the registry does not answer: {error}") from error

    return decode
