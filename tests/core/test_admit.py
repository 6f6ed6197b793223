from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from connector.core.admit import (
    CONTENT_UNKNOWN,
    Admission,
    History,
    SymbolHistory,
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


def test_a_frame_is_appended_whole_or_not_at_all() -> None:
    topic = history(("BTCUSD", 1000, 11), ("ETHUSD", 1000, 12))
    both = ["ETHUSD", "BTCUSD"]
    assert not topic.append_frame(["ETHUSD", "ETHUSD"], 2000, [22, 23])
    assert not topic.append_frame(["ETHUSD", "NEWUSD"], 2000, [22, 23])
    assert not topic.append_frame(both, 1000, [22, 23])
    assert not topic.append_frame(both, 3000, [22, 23]), "a period is missing"
    assert topic.append_frame(both, 2000, [22, 21])
    assert topic.append_frame(both, 3999, [32, 31])
    assert not topic.append_frame(both, 3999, [32, 31])
    assert not topic.append_frame(both, 5000, [42, 41])
    assert admission(topic, "ETHUSD", 2000, 22) is Admission.DUPLICATE
    assert admission(topic, "BTCUSD", 3999, 32) is Admission.CONFLICT
    topic.add("ETHUSD", 4000, 42)
    assert not topic.append_frame(both, 4000, [42, 41])
    assert topic.append_frame(both, 4500, [52, 51])


def test_a_frame_before_which_one_symbol_alone_skipped_a_period_is_not_appended() -> None:
    topic = history(("BTCUSD", 1000, 11), ("ETHUSD", 1000, 12), ("BTCUSD", 2000, 21))
    assert not topic.append_frame(["ETHUSD", "BTCUSD"], 3000, [32, 31])


def test_what_was_appended_together_is_forgotten_with_the_rest() -> None:
    topic = history(("BTCUSD", 1000, 11), ("ETHUSD", 1000, 12))
    both = ["ETHUSD", "BTCUSD"]
    assert topic.append_frame(both, 2000, [22, 21])
    topic.roll_back({"BTCUSD": 1000})
    assert admission(topic, "BTCUSD", 2000, 21) is Admission.NEW
    assert not topic.append_frame(both, 2000, [22, 21]), "ETHUSD is new"
    topic.add("ETHUSD", 1000, 12)
    assert topic.append_frame(both, 2000, [22, 21])
    topic.clear()
    assert not topic.append_frame(both, 3000, [32, 31])
    assert not topic.symbols


@given(
    st.lists(st.tuples(st.sampled_from(["ABC", "AB", "CBA", "D", "DABC"]), st.integers(0, 1), st.booleans())),
    st.integers(0, 120),
)
def test_frames_and_ticks_one_by_one_come_to_the_same(frames: list[tuple[str, int, bool]], since_ms: int) -> None:
    together, one_by_one = history(), history()
    for made in (together, one_by_one):
        made._capacity = 40  # so that rings are gone round
        for symbol in "ABCD":
            made.add(symbol, 0, 1)
    for number, (symbols, step, looks) in enumerate(frames * 20):
        event_time_ms, contents = number * 300 + step, [number + ord(symbol) for symbol in symbols]
        if not together.append_frame(list(symbols), event_time_ms, contents):
            for symbol, content in zip(symbols, contents, strict=True):
                together.add(symbol, event_time_ms, content)
        for symbol, content in zip(symbols, contents, strict=True):
            one_by_one.add(symbol, event_time_ms, content)
        if looks:
            seen = event_time_ms - 10 * since_ms
            assert together.all_seen_since(seen) == all(each.newest >= seen for each in one_by_one.symbols.values())
    for symbol, other in one_by_one.symbols.items():
        ring = together.symbols[symbol]
        assert (ring._times, ring._hashes, ring._at, ring.newest) == (
            other._times,
            other._hashes,
            other._at,
            other.newest,
        )


def test_a_sink_that_says_no_more_than_its_newest() -> None:
    held = history(("BTCUSD", 3000, CONTENT_UNKNOWN))
    held.symbols["BTCUSD"].held_through = 3000
    assert admission(held, "BTCUSD", 1000, 11) is Admission.DUPLICATE
    assert admission(held, "BTCUSD", 3000, 33) is Admission.DUPLICATE
    assert admission(held, "BTCUSD", 5000, 55) is Admission.NEW
    held.add("BTCUSD", 5000, 55)
    assert admission(held, "BTCUSD", 4000, 44) is Admission.LATE
    assert admission(held, "BTCUSD", 5000, 56) is Admission.CONFLICT
