"""Time as the parts on the event loop see it; a test passes its own."""

from __future__ import annotations

import asyncio
import time


class Clock:
    """The real time."""

    def monotonic(self) -> float:
        """Seconds that only go forward."""
        return time.monotonic()

    def time_ns(self) -> int:
        """Nanoseconds since the Unix epoch."""
        return time.time_ns()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


async def first_of(clock: Clock, timeout_s: float | None, *events: asyncio.Event) -> None:
    """Return when one of *events* is set, or after *timeout_s* at the latest."""
    if any(event.is_set() for event in events):
        return
    waiting: list[asyncio.Task[object]] = [asyncio.create_task(event.wait()) for event in events]
    if timeout_s is not None:
        waiting.append(asyncio.create_task(clock.sleep(max(0.0, timeout_s))))
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
