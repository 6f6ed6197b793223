"""Whether the ledger names exactly the periods that the topic does not have.

A *period* is ``event_time // cadence``. One in which no symbol has a record is
missing for the whole stream and must stand in the ledger under ``*``; one in
which others have is missing for the symbol alone, and stands under its name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

EVERY_SYMBOL = "*"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Gap:
    """One entry of the ledger, its times in milliseconds."""

    about: str
    first_ms: int
    last_ms: int
    periods: int
    reason: str


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Periods of one symbol, or of the stream, in which ledger and topic differ."""

    about: str
    what: str
    """``not in the ledger``, ``not missing``, ``stands twice`` or ``miscounted``."""
    periods: tuple[int, ...]


def gaps(events: Iterable[Mapping[str, Any]]) -> list[Gap]:
    """The gaps among the ledger's decoded events."""
    return [
        Gap(
            about=event["about"],
            first_ms=_milliseconds(event["first_missing"]),
            last_ms=_milliseconds(event["last_missing"]),
            periods=event["periods"],
            reason=event["reason"],
        )
        for event in events
        if event["kind"] == "gap"
    ]


def kinds(events: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """How many events of each kind."""
    return Counter(event["kind"] for event in events)


def missing_periods(observed: Mapping[str, Iterable[int]], cadence_ms: int) -> dict[str, set[int]]:
    """What the topic does not have, by symbol and :data:`EVERY_SYMBOL`, from the event times in it.

    A symbol's periods count from its first record to its last.
    """
    present = {symbol: {time_ms // cadence_ms for time_ms in times} for symbol, times in observed.items()}
    somebody = set().union(*present.values())
    missing = {EVERY_SYMBOL: set(range(min(somebody), max(somebody))) - somebody} if somebody else {}
    for symbol, periods in present.items():
        first, last = min(periods), max(periods)
        missing[symbol] = {period for period in somebody if first < period < last} - periods
    return {about: periods for about, periods in missing.items() if periods}


def disagreements(
    events: Iterable[Mapping[str, Any]],
    observed: Mapping[str, Iterable[int]],
    cadence_ms: int,
    *,
    apart_from: Collection[str] = (),
) -> list[Disagreement]:
    """Every difference between ledger and topic; ``apart_from`` are symbols that were made to vanish."""
    return list(_disagreements(gaps(events), missing_periods(observed, cadence_ms), cadence_ms, apart_from))


def _disagreements(
    entries: list[Gap], missing: Mapping[str, set[int]], cadence_ms: int, apart_from: Collection[str]
) -> Iterator[Disagreement]:
    told: dict[str, Counter[int]] = {}
    for gap in entries:
        periods = range(gap.first_ms // cadence_ms, gap.last_ms // cadence_ms + 1)
        told.setdefault(gap.about, Counter()).update(periods)
        if len(periods) != gap.periods:
            yield Disagreement(gap.about, "miscounted", (gap.first_ms, gap.last_ms, gap.periods))
    for about in sorted((told.keys() | missing.keys()) - set(apart_from)):
        told_here, missing_here = told.get(about, Counter()), missing.get(about, set())
        for what, differing in (
            ("not in the ledger", missing_here - told_here.keys()),
            ("not missing", told_here.keys() - missing_here),
            ("stands twice", {period for period, count in told_here.items() if count > 1}),
        ):
            if differing:
                yield Disagreement(about, what, tuple(sorted(differing)))


def _milliseconds(moment: datetime | None) -> int:
    return -1 if moment is None else (moment - _EPOCH) // timedelta(milliseconds=1)
