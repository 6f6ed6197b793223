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

FRAMES_TOGETHER = 32
SPARE_PLACES = 2 * FRAMES_TOGETHER
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

    def extend(self, event_times_ms: array[int], contents: array[int]) -> None:
        """As ``append`` for each, fewer than there are places."""
        at, end = self._at, self._at + len(event_times_ms)
        places = len(self._times)
        room = places - at
        self._times[at:end] = event_times_ms[:room]
        self._hashes[at:end] = contents[:room]
        if end >= places:
            end -= places
            self._times[:end] = event_times_ms[room:]
            self._hashes[:end] = contents[room:]
        self._at = end
        self.newest = event_times_ms[-1]

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


class Together:
    """Symbols that come in one frame, frame after frame, and their ticks that do not stand in the rings yet.

    To put sixty ticks into sixty rings costs five times as much as to put thirty-two frames there in one go, a ring
    at a time.
    """

    def __init__(self, symbols: Sequence[str], histories: list[SymbolHistory]) -> None:
        self.symbols = symbols
        self._histories = histories
        self._times = array("q")
        self._hashes = array("q")

    def newest_ms(self) -> tuple[int, int]:
        """Of the symbols' newest event times: the least, and the greatest."""
        if self._times:
            return self._times[-1], self._times[-1]
        newest = list(map(newest_of, self._histories))
        return min(newest), max(newest)

    def append(self, event_time_ms: int, contents: Iterable[int]) -> None:
        """One tick more for each symbol."""
        self._times.append(event_time_ms)
        self._hashes.extend(contents)
        if len(self._times) == FRAMES_TOGETHER:
            self.settle()

    def settle(self) -> None:
        """Put all into the rings."""
        if self._times:
            for place, known in enumerate(self._histories):
                known.extend(self._times, self._hashes[place :: len(self._histories)])
            self._times, self._hashes = array("q"), array("q")


class History:
    """All symbols, and the periods in which any of them had a tick.

    ``window_ms``: how far back it remembers. Content hashes come from :func:`content_hash`.
    """

    def __init__(self, cadence_ms: int, window_ms: int) -> None:
        self.cadence_ms = cadence_ms
        self.window_ms = window_ms
        self._capacity = self._places(window_ms)
        self._symbols: dict[str, SymbolHistory] = {}
        self._together = Together((), [])
        self.periods = array("q")
        self.newest_ms = -1

    def add(self, symbol: str, event_time_ms: int, content: int) -> None:
        """Append a tick of the topic, and its period; it must be newer than the symbol's newest."""
        self.symbol(symbol).append(event_time_ms, content)
        self.add_period(event_time_ms)

    @property
    def symbols(self) -> dict[str, SymbolHistory]:
        """By name. What is taken out of it is out of date as soon as a frame is appended."""
        self._together.settle()
        return self._symbols

    @property
    def has_siblings(self) -> bool:
        """Whether there are more symbols than one."""
        return len(self._symbols) > 1

    def symbol(self, symbol: str) -> SymbolHistory:
        """That of one symbol; made where there is none."""
        known = self.symbols.get(symbol)
        if known is None:
            known = self._symbols[symbol] = SymbolHistory(self._capacity)
        return known

    def append_frame(self, symbols: Sequence[str], event_time_ms: int, contents: Iterable[int]) -> bool:
        """Append a tick of this event time for each of these symbols; but only where it is the next one of each: newer,
        and without a period between. Elsewhere nothing is done: where one of them is new, or there twice, as well.
        """
        if symbols != self._together.symbols and not self._put_together(symbols):
            return False
        oldest_ms, newest_ms = self._together.newest_ms()
        period_before_ms = event_time_ms - event_time_ms % self.cadence_ms - self.cadence_ms
        if not period_before_ms <= oldest_ms <= newest_ms < event_time_ms:
            return False
        self._together.append(event_time_ms, contents)
        return True

    def _put_together(self, symbols: Sequence[str]) -> bool:
        """Frame after frame has the same symbols, so they are looked up once."""
        distinct = set(symbols)
        if len(distinct) < len(symbols) or not self._symbols.keys() >= distinct:
            return False
        self._together.settle()
        self._together = Together(symbols, [self._symbols[symbol] for symbol in symbols])
        return True

    def all_seen_since(self, event_time_ms: int) -> bool:
        """Whether each symbol had a tick then or later."""
        together = self._together
        if together.symbols and len(together.symbols) == len(self._symbols):
            return together.newest_ms()[0] >= event_time_ms
        return min(map(newest_of, self.symbols.values()), default=event_time_ms) >= event_time_ms

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
        self._together = Together((), [])
        self._symbols.clear()
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
        symbols = self.symbols
        self._together = Together((), [])
        for symbol in list(symbols):
            if symbol in passed:
                symbols[symbol].keep_to(passed[symbol])
            else:
                del symbols[symbol]
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
