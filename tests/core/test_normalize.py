"""Input to outcome, row by row; then any input at all, both ways of reading, and other streams than our own."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest import mock

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core import normalize as normalize_module
from connector.core.element_reader import Window
from connector.core.envelope import Acknowledged, Data, Refused, ServerShutdown
from connector.core.normalize import Normalizer
from connector.core.schema import StreamSchema, parse_schema
from connector.core.structs import ElementDecoder
from connector.core.values import Frame, Normalized, Origin, Reason, Reject, Tick

ROOT = Path(__file__).parent.parent.parent
SAMPLES = ROOT / "tests" / "samples"
OTHERS = SAMPLES / "other_streams"
NOW_MS = 1_791_285_204_000
STREAM = "asked@for"


def load(path: Path) -> StreamSchema:
    return parse_schema(path.read_text(encoding="utf-8"), path.name)


SCHEMA = load(ROOT / "schemas" / "asset_index.avsc")
NORMALIZER = Normalizer(SCHEMA, ahead_ms=30_000, behind_ms=600_000)
GOOD: dict[str, Any] = json.loads((SAMPLES / "asset_index.jsonl").read_bytes().splitlines()[0])[0]
DECIMAL_KEYS = [key for key in GOOD if key not in "eEs"]


def frame(data: bytes, origin: Origin = Origin.WEBSOCKET, received_ms: int = NOW_MS) -> Frame:
    return Frame(data, received_ms * 1_000_000 + 999_999, "ws-1", STREAM, origin)


def normalize(message: object, **options: Any) -> Normalized:
    return NORMALIZER.normalize(frame(as_json(message), **options))


def as_json(message: object) -> bytes:
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


def element(**changes: Any) -> dict[str, Any]:
    """A good element with keys changed; None in place of a value is null, ``...`` leaves the key out."""
    return {key: value for key, value in {**GOOD, **changes}.items() if value is not ...}


def named(symbol: str, **changes: Any) -> dict[str, Any]:
    return element(s=symbol, **changes)


def record(tick: Tick, schema: StreamSchema = SCHEMA) -> dict[str, Any]:
    """What a reader of the topic gets; fastavro's own reading, not ours."""
    value = tick.content + b"\x00\x00"  # received at 0, by way of nothing
    read: Any = fastavro.schemaless_reader(BytesIO(value), schema.parsed, None)
    return dict(read)


def the_reject(normalized: Normalized) -> Reject:
    assert len(normalized.rejects) == 1
    return normalized.rejects[0]


# Records


def test_an_element_as_documented() -> None:
    normalized = normalize([GOOD])
    assert normalized.rejects == ()
    assert normalized.unknown_fields == frozenset()
    assert normalized.stream == STREAM
    (tick,) = normalized.ticks
    assert (tick.symbol, tick.event_time_ms, tick.position) == ("BTCUSD", NOW_MS, 0)
    read = record(tick)
    assert read["symbol"] == "BTCUSD"
    assert read["event_time"].timestamp() * 1000 == NOW_MS
    for spec in SCHEMA.content_fields[2:]:
        assert read[spec.name] == Decimal(GOOD[str(spec.wire)])


@pytest.mark.parametrize(
    ("message", "stream"),
    [
        (GOOD, STREAM),
        ([GOOD], STREAM),
        ({"stream": "!assetIndex@arr", "data": [GOOD]}, "!assetIndex@arr"),
        ({"stream": "btcusd@assetIndex", "data": GOOD}, "btcusd@assetIndex"),
        ({"data": GOOD, "stream": "btcusd@assetIndex"}, "btcusd@assetIndex"),
        ({"stream": "", "data": GOOD}, STREAM),
        ({"stream": "x", "data": GOOD, "more": 1}, "x"),
    ],
)
@pytest.mark.parametrize("separators", [(",", ":"), (" , ", " : ")])
def test_every_shape_of_a_message(message: object, stream: str, separators: tuple[str, str]) -> None:
    data = json.dumps(message, separators=separators).encode()
    normalized = NORMALIZER.normalize(frame(data))
    assert normalized == Normalized(normalize([GOOD]).ticks, (), stream)
    assert NORMALIZER.inspect(data) == Data("" if stream == STREAM else stream, NOW_MS, 1)


@pytest.mark.parametrize("name", ["asset_index.jsonl", "asset_index.rest.jsonl"])
def test_the_samples(name: str) -> None:
    origin = Origin.REST if ".rest." in name else Origin.WEBSOCKET
    for line in (SAMPLES / name).read_bytes().splitlines():
        normalized = NORMALIZER.normalize(frame(line, origin))
        assert normalized.ticks
        assert (normalized.rejects, normalized.unknown_fields) == ((), frozenset())


def test_rest_rows_are_the_same_ticks() -> None:
    row = {str(spec.rest): GOOD[str(spec.wire)] for spec in SCHEMA.content_fields}
    for message in ([row], row):
        assert normalize(message, origin=Origin.REST) == normalize([GOOD])
    missing = the_reject(normalize([{**row, "index": None}], origin=Origin.REST))
    assert (missing.reason, missing.field, missing.symbol) == (Reason.NULL, "index_price", "BTCUSD")
    assert normalize({"code": -1121, "msg": "Invalid symbol."}, origin=Origin.REST) == Normalized((), (), STREAM)
    assert normalize([row]).ticks == ()
    assert normalize([GOOD], origin=Origin.REST).ticks == ()


def test_an_empty_array_is_nothing() -> None:
    messages: list[object] = [[], {"stream": STREAM, "data": []}]
    for message in messages:
        assert normalize(message) == Normalized((), (), STREAM)
        assert NORMALIZER.inspect(as_json(message)) == Data(STREAM if message else "", None, 0)


def test_the_last_of_two_same_keys_counts() -> None:
    data = as_json([GOOD]).replace(b'"i":', b'"i":"7","i":')
    assert NORMALIZER.normalize(frame(data)).ticks == normalize([GOOD]).ticks
    spoilt = as_json([GOOD]).replace(b'"i":', b'"i":"x","i":')
    assert NORMALIZER.normalize(frame(spoilt)).ticks == normalize([GOOD]).ticks
    spoilt = as_json([GOOD]).replace(b'"G":', b'"i":"x","G":')
    assert the_reject(NORMALIZER.normalize(frame(spoilt))).reason is Reason.NOT_A_DECIMAL


# Unknown fields


def test_unknown_fields_are_named_and_do_no_harm() -> None:
    more = [named("A", st=1), named("B", st=2, x={"y": [1]})]
    for _ in range(2):
        normalized = normalize(more)
        assert normalized.unknown_fields == {"st", "x"}
        assert len(normalized.ticks) == 2
    assert normalize([*more, named("C", i="")]).unknown_fields == {"st", "x"}
    assert normalize([GOOD]).unknown_fields == frozenset()


def test_an_unknown_field_of_one_element_in_many_is_seen() -> None:
    many = [named(f"A{number}") for number in range(300)]
    many[177]["new"] = True
    assert normalize(many).unknown_fields == {"new"}


def test_a_renamed_field_is_both_missing_and_unknown() -> None:
    normalized = normalize([element(i=..., index=GOOD["i"])])
    assert the_reject(normalized).field == "index_price"
    assert normalized.unknown_fields == {"index"}


def test_elements_of_another_kind_say_nothing_of_the_fields() -> None:
    assert normalize([{"e": "markPriceUpdate", "ap": "1"}, 7, {"nothing": 1}]).unknown_fields == frozenset()


def test_unknown_fields_are_bounded() -> None:
    normalized = normalize([element(**{f"{number:0200}": 1 for number in range(1000)})])
    assert len(normalized.unknown_fields) <= 32
    assert max(map(len, normalized.unknown_fields)) <= 64


def test_an_unknown_field_with_half_a_character_in_its_name_can_be_written() -> None:
    data = json.dumps([element(**{"\ud800x": 1})]).encode()
    normalized = NORMALIZER.normalize(frame(data))
    assert len(normalized.ticks) == 1
    assert normalized.unknown_fields == {"?x"}


def test_tiny_elements_without_end_are_one_reject() -> None:
    tiny = b"[" + b",".join([b"5"] * 1_000_000) + b"]"
    reject = the_reject(NORMALIZER.normalize(frame(tiny)))
    assert (reject.reason, reject.data) == (Reason.NOT_JSON, tiny)
    assert "elements" in reject.detail
    assert NORMALIZER.inspect(tiny) == Data("", None, 0)


# Frames that cannot be read


@pytest.mark.parametrize(
    "data",
    [
        b"", b"not json", b"7", b"null", b'"text"', b"true", b"{}", b"[", as_json([GOOD])[:-1], b"[" * 20_000,
        b"[" * 20_000 + b"]" * 20_000, b'{"a":' * 20_000, as_json(GOOD).replace(b"BTC", b"B\xffC"),
        b'[{"deep":' + b"[" * 20_000 + b"]" * 20_000 + b"}]", as_json([GOOD]).replace(b'"}', b'","new":"\xff"}'),
        b"\xef\xbb\xbf" + as_json([GOOD]), as_json([GOOD]) + b"]", b"[[]]", b"[null]", b'[{"stream":1}]',
        b'{"stream":"x"}', b'{"stream":"x","data":7}',
    ],
    ids=lambda data: repr(data[:24]),
)  # fmt: skip
def test_one_reject_and_no_more(data: bytes) -> None:
    normalized = NORMALIZER.normalize(frame(data))
    assert normalized.ticks == ()
    reject = the_reject(normalized)
    assert reject.reason in (Reason.NOT_JSON, Reason.NOT_AN_ELEMENT, Reason.MISSING)
    assert reject.data in data
    assert reject.detail
    assert isinstance(NORMALIZER.inspect(data), Data)
    assert NORMALIZER.normalize(frame(as_json([GOOD]))).rejects == ()


# Control messages


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"result": None, "id": 1}, Acknowledged(1)),
        ({"code": 2, "msg": "Invalid request"}, Refused(2, "Invalid request")),
        ({"error": {"code": 2, "msg": "no"}, "id": 1}, Refused(2, "no")),
        ({"e": "serverShutdown"}, ServerShutdown()),
        ({"event": {"e": "serverShutdown", "E": NOW_MS}}, ServerShutdown()),
    ],
)
def test_control_messages_are_never_rejects(message: object, expected: object) -> None:
    assert normalize(message) == Normalized((), (), STREAM)
    assert NORMALIZER.inspect(as_json(message)) == expected


# Elements that do not fit


NOT_DECIMALS = [
    "1_000", " 5 ", "+1", "٣", "NaN", "Infinity", "-Infinity", "0x1", "1,5", "x", "--1", "1.", ".5", "\ud800",
]  # fmt: skip
BAD_ELEMENTS: list[tuple[object, Reason, str, str]] = [
    (element(i=...), Reason.MISSING, "index_price", "index_price is missing"),
    (element(q=...), Reason.MISSING, "auto_exchange_bid_buffer", "auto_exchange_bid_buffer is missing"),
    (element(e=...), Reason.MISSING, "e", "is missing: it is the event type"),
    (element(s=...), Reason.MISSING, "symbol", "is missing"),
    (element(E=...), Reason.MISSING, "event_time", "is missing"),
    (element(i=None), Reason.NULL, "index_price", "is null"),
    (element(s=None), Reason.NULL, "symbol", "is null"),
    (element(E=None), Reason.NULL, "event_time", "is null"),
    (element(i=""), Reason.EMPTY, "index_price", "is empty text"),
    (element(s=""), Reason.EMPTY, "symbol", "is empty text"),
    *[(element(i=text), Reason.NOT_A_DECIMAL, "index_price", "is not a decimal") for text in NOT_DECIMALS],
    (element(i=float("nan")), Reason.NOT_A_DECIMAL, "index_price", "NaN"),
    (element(i=float("inf")), Reason.NOT_A_DECIMAL, "index_price", "Infinity"),
    (element(i=float("-inf")), Reason.NOT_A_DECIMAL, "index_price", "-Infinity"),
    (element(i="0.123456789"), Reason.SCALE, "index_price", "more than 8 digits after the point"),
    (element(G="0.000000001"), Reason.SCALE, "auto_exchange_ask_rate", "more than 8 digits after the point"),
    (element(i=1e-9), Reason.SCALE, "index_price", "more than 8 digits"),
    (element(i="12345678901.00000000"), Reason.PRECISION, "index_price", "more than 18 digits"),
    (element(i=10**10), Reason.PRECISION, "index_price", "more than 18 digits"),
    (element(i=10**4000), Reason.PRECISION, "index_price", "more than 18 digits"),
    (element(i="1e400"), Reason.PRECISION, "index_price", "more than 18 digits"),
    (element(i=True), Reason.TYPE, "index_price", "is a boolean, not a decimal"),
    (element(i={}), Reason.TYPE, "index_price", "is an object, not a decimal"),
    (element(i=["1"]), Reason.TYPE, "index_price", "is an array, not a decimal"),
    (element(s=7), Reason.TYPE, "symbol", "is a number, not text"),
    (element(s=["A"]), Reason.TYPE, "symbol", "is an array, not text"),
    (element(s="A" * 65), Reason.TYPE, "symbol", "has 65 characters"),
    (element(s="A\nB"), Reason.TYPE, "symbol", "cannot be shown"),
    (element(s="A\x00"), Reason.TYPE, "symbol", "cannot be shown"),
    (element(e="markPriceUpdate"), Reason.EVENT_TYPE, "e", "is 'markPriceUpdate', not the event type"),
    (element(e=7), Reason.EVENT_TYPE, "e", "is a number, not the event type"),
    (element(e=None), Reason.EVENT_TYPE, "e", "is null, not the event type"),
    (element(E=str(NOW_MS)), Reason.TYPE, "event_time", "is text, not an integer"),
    (element(E=True), Reason.TYPE, "event_time", "is a boolean, not an integer"),
    (element(E=float(NOW_MS)), Reason.TYPE, "event_time", "is '1791285204000.0', not an integer"),
    (element(E=NOW_MS * 1000), Reason.EVENT_TIME, "event_time", "is not a time in milliseconds"),
    (element(E=NOW_MS * 10**6), Reason.EVENT_TIME, "event_time", "is not a time in milliseconds"),
    (element(E=-NOW_MS), Reason.EVENT_TIME, "event_time", "is not a time in milliseconds"),
    (element(E=NOW_MS // 1000), Reason.EVENT_TIME, "event_time", "s behind the receive time"),
    (element(E=NOW_MS + 30_001), Reason.EVENT_TIME, "event_time", "is 30.0 s ahead of the receive time"),
    (element(E=NOW_MS + 3_600_000), Reason.EVENT_TIME, "event_time", "is 3600.0 s ahead of the receive time"),
    (element(E=NOW_MS - 600_001), Reason.EVENT_TIME, "event_time", "is 600.0 s behind the receive time"),
    (element(E=10**30), Reason.TYPE, "event_time", "does not fit 64 bits"),
    (element(E=10**4000), Reason.TYPE, "event_time", "not an integer"),
    (7, Reason.NOT_AN_ELEMENT, "", "the element is a number, not an object"),
    ("text", Reason.NOT_AN_ELEMENT, "", "is text, not an object"),
    (None, Reason.NOT_AN_ELEMENT, "", "is null, not an object"),
    (True, Reason.NOT_AN_ELEMENT, "", "is a boolean, not an object"),
    ([GOOD], Reason.NOT_AN_ELEMENT, "", "is an array, not an object"),
    ({}, Reason.MISSING, "e", "is missing"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("bad", "reason", "field", "detail"),
    BAD_ELEMENTS,
    ids=[f"{case[1]}-{case[3]}-{n}" for n, case in enumerate(BAD_ELEMENTS)],
)
def test_a_bad_element_is_a_reject_and_its_neighbours_are_records(
    bad: object, reason: Reason, field: str, detail: str
) -> None:
    # As json.dumps would have it, so that lone surrogates are escapes and not broken UTF-8.
    data = json.dumps([named("FIRST"), bad, named("LAST")]).encode()
    normalized = NORMALIZER.normalize(frame(data))
    assert [(tick.symbol, tick.position) for tick in normalized.ticks] == [("FIRST", 0), ("LAST", 2)]
    reject = the_reject(normalized)
    assert (reject.reason, reject.field, reject.stream) == (reason, field, STREAM)
    assert detail in reject.detail
    assert len(reject.detail) < 250
    assert reject.data == json.dumps(bad).encode() == NORMALIZER.element(frame(data), 1)
    readable = isinstance(bad, dict) and bad and field != "symbol"
    assert reject.symbol == ("BTCUSD" if readable else "")
    for text in (reject.detail, reject.field, reject.symbol):
        text.encode()


def test_a_bare_lone_surrogate_is_broken_utf8() -> None:
    assert the_reject(normalize([named("\ud800")])).reason is Reason.NOT_JSON


def test_an_escaped_lone_surrogate_is_a_reject_of_its_element() -> None:
    data = json.dumps([named("A"), named("\ud800"), named("B", new="\udfff")]).encode()
    normalized = NORMALIZER.normalize(frame(data))
    assert [tick.symbol for tick in normalized.ticks] == ["A", "B"]
    assert (the_reject(normalized).reason, the_reject(normalized).field) == (Reason.TYPE, "symbol")


@pytest.mark.parametrize(
    ("value", "expected"),
    [("7", "7"), ("0.05", "0.05"), ("0.100000000", "0.1"), ("-0", "0"), ("1e-3", "0.001"), ("12.5E1", "125"),
     (7, "7"), (0.05, "0.05"), (1e-8, "0.00000001"), (9999999999.0, "9999999999"), ("9999999999.99999999",) * 2],
)  # fmt: skip
def test_a_decimal_in_another_form_is_exact(value: object, expected: str) -> None:
    (tick,) = normalize([element(i=value)]).ticks
    assert record(tick)["index_price"] == Decimal(expected)


def test_a_number_with_more_digits_than_a_float_has() -> None:
    data = as_json([GOOD]).replace(b'"i":"%s"' % GOOD["i"].encode(), b'"i":9999999999.99999999')
    (tick,) = NORMALIZER.normalize(frame(data)).ticks
    assert record(tick)["index_price"] == Decimal("9999999999.99999999")


def test_symbols_that_are_not_ascii() -> None:
    (tick,) = normalize([named("币安人生USD")]).ticks
    assert (tick.symbol, record(tick)["symbol"]) == ("币安人生USD", "币安人生USD")


# Event time


@pytest.mark.parametrize("offset_ms", [30_000, 0, -600_000])
def test_the_ends_of_the_window_belong_to_it(offset_ms: int) -> None:
    assert len(normalize([element(E=NOW_MS + offset_ms)]).ticks) == 1


def test_where_every_tick_is_out_of_the_window_a_clock_is_off() -> None:
    skewed = normalize([named("A"), named("B")], received_ms=NOW_MS - 3_600_000)
    assert [reject.reason for reject in skewed.rejects] == [Reason.EVENT_TIME] * 2
    for reject in skewed.rejects:
        assert "3600.0 s ahead of the receive time" in reject.detail
        assert "a clock is off, this machine's or the exchange's" in reject.detail
        assert "time server" in reject.detail, "how to tell"
    one_of_two = normalize([named("A"), named("B", E=NOW_MS + 3_600_000)])
    assert "clock" not in the_reject(one_of_two).detail


def test_without_a_window_only_absurd_times_are_refused() -> None:
    replay = Normalizer(SCHEMA, ahead_ms=None, behind_ms=None)
    elements = [
        element(E=time) for time in (0, 1, NOW_MS, NOW_MS + 10**12, 9_999_999_999_999, -1, 10**13, NOW_MS * 1000)
    ]
    normalized = replay.normalize(frame(as_json(elements)))
    assert [tick.position for tick in normalized.ticks] == [0, 1, 2, 3, 4]
    assert {reject.reason for reject in normalized.rejects} == {Reason.EVENT_TIME}


@pytest.mark.parametrize(("ahead_ms", "behind_ms", "index"), [(None, 1000, 1), (1000, None, 0)])
def test_one_end_of_the_window_switched_off(ahead_ms: int | None, behind_ms: int | None, index: int) -> None:
    normalizer = Normalizer(SCHEMA, ahead_ms=ahead_ms, behind_ms=behind_ms)
    elements = [element(E=NOW_MS - 10**9), element(E=NOW_MS + 10**9)]
    assert [tick.position for tick in normalizer.normalize(frame(as_json(elements))).ticks] == [index]


# Inspect


def test_inspect_gives_the_newest_event_time() -> None:
    times = [NOW_MS, NOW_MS + 1000, NOW_MS - 1000]
    good = [element(E=time) for time in times]
    assert NORMALIZER.inspect(as_json(good)) == Data("", NOW_MS + 1000, 3)
    assert NORMALIZER.inspect(as_json([*good, element(E=-1), element(E=10**30)])) == Data("", NOW_MS + 1000, 5)
    assert NORMALIZER.inspect(as_json(element(E=-1))) == Data("", None, 1)
    bad = [{"e": "other", "E": NOW_MS + 9999}, element(E="9"), element(E=10**14), 7, element(e=..., E=NOW_MS + 7)]
    assert NORMALIZER.inspect(as_json(good + bad)) == Data("", NOW_MS + 1000, 8)
    assert NORMALIZER.inspect(as_json({"stream": "x", "data": bad})) == Data("x", None, 5)


def test_element_of_what_has_no_such_element() -> None:
    for data in (b"nothing", as_json([GOOD]), as_json({"result": None, "id": 1})):
        assert NORMALIZER.element(frame(data), 1) == data
    assert NORMALIZER.element(frame(as_json({"stream": "x", "data": GOOD})), 0) == as_json(GOOD)


# Both ways, one outcome


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
DECIMAL_TEXTS = st.decimals(-(10**11), 10**11, allow_nan=False, places=9).map(lambda number: f"{number:f}")
GOOD_DECIMALS = st.integers(0, 10**18 - 1).map(lambda value: f"{Decimal(value).scaleb(-8):.8f}")
SPOILERS = (
    JSON_VALUES
    | DECIMAL_TEXTS
    | GOOD_DECIMALS
    | st.sampled_from(["", "1_0", "٣.00000000", "0.1", "-0.00000001", "1e-8", "\ud800", 10**400, "A" * 65, NOW_MS])
    | st.integers(NOW_MS - 700_000, NOW_MS + 60_000)
    | st.just(...)
)


@st.composite
def elements(draw: st.DrawFn) -> object:
    """Mostly good, or spoilt in one place or two."""
    made = element(
        **{key: draw(GOOD_DECIMALS) for key in DECIMAL_KEYS}, s=draw(st.sampled_from(["A", "B", "币", "C\\", '"']))
    )
    if draw(st.booleans()):
        made.update(draw(st.dictionaries(st.sampled_from([*GOOD, "new"]), SPOILERS, max_size=2)))
    return (
        {key: value for key, value in made.items() if value is not ...}
        if draw(st.integers(0, 9))
        else draw(JSON_VALUES)
    )


def both_ways(normalizer: Normalizer, given_frame: Frame) -> Normalized:
    """What the careful way says; where the fast one takes the frame at all, it must say the same."""
    shape = normalizer._shapes[given_frame.origin]
    window = Window.around(given_frame.received_at_ns // 1_000_000, 600_000, 30_000)
    fast, careful = shape.fast(given_frame, window), shape.careful(given_frame, window)
    assert fast is None or fast == careful
    assert (fast is None) <= bool(careful.rejects or is_unusual(given_frame.data, careful)), "the fast way is too shy"
    assert normalizer.normalize(given_frame) == careful
    return careful


def is_unusual(data: bytes, careful: Normalized) -> bool:
    """A good frame that yet is for the careful way: no element, or values in a form that msgspec objects to."""
    return (
        not careful.ticks
        or any(isinstance(found, int | float) for found in decimals_in(json.loads(data)))
        or b"\\ud" in data
    )


def decimals_in(message: Any) -> Iterable[object]:
    found = message["data"] if isinstance(message, dict) and "data" in message else message
    for each in found if isinstance(found, list) else [found]:
        yield from (each.get(key) for key in DECIMAL_KEYS)


PIECE_SIZES = st.sampled_from([normalize_module.PIECE_BYTES, 1, 100, 300])


def in_pieces_of(about_bytes: int) -> AbstractContextManager[object]:
    """What is larger counts as large; 1: it is cut wherever it can be."""
    return mock.patch.object(normalize_module, "PIECE_BYTES", about_bytes)


@given(st.lists(elements(), max_size=8), st.sampled_from([None, "x", ""]), st.booleans(), st.booleans(), PIECE_SIZES)
def test_both_ways_agree(
    message: list[object], stream: str | None, escaped: bool, alone: bool, about_bytes: int
) -> None:
    body: object = message[0] if alone and len(message) == 1 else message
    document = body if stream is None else {"stream": stream, "data": body}
    data = json.dumps(document, separators=(",", ":"), ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    with in_pieces_of(about_bytes):
        normalized = both_ways(Normalizer(SCHEMA, ahead_ms=30_000, behind_ms=600_000), frame(data))
    if isinstance(body, list) and not any(reject.reason is Reason.NOT_JSON for reject in normalized.rejects):
        assert len(normalized.ticks) + len(normalized.rejects) == len(body)
        for tick in normalized.ticks:
            sent: Any = body[tick.position]
            read = record(tick)
            assert tick.symbol == read["symbol"] == sent["s"]
            assert tick.event_time_ms == sent["E"]
            for spec in SCHEMA.content_fields[2:]:
                assert read[spec.name] == Decimal(str(sent[str(spec.wire)]))


@given(st.lists(st.tuples(st.lists(elements(), max_size=4), PIECE_SIZES), max_size=5))
def test_what_came_before_does_not_matter(messages: list[tuple[list[object], int]]) -> None:
    used = Normalizer(SCHEMA, ahead_ms=30_000, behind_ms=600_000)
    for message, about_bytes in messages:
        given_frame = frame(json.dumps(message, separators=(",", ":")).encode())
        fresh = Normalizer(SCHEMA, ahead_ms=30_000, behind_ms=600_000).normalize(given_frame)
        with in_pieces_of(about_bytes):
            found = used.normalize(given_frame)
        assert (found.ticks, found.rejects) == (fresh.ticks, fresh.rejects)


@pytest.mark.parametrize("stream", [None, "!assetIndex@arr"])
def test_a_large_frame_is_read_in_pieces(stream: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of elements, three times, with one more and one less in between."""
    read: list[int] = []
    decode = ElementDecoder.elements

    def elements(decoder: ElementDecoder, data: bytes) -> tuple[str, list[Any], bool]:
        read.append(len(data))
        return decode(decoder, data)

    monkeypatch.setattr(ElementDecoder, "elements", elements)
    normalizer = Normalizer(SCHEMA, ahead_ms=30_000, behind_ms=600_000)
    for count in (2000, 2001, 1999):
        sent = [named(f"A{number}", i=f"{number}.00000000") for number in range(count)]
        data = as_json(sent if stream is None else {"stream": stream, "data": sent})
        read.clear()
        normalized = normalizer.normalize(frame(data))
        assert len(read) > 3
        assert max(read) < normalize_module.PIECE_BYTES + 1000
        assert (normalized.stream, normalized.rejects, normalized.unknown_fields) == (stream or STREAM, (), frozenset())
        assert [tick.symbol for tick in normalized.ticks] == [each["s"] for each in sent]
        assert [tick.position for tick in normalized.ticks] == list(range(count))
        for tick in normalized.ticks[:: count // 7]:
            assert record(tick)["index_price"] == tick.position
            assert NORMALIZER.element(frame(data), tick.position) == as_json(sent[tick.position])


@pytest.mark.parametrize(
    "data",
    [
        b'{"stream":"x","data":[%b],"more":[{"a":1},{"b":2}]}', b'{"stream":"x","data":[%b],"data":[%b,%b]}',
        b'{"data":[%b,%b],"stream":"x"}', b'[%b],"data":[%b,%b]', b'{"stream":"x","data":[%b],"data":7,"y":[{},{}]}',
        b'{"stream":"x","data":[%b,%b],"stream":"y"}', b'{"stream":"x","data":[%b]}{"stream":"x","data":[%b,%b]}',
    ],
)  # fmt: skip
def test_what_only_looks_like_pieces_is_read_as_it_stands(data: bytes) -> None:
    filled = data % tuple(as_json(named(symbol)) for symbol in "ABCD"[: data.count(b"%b")])
    whole = NORMALIZER.normalize(frame(filled))
    with in_pieces_of(1):
        assert NORMALIZER.normalize(frame(filled)) == whole
    shape, window = NORMALIZER._shapes[Origin.WEBSOCKET], Window.around(NOW_MS, 600_000, 30_000)
    assert shape.careful(frame(filled), window) == whole


def test_the_ends_of_objects_inside_an_element_are_no_places_to_cut() -> None:
    sent = [named("A", new='},{"'), named("B", new=[{}, {}]), named("C,{}"), named("D", new="}],[{")]
    with in_pieces_of(1):
        normalized = both_ways(NORMALIZER, frame(as_json(sent)))
    assert [tick.symbol for tick in normalized.ticks] == ["A", "B", "C,{}", "D"]
    assert normalized.unknown_fields == {"new"}


def test_an_unknown_field_in_one_piece_is_seen() -> None:
    for at in range(5):
        sent = [named(f"A{number}", **{"new": 1} if number == at else {}) for number in range(5)]
        with in_pieces_of(300):
            assert both_ways(NORMALIZER, frame(as_json(sent))).unknown_fields == {"new"}


# Any bytes


PIECES = st.sampled_from(
    [b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", b'"e"', b'"assetIndexUpdate"', b'"E"', b"%d" % NOW_MS, b'"s"',
     b'"i"', b"1e999", b"NaN", b"null", b'"stream"', b'"data"', b"\xff", b"\xe5\xb8\x81", b"\\ud800", b" ",
     as_json(GOOD), as_json([GOOD])[:-1], b'{"stream":"x","data":', b"},{", b'}],"x":[{', as_json([GOOD, GOOD])[1:-1]],
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A good frame with some bytes put in, taken out or changed."""
    data = bytearray(as_json({"stream": "x", "data": [GOOD, named("USDTUSD")]} if draw(st.booleans()) else [GOOD]))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3) | PIECES)
    return bytes(data)


@given(st.binary() | st.lists(PIECES, max_size=30).map(b"".join) | mutated(), st.sampled_from(Origin), PIECE_SIZES)
def test_any_bytes_are_records_and_rejects(data: bytes, origin: Origin, about_bytes: int) -> None:
    given_frame = frame(data, origin)
    shape = NORMALIZER._shapes[origin]
    window = Window.around(NOW_MS, 600_000, 30_000)
    with in_pieces_of(about_bytes):
        fast, careful = shape.fast(given_frame, window), shape.careful(given_frame, window)
    assert fast is None or fast == careful
    normalized = NORMALIZER.normalize(given_frame)
    for reject in normalized.rejects:
        assert reject.data in data
        assert reject.detail.isprintable()
        (reject.detail + reject.field + reject.symbol + reject.stream).encode()
    for tick in normalized.ticks:
        assert record(tick)["symbol"] == tick.symbol
        assert NORMALIZER.element(given_frame, tick.position) in data
    NORMALIZER.inspect(data)


# Streams other than our own


def wire_value(message: Any, path: str) -> Any:
    for key in path.split("."):
        message = message.get(key, None)
    return message


@pytest.mark.parametrize("name", ["mark_price", "force_order", "composite_index"])
def test_another_stream_needs_its_schema_and_no_code(name: str) -> None:
    schema = load(OTHERS / f"{name}.avsc")
    normalizer = Normalizer(schema, ahead_ms=30_000, behind_ms=600_000)
    for line in (OTHERS / f"{name}.jsonl").read_bytes().splitlines():
        normalized = both_ways_of_another(normalizer, frame(line))
        assert normalized.rejects == ()
        message = json.loads(line)
        body = message.get("data", message) if isinstance(message, dict) else message
        sent = body if isinstance(body, list) else [body]
        assert len(normalized.ticks) == len(sent)
        for tick, each in zip(normalized.ticks, sent, strict=True):
            for field, value in record(tick, schema).items():
                path = schema.field(field).wire
                if isinstance(value, Decimal):
                    assert value == Decimal(wire_value(each, str(path)))
                elif isinstance(value, str | int) and path:
                    assert value == wire_value(each, path)
        newest = normalizer.inspect(line)
        assert isinstance(newest, Data)
        assert newest.event_time_ms == max(tick.event_time_ms for tick in normalized.ticks)


def both_ways_of_another(normalizer: Normalizer, given_frame: Frame) -> Normalized:
    shape = normalizer._shapes[Origin.WEBSOCKET]
    window = Window.around(NOW_MS, 600_000, 30_000)
    fast, careful = shape.fast(given_frame, window), shape.careful(given_frame, window)
    assert fast == careful
    return careful


MARK_PRICE = json.loads((OTHERS / "mark_price.jsonl").read_bytes())[0]
FORCE_ORDER = json.loads((OTHERS / "force_order.jsonl").read_bytes().splitlines()[1])
COMPOSITE = json.loads((OTHERS / "composite_index.jsonl").read_bytes())["data"]


def changed(sample: dict[str, Any], change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    made = copy.deepcopy(sample)
    change(made)
    return made


@pytest.mark.parametrize("absent", [..., None, ""])
def test_a_nullable_field_may_be_absent_null_or_empty(absent: object) -> None:
    schema = load(OTHERS / "mark_price.avsc")
    normalizer = Normalizer(schema, ahead_ms=30_000, behind_ms=600_000)
    message = {key: value for key, value in {**MARK_PRICE, "r": absent}.items() if value is not ...}
    (tick,) = both_ways_of_another(normalizer, frame(as_json([message]))).ticks
    assert record(tick, schema)["funding_rate"] is None


OTHER_FAULTS: list[tuple[str, dict[str, Any], Reason, str]] = [
    ("mark_price", {**MARK_PRICE, "st": 2**31}, Reason.TYPE, "margin_kind"),
    ("mark_price", {**MARK_PRICE, "st": "1"}, Reason.TYPE, "margin_kind"),
    ("mark_price", {**MARK_PRICE, "st": 1.0}, Reason.TYPE, "margin_kind"),
    ("mark_price", {**MARK_PRICE, "T": -(2**63) - 1}, Reason.TYPE, "next_funding_time"),
    ("mark_price", {**MARK_PRICE, "T": None}, Reason.NULL, "next_funding_time"),
    ("mark_price", {**MARK_PRICE, "r": "x"}, Reason.NOT_A_DECIMAL, "funding_rate"),
    ("mark_price", {**MARK_PRICE, "r": "0.123456789"}, Reason.SCALE, "funding_rate"),
    ("mark_price", {**MARK_PRICE, "r": False}, Reason.TYPE, "funding_rate"),
    ("force_order", {**FORCE_ORDER, "o": 7}, Reason.MISSING, "symbol"),
    ("force_order", {key: FORCE_ORDER[key] for key in "eE"}, Reason.MISSING, "symbol"),
    ("force_order", changed(FORCE_ORDER, lambda d: d["o"].pop("ap")), Reason.MISSING, "average_price"),
    ("force_order", changed(FORCE_ORDER, lambda d: d["o"].update(S="HOLD")), Reason.TYPE, "side"),
    ("force_order", changed(FORCE_ORDER, lambda d: d["o"].update(S=7)), Reason.TYPE, "side"),
    ("force_order", changed(FORCE_ORDER, lambda d: d["o"].update(S="")), Reason.EMPTY, "side"),
    ("composite_index", {**COMPOSITE, "c": 7}, Reason.TYPE, "components"),
    ("composite_index", {**COMPOSITE, "c": None}, Reason.NULL, "components"),
    ("composite_index", {**COMPOSITE, "c": [{}]}, Reason.TYPE, "components"),
    ("composite_index", {**COMPOSITE, "c": [7]}, Reason.TYPE, "components"),
    ("composite_index", changed(COMPOSITE, lambda d: d["c"][1].update(W="0.123456789")), Reason.SCALE, "components"),
    ("composite_index", changed(COMPOSITE, lambda d: d["c"][1].update(w="NaN")), Reason.NOT_A_DECIMAL, "components"),
    ("composite_index", {**COMPOSITE, "C": ""}, Reason.EMPTY, "quoted_in"),
    ("composite_index", {**COMPOSITE, "C": "\ud800"}, Reason.TYPE, "quoted_in"),
]


@pytest.mark.parametrize(("name", "message", "reason", "field"), OTHER_FAULTS)
def test_faults_in_other_streams(name: str, message: dict[str, Any], reason: Reason, field: str) -> None:
    normalizer = Normalizer(load(OTHERS / f"{name}.avsc"), ahead_ms=30_000, behind_ms=600_000)
    good = {"mark_price": MARK_PRICE, "force_order": FORCE_ORDER, "composite_index": COMPOSITE}[name]
    normalized = normalizer.normalize(frame(json.dumps([good, message, good]).encode()))
    assert [tick.position for tick in normalized.ticks] == [0, 2]
    reject = the_reject(normalized)
    assert (reject.reason, reject.field) == (reason, field), reject.detail


def test_unknown_fields_inside_an_object_are_named_with_their_path() -> None:
    normalizer = Normalizer(load(OTHERS / "force_order.avsc"), ahead_ms=30_000, behind_ms=600_000)
    normalized = normalizer.normalize(frame(as_json(FORCE_ORDER)))
    assert normalized.unknown_fields == {"o.o", "o.f", "o.X", "o.l", "o.z", "o.ps"}


def test_a_nullable_field_without_a_rest_name_is_null_there() -> None:
    document = json.loads((ROOT / "schemas" / "asset_index.avsc").read_text(encoding="utf-8"))
    document["fields"].insert(2, {"name": "extra", "type": ["null", "string"], "wire": "x"})
    schema = parse_schema(json.dumps(document), "f")
    normalizer = Normalizer(schema, ahead_ms=30_000, behind_ms=600_000)
    row = {str(spec.rest): GOOD[str(spec.wire)] for spec in SCHEMA.content_fields}
    (tick,) = normalizer.normalize(frame(as_json([row]), Origin.REST)).ticks
    assert record(tick, schema)["extra"] is None
    (tick,) = normalizer.normalize(frame(as_json([element(x="y")]))).ticks
    assert record(tick, schema)["extra"] == "y"
