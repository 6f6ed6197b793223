"""The normalizer that tells of quality: which frames it looks at, and that it changes nothing."""

from __future__ import annotations

import json

from connector.core.happenings import Happening, QualityFound
from connector.core.normalize import Normalizer
from connector.core.values import Frame
from connector.edges.schema_files import load_schema
from connector.edges.watched_normalizer import WatchedNormalizer
from tests.core.test_quality import START_MS, element

SCHEMA = load_schema("asset_index")


class Bench:
    def __init__(self) -> None:
        self.now_s = 0.0
        self.told: list[Happening] = []
        self.normalizer = WatchedNormalizer(
            SCHEMA, ahead_ms=None, behind_ms=None, tell=self.told.append, monotonic=lambda: self.now_s
        )

    def take(self, symbol: str, *, bad: bool, second: int = 0) -> None:
        self.normalizer.normalize(frame(symbol, bad=bad, second=second))

    def found(self) -> list[str]:
        return [each.about for each in self.told if isinstance(each, QualityFound)]


def frame(symbol: str, *, bad: bool, second: int = 0) -> Frame:
    made = element(symbol, **({"B": "200.00000000"} if bad else {})) | {"E": START_MS + second * 1000}
    return Frame(json.dumps([made]).encode(), 0, "ws-1", "!assetIndex@arr")


def test_bad_values_are_told_and_remain_ticks() -> None:
    bench = Bench()
    plain = Normalizer(SCHEMA, ahead_ms=None, behind_ms=None)
    assert bench.normalizer.normalize(frame("BTCUSD", bad=True)) == plain.normalize(frame("BTCUSD", bad=True))
    assert bench.found() == ["BTCUSD"]


def test_every_frame_of_a_live_stream_is_looked_at() -> None:
    bench = Bench()
    for second in range(10):
        bench.now_s = second + (0.2 if second % 2 else 0.0)  # they never come at the very second
        bench.take(f"A{second}USD", bad=True, second=second)
    assert len(bench.found()) == 10


def test_frames_of_other_symbols_have_their_own_turn() -> None:
    bench = Bench()
    for symbol in ("BTCUSD", "ETHUSD", "USDTUSD"):
        bench.take(symbol, bad=True)
    assert bench.found() == ["BTCUSD", "ETHUSD", "USDTUSD"]


def test_of_a_backlog_a_sample_is_looked_at() -> None:
    bench = Bench()
    bench.take("BTCUSD", bad=False)
    for second in range(1, 100):
        bench.take("BTCUSD", bad=True, second=second)
    assert bench.found() == []
    bench.now_s = 0.5
    bench.take("BTCUSD", bad=True, second=100)
    assert bench.found() == ["BTCUSD"]


def test_rejects_are_no_ticks_to_look_at() -> None:
    bench = Bench()
    bench.normalizer.normalize(Frame(b"{", 0, "ws-1", "!assetIndex@arr"))
    bench.normalizer.normalize(Frame(b"[]", 0, "ws-1", "!assetIndex@arr"))
    assert bench.told == []


def test_after_a_look_that_took_long_the_next_one_comes_later_but_comes() -> None:
    bench = Bench()
    told = bench.told.append

    def slow(happening: Happening) -> None:
        told(happening)
        bench.now_s += 0.1

    bench.normalizer = WatchedNormalizer(
        SCHEMA, ahead_ms=None, behind_ms=None, tell=slow, monotonic=lambda: bench.now_s
    )
    bench.take("BTCUSD", bad=True)  # took 0.1 s: for 2.5 s from its beginning none of the same symbols
    for at_s, looked in ((2.4, False), (2.6, True)):
        bench.now_s = at_s
        second = round(at_s * 10)
        elements = [
            element("BTCUSD") | {"E": START_MS + second * 1000},
            element("ETHUSD", B="200.00000000") | {"E": START_MS + second * 1000},
        ]
        bench.normalizer.normalize(Frame(json.dumps(elements).encode(), 0, "ws-1", "!assetIndex@arr"))
        assert ("ETHUSD" in bench.found()) is looked
