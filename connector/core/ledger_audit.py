"""Whether the ledger names exactly what the topic does not have.

By the words of :mod:`connector.core.gaps`, from the other side: that finds
what is missing as ticks come, this from what the topic holds afterwards. What
is missing where a symbol's or the stream's ticks have not gone on yet is no
gap yet, and neither is what a symbol misses that vanishes and comes back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from connector.core.admit import GONE_AFTER_MS
from connector.core.intervals import Interval, common, covered_twice, holes, merged, size, without
from connector.core.ledger_events import EVERY_SYMBOL


@dataclass(frozen=True, slots=True)
class LedgerGap:
    """One ``gap`` of the ledger, as far as it counts here."""

    about: str
    first_missing_ms: int
    last_missing_ms: int
    periods: int


class Difference(StrEnum):
    """How ledger and topic can differ."""

    NOT_IN_LEDGER = "not in the ledger"
    """The topic lacks it, and nothing says so."""
    NOT_MISSING = "not missing"
    """The ledger says that it is missing, and the topic has it."""
    TWICE = "stands twice"
    MISCOUNTED = "miscounted"
    """An entry whose count is not that of its first and last."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A stretch of periods in which ledger and topic differ."""

    about: str
    difference: Difference
    first_ms: int
    last_ms: int
    periods: int


class Observed:
    """The periods that a topic has, by symbol; takes records in any order of partitions, in a symbol's own order.

    Memory goes by the holes, not by the records.
    """

    def __init__(self, cadence_ms: int) -> None:
        self.cadence_ms = cadence_ms
        self.records = 0
        self.oldest_ms: int | None = None
        self.newest_ms: int | None = None
        self.whole_since_ms = 0
        """Before it some partitions have lost what they had (retention): whether nobody had a tick is not known."""
        self._runs: dict[str, list[Interval]] = {}

    def add(self, symbol: str, event_time_ms: int) -> None:
        self.records += 1
        if self.newest_ms is None or event_time_ms > self.newest_ms:
            self.newest_ms = event_time_ms
        if self.oldest_ms is None or event_time_ms < self.oldest_ms:
            self.oldest_ms = event_time_ms
        period = event_time_ms // self.cadence_ms
        runs = self._runs.setdefault(symbol, [])
        if runs and runs[-1][1] == period - 1:
            runs[-1] = (runs[-1][0], period)
        elif not runs or runs[-1][1] != period:
            runs.append((period, period))

    def symbols(self) -> dict[str, list[Interval]]:
        """The periods that each symbol has."""
        return {symbol: merged(runs) for symbol, runs in self._runs.items()}


def disagreements(gaps: Iterable[LedgerGap], observed: Observed, since_ms: int, until_ms: int) -> list[Disagreement]:
    """Every difference within the periods that lie in ``since_ms`` … ``until_ms`` (not included) as a whole.

    *observed* should begin before and end after that time, so that what is missing at its ends is seen.
    """
    cadence = observed.cadence_ms
    window = [(-(-since_ms // cadence), until_ms // cadence - 1)]
    present = observed.symbols()
    everybody = merged(run for runs in present.values() for run in runs)
    known = [(-(-observed.whole_since_ms // cadence), window[0][1])]
    missing = {EVERY_SYMBOL: list(common(holes(everybody), known))}
    for symbol, runs in present.items():
        missing[symbol] = list(_missed_by_one(runs, everybody, cadence))
    present[EVERY_SYMBOL] = everybody

    found: list[Disagreement] = []
    told: defaultdict[str, list[Interval]] = defaultdict(list)
    for gap in gaps:
        stretch = (gap.first_missing_ms // cadence, gap.last_missing_ms // cadence)
        told[gap.about].append(stretch)
        if size([stretch]) != gap.periods and list(common([stretch], window)):
            found.append(_disagreement(gap.about, Difference.MISCOUNTED, stretch, cadence))
    for about in sorted(missing.keys() | told.keys()):
        said = merged(told[about])
        for difference, stretches in (
            (Difference.NOT_IN_LEDGER, without(missing.get(about, []), said)),
            (Difference.NOT_MISSING, common(said, present.get(about, []))),
            (Difference.TWICE, covered_twice(told[about])),
        ):
            found += [_disagreement(about, difference, each, cadence) for each in common(stretches, window)]
    return found


def _missed_by_one(runs: list[Interval], everybody: list[Interval], cadence_ms: int) -> Iterator[Interval]:
    """What others have between a symbol's own, but for the time in which it may count as vanished."""
    for first, last in holes(runs):
        missed = list(common([(first, last)], everybody))
        if not missed:
            continue
        # From its last tick to the newest period before it came back; event times are a part of a period off at most.
        absent_ms = (missed[-1][1] - (first - 1) + 1) * cadence_ms
        if absent_ms <= GONE_AFTER_MS or size(missed) * cadence_ms < GONE_AFTER_MS:
            yield from missed


def _disagreement(about: str, difference: Difference, stretch: Interval, cadence_ms: int) -> Disagreement:
    first, last = stretch
    return Disagreement(about, difference, first * cadence_ms, last * cadence_ms, last - first + 1)
