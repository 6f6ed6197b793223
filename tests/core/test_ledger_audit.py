"""The audit against hand-made topics, and against what the connector's own gap finder says of the same ticks."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from connector.core.admit import History
from connector.core.gaps import GapFinder
from connector.core.ledger_audit import Difference, Disagreement, LedgerGap, Observed, disagreements
from connector.core.ledger_events import EventKind, FeedEvent

CADENCE_MS = 1000
BEGIN = 1_700_000_000
"""In periods."""


def observed(**periods: Iterable[int]) -> Observed:
    found = Observed(CADENCE_MS)
    for symbol, numbers in periods.items():
        for number in numbers:
            found.add(symbol, (BEGIN + number) * CADENCE_MS)
    return found


def gap(about: str, first: int, last: int, periods: int | None = None) -> LedgerGap:
    count = last - first + 1 if periods is None else periods
    return LedgerGap(about, (BEGIN + first) * CADENCE_MS, (BEGIN + last) * CADENCE_MS, count)


def audit(gaps: Iterable[LedgerGap], topic: Observed, since: int = -1000, until: int = 1000) -> list[Disagreement]:
    return disagreements(gaps, topic, (BEGIN + since) * CADENCE_MS, (BEGIN + until) * CADENCE_MS)


def differing(about: str, difference: Difference, first: int, last: int) -> Disagreement:
    return Disagreement(about, difference, (BEGIN + first) * CADENCE_MS, (BEGIN + last) * CADENCE_MS, last - first + 1)


def test_nothing_missing() -> None:
    assert audit([], observed(BTCUSD=range(10), ETHUSD=range(10))) == []
    assert audit([], observed()) == []


def test_the_stream_and_one_symbol() -> None:
    topic = observed(BTCUSD=[0, 1, 5, 6, 7], ETHUSD=[0, 1, 5, 7])
    assert audit([gap("*", 2, 4), gap("ETHUSD", 6, 6)], topic) == []
    assert audit([], topic) == [
        differing("*", Difference.NOT_IN_LEDGER, 2, 4),
        differing("ETHUSD", Difference.NOT_IN_LEDGER, 6, 6),
    ]


def test_an_entry_for_what_the_topic_has() -> None:
    topic = observed(BTCUSD=range(10), ETHUSD=range(10))
    assert audit([gap("*", 3, 4), gap("ETHUSD", 6, 6)], topic) == [
        differing("*", Difference.NOT_MISSING, 3, 4),
        differing("ETHUSD", Difference.NOT_MISSING, 6, 6),
    ]


def test_an_entry_twice_and_one_that_counts_wrongly() -> None:
    topic = observed(BTCUSD=[0, 5], ETHUSD=[0, 5])
    assert audit([gap("*", 1, 4), gap("*", 3, 4, periods=7)], topic) == [
        differing("*", Difference.MISCOUNTED, 3, 4),
        differing("*", Difference.TWICE, 3, 4),
    ]


def test_only_the_time_asked_for_counts() -> None:
    topic = observed(BTCUSD=[0, 10, 20])
    assert audit([], topic, since=5, until=12) == [
        differing("*", Difference.NOT_IN_LEDGER, 5, 9),
        differing("*", Difference.NOT_IN_LEDGER, 11, 11),
    ]
    assert audit([gap("*", 1, 9)], topic, since=2, until=10) == []


def test_what_retention_has_removed_from_some_partitions_is_no_gap() -> None:
    """One has what a symbol had before it went, and what it missed; the others begin later."""
    topic = observed(GONE=[0, 1, 3], BTCUSD=range(10, 15), ETHUSD=[10, 11, 14])
    assert audit([gap("ETHUSD", 12, 13)], topic) == [
        differing("*", Difference.NOT_IN_LEDGER, 2, 2),
        differing("*", Difference.NOT_IN_LEDGER, 4, 9),
    ]
    topic.whole_since_ms = (BEGIN + 10) * CADENCE_MS
    assert audit([gap("ETHUSD", 12, 13)], topic) == []
    assert audit([], topic) == [differing("ETHUSD", Difference.NOT_IN_LEDGER, 12, 13)]


def test_what_is_open_at_the_end_is_no_gap_yet() -> None:
    assert audit([], observed(BTCUSD=range(10), ETHUSD=range(5))) == []


def test_a_symbol_that_vanishes_and_returns_has_no_gap() -> None:
    topic = observed(BTCUSD=range(200), ETHUSD=[*range(50), *range(150, 200)])
    assert audit([], topic) == []
    shorter = observed(BTCUSD=range(200), ETHUSD=[*range(50), *range(90, 200)])
    assert audit([], shorter) == [differing("ETHUSD", Difference.NOT_IN_LEDGER, 50, 89)]


def told_live(periods: list[list[str]]) -> list[FeedEvent]:
    """What the gap finder tells of frames with these symbols, one a period."""
    history = History(CADENCE_MS, window_ms=600_000)
    finder = GapFinder(history, lambda first, last: ())
    events: list[FeedEvent] = []
    for number, symbols in enumerate(periods):
        time_ms = (BEGIN + number) * CADENCE_MS
        if not symbols:
            continue
        events += finder.before_period(time_ms)
        history.add_period(time_ms)
        for symbol in symbols:
            known = history.symbols.get(symbol)
            if known is not None and time_ms // CADENCE_MS - known.newest // CADENCE_MS > 1:
                events += finder.before_tick(symbol, known.newest, time_ms, time_ms)
            history.symbol(symbol).append(time_ms, 1)
        events += finder.after_period(time_ms)
    return events


lengths = st.sampled_from([1, 2, 3, 20, 57, 58, 59, 60, 61, 62, 63, 75])
stretches = st.lists(st.tuples(lengths, st.sets(st.sampled_from(["A", "B", "C"]))), min_size=1, max_size=7)


@settings(max_examples=60, deadline=None)
@given(stretches)
def test_it_agrees_with_what_is_told_live(stretches: list[tuple[int, set[str]]]) -> None:
    """Any pattern of symbols that come and go, around the time after which they count as vanished too."""
    periods = [sorted(symbols) for length, symbols in stretches for _ in range(length)]
    topic = observed(**{symbol: [n for n, present in enumerate(periods) if symbol in present] for symbol in "ABC"})
    gaps = [
        LedgerGap(event.about, event.first_missing or 0, event.last_missing or 0, event.periods)
        for event in told_live(periods)
        if event.kind is EventKind.GAP
    ]
    assert audit(gaps, topic, since=-10, until=len(periods) + 10) == []
