"""The clock of the fake exchange's feed: which event time is pushed when."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


def whole_cadence_ms(rate_hz: float) -> int:
    """The period of a rate; it must be whole milliseconds, so that event times can be aligned to it."""
    cadence_ms = round(1000 / rate_hz)
    if cadence_ms < 1 or abs(cadence_ms * rate_hz - 1000) > 1e-6:
        raise ValueError(f"1000 / rate_hz must be whole milliseconds, not {1000 / rate_hz}")
    return cadence_ms


class FeedClock:
    """Calls ``publish`` with each period's event time when it is due, or when :meth:`step` says so.

    Every period is pushed, in order, also where this process lags. ``start_time_ms`` is the first event time
    of a clock that is not the wall's; ``periods`` is how many are pushed in all.
    """

    def __init__(
        self, publish: Callable[[int], None], cadence_ms: int, start_time_ms: int | None, periods: int | None
    ) -> None:
        self._publish = publish
        self.cadence_ms = cadence_ms
        self._virtual = start_time_ms is not None
        self._periods_left = periods
        self._task: asyncio.Task[None] | None = None
        self.next_event_time_ms = self._next_aligned_ms() if start_time_ms is None else start_time_ms

    def start(self) -> None:
        """Go on from the next period of the clock; periods that passed meanwhile are nobody's."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def step(self, periods: int) -> int:
        """Push so many periods now; gives the event time of the last."""
        for _ in range(periods):
            self._publish(self.next_event_time_ms)
            self.next_event_time_ms += self.cadence_ms
        return self.next_event_time_ms - self.cadence_ms

    async def wait(self) -> None:
        """Wait until all periods were pushed, or the feed was stopped. Raises what a test's own function raised."""
        if self._task is not None:
            await asyncio.wait([self._task])
            if not self._task.cancelled():
                self._task.result()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        wait_s = 0.0
        if not self._virtual:
            self.next_event_time_ms = max(self.next_event_time_ms, self._next_aligned_ms())
            wait_s = self.next_event_time_ms / 1000 - time.time()
        due_s = loop.time() + wait_s
        while self._periods_left is None or self._periods_left > 0:
            await asyncio.sleep(max(0.0, due_s - loop.time()))
            self.step(1)
            due_s += self.cadence_ms / 1000
            if self._periods_left is not None:
                self._periods_left -= 1

    def _next_aligned_ms(self) -> int:
        return -(-time.time_ns() // (self.cadence_ms * 1_000_000)) * self.cadence_ms
