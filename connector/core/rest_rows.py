"""Rows from REST, on their way into the topic: they wait for whoever may have ticks in their place.

In the topic a symbol's event times only rise, so a row that is written shuts out every tick from before it. Another
replica may have such ticks, and needs the time to take over with them. Or this one's own sockets bring them late:
after a stall on the way, or after this process was stopped, what was under way arrives behind rows that were asked for
meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from connector.core.values import Frame, Normalized


class Rows(NamedTuple):
    """A frame of them."""

    newest_ms: int
    """The newest event time among them."""
    frame: Frame
    normalized: Normalized


class RestRows:
    """The rows that wait, in the order they came in."""

    def __init__(self, cadence_ms: int, wait_s: float) -> None:
        """``wait_s``: for so long after it was received a row waits at most."""
        self._cadence_ms = cadence_ms
        self._wait_ns = int(wait_s * 1e9)
        self._rows: deque[Rows] = deque()

    def __len__(self) -> int:
        return len(self._rows)

    def wait(self, rows: Rows) -> None:
        self._rows.append(rows)

    def before(self, event_time_ms: int) -> Iterator[Rows]:
        """Those that a tick of this event time lets go: nobody has come for their periods, and it ends them.

        Rows of its own period, or of later ones, wait on: the sockets may bring these too.
        """
        while self._rows and self._rows[0].newest_ms // self._cadence_ms < event_time_ms // self._cadence_ms:
            yield self._rows.popleft()

    def ripe(self, now_ns: int) -> Iterator[Rows]:
        """Those that have waited for long enough."""
        while self._rows and self._rows[0].frame.received_at_ns <= now_ns - self._wait_ns:
            yield self._rows.popleft()

    def clear(self) -> None:
        self._rows.clear()
