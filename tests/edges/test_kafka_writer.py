from __future__ import annotations

import time
from typing import Any, cast

import pytest
from confluent_kafka import KafkaException, Producer

from connector.edges.kafka_writer import Records, produce_columns

Call = tuple[str, bytes, bytes, int, int]


class SmallQueue:
    """A producer whose queue holds so many records; each poll makes room for one."""

    def __init__(self, room: int, *, drains: bool = True) -> None:
        self._room = room
        self._drains = drains
        self.calls: list[Call] = []

    def produce(self, topic: str, value: bytes, key: bytes, partition: int, *rest: Any) -> None:
        if not self._room:
            raise BufferError("Local: Queue full")
        self._room -= 1
        self.calls.append((topic, value, key, partition, rest[2]))

    def poll(self, timeout: float) -> int:
        self._room += self._drains
        return 0


def columns(count: int) -> Records:
    numbers = range(count)
    return Records(
        "ticks",
        partitions=[number % 3 for number in numbers],
        keys=[b"key %d" % number for number in numbers],
        values=[b"value %d" % number for number in numbers],
        timestamps_ms=[1000 + number for number in numbers],
    )


def rows(count: int) -> list[Call]:
    return [("ticks", b"value %d" % number, b"key %d" % number, number % 3, 1000 + number) for number in range(count)]


@pytest.mark.parametrize("room", [0, 1, 4, 9, 10])
def test_each_record_once_and_in_order_wherever_the_queue_is_full(room: int) -> None:
    queue = SmallQueue(room)
    produce_columns(cast(Producer, queue), columns(10), deadline=time.monotonic() + 10)
    assert queue.calls == rows(10)


def test_a_queue_that_stays_full_is_an_error_at_the_deadline() -> None:
    queue = SmallQueue(4, drains=False)
    with pytest.raises(KafkaException, match="_QUEUE_FULL"):
        produce_columns(cast(Producer, queue), columns(10), deadline=time.monotonic())
    assert queue.calls == rows(4)


def test_librdkafka_itself_takes_the_columns_and_says_where_its_queue_was_full() -> None:
    producer = Producer({"bootstrap.servers": "127.0.0.1:1", "queue.buffering.max.messages": 4})
    with pytest.raises(KafkaException, match="_QUEUE_FULL"):
        produce_columns(producer, columns(10), deadline=time.monotonic())
    assert len(producer) >= 4  # complaints of the broker that is not there may wait with them
    producer.purge(in_queue=True, in_flight=True, blocking=False)
