"""What time a frame stands for."""

from __future__ import annotations

from connector.core.feed_time import FeedTime, common_event_time
from connector.core.values import Ticks

START_MS = 1_791_285_204_000


def tick(symbol: str, second: float) -> Ticks:
    return Ticks([symbol], [START_MS + round(second * 1000)], [b""], range(1))


def reached(
    feed_time: FeedTime, symbol: str, second: float, at: float | None = None, *, siblings: bool = True
) -> float:
    received_at_ns = round((START_MS / 1000 + (second if at is None else at)) * 1e9)
    return (feed_time.of(tick(symbol, second), received_at_ns, has_siblings=siblings) - START_MS) / 1000


def test_most_of_a_frame_say_its_time() -> None:
    assert common_event_time([7, 7, 7]) == 7
    assert common_event_time([9, 7, 7]) == 7


def test_one_tick_ahead_of_what_has_passed_does_not_move_the_feed() -> None:
    feed_time = FeedTime(1000)
    assert reached(feed_time, "A", 0) == 0
    assert reached(feed_time, "B", 20, at=1) == 0
    assert reached(feed_time, "B", 40, at=1.1) == 0
    assert reached(feed_time, "A", 1, at=1.2) == 1
    assert reached(feed_time, "B", 21, at=21) == 21


def test_a_pause_of_the_exchange_or_of_this_process_is_no_fault() -> None:
    feed_time = FeedTime(1000)
    assert reached(feed_time, "A", 0) == 0
    assert reached(feed_time, "A", 30) == 30
    for second in range(31, 60):
        assert reached(feed_time, "A", second, at=90) == second, "all at once, after a pause of ours"


def test_what_two_symbols_say_is_so() -> None:
    feed_time = FeedTime(1000)
    assert reached(feed_time, "A", 0) == 0
    assert reached(feed_time, "B", 20, at=1) == 0
    assert reached(feed_time, "A", 20, at=1) == 20
    assert reached(feed_time, "B", 21, at=2) == 21


def test_a_single_symbol_is_the_feed() -> None:
    feed_time = FeedTime(1000)
    assert reached(feed_time, "A", 0, siblings=False) == 0
    assert reached(feed_time, "A", 20, at=1, siblings=False) == 20


def test_the_first_frame_is_believed_again_after_forgetting() -> None:
    feed_time = FeedTime(1000)
    assert reached(feed_time, "A", 0) == 0
    feed_time.forget()
    assert reached(feed_time, "A", 20, at=1) == 20


def test_our_clock_may_be_off_or_be_set_back() -> None:
    feed_time = FeedTime(1000)
    assert reached(feed_time, "A", 0, at=-10) == 0
    assert reached(feed_time, "A", 1, at=-9) == 1
    assert reached(feed_time, "B", 2, at=-3600) == 2
    assert reached(feed_time, "B", 3, at=-3599) == 3
