"""Wall and CPU time between two moments of this process."""

from __future__ import annotations

import time


class Stopwatch:
    """CPU time is that of all threads, the kernel's work for them included."""

    def __init__(self) -> None:
        self._wall_s = time.monotonic()
        self._cpu_s = time.process_time()

    def wall_s(self) -> float:
        return time.monotonic() - self._wall_s

    def cpu_s(self) -> float:
        return time.process_time() - self._cpu_s
