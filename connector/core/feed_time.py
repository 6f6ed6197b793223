"""Which event time the feed has reached, as a frame says it."""

from __future__ import annotations

from collections import Counter

from connector.core.values import Ticks

_SLACK_PERIODS = 2


def common_event_time(event_times_ms: list[int]) -> int:
    """The event time that most ticks of a frame carry: the exchange sends one, a single other is a fault of its."""
    if event_times_ms.count(event_times_ms[0]) == len(event_times_ms):
        return event_times_ms[0]
    return Counter(event_times_ms).most_common(1)[0][0]


class FeedTime:
    """The event time that a frame stands for.

    Where symbols are chosen, each has frames of its own, and a tick no neighbours to be measured by. It is measured by
    the time that has passed since the frame before: a tick further ahead than that is a fault, and the feed is where
    it was, unless another symbol's tick says the same. How far our clock is from the exchange's does not matter.
    """

    def __init__(self, cadence_ms: int) -> None:
        self._slack_ms = _SLACK_PERIODS * cadence_ms
        self._reached: tuple[int, int] | None = None
        self._ahead = ""

    def forget(self) -> None:
        """Begin anew: the next frame is believed."""
        self._reached = None
        self._ahead = ""

    def of(self, ticks: Ticks, received_at_ns: int, *, has_siblings: bool) -> int:
        """Take in a frame's ticks, at least one; ``has_siblings``: the stream has other symbols than one."""
        event_time_ms = common_event_time(ticks.event_times_ms)
        if self._reached is not None:
            reached_ms, reached_at_ns = self._reached
            if event_time_ms <= reached_ms:
                return event_time_ms
            passed_ms = (received_at_ns - reached_at_ns) // 1_000_000
            is_ahead = event_time_ms - reached_ms > max(0, passed_ms) + self._slack_ms
            if is_ahead and has_siblings and len(ticks) == 1 and self._ahead in ("", ticks.symbols[0]):
                self._ahead = ticks.symbols[0]
                return reached_ms
        self._reached, self._ahead = (event_time_ms, received_at_ns), ""
        return event_time_ms
