"""Records by columns, and what the broker answers for them."""

from __future__ import annotations

import time
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, yet not marked as exported
    AdminClient,
    NewTopic,
)

from connector.edges.kafka_writer import (
    Acknowledged,
    Deliveries,
    PlainWriter,
    Records,
    TransactionalWriter,
    WriteError,
    Writer,
    produce_columns,
)
from connector.local.stack import LocalStack

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
    produce_columns(cast(Producer, queue), columns(10), time.monotonic() + 10, [None] * 10)
    assert queue.calls == rows(10)


def test_a_queue_that_stays_full_is_an_error_at_the_deadline() -> None:
    queue = SmallQueue(4, drains=False)
    with pytest.raises(KafkaException, match="_QUEUE_FULL"):
        produce_columns(cast(Producer, queue), columns(10), time.monotonic(), [None] * 10)
    assert queue.calls == rows(4)


def test_librdkafka_itself_takes_the_columns_and_says_where_its_queue_was_full() -> None:
    producer = Producer({"bootstrap.servers": "127.0.0.1:1", "queue.buffering.max.messages": 4})
    with pytest.raises(KafkaException, match="_QUEUE_FULL"):
        produce_columns(producer, columns(10), time.monotonic(), [None] * 10)
    assert len(producer) >= 4  # complaints of the broker that is not there may wait with them
    producer.purge(in_queue=True, in_flight=True, blocking=False)


# What the broker answers


def made(stack: LocalStack, topic: str, **config: str) -> None:
    admin = AdminClient({"bootstrap.servers": stack.bootstrap_servers})
    dotted = {key.replace("_", "."): value for key, value in config.items()}
    admin.create_topics([NewTopic(topic, 3, 1, config=dotted)])[topic].result(10)


def writer_of(stack: LocalStack, topic: str, *, transactional: bool) -> Writer:
    properties = {"bootstrap.servers": stack.bootstrap_servers}
    if transactional:
        return TransactionalWriter(properties, topic, lambda _: None)
    return PlainWriter(properties, lambda _: None)


def records_of(topic: str, partitions: list[int], size: int = 10) -> Records:
    count = len(partitions)
    return Records(topic, partitions, [b"key"] * count, [b"v" * size] * count, [1000] * count)


@pytest.mark.parametrize("transactional", [True, False])
def test_it_says_where_the_records_of_each_write_stand(stack: LocalStack, topic_name: str, transactional: bool) -> None:
    made(stack, topic_name)
    writer = writer_of(stack, topic_name, transactional=transactional)
    marker = 1 if transactional else 0
    try:
        written = writer.write([records_of(topic_name, [0, 2, 0, 0])], [])
        assert written == {topic_name: {0: Acknowledged(0, 2, 3 + marker), 2: Acknowledged(0, 0, 1 + marker)}}
        letter = (topic_name, 1, b"key", b"value", 1000, None)
        written = writer.write([records_of(topic_name, [0, 0, 1])], [letter])
        begins = 3 + marker
        assert written == {
            topic_name: {
                0: Acknowledged(begins, begins + 1, begins + 2 + marker),
                1: Acknowledged(0, 1, 2 + marker),
            }
        }
        assert writer.write([], []) == {}
    finally:
        writer.close()


@pytest.mark.parametrize("refused", [0, 1, 2])
def test_a_record_that_the_broker_refuses_is_not_taken_for_written(
    stack: LocalStack, topic_name: str, refused: int
) -> None:
    """Also where it is neither the first nor the last, and each record has a request of its own."""
    made_for_small_records(stack, topic_name)
    writer = PlainWriter({"bootstrap.servers": stack.bootstrap_servers, "batch.num.messages": 1}, lambda _: None)
    sizes = [10, 10, 10]
    sizes[refused] = 5000
    records = Records(topic_name, [0] * 3, [b"key"] * 3, [b"v" * size for size in sizes], [1000] * 3)
    try:
        with pytest.raises(WriteError):
            writer.write([records], [])
    finally:
        writer.close()


def test_a_letter_that_the_broker_refuses_is_not_taken_for_written(stack: LocalStack, topic_name: str) -> None:
    made_for_small_records(stack, topic_name)
    writer = PlainWriter({"bootstrap.servers": stack.bootstrap_servers}, lambda _: None)
    try:
        with pytest.raises(WriteError, match="too large"):
            writer.write([], [(topic_name, 0, b"key", b"v" * 5000, 1000, None)])
    finally:
        writer.close()


def made_for_small_records(stack: LocalStack, topic: str) -> None:
    """Brokers hear of a new topic's configuration a little later than of the topic."""
    made(stack, topic, max_message_bytes="2000")
    refusals: list[KafkaError | None] = [None]
    producer = Producer(
        {"bootstrap.servers": stack.bootstrap_servers, "on_delivery": lambda error, _: refusals.append(error)}
    )
    deadline = time.monotonic() + 20
    while refusals[-1] is None:
        assert time.monotonic() < deadline
        producer.produce(topic, b"v" * 5000, partition=2)
        producer.flush(10)


def answers(*offsets: int | None) -> list[Message]:
    return [Message(topic="ticks", partition=0, offset=-1001 if each is None else each) for each in offsets]


@pytest.mark.parametrize(
    ("count", "offsets", "refused"),
    [
        (3, (7, 9), 0),
        (3, (7, 8), 1),
        (3, (7, 12), 0),  # others wrote in between
        (1, (7,), 0),
        (3, (None, 9), 0),  # a request was repeated, and its answer does not say
        (3, (7, None), 0),
    ],
)
def test_what_the_offsets_say_of_the_records_in_between(
    count: int, offsets: tuple[int | None, ...], refused: int
) -> None:
    deliveries = Deliveries()
    heard_by = deliveries.of_first_and_last(records_of("ticks", [0] * count))
    assert [place for place, each in enumerate(heard_by) if each] == sorted({0, count - 1})
    for message in answers(*offsets):
        deliveries(None, message)
    assert deliveries.refused == refused
