"""What a topic holds in a stretch of time: keys and timestamps alone, as committed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from connector.core.errors import ConfigurationError, RetryableError
from connector.edges.kafka_clients import Complaints, Properties, consumer_properties, new_consumer, translated
from connector.edges.topic_offsets import TopicOffsets

_IN_BULK = {
    "queued.min.messages": 1_000_000,
    "queued.max.messages.kbytes": 65_536,
    "fetch.queue.backoff.ms": 10,
    "fetch.wait.max.ms": 10,
}
"""With the defaults librdkafka rests for a second whenever what it fetched ahead is enough."""
ASK_TIMEOUT_S = 10.0
STALLED_S = 30.0
POLL_RECORDS = 5000
LEAD_IN_OFFSETS = 2000
"""Read before the start, in each partition: some minutes, or, where nothing was written for long, what came before."""
TRAIL_MS = 61_000
"""Read after the end: so long a symbol may be missing before it counts as vanished."""


def read_times(
    properties: Properties, topic: str, since_ms: int, until_ms: int, seen: Callable[[str, int], None]
) -> int:
    """Pass key and timestamp of each record from a little before *since_ms* to a little after *until_ms* to *seen*.

    Returns since when the topic has what every partition had: *since_ms*, or a later time where partitions have lost
    their beginning since then. Ends at what was committed when it began. Raises :class:`ConfigurationError` where the
    topic is not there or not to be read and :class:`RetryableError` where the broker does not answer.
    """
    complaints = Complaints("gaps", lambda _: None)
    consumer = new_consumer({**consumer_properties(properties), **_IN_BULK}, complaints)
    try:
        with _asking(f"reading {topic}", complaints):
            count = _count_partitions(consumer, topic)
            offsets = TopicOffsets(properties, topic)
            ends = offsets.ends(count, committed_only=True)
            found = offsets.since(count, since_ms)
            starts = {p: max(each.first, each.offset - LEAD_IN_OFFSETS) for p, each in found.items()}
            consumer.assign([TopicPartition(topic, partition, start) for partition, start in starts.items()])
            began_ms = _read(consumer, topic, ends, until_ms + TRAIL_MS, seen)
            cut = [partition for partition, start in starts.items() if 0 < start == found[partition].first]
            return max([since_ms, *(began_ms[partition] for partition in cut if partition in began_ms)])
    finally:
        consumer.close()


@contextmanager
def _asking(doing: str, complaints: Complaints) -> Iterator[None]:
    try:
        yield
    except KafkaException as error:
        # That nobody answers says less than that nobody takes our credentials.
        raise translated(complaints.refused or error, doing) from error


def _count_partitions(consumer: Consumer, topic: str) -> int:
    found = consumer.list_topics(topic, timeout=ASK_TIMEOUT_S).topics[topic]
    if found.error is not None:
        raise ConfigurationError(f"topic {topic}: {found.error.str()}; see topic.name, and that the connector has run")
    return len(found.partitions)


def _read(
    consumer: Consumer, topic: str, ends: dict[int, int], to_ms: int, seen: Callable[[str, int], None]
) -> dict[int, int]:
    """The time of the first record by partition."""
    began_ms: dict[int, int] = {}
    reading = {partition for partition, end in ends.items() if end > 0}
    deadline_s = time.monotonic() + STALLED_S
    while reading:
        messages = consumer.consume(POLL_RECORDS, timeout=0.05)
        for message in messages:
            partition, offset, error = message.partition() or 0, message.offset() or 0, message.error()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    reading.discard(partition)
                elif error.fatal() or error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                    raise KafkaException(error)
                continue
            if partition not in reading:
                continue
            key, timestamp_ms = message.key(), message.timestamp()[1]
            if offset < ends[partition] and isinstance(key, bytes):
                began_ms.setdefault(partition, timestamp_ms)
                seen(key.decode("utf-8", "replace"), timestamp_ms)
            if offset >= ends[partition] - 1 or timestamp_ms > to_ms:
                reading.discard(partition)
                consumer.pause([TopicPartition(topic, partition)])
        if messages:
            deadline_s = time.monotonic() + STALLED_S
        elif time.monotonic() > deadline_s:
            raise RetryableError(f"reading {topic}: nothing came for {STALLED_S:.0f} s, and its end is not reached")
    return began_ms
