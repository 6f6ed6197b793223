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
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from enum import Enum, auto

CONTENT_UNKNOWN = 0
"""Hash of a record whose content cannot be compared: it was written under another schema."""


def content_hash(content: bytes) -> int:
    """Hash of a tick's content, for comparison within this process only."""
    return hash(content) or 1


class Admission(Enum):
    NEW = auto()
    DUPLICATE = auto()
    CONFLICT = auto()
    LATE = auto()


class SymbolHistory:
    """Event times of one symbol, rising, and their content hashes. 16 bytes a tick."""

    __slots__ = ("hashes", "newest", "times")

    def __init__(self) -> None:
        self.times = array("q")
        self.hashes = array("q")
        self.newest = -1

    def append(self, event_time_ms: int, content: int) -> None:
        self.times.append(event_time_ms)
        self.hashes.append(content)
        self.newest = event_time_ms

    def admission(self, event_time_ms: int, content: int) -> Admission:
        if event_time_ms > self.newest:
            return Admission.NEW
        at = bisect_left(self.times, event_time_ms)
        if at == len(self.times) or self.times[at] != event_time_ms:
            return Admission.LATE
        known = self.hashes[at]
        same = known in (content, CONTENT_UNKNOWN) or content == CONTENT_UNKNOWN
        return Admission.DUPLICATE if same else Admission.CONFLICT

    def keep_from(self, event_time_ms: int) -> None:
        cut = min(bisect_left(self.times, event_time_ms), len(self.times) - 1)
        if cut > 0:
            del self.times[:cut]
            del self.hashes[:cut]

    def keep_to(self, event_time_ms: int) -> None:
        cut = bisect_left(self.times, event_time_ms + 1)
        del self.times[cut:]
        del self.hashes[cut:]
        self.newest = event_time_ms


class History:
    """All symbols, and the periods in which any of them had a tick.

    The newest event time of a symbol outlives :meth:`keep_from`: it is the
    high-water mark. Content hashes come from :func:`content_hash`.
    """

    def __init__(self, cadence_ms: int) -> None:
        self.cadence_ms = cadence_ms
        self.symbols: dict[str, SymbolHistory] = {}
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
            known = self.symbols[symbol] = SymbolHistory()
        return known

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

    def clear(self) -> None:
        self.symbols.clear()
        del self.periods[:]
        self.newest_ms = -1

    def keep_from(self, event_time_ms: int) -> None:
        """Forget what is older, but for each symbol's newest."""
        for known in self.symbols.values():
            known.keep_from(event_time_ms)
        del self.periods[: bisect_left(self.periods, event_time_ms // self.cadence_ms)]

    def roll_back(self, passed: Mapping[str, int]) -> None:
        """Forget every tick newer than what the topic was seen to hold (``passed``: newest event time by symbol)."""
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
