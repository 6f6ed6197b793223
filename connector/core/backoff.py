"""How long to wait before trying again, and how often anything may be tried at all.

Both are plain arithmetic: time and chance come in as values.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


class Backoff:
    """Delays that double up to a cap, with jitter; only lasting progress starts them over.

    A handshake that succeeds is no progress: a server that accepts and closes at
    once would be asked again thousands of times a second. :meth:`progress` is to
    be called with every sign of real life (event time that advances), and the
    delays start over when such signs went on for *reset_after_s* since the last
    failure.

    *random* returns a number in [0, 1); half of each delay is left to it, so that
    replicas which failed together do not come back together.
    """

    def __init__(self, *, first_s: float, cap_s: float, reset_after_s: float, random: Callable[[], float]) -> None:
        self._first_s = first_s
        self._cap_s = cap_s
        self._reset_after_s = reset_after_s
        self._random = random
        self._ceiling_s = first_s
        self._progress_since_s: float | None = None

    def failed(self) -> float:
        """Count a failure. Returns the seconds to wait, at most the cap."""
        self._progress_since_s = None
        ceiling_s = self._ceiling_s
        self._ceiling_s = min(self._cap_s, ceiling_s * 2)
        return ceiling_s * (0.5 + 0.5 * self._random())

    def progress(self, now_s: float) -> None:
        """Count a sign of life at *now_s* (monotonic)."""
        if self._progress_since_s is None:
            self._progress_since_s = now_s
        elif now_s - self._progress_since_s >= self._reset_after_s:
            self._ceiling_s = self._first_s

    @property
    def is_fresh(self) -> bool:
        """Whether no failure is held against the other side."""
        return self._ceiling_s == self._first_s


class AttemptGate:
    """At most *attempts* within any *window_s*; and none at all while the other side has asked for quiet.

    One gate is shared by all that knock at one door. The caller asks
    :meth:`wait_s`, waits that long, asks again, and calls :meth:`take` when the
    answer is 0, without anything in between.
    """

    def __init__(self, *, attempts: int, window_s: float) -> None:
        self._attempts = attempts
        self._window_s = window_s
        self._taken_at_s: deque[float] = deque(maxlen=attempts)
        self._closed_until_s = float("-inf")

    def wait_s(self, now_s: float, *, leave: int = 0) -> float:
        """Seconds until an attempt may be made that leaves *leave* others free; 0 for now."""
        usable = max(1, self._attempts - leave)
        wait_s = self._closed_until_s - now_s
        if len(self._taken_at_s) >= usable:
            wait_s = max(wait_s, self._taken_at_s[-usable] + self._window_s - now_s)
        return max(0.0, wait_s)

    def take(self, now_s: float) -> None:
        """Count an attempt made at *now_s*."""
        self._taken_at_s.append(now_s)

    def close_until(self, until_s: float) -> None:
        """No attempt before *until_s*; a later end already set stands."""
        self._closed_until_s = max(self._closed_until_s, until_s)
