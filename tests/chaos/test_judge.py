"""The judge sees every kind of defect, on its own and through a real broker and registry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import confluent_kafka
import pytest

from tests.judge import REST_NAMES, WIRE_NAMES, Judge, Observed, Sent, Verdict, java_partition, murmur2

START_MS = 1_791_285_204_000
PARTITIONS = 6
SYMBOLS = ("BTCUSD", "USDTUSD", "USD1USD")


def sent() -> Iterator[Sent]:
    for step in range(10):
        for symbol in SYMBOLS:
            element = {wire: f"{step + place}.01000000" for place, wire in enumerate(WIRE_NAMES.values())}
            yield Sent(symbol, START_MS + 200 * step, element)


def record_of(tick: Sent, offset: int) -> Observed:
    value: dict[str, Any] = {name: Decimal(tick.element[wire]) for name, wire in WIRE_NAMES.items()}
    value |= {"symbol": tick.symbol, "origin": "websocket"}
    value["event_time"] = datetime.fromtimestamp(tick.event_time_ms / 1000, UTC)
    value["received_time"] = value["event_time"] + timedelta(milliseconds=31)
    return Observed(
        partition=java_partition(tick.symbol.encode(), PARTITIONS),
        offset=offset,
        key=tick.symbol.encode(),
        timestamp_ms=tick.event_time_ms,
        timestamp_is_create_time=True,
        headers=0,
        value=value,
    )


def honest() -> list[Observed]:
    return [record_of(tick, offset) for offset, tick in enumerate(sent())]


def judged(records: list[Observed]) -> Verdict:
    judge = Judge(sent(), [PARTITIONS])
    for record in records:
        judge.take(record)
    return judge.verdict()


def with_value(record: Observed, **fields: object) -> Observed:
    return replace(record, value={**record.value, **fields})


def test_murmur2_is_javas() -> None:
    keys = [bytes(range(200, 200 + length)) for length in range(40)] + [name.encode() for name in SYMBOLS]
    for key in keys:
        assert java_partition(key, 1 << 20) == confluent_kafka.murmur2(key, 1 << 20)
    # Three of the vectors in Kafka's own UtilsTest, which are signed there.
    for text, signed in (("21", -973932308), ("foobar", -790332482), ("a-little-bit-long-string", -985981536)):
        assert murmur2(text.encode()) == signed & 0xFFFFFFFF


def test_honest_records_are_clean() -> None:
    verdict = judged(honest())
    assert verdict.clean
    assert (verdict.sent, verdict.records, verdict.lost) == (30, 30, 0)


def test_notation_of_a_decimal_does_not_matter() -> None:
    records = honest()
    records[4] = with_value(records[4], index_price=records[4].value["index_price"].normalize())
    assert judged(records).clean


def test_lost_is_named() -> None:
    records = honest()
    gone = records.pop(7)
    verdict = judged(records)
    assert (verdict.lost, verdict.faults, verdict.clean) == (1, {}, False)
    assert verdict.missing == {gone.value["symbol"]: (gone.timestamp_ms,)}


@pytest.mark.parametrize("name", WIRE_NAMES)
def test_one_digit_altered(name: str) -> None:
    records = honest()
    records[11] = with_value(records[11], **{name: records[11].value[name] + Decimal("0.00000001")})
    assert judged(records).faults == {"altered": 1}


def test_values_of_two_fields_swapped() -> None:
    records = honest()
    value = records[11].value
    records[11] = with_value(records[11], bid_rate=value["ask_rate"], ask_rate=value["bid_rate"])
    assert judged(records).faults == {"altered": 1}


def test_duplicate_next_to_its_twin() -> None:
    records = honest()
    assert judged([*records, records[-1]]).faults == {"duplicates": 1}


def test_duplicate_far_from_its_twin_is_also_out_of_order() -> None:
    records = honest()
    assert judged([*records, records[0], records[0]]).faults == {"duplicates": 2, "out_of_order": 2}


def test_out_of_order() -> None:
    records = honest()
    records[0], records[3] = records[3], records[0]
    assert judged(records).faults == {"out_of_order": 1}


def test_frame_of_the_record() -> None:
    records = honest()
    records[1] = replace(records[1], partition=(records[1].partition + 1) % PARTITIONS)
    records[2] = replace(records[2], timestamp_ms=records[2].timestamp_ms + 1)
    records[3] = replace(records[3], timestamp_is_create_time=False)
    records[4] = replace(records[4], key=b"\x00\x00\x00\x00\x01" + SYMBOLS[1].encode())
    records[5] = replace(records[5], headers=1)
    assert judged(records).faults == {"wrong_key": 1, "wrong_partition": 1, "wrong_timestamp": 2, "with_headers": 1}


def test_invented() -> None:
    records = honest()
    later = record_of(replace(next(sent()), event_time_ms=START_MS + 90_000), 99)
    stranger = record_of(replace(next(sent()), symbol="XYZUSD"), 100)
    assert judged([*records, later, stranger]).faults == {"invented": 2}


def test_filled_by_rest_is_held_against_what_rest_answered() -> None:
    row = Sent("BTCUSD", START_MS + 90_001, dict.fromkeys(REST_NAMES.values(), "1.5"), by_rest=True)
    value = {name: Decimal("1.50000000") for name in REST_NAMES}
    filled = with_value(record_of(replace(next(sent()), event_time_ms=row.event_time_ms), 99), origin="rest", **value)
    judge = Judge([*sent(), row], [PARTITIONS])
    for record in (*honest(), filled):
        judge.take(record)
    verdict = judge.verdict()
    assert (verdict.clean, verdict.filled, verdict.records, verdict.lost) == (True, 1, 31, 0)
    assert judged([*honest(), filled]).faults == {"invented": 1}
    judge.take(with_value(filled, bid_rate=Decimal(2)))
    assert judge.verdict().faults == {"duplicates": 1, "altered": 1}


def test_when_a_frame_was_read_is_seen() -> None:
    records = honest()
    assert judged(records).read_late_max_s == 0.031
    records[9] = with_value(records[9], received_time=records[9].value["event_time"] + timedelta(seconds=7))
    assert judged(records).read_late_max_s == 7.0
