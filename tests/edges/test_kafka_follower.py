"""Reading to the end, however long that takes; and what a broker's acknowledgement is taken for."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, Message, TopicPartition

from connector.core.admit import History
from connector.core.errors import RetryableError
from connector.edges import kafka_follower
from connector.edges.kafka_follower import Follower, TopicPartitions
from connector.edges.kafka_writer import Acknowledged


class Brokerless(Follower):
    """Follows a topic that nobody serves."""

    def __init__(self) -> None:
        super().__init__(
            {},
            "ticks",
            History(1000, 600_000),
            lambda _: None,
            lambda _: None,
            ledger=TopicPartitions("ticks.events", 1),
            hear=lambda _: None,
        )


class SlowFollower(Brokerless):
    """Each poll takes a second, and some get one record further."""

    def __init__(self, clock: Clock, *, stuck_at: int) -> None:
        super().__init__()
        self._clock = clock
        self._stuck_at = stuck_at
        self._at = 0

    def poll(self, timeout_s: float) -> bool:
        self._clock.now_s += 1.0
        self._at = min(self._at + 1, self._stuck_at)
        return False

    def _open_consumer(self):  # type: ignore[no-untyped-def]
        return SimpleNamespace(position=lambda _: [SimpleNamespace(partition=0, offset=self._at)])


class Clock:
    now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(kafka_follower, "time", clock)
    return clock


def test_a_long_topic_is_read_to_its_end_as_long_as_it_gets_on(clock: Clock) -> None:
    follower = SlowFollower(clock, stuck_at=1000)
    follower.read_to({0: 1000}, timeout_s=5.0)
    assert clock.now_s == 1000


def test_where_it_gets_no_further_it_says_how_far_it_came(clock: Clock) -> None:
    follower = SlowFollower(clock, stuck_at=3)
    with pytest.raises(RetryableError, match=r"no further for 5 s .*\{0: \(3, 1000\)\}"):
        follower.read_to({0: 1000}, timeout_s=5.0)
    assert clock.now_s < 12


# What this process wrote itself


class Consumer:
    """Says how far it has read, and notes what it is to read on from; ``comes`` is given out at once."""

    def __init__(self) -> None:
        self.at: dict[int, int] = {}
        self.reads: dict[int, int | None] = {0: None, 1: None}
        self.comes: list[Any] = []

    def position(self, partitions: Sequence[TopicPartition]) -> list[TopicPartition]:
        return [TopicPartition("ticks", each.partition, self.at[each.partition]) for each in partitions]

    def incremental_assign(self, partitions: Sequence[TopicPartition]) -> None:
        self.reads |= {each.partition: each.offset for each in partitions}

    def incremental_unassign(self, partitions: Sequence[TopicPartition]) -> None:
        for each in partitions:
            del self.reads[each.partition]

    def consume(self, count: int, timeout: float) -> list[Any]:
        came, self.comes = self.comes, []
        return came


class Follows(Brokerless):
    """Has read partition 0 to 100 and partition 1 to 50."""

    def __init__(self) -> None:
        super().__init__()
        self.consumer = Consumer()
        self._consumer: Any = self.consumer
        self.partitions = 2
        self.read(100, 50)

    def read(self, *positions: int) -> None:
        self.consumer.at = dict(enumerate(positions))

    def wrote(self, where: dict[int, tuple[int, int]], *, time_ms: int, more: bool = True, markers: int = 0) -> bool:
        """A record of A for each offset; whether the acknowledgement was taken for them."""
        count = sum(last - first + 1 for first, last in where.values())
        known = {each: Acknowledged(first, last, last + 1 + markers) for each, (first, last) in where.items()}
        taken = self.acknowledged(["A"] * count, [time_ms] * count, known, more=more)
        assert (self.passed.get("A") == time_ms) == taken
        return taken


def end_of(partition: int, offset: int) -> Message:
    return Message(topic="ticks", partition=partition, offset=offset, error=KafkaError(KafkaError._PARTITION_EOF))


def test_a_backlog_of_our_own_is_not_read_back() -> None:
    follower = Follows()
    assert follower.wrote({0: (100, 109), 1: (50, 54)}, time_ms=1)
    assert follower.consumer.reads == {}
    follower.poll(0)
    assert follower.wrote({0: (110, 119), 1: (55, 59)}, time_ms=2)
    follower.poll(0)
    assert follower.consumer.reads == {}
    assert (follower.passed, follower.newest_ms) == ({"A": 2}, 2)


def test_where_a_batch_leaves_nothing_behind_others_are_heard_again() -> None:
    follower = Follows()
    assert follower.wrote({0: (100, 109), 1: (50, 54)}, time_ms=1)
    follower.poll(0)
    assert follower.wrote({0: (110, 119), 1: (55, 59)}, time_ms=2, more=False)
    follower.poll(0)
    follower.read_all()
    assert follower.consumer.reads == {0: 120, 1: 60}
    follower.read(120, 60)
    assert not follower.wrote({0: (120, 120)}, time_ms=3, more=False), "a live feed's frame is read"


@pytest.mark.parametrize(
    "where",
    [
        {0: (101, 110), 1: (50, 54)},  # somebody wrote before them
        {0: (100, 109), 1: (51, 55)},
        {0: (100, 110), 1: (50, 54)},  # or between them
        {0: (99, 108), 1: (50, 54)},
        {0: (-1, 109), 1: (50, 54)},  # the broker did not say
        {0: (-1, -1), 1: (50, 54)},
        {0: (100, -1), 1: (50, 164)},
    ],
)
def test_what_others_may_have_written_is_read(where: dict[int, tuple[int, int]]) -> None:
    follower = Follows()
    known = {each: Acknowledged(first, last, last + 1) for each, (first, last) in where.items()}
    assert not follower.acknowledged(["A"] * 15, [1] * 15, known, more=True)
    assert follower.passed == {}
    assert follower.consumer.reads == {0: None, 1: None}


def test_records_between_ours_are_read_from_where_the_backlog_was_known_to_be_ours() -> None:
    follower = Follows()
    assert follower.wrote({0: (100, 109), 1: (50, 54)}, time_ms=1)
    follower.poll(0)
    known = {0: Acknowledged(110, 120, 121), 1: Acknowledged(55, 59, 60)}  # 16 offsets
    assert not follower.acknowledged(["A"] * 15, [2] * 15, known, more=True)
    assert follower.passed == {"A": 1}
    assert follower.consumer.reads == {0: 110, 1: 55}


def test_a_partition_without_a_record_of_ours_is_read() -> None:
    follower = Follows()
    assert follower.wrote({0: (100, 109)}, time_ms=1)
    assert follower.consumer.reads == {1: None}
    follower.poll(0)
    assert follower.wrote({1: (50, 59)}, time_ms=2)
    assert follower.consumer.reads == {0: 110}


def test_a_batch_without_records_says_nothing() -> None:
    follower = Follows()
    assert not follower.acknowledged([], [], {}, more=True)


def test_one_that_lags_behind_its_own_records_reads_them_first() -> None:
    follower = Follows()
    assert not follower.wrote({0: (100, 109), 1: (50, 54)}, time_ms=1, more=False)
    assert not follower.wrote({0: (110, 119), 1: (55, 59)}, time_ms=2)
    follower.read(120, 59)
    assert not follower.wrote({0: (120, 129), 1: (60, 64)}, time_ms=3)
    follower.read(130, 65)
    assert follower.wrote({0: (130, 139), 1: (65, 69)}, time_ms=4)


def test_a_commit_marker_takes_an_offset_and_is_nobodys_record() -> None:
    follower = Follows()
    assert follower.wrote({0: (100, 109), 1: (50, 54)}, time_ms=1, markers=1)
    assert follower.wrote({0: (111, 119), 1: (56, 59)}, time_ms=2, markers=1)
    follower.poll(0)
    follower.read_all()
    assert follower.consumer.reads == {0: 120, 1: 60}, "not beyond the end, where the marker is yet to be written"
    follower.consumer.comes = [end_of(0, 121), end_of(1, 62)]
    follower.poll(0)
    assert not follower.wrote({0: (121, 129), 1: (61, 64)}, time_ms=3, markers=1), "a record was read there"
    follower.read(130, 65)
    assert follower.wrote({0: (131, 139), 1: (66, 69)}, time_ms=4, markers=1), "read up to the markers"


def test_one_record_of_another_is_not_taken_for_a_marker() -> None:
    follower = Follows()
    assert not follower.wrote({0: (101, 109), 1: (51, 54)}, time_ms=1, markers=1)
    without = Follows()
    assert without.wrote({0: (100, 109), 1: (50, 54)}, time_ms=1)
    assert not without.wrote({0: (111, 119), 1: (56, 59)}, time_ms=2)


def test_an_end_that_was_met_before_does_not_take_back_what_is_known() -> None:
    follower = Follows()
    assert follower.wrote({0: (100, 109), 1: (50, 54)}, time_ms=1)
    follower.consumer.comes = [end_of(0, 100), end_of(1, 50)]
    follower.poll(0)
    assert follower.wrote({0: (110, 119), 1: (55, 59)}, time_ms=2)


def test_whoever_reads_to_the_end_reads_what_was_left_out() -> None:
    follower = Follows()
    assert follower.wrote({0: (100, 109), 1: (50, 54)}, time_ms=1)
    follower.read(130, 70)
    follower.read_to({0: 130, 1: 70}, timeout_s=1.0)
    assert follower.consumer.reads == {0: 110, 1: 55}
