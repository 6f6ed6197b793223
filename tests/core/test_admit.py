from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from connector.core.admit import (
    CONTENT_UNKNOWN,
    Admission,
    History,
    SymbolHistory,
    append_all,
    content_hash,
)

CADENCE_MS = 1000


def history(*ticks: tuple[str, int, int]) -> History:
    made = History(CADENCE_MS, window_ms=600_000)
    for symbol, event_time_ms, content in ticks:
        made.add(symbol, event_time_ms, content)
    return made


def admission(of: History, symbol: str, event_time_ms: int, content: int) -> Admission:
    known = of.symbols.get(symbol)
    return Admission.NEW if known is None else known.admission(event_time_ms, content)


def test_the_four_outcomes() -> None:
    topic = history(("BTCUSD", 1000, 11), ("BTCUSD", 3000, 33))
    assert admission(topic, "ETHUSD", 1000, 1) is Admission.NEW
    assert admission(topic, "BTCUSD", 4000, 44) is Admission.NEW
    assert admission(topic, "BTCUSD", 3000, 33) is Admission.DUPLICATE
    assert admission(topic, "BTCUSD", 1000, 11) is Admission.DUPLICATE
    assert admission(topic, "BTCUSD", 3000, 34) is Admission.CONFLICT
    assert admission(topic, "BTCUSD", 2000, 22) is Admission.LATE


def test_content_that_cannot_be_compared_is_no_conflict() -> None:
    topic = history(("BTCUSD", 1000, CONTENT_UNKNOWN))
    assert admission(topic, "BTCUSD", 1000, 11) is Admission.DUPLICATE


def test_what_left_the_ring_is_late_and_the_newest_stays_known() -> None:
    ring = SymbolHistory(capacity=4)
    for event_time_ms in range(1, 11):
        ring.append(event_time_ms, event_time_ms * 11)
    assert [ring.admission(time, time * 11) for time in (6, 7, 9, 10, 11)] == [
        Admission.LATE,
        Admission.DUPLICATE,
        Admission.DUPLICATE,
        Admission.DUPLICATE,
        Admission.NEW,
    ]


@given(st.integers(1, 9), st.lists(st.integers(0, 40), min_size=1, unique=True).map(sorted), st.integers(0, 40))
def test_a_ring_is_its_newest_ticks_also_after_forgetting(capacity: int, times: list[int], keep_to: int) -> None:
    ring = SymbolHistory(capacity)
    for event_time_ms in times:
        ring.append(event_time_ms, event_time_ms + 1)
    ring.keep_to(keep_to)
    kept = [event_time_ms for event_time_ms in times[-capacity:] if event_time_ms <= keep_to]
    for event_time_ms in range(keep_to + 1):
        outcome = ring.admission(event_time_ms, event_time_ms + 1)
        assert outcome is (Admission.DUPLICATE if event_time_ms in kept else Admission.LATE)
    assert ring.admission(keep_to + 1, 1) is Admission.NEW
    ring.append(keep_to + 1, 7)
    assert ring.admission(keep_to + 1, 7) is Admission.DUPLICATE


def test_rolling_back_to_what_the_topic_holds() -> None:
    topic = history(("BTCUSD", 1000, 11), ("BTCUSD", 2000, 22), ("ETHUSD", 2000, 1), ("BTCUSD", 3000, 33))
    topic.roll_back({"BTCUSD": 1000})
    assert admission(topic, "BTCUSD", 2000, 22) is Admission.NEW
    assert admission(topic, "BTCUSD", 1000, 11) is Admission.DUPLICATE
    assert admission(topic, "ETHUSD", 2000, 1) is Admission.NEW
    assert list(topic.periods) == [1]
    assert topic.newest_ms == 1000


def test_periods_are_those_of_any_symbol_in_order() -> None:
    topic = history(("A", 1000, 1), ("A", 5000, 1), ("B", 3000, 1), ("B", 3999, 1), ("C", 500, 1))
    assert list(topic.periods) == [0, 1, 3, 5]
    assert list(topic.present(1, 4)) == [1, 3]


def test_a_hash_is_never_the_mark_of_unknown_content() -> None:
    assert content_hash(b"") != CONTENT_UNKNOWN


@given(st.lists(st.tuples(st.sampled_from("AB"), st.integers(0, 30), st.integers(1, 2)), max_size=60))
def test_whatever_comes_a_symbol_only_rises_and_nothing_is_admitted_twice(
    offered: list[tuple[str, int, int]],
) -> None:
    topic = History(CADENCE_MS, window_ms=600_000)
    written: dict[str, list[int]] = {"A": [], "B": []}
    content_of: dict[tuple[str, int], int] = {}
    for symbol, event_time_ms, content in offered:
        outcome = admission(topic, symbol, event_time_ms, content)
        known = content_of.get((symbol, event_time_ms))
        if outcome is Admission.NEW:
            topic.add(symbol, event_time_ms, content)
            written[symbol].append(event_time_ms)
            content_of[symbol, event_time_ms] = content
        elif outcome is Admission.DUPLICATE:
            assert known == content
        elif outcome is Admission.CONFLICT:
            assert known not in (None, content)
        else:
            assert known is None
            assert event_time_ms < max(written[symbol])
    for times in written.values():
        assert times == sorted(set(times))


def test_a_frame_of_another_year_takes_no_gigabytes() -> None:
    topic = history()
    topic.clear(30 * 365 * 24 * 3_600)
    topic.add("BTCUSD", 1000, 11)
    assert len(topic.symbols["BTCUSD"]._times) < 100_000


def test_the_symbols_of_a_frame_are_found_together_or_not_at_all() -> None:
    topic = history(("BTCUSD", 1000, 11), ("ETHUSD", 1000, 12))
    both = ("ETHUSD", "BTCUSD")
    found = topic.known(both)
    assert found == [topic.symbols[symbol] for symbol in both]
    assert topic.known(("ETHUSD", "BTCUSD")) is found
    assert topic.known(("ETHUSD", "ETHUSD")) is None
    assert topic.known(("ETHUSD", "NEWUSD")) is None


def test_what_was_found_together_is_looked_up_anew_once_the_topic_is_read_anew() -> None:
    topic = history(("BTCUSD", 1000, 11), ("ETHUSD", 1000, 12))
    both = ("ETHUSD", "BTCUSD")
    assert topic.known(both)
    topic.roll_back({"BTCUSD": 1000})
    assert topic.known(both) is None
    topic.add("ETHUSD", 2000, 22)
    assert topic.known(both) == [topic.symbols[symbol] for symbol in both]
    topic.clear()
    assert topic.known(both) is None


@given(st.integers(1, 9), st.lists(st.integers(0, 40), unique=True).map(sorted))
def test_appending_to_all_is_appending_to_each(capacity: int, times: list[int]) -> None:
    together, one_by_one = ([SymbolHistory(capacity) for _ in range(3)] for _ in range(2))
    for event_time_ms in times:
        append_all(together, event_time_ms, [7, 8, 9])
        for ring, content in zip(one_by_one, (7, 8, 9), strict=True):
            ring.append(event_time_ms, content)
    for ring, other in zip(together, one_by_one, strict=True):
        assert ring.newest == other.newest
        for event_time_ms in range(42):
            for content in (7, 8, 9):
                assert ring.admission(event_time_ms, content) is other.admission(event_time_ms, content)


def test_a_sink_that_says_no_more_than_its_newest() -> None:
    held = history(("BTCUSD", 3000, CONTENT_UNKNOWN))
    held.symbols["BTCUSD"].held_through = 3000
    assert admission(held, "BTCUSD", 1000, 11) is Admission.DUPLICATE
    assert admission(held, "BTCUSD", 3000, 33) is Admission.DUPLICATE
    assert admission(held, "BTCUSD", 5000, 55) is Admission.NEW
    held.add("BTCUSD", 5000, 55)
    assert admission(held, "BTCUSD", 4000, 44) is Admission.LATE
    assert admission(held, "BTCUSD", 5000, 56) is Admission.CONFLICT
