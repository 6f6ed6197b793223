"""What the topic holds, and whether a tick may join it.

Under ``read_committed`` the topic has each (symbol, event time) at most once
and, for a symbol, event times only ever rise. :class:`History` is the memory
that keeps it so: for each symbol the event times written lately, in order,
each with a hash of its content. It is filled from the topic itself and from
nothing else that outlives the process, so whoever reads the topic to its end
knows as much as the writer before.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum, auto
from operator import attrgetter

SPARE_PLACES = 64
MOST_PLACES = 24 * 3600
"""Of a symbol, beyond the window's; 1.4 MB. What is older than they reach back counts as late."""

GONE_AFTER_MS = 60_000
"""A symbol without a tick for so long, while others have them, is gone rather than late."""

CONTENT_UNKNOWN = -1
"""Hash of a record whose content cannot be compared: it was written under another schema. No ``hash`` is ever -1."""

content_hash: Callable[[bytes], int] = hash
"""Hash of a tick's content, for comparison within this process only."""


class Admission(Enum):
    NEW = auto()
    DUPLICATE = auto()
    CONFLICT = auto()
    LATE = auto()


class SymbolHistory:
    """The latest event times of one symbol and their content hashes: a ring, 16 bytes a tick.

    All of it is allocated at once, so that memory does not grow with the hours. Each of its two stretches, before
    and behind the place to write next, rises; free places are -1.
    """

    __slots__ = ("_at", "_hashes", "_times", "held_through", "newest")

    def __init__(self, capacity: int) -> None:
        self._times = array("q", [-1]) * capacity
        self._hashes = array("q", [0]) * capacity
        self._at = 0
        self.newest = -1
        self.held_through = -1
        """Whatever is not newer than this is held, content unknown: of a sink that says no more than its newest."""

    def append(self, event_time_ms: int, content: int) -> None:
        at = self._at
        self._times[at] = self.newest = event_time_ms
        self._hashes[at] = content
        self._at = at + 1 if at + 1 < len(self._times) else 0

    def admission(self, event_time_ms: int, content: int) -> Admission:
        if event_time_ms > self.newest:
            return Admission.NEW
        if event_time_ms <= self.held_through:
            return Admission.DUPLICATE
        for first, end in ((0, self._at), (self._at, len(self._times))):
            place = bisect_left(self._times, event_time_ms, first, end)
            if place < end and self._times[place] == event_time_ms:
                known = self._hashes[place]
                same = known in (content, CONTENT_UNKNOWN) or content == CONTENT_UNKNOWN
                return Admission.DUPLICATE if same else Admission.CONFLICT
        return Admission.LATE

    def keep_to(self, event_time_ms: int) -> None:
        """Forget what is newer."""
        while self._times[self._at - 1] > event_time_ms:
            self._at = (self._at - 1) % len(self._times)
            self._times[self._at] = -1
        self.newest = event_time_ms


newest_of: Callable[[SymbolHistory], int] = attrgetter("newest")


def append_all(histories: Iterable[SymbolHistory], event_time_ms: int, contents: Iterable[int]) -> None:
    """One tick more for each, of the same event time. As ``append`` does, without a call for each."""
    for each, content in zip(histories, contents, strict=True):
        at = each._at
        each._times[at] = each.newest = event_time_ms
        each._hashes[at] = content
        each._at = at + 1 if at + 1 < len(each._times) else 0


class History:
    """All symbols, and the periods in which any of them had a tick.

    ``window_ms``: how far back it remembers. Content hashes come from :func:`content_hash`.
    """

    def __init__(self, cadence_ms: int, window_ms: int) -> None:
        self.cadence_ms = cadence_ms
        self.window_ms = window_ms
        self._capacity = self._places(window_ms)
        self.symbols: dict[str, SymbolHistory] = {}
        self._together: tuple[Sequence[str], list[SymbolHistory]] = ((), [])
        self.periods = array("q")
        self.newest_ms = -1

    def add(self, symbol: str, event_time_ms: int, content: int) -> None:
        """Append a tick of the topic, and its period; it must be newer than the symbol's newest."""
        self.symbol(symbol).append(event_time_ms, content)
        self.add_period(event_time_ms)

    def symbol(self, symbol: str) -> SymbolHistory:
        """That of one symbol; made where there is none."""
        known = self.symbols.get(symbol)
        if known is None:
            known = self.symbols[symbol] = SymbolHistory(self._capacity)
        return known

    def known(self, symbols: Sequence[str]) -> list[SymbolHistory] | None:
        """Those of a frame's symbols; None where one of them is new, or there twice.

        Frame after frame has the same ones, so they are looked up once.
        """
        asked, found = self._together
        if symbols != asked:
            if not self.symbols.keys() >= (distinct := set(symbols)) or len(distinct) < len(symbols):
                return None
            found = [self.symbols[symbol] for symbol in symbols]
            self._together = (symbols, found)
        return found

    def add_period(self, event_time_ms: int) -> None:
        """Some symbol had a tick then."""
        period = event_time_ms // self.cadence_ms
        periods = self.periods
        if not periods or period > periods[-1]:
            periods.append(period)
        else:
            at = bisect_left(periods, period)
            if periods[at] != period:
                periods.insert(at, period)
        self.newest_ms = max(self.newest_ms, event_time_ms)

    def clear(self, places: int = 0) -> None:
        """Forget all, to be filled from the topic; ``places``: so many more ticks of a symbol than the window has are
        to be remembered, within bounds: a frame of another year must not take gigabytes.
        """
        self._capacity = self._places(self.window_ms) + min(places, MOST_PLACES)
        self.symbols.clear()
        self._together = ((), [])
        del self.periods[:]
        self.newest_ms = -1

    def _places(self, span_ms: int) -> int:
        return span_ms // self.cadence_ms + SPARE_PLACES

    def forget_old_periods(self) -> None:
        """Drop the periods that left the window; the symbols' rings drop by themselves."""
        oldest = (self.newest_ms - self._capacity * self.cadence_ms) // self.cadence_ms
        del self.periods[: bisect_left(self.periods, oldest)]

    def roll_back(self, passed: Mapping[str, int]) -> None:
        """Forget every tick newer than what the topic was seen to hold (``passed``: newest event time by symbol)."""
        self._together = ((), [])
        for symbol in list(self.symbols):
            if symbol in passed:
                self.symbols[symbol].keep_to(passed[symbol])
            else:
                del self.symbols[symbol]
        self.newest_ms = max(passed.values(), default=-1)
        del self.periods[bisect_left(self.periods, self.newest_ms // self.cadence_ms + 1) :]

    def present(self, first_period: int, last_period: int) -> Iterator[int]:
        """The periods from first to last, both included, in which any symbol had a tick."""
        at = bisect_left(self.periods, first_period)
        while at < len(self.periods) and self.periods[at] <= last_period:
            yield self.periods[at]
            at += 1

    def went_on_without(self, newest_ms: int, now_ms: int) -> bool:
        """Whether a symbol whose newest tick is of ``newest_ms`` is gone: others have had ticks for long enough since.

        A silence of the whole feed, however long, does not count.
        """
        if now_ms - newest_ms <= GONE_AFTER_MS:
            return False
        periods = len(self.periods) - bisect_right(self.periods, newest_ms // self.cadence_ms)
        return periods * self.cadence_ms >= GONE_AFTER_MS
