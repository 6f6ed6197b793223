"""Which partition a key goes to."""

from __future__ import annotations

from confluent_kafka import murmur2


def partition_of(key: bytes, partitions: int) -> int:
    """Java's default partition of a key: murmur2, as Kafka Streams, ksqlDB and Flink expect it."""
    return int(murmur2(key, partitions))
