"""Where a time begins in a topic whose own beginning is gone: cut off by somebody, or removed by retention."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # public, yet not exported

from connector.core.admit import History
from connector.edges.kafka_follower import TAIL, Follower, TopicPartitions
from connector.edges.topic_offsets import Since, TopicOffsets
from connector.edges.topic_reader import TopicReader
from connector.local.stack import LocalStack

pytestmark = pytest.mark.stack

BEGIN_MS = time.time_ns() // 1_000_000 - 7_200_000
APART_MS = 1000
SEGMENT_BYTES = 1024 * 1024
SMALL, LARGE = 20, 400_000
"""Of values. Two large ones fill a segment."""


@dataclass
class Written:
    """One partition; its records are numbered, and a second apart."""

    servers: str
    transactional: bool
    topic: str
    count: int = 0
    offset: int = 0

    @property
    def properties(self) -> dict[str, str | int | float | bool]:
        return {"bootstrap.servers": self.servers}

    def make(self, **config: object) -> None:
        given = {"segment.bytes": str(SEGMENT_BYTES), **{k.replace("_", "."): str(v) for k, v in config.items()}}
        admin = AdminClient(self.properties)
        admin.create_topics([NewTopic(self.topic, 1, 1, config=given)])[self.topic].result(10)

    def write(self, count: int, size: int) -> None:
        """In one transaction, where there are any."""
        producer = Producer({**self.properties, **({"transactional.id": self.topic} if self.transactional else {})})
        if self.transactional:
            producer.init_transactions(20)
            producer.begin_transaction()
        for _ in range(count):
            value = str(self.count).encode().ljust(size)
            producer.produce(self.topic, value, b"BTCUSD", 0, timestamp=self.time_ms(self.count))
            self.count += 1
        if self.transactional:
            producer.commit_transaction(20)
        assert producer.flush(10) == 0
        self.offset += count + self.transactional
        offsets = TopicOffsets(self.properties, self.topic)
        wait_until(lambda: offsets.ends(1, committed_only=True) == {0: self.offset})

    def time_ms(self, number: int) -> int:
        return BEGIN_MS + number * APART_MS

    def cut(self, before: int) -> None:
        admin, gone = AdminClient(self.properties), TopicPartition(self.topic, 0, before)
        admin.delete_records([gone])[gone].result(10)

    def since(self, time_ms: int) -> Since:
        return TopicOffsets(self.properties, self.topic).since(1, time_ms)[0]

    def numbers(self, time_ms: int) -> list[int]:
        """Of the records that a reader has who starts there."""
        reader = TopicReader(self.properties, self.topic, lambda value: {"number": int(value)})
        found: list[int] = []
        try:
            reader.start(time_ms)
            while not reader.at_end:
                found += [row.value["number"] for row in reader.rows(0.05) if row.value is not None]
        finally:
            reader.close()
        return found

    def followed(self, window_ms: int) -> list[int]:
        """Of the records that a replica reads that needs so much of the past."""
        found: set[int] = set()  # it may begin anew, further back
        follower = Follower(
            self.properties,
            self.topic,
            History(APART_MS, window_ms),
            lambda value: found.add(int(value)),
            lambda _: None,
            ledger=TopicPartitions(f"{self.topic}.events", 0),
            hear=lambda _: None,
        )
        try:
            follower.open(1, None)
            return sorted(found)
        finally:
            follower.close()


@pytest.fixture(params=[False, True], ids=["plain", "transactional"])
def written(request: pytest.FixtureRequest, stack: LocalStack, topic_name: str) -> Written:
    found = Written(stack.bootstrap_servers, request.param, topic_name)
    found.make()
    return found


def test_a_time_before_a_cut_begins_at_the_cut(written: Written) -> None:
    """The broker says that there is no such record while it has the segments that were cut, though later ones do."""
    written.write(9, LARGE)
    written.write(TAIL + 500, SMALL)
    written.cut(7)  # the second record of the fourth segment
    left = list(range(7, written.count))
    for time_ms in (0, BEGIN_MS - 1, written.time_ms(0), written.time_ms(5), written.time_ms(7)):
        assert written.since(time_ms) == Since(7, 7)
    assert written.numbers(written.time_ms(5)) == left
    assert set(written.numbers(written.time_ms(1000))) >= set(range(1000, written.count))
    assert written.followed(window_ms=2 * written.count * APART_MS) == left


def test_a_time_that_nothing_is_as_new_as_begins_at_the_end(written: Written) -> None:
    written.write(9, LARGE)
    written.cut(4)
    assert written.since(time.time_ns() // 1_000_000 + 60_000) == Since(4, written.offset)


@pytest.mark.parametrize("was_written", [False, True])
def test_where_nothing_is_left(written: Written, was_written: bool) -> None:
    if was_written:
        written.write(9, LARGE)
        written.cut(written.offset)
    end = written.offset
    for time_ms in (0, written.time_ms(5), time.time_ns() // 1_000_000 + 60_000):
        assert written.since(time_ms) == Since(end, end)
    assert written.numbers(0) == written.followed(window_ms=600_000) == []
    first = written.count
    written.write(2, SMALL)
    assert written.numbers(0) == written.followed(window_ms=600_000) == [first, first + 1]


def test_a_follower_has_the_last_records_of_a_partition_however_old(written: Written) -> None:
    written.write(TAIL // 2, SMALL)
    written.cut(100)
    assert written.followed(window_ms=1) == list(range(100, TAIL // 2))


# Retention


@pytest.fixture(scope="module")
def tidy() -> Iterator[str]:
    """The address of a broker that looks every half second for what is too old, and every five minutes by default."""
    often = {"log.retention.check.interval.ms": "500", "log.initial.task.delay.ms": "500"}
    with LocalStack(registry=False, properties=often) as running:
        yield running.bootstrap_servers


@pytest.mark.parametrize("transactional", [False, True], ids=["plain", "transactional"])
def test_what_retention_leaves_is_read_from_its_beginning(tidy: str, transactional: bool) -> None:
    """It removes whole segments, and of times before them the broker says the truth."""
    written = Written(tidy, transactional, f"test-{uuid.uuid4().hex[:12]}")
    written.make(retention_ms=5_400_000)
    written.write(6, LARGE)
    written.count += 3600
    written.write(TAIL + 500, SMALL)
    wait_until(lambda: written.since(0).first == 4)  # the third segment has newer ones too
    left = [4, 5, *range(3606, written.count)]
    for time_ms in (0, written.time_ms(0), written.time_ms(4)):
        assert written.since(time_ms) == Since(4, 4)
    assert written.numbers(written.time_ms(0)) == left
    assert written.followed(window_ms=written.count * APART_MS) == left


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 15.0
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)
