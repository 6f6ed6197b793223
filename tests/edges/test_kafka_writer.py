"""Records by columns, and what the broker answers for them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, yet not marked as exported
    AdminClient,
    NewTopic,
)

from connector.core.errors import ConfigurationError, ConnectorError, RetryableError
from connector.edges import kafka_writer
from connector.edges.kafka_clients import Properties
from connector.edges.kafka_writer import (
    Acknowledged,
    PlainWriter,
    Records,
    TransactionalWriter,
    WriteError,
    Writer,
    produce_columns,
    serve,
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


class Refused:
    """A producer that has met an error that it does not survive."""

    def __init__(self, code: int) -> None:
        self._code = code

    def poll(self, timeout: float) -> int:
        raise KafkaException(KafkaError(self._code, "not any more", True))


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (KafkaError.CLUSTER_AUTHORIZATION_FAILED, ConfigurationError),
        (KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, RetryableError),
    ],
)
def test_a_client_that_takes_nothing_more_is_an_error_of_ours(code: int, expected: type[ConnectorError]) -> None:
    with pytest.raises(expected, match="not any more"):
        serve(cast(Producer, Refused(code)))


# What the broker answers


def made(stack: LocalStack, topic: str, **config: str) -> None:
    admin = AdminClient({"bootstrap.servers": stack.bootstrap_servers})
    admin.create_topics([NewTopic(topic, 3, 1, config=dotted(config))])[topic].result(10)


def dotted(names: Mapping[str, Any]) -> dict[str, Any]:
    return {name.replace("_", "."): value for name, value in names.items()}


def writer_of(stack: LocalStack, topic: str, *, transactional: bool, **more: int) -> Writer:
    properties: Properties = {"bootstrap.servers": stack.bootstrap_servers, **dotted(more)}
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
                1: Acknowledged(1, 1, 2 + marker),
            }
        }, "letters go first, and are not meant"
        assert writer.write([], []) == {}
    finally:
        writer.close()


@pytest.mark.parametrize("transactional", [True, False])
@pytest.mark.parametrize("refused", [0, 1, 2])
def test_a_record_that_the_broker_refuses_is_not_taken_for_written(
    stack: LocalStack, topic_name: str, refused: int, transactional: bool
) -> None:
    """Also where it is neither the first nor the last, and each record has a request of its own: librdkafka waits for
    answers to those behind it, for as long as it may."""
    made_for_small_records(stack, topic_name)
    writer = writer_of(stack, topic_name, transactional=transactional, batch_num_messages=1)
    writer.write([records_of(topic_name, [0])], [])  # from a producer's first request on brokers know what is missing
    sizes = [10, 10, 10]
    sizes[refused] = 5000
    records = Records(topic_name, [0] * 3, [b"key"] * 3, [b"v" * size for size in sizes], [1000] * 3)
    started = time.monotonic()
    try:
        with pytest.raises(WriteError, match=rf"{topic_name} \[0\].*Message size too large"):
            writer.write([records], [])
        assert time.monotonic() - started < 10
    finally:
        writer.close()
    assert held(stack, topic_name) == 1 + (0 if transactional else refused), "nothing stands behind it"


def held(stack: LocalStack, topic: str, partition: int = 0) -> int:
    """How many records can be read in a partition."""
    consumer = Consumer(
        {"bootstrap.servers": stack.bootstrap_servers, "group.id": "unused", "enable.partition.eof": True}
    )
    consumer.assign([TopicPartition(topic, partition, 0)])
    found = 0
    while (message := consumer.poll(10)) is not None and message.error() is None:
        found += 1
    assert message is not None
    consumer.close()
    return found


class Interrupted(list[bytes]):
    """Something happens before the last of these is handed over, when the others had time to be sent."""

    def __init__(self, values: list[bytes], happens: Callable[[], object]) -> None:
        super().__init__(values)
        self._happens = happens

    def __iter__(self) -> Iterator[bytes]:
        yield from self[:-1]
        time.sleep(0.5)
        self._happens()
        yield self[-1]


def test_a_refused_record_is_missed_although_anothers_stands_in_its_place(stack: LocalStack, topic_name: str) -> None:
    made_for_small_records(stack, topic_name)
    another = Producer({"bootstrap.servers": stack.bootstrap_servers})

    def another_writes() -> None:
        another.produce(topic_name, b"value", partition=0)
        assert another.flush(10) == 0

    values = Interrupted([b"v" * 10, b"v" * 5000, b"v" * 10], another_writes)
    writer = writer_of(stack, topic_name, transactional=False, batch_num_messages=1, linger_ms=0)
    try:
        with pytest.raises(WriteError, match="too large"):
            writer.write([Records(topic_name, [0] * 3, [b"key"] * 3, values, [1000] * 3)], [])
    finally:
        writer.close()


def test_what_took_longer_than_it_may_is_not_taken_for_written(
    stack: LocalStack, topic_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the process is stopped for longer than librdkafka keeps a record, between two records, the first and the
    last are acknowledged, and one between them, which had not been sent, is not written."""
    monkeypatch.setattr(kafka_writer, "COMMIT_TIMEOUT_S", 0.4)
    made(stack, topic_name)
    values = Interrupted([b"v"] * 3, lambda: None)
    writer = writer_of(stack, topic_name, transactional=False)
    try:
        with pytest.raises(WriteError, match="in time"):
            writer.write([Records(topic_name, [0] * 3, [b"key"] * 3, values, [1000] * 3)], [])
    finally:
        writer.close()


def test_no_record_is_written_where_a_letter_is_refused(stack: LocalStack, topic_name: str) -> None:
    made_for_small_records(stack, topic_name)
    writer = PlainWriter({"bootstrap.servers": stack.bootstrap_servers}, lambda _: None)
    try:
        with pytest.raises(WriteError, match="too large"):
            writer.write([records_of(topic_name, [0])], [(topic_name, 1, b"key", b"v" * 5000, 1000, None)])
    finally:
        writer.close()
    assert held(stack, topic_name) == 0, "a gap that this record ends would not be found again"


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
