"""What is told of values that do not look as good data does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connector.core.admit import GONE_AFTER_MS
from connector.core.happenings import Happening, QualityCleared, QualityFound
from connector.core.normalize import Normalizer
from connector.core.quality import ALL_FROZEN, DISORDERED, FROZEN, MANY_SYMBOLS, SYMBOLS_DIFFER, Quality, SymbolSets
from connector.core.values import Frame, Ticks
from connector.edges.schema_files import load_schema
from connector.local.market import Market

SCHEMA = load_schema("asset_index")
START_MS = 1_791_285_204_000
SECOND = 1000
SAMPLES = Path(__file__).parent.parent / "samples" / "asset_index.jsonl"

assert SCHEMA.quality is not None
SPEC = SCHEMA.quality


class Case:
    """Frames of elements, second by second, and what was told of them."""

    def __init__(self) -> None:
        self._normalizer = Normalizer(SCHEMA, ahead_ms=None, behind_ms=None)
        self.quality = Quality(SCHEMA, SPEC)
        self.told: list[Happening] = []

    def look(self, second: float, *elements: dict[str, Any]) -> list[Happening]:
        """What these elements show that was not told before."""
        timed = [{**each, "E": START_MS + round(second * SECOND)} for each in elements]
        told = list(self.quality.look(self.ticks(json.dumps(timed).encode())))
        self.told += told
        return told

    def ticks(self, data: bytes) -> Ticks:
        normalized = self._normalizer.normalize(Frame(data, 0, "ws-1", ""))
        assert not normalized.rejects
        return Ticks.of(normalized.ticks)


@pytest.fixture
def case() -> Case:
    return Case()


def element(symbol: str = "BTCUSD", price: str = "100.00000000", **rates: str) -> dict[str, Any]:
    """In order, unless ``rates`` (B, Q, G, A) say otherwise."""
    made = {"e": "assetIndexUpdate", "s": symbol, "i": price}
    made |= dict.fromkeys(("b", "a", "q", "g"), "0.05000000")
    return made | {"B": "95.00000000", "Q": "96.00000000", "G": "104.00000000", "A": "105.00000000"} | rates


def moving(second: int, symbol: str = "BTCUSD") -> dict[str, Any]:
    return element(symbol, f"100.{second:08d}")


def test_real_frames_are_in_order(case: Case) -> None:
    for line in SAMPLES.read_bytes().splitlines():
        assert [each for each in case.quality.look(case.ticks(line)) if isinstance(each, QualityFound)] == []


def test_the_fake_exchange_is_well(case: Case) -> None:
    market = Market(20)
    for second in range(400):
        case.told += case.quality.look(case.ticks(market.snapshot(START_MS + second * SECOND).array))
    assert case.told == []


@pytest.mark.parametrize(
    ("rates", "detail"),
    [
        ({"B": "96.00000003"}, "bid_rate 96.00000003 is greater than auto_exchange_bid_rate 96.00000000"),
        ({"Q": "100.00000003"}, "auto_exchange_bid_rate 100.00000003 is greater than index_price 100.00000000"),
        ({"G": "99.99999997"}, "index_price 100.00000000 is greater than auto_exchange_ask_rate 99.99999997"),
        ({"A": "-1"}, "auto_exchange_ask_rate 104.00000000 is greater than ask_rate -1.00000000"),
    ],
)
def test_rates_out_of_order(case: Case, rates: dict[str, str], detail: str) -> None:
    (found,) = case.look(0, element(**rates), element("ETHUSD"))
    assert found == QualityFound(DISORDERED, "BTCUSD", f"{detail}, event time {START_MS}")


@pytest.mark.parametrize("rates", [{"B": "96.00000002"}, {"Q": "100.00000002"}, {"G": "99.99999998"}])
def test_what_the_exchange_rounds_is_no_disorder(case: Case, rates: dict[str, str]) -> None:
    assert case.look(0, element(**rates)) == []


def test_equal_rates_are_in_order(case: Case) -> None:
    assert case.look(0, element(**dict.fromkeys("BQGA", "100.00000000"))) == []


def test_disorder_is_told_once_until_it_was_over_for_a_minute(case: Case) -> None:
    for second in range(200):
        disordered = second in (0, 5, 30)
        case.look(second, moving(second) | ({"B": "200.00000000"} if disordered else {}))
        if second == 89:
            assert [type(each) for each in case.told] == [QualityFound]
    assert case.told[1:] == [QualityCleared(DISORDERED, "BTCUSD")]


def test_a_symbol_whose_values_stay(case: Case) -> None:
    after_s = SPEC.symbol_frozen_ms // SECOND
    for second in range(after_s + 20):
        case.look(second, moving(second), element("USDTUSD"))
        assert len(case.told) == (second >= after_s)
    assert case.told == [QualityFound(FROZEN, "USDTUSD", f"the same values since event time {START_MS}")]
    assert case.look(after_s + 20, moving(1), moving(2, "USDTUSD")) == [QualityCleared(FROZEN, "USDTUSD")]


def test_no_symbol_moves_any_more(case: Case) -> None:
    after_s = SPEC.stream_frozen_ms // SECOND
    others = [element(f"A{number}USD") for number in range(MANY_SYMBOLS - 1)]
    for second in range(SPEC.symbol_frozen_ms // SECOND + 20):
        case.look(second, element(), *others)
        assert len(case.told) == (second >= after_s), "and single symbols are not told on top"
    (found,) = case.told
    assert found == QualityFound(ALL_FROZEN, "*", f"no symbol has changed since event time {START_MS}")
    assert case.look(320, moving(7), *others) == [QualityCleared(ALL_FROZEN, "*")]


def test_a_few_symbols_may_stand_still_together(case: Case) -> None:
    """Who asks for USDTUSD and USDCUSD alone is not told each minute that the exchange has stopped."""
    for second in range(SPEC.symbol_frozen_ms // SECOND - 1):
        case.look(second, element("USDTUSD"), element("USDCUSD"))
    assert case.told == []


def test_a_silence_freezes_nothing(case: Case) -> None:
    """Whether a value changed while nobody looked is not known."""
    for second in range(0, 2000, 20):
        case.look(second, element(), element("USDTUSD"))
    assert case.told == []


def test_a_frame_that_is_read_again_shows_nothing_new(case: Case) -> None:
    for second in (0, 1, 2, 3, 2, 1, 0, 3, 4):
        case.look(second, moving(second))
    assert case.told == []
    assert case.look(3, element(B="200.00000000")) == []


def test_a_symbol_that_has_gone_has_nothing_open(case: Case) -> None:
    case.look(0, element("UUSD", B="200.00000000"))
    for second in range(1, 3 * GONE_AFTER_MS // SECOND):
        case.look(second, moving(second))
    assert case.told[1:] == [QualityCleared(DISORDERED, "UUSD")]


# The symbols of REST


def compared(*looks: tuple[str, str]) -> Iterator[list[Happening]]:
    """Each look: the symbols in REST and in the stream, as letters."""
    sets = SymbolSets()
    for in_rest, in_stream in looks:
        told = list(sets.compare(frozenset(in_rest), frozenset(in_stream)))
        yield [*told, *([QualityFound("unsure", "", "")] if sets.is_unsure else [])]


UNSURE = QualityFound("unsure", "", "")


def test_equal_sets() -> None:
    assert list(compared(("ABC", "ABC"), ("ABC", "ABC"))) == [[], []]


def test_one_moment_is_no_difference() -> None:
    assert list(compared(("ABCD", "ABC"), ("ABCD", "ABCD"))) == [[UNSURE], []]
    assert list(compared(("ABC", "AB"), ("AB", "ABC"))) == [[UNSURE], [UNSURE]], "another one each time"


def test_what_differs_twice_is_told_once_and_cleared() -> None:
    first, second, third, last = compared(("ABC", "ABD"), ("ABC", "ABD"), ("ABC", "ABD"), ("ABC", "ABC"))
    assert first == [UNSURE]
    assert second == [
        QualityFound(SYMBOLS_DIFFER, "C", "REST has it, the stream does not bring it"),
        QualityFound(SYMBOLS_DIFFER, "D", "the stream brings it, REST does not have it"),
    ]
    assert third == []
    assert last == [QualityCleared(SYMBOLS_DIFFER, "C"), QualityCleared(SYMBOLS_DIFFER, "D")]
