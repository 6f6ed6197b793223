"""Log lines on their way to standard error, on a thread of their own: a pipe that nobody reads stops nothing else."""

from __future__ import annotations

import os
import select
import sys
import threading
from collections import deque
from contextlib import suppress

MOST_WAITING = 2_000
"""Lines. Behind a reader that stands still, what comes beyond is lost and counted."""

_IDLE_S = 10.0


class LineWriter:
    """Takes lines from any thread, returns at once, and writes them in order.

    A logger as structlog wants one: a method for each level.
    """

    def __init__(self, descriptor: int | None) -> None:
        """None: nobody reads, and the lines go nowhere."""
        self._descriptor = descriptor
        self._changed = threading.Condition()
        self._waiting: deque[str] = deque()
        self._is_writing = False
        self._lost = 0
        self._thread: threading.Thread | None = None

    def msg(self, line: str) -> None:
        """One line, without its end."""
        if self._descriptor is None:
            return
        with self._changed:
            if len(self._waiting) >= MOST_WAITING:
                self._lost += 1
                return
            self._waiting.append(line)
            self._changed.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()

    debug = info = warning = error = msg

    def take_lost(self) -> int:
        """How many lines were lost since the last call; 0 as long as they still pile up."""
        with self._changed:
            if len(self._waiting) > MOST_WAITING // 2:
                return 0
            lost, self._lost = self._lost, 0
            return lost

    def flush(self, timeout_s: float) -> bool:
        """Wait until all is written; false where that takes longer."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._is_writing, timeout_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._is_writing = False
                self._changed.notify_all()
                if not self._changed.wait_for(lambda: self._waiting, _IDLE_S):
                    self._thread = None  # the next line starts another one
                    return
                line = self._waiting.popleft()
                self._is_writing = True
            # A reader of our standard error that is gone must not stop the feed; nobody is left to tell.
            with suppress(OSError):
                _write(self._descriptor, f"{line}\n".encode("utf-8", "backslashreplace"))


def standard_error() -> int | None:
    """Its descriptor; None where the process was started without. (That number may be any other file's then.)"""
    return None if sys.__stderr__ is None else sys.__stderr__.fileno()


def _write(descriptor: int | None, data: bytes) -> None:
    while data and descriptor is not None:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:  # whoever shares the terminal may have made it so
            select.select([], [descriptor], [])
