"""What a transaction would write, for frames over a history."""

from __future__ import annotations

import json
from typing import Any

import fastavro
import pytest

from connector.core.admit import History
from connector.core.encode import RecordEncoder
from connector.core.ledger_events import EVERY_SYMBOL, EventKind, FeedEvent
from connector.core.normalize import Normalizer
from connector.core.pipeline import Batch, Oldest, Passage, Pipeline
from connector.core.tombstones import Held
from connector.core.values import Frame, Origin, Reason
from connector.core.witness import ADVANCING, DOWN, JOURNAL_BOUND, NOT_RUNNING, Span
from connector.edges.schema_files import load_schema

SCHEMA = load_schema("asset_index")
START_MS = 1_791_285_204_000
SECOND = 1000


class Case:
    """A pipeline over a history, an empty one where none is given, fed with frames in the exchange's shape."""

    def __init__(
        self,
        state: str = ADVANCING,
        *,
        rest_wait_s: float = 0.0,
        tombstone_after_ms: int | None = None,
        history: History | None = None,
    ) -> None:
        self.history = history or History(SCHEMA.feed.cadence_ms, window_ms=600_000)
        normalizer = Normalizer(SCHEMA, ahead_ms=30_000, behind_ms=600_000)
        self.pipeline = Pipeline(
            normalizer,
            RecordEncoder(SCHEMA, 1),
            self.history,
            lambda start, end: (Span(start, end, state),),
            rest_wait_s=rest_wait_s,
            tombstone_after_ms=tombstone_after_ms,
        )

    def add(self, *elements: dict[str, Any], at_ms: int | None = None, origin: Origin = Origin.WEBSOCKET) -> Batch:
        return self.add_bytes(json.dumps(list(elements)).encode(), at_ms=at_ms or elements[0]["E"], origin=origin)

    def add_to(self, batch: Batch, *elements: dict[str, Any]) -> None:
        self.pipeline.add(frame(json.dumps(list(elements)).encode(), elements[0]["E"]), batch)

    def add_bytes(self, data: bytes, *, at_ms: int, origin: Origin = Origin.WEBSOCKET) -> Batch:
        batch = Batch()
        self.pipeline.add(frame(data, at_ms, origin), batch)
        self.pipeline.add_ripe_rows(at_ms * 1_000_000, batch)
        return batch


def frame(data: bytes, at_ms: int, origin: Origin = Origin.WEBSOCKET) -> Frame:
    return Frame(data, at_ms * 1_000_000, "ws-1", "!assetIndex@arr", origin)


def element(symbol: str, second: float, price: str = "1.50000000", **changes: Any) -> dict[str, Any]:
    made = {"e": "assetIndexUpdate", "E": START_MS + round(second * SECOND), "s": symbol, "i": price}
    made |= dict.fromkeys(("b", "a", "q", "g"), "0.05000000") | dict.fromkeys(("B", "A", "Q", "G"), price)
    return made | changes


def decoded(value: bytes) -> dict[str, Any]:
    import io

    read = fastavro.schemaless_reader(io.BytesIO(value[5:]), SCHEMA.parsed)
    assert isinstance(read, dict)
    return read


def kinds(batch: Batch) -> list[tuple[EventKind, str]]:
    return [(event.kind, event.about) for event in batch.events]


def only_gap(batch: Batch) -> FeedEvent:
    (gap,) = (event for event in batch.events if event.kind is EventKind.GAP)
    return gap


def test_elements_become_records_with_receive_time_and_origin() -> None:
    batch = Case().add(element("BTCUSD", 0, "86156.14485640"), element("USDTUSD", 0), at_ms=START_MS + 57)
    assert [(record.symbol, record.event_time_ms) for record in batch.records] == [
        ("BTCUSD", START_MS),
        ("USDTUSD", START_MS),
    ]
    read = decoded(batch.records[0].value)
    assert str(read["index_price"]) == "86156.14485640"
    assert read["received_time"].timestamp() * 1000 == START_MS + 57
    assert read["origin"] == "websocket"


def test_the_first_tick_of_all_says_that_there_is_no_history_and_no_more() -> None:
    case = Case()
    assert kinds(case.add(element("BTCUSD", 0), element("ETHUSD", 0))) == [
        (EventKind.STARTED_WITHOUT_HISTORY, EVERY_SYMBOL)
    ]
    assert kinds(case.add(element("BTCUSD", 1), element("ETHUSD", 1))) == []


def test_the_same_again_is_a_duplicate_in_or_across_frames() -> None:
    case = Case()
    batch = case.add(element("BTCUSD", 0), element("BTCUSD", 0))
    assert (len(batch.records), batch.duplicates) == (1, 1)
    batch = case.add(element("BTCUSD", 0))
    assert batch.empty
    assert batch.duplicates == 1


def test_other_content_at_the_same_time_is_a_conflict_and_the_first_stays() -> None:
    case = Case()
    case.add(element("BTCUSD", 0, "1.00000000"))
    batch = case.add(element("ETHUSD", 0), element("BTCUSD", 0, "2.00000000"))
    assert [record.symbol for record in batch.records] == ["ETHUSD"]
    (letter,) = batch.letters
    assert letter.reject.reason is Reason.CONFLICT
    assert letter.reject.symbol == "BTCUSD"
    assert json.loads(letter.reject.data) == element("BTCUSD", 0, "2.00000000")


def test_older_than_the_newest_and_not_seen_is_late() -> None:
    case = Case()
    case.add(element("BTCUSD", 0))
    case.add(element("BTCUSD", 5))
    batch = case.add(element("BTCUSD", 3), at_ms=START_MS + 5500)
    assert batch.records == []
    assert batch.letters[0].reject.reason is Reason.LATE


def test_a_reject_leaves_its_neighbours_and_its_bytes_again_are_only_counted() -> None:
    case = Case()
    bad = element("ETHUSD", 0, i="NaN")
    batch = case.add(element("BTCUSD", 0), bad, element("USDTUSD", 0))
    assert [record.symbol for record in batch.records] == ["BTCUSD", "USDTUSD"]
    assert [letter.reject.reason for letter in batch.letters] == [Reason.NOT_A_DECIMAL]
    assert case.add(bad, at_ms=START_MS + 59_000).letters == []
    assert len(case.add(bad, at_ms=START_MS + 61_000).letters) == 1


def test_bytes_that_are_no_json_are_one_letter() -> None:
    batch = Case().add_bytes(b"\xff{", at_ms=START_MS)
    (letter,) = batch.letters
    assert (letter.reject.reason, letter.reject.data) == (Reason.NOT_JSON, b"\xff{")


def test_an_unknown_field_is_told_once() -> None:
    case = Case()
    assert (EventKind.FIELD_UNKNOWN, "z") in kinds(case.add(element("BTCUSD", 0, z=1)))
    assert kinds(case.add(element("BTCUSD", 1, z=1))) == []


@pytest.mark.parametrize(("state", "reason"), [(DOWN, "feed down"), (ADVANCING, "feed silent")])
def test_periods_that_nobody_had_are_one_gap_with_the_reason_of_the_witness(state: str, reason: str) -> None:
    case = Case(state)
    case.add(element("BTCUSD", 0), element("ETHUSD", 0))
    gap = only_gap(case.add(element("BTCUSD", 4), element("ETHUSD", 4)))
    assert (gap.about, gap.first_missing, gap.last_missing) == (EVERY_SYMBOL, START_MS + 1000, START_MS + 3000)
    assert (gap.periods, gap.reason, gap.time) == (3, reason, START_MS + 4000)


@pytest.mark.parametrize(("state", "reason"), [(JOURNAL_BOUND, "journal bound"), (NOT_RUNNING, "not running")])
def test_a_symbol_in_frames_of_its_own_misses_for_the_reason_that_its_frame_went(state: str, reason: str) -> None:
    case = Case(state)
    for symbol in ("BTCUSD", "ETHUSD"):
        case.add(element(symbol, 0))
    case.add(element("BTCUSD", 1))  # what came next was given up, or nobody was there
    case.add(element("BTCUSD", 2))
    gap = only_gap(case.add(element("ETHUSD", 2)))
    assert (gap.about, gap.first_missing, gap.periods, gap.reason) == ("ETHUSD", START_MS + SECOND, 1, reason)
    case.add(element("BTCUSD", 3), element("ETHUSD", 3, i=""))
    assert only_gap(case.add(element("BTCUSD", 4), element("ETHUSD", 4))).reason == "rejected"


def test_periods_that_only_others_had_are_a_gap_of_the_symbol() -> None:
    case = Case()
    case.add(element("BTCUSD", 0), element("ETHUSD", 0))
    case.add(element("BTCUSD", 1))
    case.add(element("BTCUSD", 2))
    gap = only_gap(case.add(element("BTCUSD", 3), element("ETHUSD", 3)))
    assert (gap.about, gap.first_missing, gap.last_missing) == ("ETHUSD", START_MS + 1000, START_MS + 2000)


def test_a_symbols_gap_leaves_out_what_was_missing_for_all() -> None:
    case = Case()
    case.add(element("BTCUSD", 0), element("ETHUSD", 0))
    case.add(element("BTCUSD", 1))
    case.add(element("BTCUSD", 3))
    gaps = [e for e in case.add(element("BTCUSD", 4), element("ETHUSD", 4)).events if e.kind is EventKind.GAP]
    assert [(gap.about, gap.first_missing, gap.periods) for gap in gaps] == [
        ("ETHUSD", START_MS + 1000, 1),
        ("ETHUSD", START_MS + 3000, 1),
    ]


def test_a_rejected_tick_is_a_gap_with_that_reason() -> None:
    case = Case()
    case.add(element("BTCUSD", 0), element("ETHUSD", 0))
    case.add(element("BTCUSD", 1), element("ETHUSD", 1, i=""))
    gap = only_gap(case.add(element("BTCUSD", 2), element("ETHUSD", 2)))
    assert (gap.about, gap.periods, gap.reason) == ("ETHUSD", 1, "rejected")


def test_a_symbol_that_goes_and_comes_back_is_no_gap() -> None:
    case = Case()
    case.add(element("BTCUSD", 0), element("ETHUSD", 0))
    seen = [pair for second in range(1, 70) for pair in kinds(case.add(element("BTCUSD", second)))]
    assert seen == [(EventKind.SYMBOL_VANISHED, "ETHUSD")]
    assert kinds(case.add(element("BTCUSD", 70), element("ETHUSD", 70))) == [(EventKind.SYMBOL_RETURNED, "ETHUSD")]
    assert kinds(case.add(element("NEWUSD", 71), element("BTCUSD", 71), element("ETHUSD", 71))) == [
        (EventKind.SYMBOL_APPEARED, "NEWUSD")
    ]


def test_a_symbol_whose_ticks_are_refused_has_not_gone() -> None:
    case = Case()
    case.add(element("BTCUSD", 0), element("ETHUSD", 0))
    for second in range(1, 100):
        assert kinds(case.add(element("BTCUSD", second), element("ETHUSD", second, i=""))) == []
    gap = only_gap(case.add(element("BTCUSD", 100), element("ETHUSD", 100)))
    assert (gap.about, gap.periods, gap.reason) == ("ETHUSD", 99, "rejected")


def test_a_restart_while_its_ticks_are_refused_does_not_hide_the_gap() -> None:
    case = Case()
    case.add(element("BTCUSD", 0), element("ETHUSD", 0))
    for second in range(1, 100):
        case.add(element("BTCUSD", second), element("ETHUSD", second, i=""))
    again = Case(history=case.history)
    assert kinds(again.add(element("BTCUSD", 100), element("ETHUSD", 100, i=""))) == []
    gap = only_gap(again.add(element("BTCUSD", 101), element("ETHUSD", 101)))
    assert (gap.about, gap.periods, gap.reason) == ("ETHUSD", 100, "rejected")


def test_an_outage_makes_no_symbol_vanish() -> None:
    case = Case(DOWN)
    case.add(element("BTCUSD", 0), element("ETHUSD", 0))
    assert kinds(case.add(element("BTCUSD", 300))) == [(EventKind.GAP, EVERY_SYMBOL)]
    assert kinds(case.add(element("ETHUSD", 300))) == []


def test_one_tick_ahead_of_its_frame_mutes_its_symbol_for_what_it_skipped_and_no_other() -> None:
    case = Case()
    case.add(element("BTCUSD", 0), element("ETHUSD", 0))
    batch = case.add(element("BTCUSD", 20), element("ETHUSD", 1), element("USDTUSD", 1), at_ms=START_MS + SECOND)
    gap = only_gap(batch)
    assert (gap.about, gap.periods, gap.reason) == ("BTCUSD", 19, "rejected")
    for second in range(2, 20):
        batch = case.add(element("BTCUSD", second), element("ETHUSD", second))
        assert [letter.reject.reason for letter in batch.letters] == [Reason.LATE]
        assert kinds(batch) == []
    batch = case.add(element("BTCUSD", 21), element("ETHUSD", 21))
    assert [record.symbol for record in batch.records] == ["BTCUSD", "ETHUSD"]
    assert [(event.about, event.periods) for event in batch.events] == [(EVERY_SYMBOL, 1)]


def test_one_tick_ahead_in_a_frame_of_its_own_mutes_its_symbol_for_what_it_skipped_and_no_other() -> None:
    case = Case()
    for symbol in ("BTCUSD", "ETHUSD"):
        case.add(element(symbol, 0))
    gap = only_gap(case.add(element("BTCUSD", 20), at_ms=START_MS + SECOND))
    assert (gap.about, gap.periods, gap.reason) == ("BTCUSD", 19, "rejected")
    for second in range(1, 21):
        assert kinds(case.add(element("ETHUSD", second))) == []
    for symbol in ("BTCUSD", "ETHUSD"):
        batch = case.add(element(symbol, 21))
        assert ([record.symbol for record in batch.records], kinds(batch)) == ([symbol], [])


def rest_row(symbol: str, second: float, price: str = "1.50000000") -> dict[str, Any]:
    names = {field.rest: field.wire for field in SCHEMA.content_fields}
    pushed = element(symbol, second, price)
    return {rest: pushed[wire] for rest, wire in names.items() if rest and wire}


def test_rest_rows_fill_periods_without_a_tick_and_give_way_to_ticks() -> None:
    case = Case()
    case.add(element("BTCUSD", 0))
    rows = json.dumps([rest_row("BTCUSD", 1.003)]).encode()
    batch = case.add_bytes(rows, at_ms=START_MS + 2000, origin=Origin.REST)
    (record,) = batch.records
    assert (record.event_time_ms, decoded(record.value)["origin"]) == (START_MS + 1003, "rest")
    again = json.dumps([rest_row("BTCUSD", 1.004, "1.60000000")]).encode()
    assert case.add_bytes(again, at_ms=START_MS + 2000, origin=Origin.REST).empty
    assert kinds(case.add(element("BTCUSD", 2))) == []


def test_an_unknown_field_that_was_told_in_a_lost_transaction_is_told_again() -> None:
    case = Case()
    lost = case.add(element("BTCUSD", 0, zz="1"))
    case.history.roll_back({})
    case.pipeline.history_loaded()
    assert (EventKind.FIELD_UNKNOWN, "zz") in kinds(lost)
    assert kinds(case.add(element("BTCUSD", 0, zz="1"))) == kinds(lost)
    assert kinds(case.add(element("BTCUSD", 1, zz="1"))) == []


def test_after_a_lost_transaction_the_same_frames_give_the_same_batch() -> None:
    case = Case()
    case.add(element("BTCUSD", 0), element("ETHUSD", 0))
    passed = {"BTCUSD": START_MS, "ETHUSD": START_MS}
    frames = [(element("BTCUSD", 3), element("ETHUSD", 3, i="")), (element("BTCUSD", 4), element("ETHUSD", 4))]
    lost = [case.add(*each) for each in frames]
    case.history.roll_back(passed)
    case.pipeline.history_loaded()
    again = [case.add(*each) for each in frames]
    assert [b.records for b in again] == [b.records for b in lost]
    assert [b.letters for b in again] == [b.letters for b in lost]
    assert [b.events for b in again] == [b.events for b in lost]


def test_a_frame_is_passed_when_the_topic_holds_all_its_symbols_at_their_time_or_later() -> None:
    case = Case()
    both = frame(json.dumps([element("BTCUSD", 1), element("ETHUSD", 1)]).encode(), START_MS)
    passage = case.pipeline.passage(both)
    assert not passage.passed(Oldest({"BTCUSD": START_MS + 1000}))
    assert not passage.passed(Oldest({"BTCUSD": START_MS + 1000, "ETHUSD": START_MS}))
    assert passage.passed(Oldest({"BTCUSD": START_MS + 1000, "ETHUSD": START_MS + 9000}))
    assert Passage(-1, ()).passed(Oldest({}))


def test_ticks_that_come_late_go_before_rows_that_were_asked_for_meanwhile() -> None:
    case = Case(rest_wait_s=20.0)

    def rows(second: float) -> Batch:
        return case.add_bytes(
            json.dumps([rest_row("BTCUSD", second)]).encode(), at_ms=START_MS + int(second * 1000), origin=Origin.REST
        )

    def seconds(batch: Batch) -> list[float]:
        return [(each - START_MS) / 1000 for each in batch.event_times_ms]

    case.add(element("BTCUSD", 0))
    for second in (2.003, 3.004, 4.005):
        assert rows(second).empty
    assert case.pipeline.holds_rows()
    assert seconds(case.add(element("BTCUSD", 1), at_ms=START_MS + 4500)) == [1.0], "from a buffer on the way"
    assert seconds(case.add(element("BTCUSD", 2), at_ms=START_MS + 4500)) == [2.0], "instead of the row of its period"
    late = case.add(element("BTCUSD", 5))
    assert seconds(late) == [3.004, 4.005, 5.0]
    assert (late.duplicates, late.letters) == (1, []), "the row of a period that has its tick"
    assert not case.pipeline.holds_rows()

    assert rows(6.0).empty
    batch = Batch()
    assert not case.pipeline.add_ripe_rows((START_MS + 25_000) * 1_000_000, batch)
    assert case.pipeline.add_ripe_rows((START_MS + 26_000) * 1_000_000, batch)
    assert seconds(batch) == [6.0]

    assert rows(7.0).empty
    case.pipeline.history_loaded()
    assert not case.pipeline.holds_rows(), "all frames will come again"


@pytest.mark.parametrize("with_ticks", [True, False])
def test_what_is_refused_of_rest_does_not_wait(with_ticks: bool) -> None:
    """Its frame may leave the journal, passed by ticks or without any, before the rows are written."""
    case = Case(rest_wait_s=20.0)
    bad = rest_row("ETHUSD", 1.003) | {"index": "x"}
    rows = [rest_row("BTCUSD", 1.003)] * with_ticks + [bad]
    batch = case.add_bytes(json.dumps(rows).encode(), at_ms=START_MS, origin=Origin.REST)
    assert [letter.reject.symbol for letter in batch.letters] == ["ETHUSD"]
    assert batch.values == []
    assert case.pipeline.holds_rows() is with_ticks
    later = case.add(element("BTCUSD", 2))
    assert (later.symbols, later.letters) == (["BTCUSD"] * (1 + with_ticks), [])


def test_a_hole_is_where_periods_are_missing_before_what_most_ticks_of_a_frame_say() -> None:
    case = Case()

    def leaves_hole(*elements: dict[str, Any]) -> bool:
        return case.pipeline.leaves_hole(case.pipeline.passage(frame(json.dumps(elements).encode(), elements[0]["E"])))

    assert not leaves_hole(element("BTCUSD", 5)), "before the first tick there is nothing to miss"
    case.add(element("BTCUSD", 0), element("ETHUSD", 0))
    assert not leaves_hole(element("BTCUSD", 1.999))
    assert leaves_hole(element("BTCUSD", 2))
    assert not leaves_hole(element("BTCUSD", 21), element("ETHUSD", 1), element("USDTUSD", 1))
    assert leaves_hole(element("BTCUSD", 1), element("ETHUSD", 2), element("USDTUSD", 2))
    assert not case.pipeline.leaves_hole(Passage(-1, ()))


def test_a_rest_row_is_passed_by_a_tick_of_its_period() -> None:
    row = frame(json.dumps([rest_row("BTCUSD", 1.003)]).encode(), START_MS, Origin.REST)
    assert Case().pipeline.passage(row).passed(Oldest({"BTCUSD": START_MS + 1000}))


def test_a_symbol_that_has_gone_gets_a_tombstone_behind_the_records_before_it() -> None:
    case = Case(tombstone_after_ms=90_000)
    case.pipeline.latest_loaded(Held({}, {}))
    batch = Batch()
    case.add_to(batch, element("OLDUSD", 0), element("BTCUSD", 0))
    for second in range(1, 100):
        case.add_to(batch, element("BTCUSD", second))
    (tombstone,) = batch.tombstones
    assert (tombstone.symbol, tombstone.newest_ms) == ("OLDUSD", START_MS)
    assert START_MS + 90_000 <= tombstone.event_time_ms < START_MS + 100_000
    assert not batch.empty

    case.add_to(batch, element("OLDUSD", 100), element("BTCUSD", 100))
    assert batch.tombstones == [], "in this transaction it has returned already"
    assert len(batch.due) == 1


def test_without_a_compacted_topic_there_are_no_tombstones() -> None:
    case = Case()
    case.pipeline.latest_loaded(Held({}, {}))
    batch = Batch()
    case.add_to(batch, element("OLDUSD", 0), element("BTCUSD", 0))
    for second in range(1, 200):
        case.add_to(batch, element("BTCUSD", second))
    assert batch.due == []


def test_a_history_read_anew_makes_no_tombstone_before_the_compacted_topic_was_read_too() -> None:
    case = Case(tombstone_after_ms=90_000)
    case.pipeline.latest_loaded(Held({}, {}))
    case.add(element("OLDUSD", 0), element("BTCUSD", 0))
    case.pipeline.history_loaded()
    batch = Batch()
    for second in range(1, 200):
        case.add_to(batch, element("BTCUSD", second))
    assert batch.due == []
    case.pipeline.latest_loaded(Held({"OLDUSD": START_MS}, {}))
    assert [each.symbol for each in case.add(element("BTCUSD", 200)).due] == ["OLDUSD"]


@pytest.mark.parametrize("known", [True, False])
def test_a_tick_that_the_topic_has_gone_on_without_is_a_letter_of_whoever_had_it(known: bool) -> None:
    case = Case()
    case.add(element("BTCUSD", 0), *[element("GONEUSD", 0)] * known)
    case.add(element("BTCUSD", 700))
    alone = frame(json.dumps([element("BTCUSD", 0), element("GONEUSD", 1)]).encode(), START_MS)
    assert case.pipeline.is_overtaken(case.pipeline.passage(alone))
    (letter,) = case.pipeline.overtaken(alone)
    assert (letter.reject.reason, letter.reject.symbol) == (Reason.LATE, "GONEUSD")
    assert f"gone on to {START_MS + 700 * SECOND} without it" in letter.reject.detail
    held = frame(json.dumps([element("BTCUSD", 0)]).encode(), START_MS)
    assert not case.pipeline.is_overtaken(case.pipeline.passage(held))


def test_rows_from_rest_that_the_topic_has_gone_on_without_are_letters_too() -> None:
    case = Case()
    case.add(element("BTCUSD", 0), element("ETHUSD", 0))
    case.add(element("BTCUSD", 700))
    rows = json.dumps([rest_row("BTCUSD", 0.003), rest_row("ETHUSD", 0.004), rest_row("ETHUSD", 1.003)]).encode()
    given_up = frame(rows, START_MS + 2000, Origin.REST)
    assert case.pipeline.is_overtaken(case.pipeline.passage(given_up))
    assert [letter.reject.symbol for letter in case.pipeline.overtaken(given_up)] == ["ETHUSD"]
