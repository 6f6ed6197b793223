"""Reading to the end, however long that takes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from connector.core.admit import History
from connector.core.errors import RetryableError
from connector.edges import kafka_follower
from connector.edges.kafka_follower import Follower, TopicPartitions


class SlowFollower(Follower):
    """Each poll takes a second, and some get one record further."""

    def __init__(self, clock: Clock, *, stuck_at: int) -> None:
        super().__init__(
            {},
            "ticks",
            History(1000, 600_000),
            lambda _: None,
            lambda _: None,
            ledger=TopicPartitions("ticks.events", 1),
            hear=lambda _: None,
        )
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
