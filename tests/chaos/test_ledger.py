"""The comparison of ledger and topic sees every way in which they can differ."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tests.ledger import Disagreement, disagreements, kinds, missing_periods

CADENCE_MS = 200
START_MS = 1_791_285_204_000


def topic_without(**missing: set[int]) -> dict[str, list[int]]:
    """Event times of twenty periods of two symbols, apart from these."""
    return {
        symbol: [START_MS + CADENCE_MS * step for step in range(20) if step not in missing.get(symbol, set())]
        for symbol in ("BTCUSD", "ETHUSD")
    }


def gap(about: str, first: int, last: int, periods: int | None = None) -> dict[str, Any]:
    def moment(step: int) -> datetime:
        return datetime.fromtimestamp((START_MS + CADENCE_MS * step) / 1000, UTC)

    count = last - first + 1 if periods is None else periods
    return {
        "kind": "gap",
        "about": about,
        "time": moment(last + 1),
        "first_missing": moment(first),
        "last_missing": moment(last),
        "periods": count,
        "reason": "not running",
    }


FIRST_PERIOD = START_MS // CADENCE_MS
BOTH_MISS_5_TO_7 = topic_without(BTCUSD={5, 6, 7}, ETHUSD={5, 6, 7})


def test_agreement() -> None:
    assert disagreements([], topic_without(), CADENCE_MS) == []
    assert disagreements([gap("*", 5, 7)], BOTH_MISS_5_TO_7, CADENCE_MS) == []
    assert disagreements([gap("*", 5, 6), gap("*", 7, 7)], BOTH_MISS_5_TO_7, CADENCE_MS) == []
    events = [gap("*", 5, 5), gap("ETHUSD", 6, 6)]
    assert disagreements(events, topic_without(BTCUSD={5}, ETHUSD={5, 6}), CADENCE_MS) == []


def test_ends_are_no_gaps() -> None:
    assert missing_periods(topic_without(ETHUSD={0, 1, 18, 19}), CADENCE_MS) == {}


def test_silent_gap() -> None:
    found = disagreements([gap("*", 5, 6)], BOTH_MISS_5_TO_7, CADENCE_MS)
    assert found == [Disagreement("*", "not in the ledger", (FIRST_PERIOD + 7,))]


def test_gap_of_one_symbol_is_not_the_streams() -> None:
    found = disagreements([gap("*", 5, 5)], topic_without(ETHUSD={5}), CADENCE_MS)
    assert found == [
        Disagreement("*", "not missing", (FIRST_PERIOD + 5,)),
        Disagreement("ETHUSD", "not in the ledger", (FIRST_PERIOD + 5,)),
    ]


def test_entry_twice_and_miscounted() -> None:
    found = disagreements([gap("*", 5, 7), gap("*", 7, 7)], BOTH_MISS_5_TO_7, CADENCE_MS)
    assert found == [Disagreement("*", "stands twice", (FIRST_PERIOD + 7,))]
    found = disagreements([gap("*", 5, 7, periods=4)], BOTH_MISS_5_TO_7, CADENCE_MS)
    assert [each.what for each in found] == ["miscounted"]


def test_a_symbol_made_to_vanish_is_left_out() -> None:
    assert disagreements([], topic_without(ETHUSD={5}), CADENCE_MS, apart_from={"ETHUSD"}) == []


def test_kinds() -> None:
    assert kinds([gap("*", 1, 1), gap("*", 2, 2), {"kind": "takeover"}]) == {"gap": 2, "takeover": 1}
