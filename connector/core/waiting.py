"""The frames that a replica accepted and the topic has not passed yet, oldest first."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

from connector.core.pipeline import Oldest, Passage


class WaitingFrames:
    """Each by its place in the journal and what must stand in the topic before it may leave it.

    One thread changes it; :attr:`hold_ticks` may be asked by any.
    """

    def __init__(self) -> None:
        self._frames: deque[tuple[int, Passage]] = deque()

    def __len__(self) -> int:
        return len(self._frames)

    def extend(self, frames: Iterable[tuple[int, Passage]]) -> None:
        self._frames.extend(frames)

    def clear(self) -> None:
        self._frames.clear()

    @property
    def hold_ticks(self) -> bool:
        """Whether any of them has a tick that the topic was not seen to pass."""
        return any(passage.marks for _, passage in tuple(self._frames))

    def take_passed(
        self, newest_by_symbol: Mapping[str, int], *, follows: bool, hopeless_ms: int = -1
    ) -> Iterator[tuple[int, Passage]]:
        """Those at the front that the topic has passed; a frame without a tick goes along with the next that has one.

        ``follows``: for a replica that does not write. Nothing but frames without a tick, and the writer has not
        written what they come to: it writes that with its next tick, so they stay. ``hopeless_ms``: those with ticks
        of before are not waited for any longer: they have a symbol that the writer never had, or had no more.
        """
        frames, oldest = self._frames, Oldest(newest_by_symbol)
        while frames and (frames[0][1].passed(oldest) or (follows and 0 <= frames[0][1].newest_ms < hopeless_ms)):
            if not frames[0][1].marks and follows and not self.hold_ticks:
                return
            yield frames.popleft()

    def have_next(self, newest_ms: int, cadence_ms: int) -> bool:
        """Whether the oldest of their ticks beyond the topic's newest (-1: none) are of the period that follows. Rows
        from REST are no ticks."""
        times_ms = [passage.event_time_ms for _, passage in self._frames if passage.marks and passage.exact]
        beyond = [each // cadence_ms for each in times_ms if each // cadence_ms > newest_ms // cadence_ms]
        return bool(times_ms) and (newest_ms < 0 or min(beyond, default=0) - newest_ms // cadence_ms <= 1)

    def continue_topic(self, newest_ms: int, cadence_ms: int, *, own_since_seq: int) -> bool:
        """Whether they go on from the topic's newest tick (-1: none) without a period missing, up to this process's
        own: what an earlier life left in the journal, up to ``own_since_seq``, ends where that life did."""
        times_ms = [passage.newest_ms for _, passage in self._frames if passage.marks]
        if not times_ms or self._frames[-1][0] <= own_since_seq:
            return False
        periods = [each // cadence_ms for each in ([newest_ms] if newest_ms >= 0 else []) + times_ms]
        return all(later - earlier <= 1 for earlier, later in pairwise(periods))
