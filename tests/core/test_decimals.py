"""Decimals from text to bytes: exact or refused, and never at a price that a frame could set."""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal
from io import BytesIO
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core.decimals import DecimalColumn, Unfit, decimal_bytes, decimal_writer, long_bytes, unscaled
from connector.core.values import Reason

EXACT = [
    ("0.05000000", 5_000_000),
    ("86156.14485640", 8615614485640),
    ("0.05", 5_000_000),
    ("7", 700_000_000),
    ("-0.00003629", -3629),
    ("0.100000000", 10_000_000),  # one digit beyond the scale, and nothing lost
    ("1.5" + "0" * 100_000, 150_000_000),
    ("0" * 100_000 + "1", 100_000_000),
    ("0", 0),
    ("-0", 0),
    ("-0.00000000", 0),
    ("0e999999999999", 0),
    ("0.00000001", 1),
    ("9999999999.99999999", 10**18 - 1),
    ("-9999999999.99999999", -(10**18) + 1),
    ("1e-8", 1),
    ("1E9", 10**17),
    ("1e+2", 10**10),
    ("12.5e-1", 125_000_000),
    ("100000e-13", 1),
    ("0.000000000001e5", 10),
    ("90071992.5474099", 9_007_199_254_740_990),
    ("90071992.54740991", 2**53 - 1),
    ("90071992.54740993", 2**53 + 1),
]
REFUSED = [
    ("0.123456789", Reason.SCALE),
    ("1e-9", Reason.SCALE),
    ("-0.000000001", Reason.SCALE),
    ("1.000000000000000001", Reason.SCALE),  # a double would have lost the digit
    ("0.00000001000000000000000000000001", Reason.SCALE),
    ("90071992.547409910000000001", Reason.SCALE),
    ("1e-400", Reason.SCALE),
    ("1e-99999999999999999999999", Reason.SCALE),
    ("10000000000", Reason.PRECISION),
    ("-10000000000.00000000", Reason.PRECISION),
    ("1e10", Reason.PRECISION),
    ("1e400", Reason.PRECISION),
    ("1e99999999999999999999999", Reason.PRECISION),
    ("9" * 100_000, Reason.PRECISION),
    ("", Reason.EMPTY),
] + [
    (text, Reason.NOT_A_DECIMAL)
    for text in (
        "1_000", " 5 ", "5\n", "+1", "٣", "²", "１", "1٫5", "NaN", "Infinity", "-Infinity", "nan", "0x10", "1,5", "1.",
        ".5",
        "1.2.3", "--1", "-", ".", "e5", "1e", "1e+", "1e1.5", "1 e5", "abc", "1\x00", "\ud800", "12345678\n.00000000",
        "1234.5678901.", "0.1234567\u0663", "1__2.00000000", "+0.00000001", " .00000001", "1-2.00000000",
    )
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), EXACT, ids=[text[:24] for text, _ in EXACT])
def test_exact(text: str, expected: int) -> None:
    assert unscaled(text, 18, 8) == expected
    assert DecimalColumn(18, 8)([text]) == [decimal_bytes(expected)]
    assert DecimalColumn(18, 8)([text] * 8) == [decimal_bytes(expected)] * 8


@pytest.mark.parametrize(("text", "reason"), REFUSED, ids=[ascii(text[:24]) for text, _ in REFUSED])
def test_refused(text: str, reason: Reason) -> None:
    with pytest.raises(Unfit) as caught:
        unscaled(text, 18, 8)
    assert caught.value.reason is reason
    assert len(caught.value.detail) < 200
    caught.value.detail.encode()  # whatever the text, the message can be written
    for column in ([text], ["0.05000000"] * 7 + [text], [text] * 8):
        with pytest.raises(Unfit) as caught:
            DecimalColumn(18, 8)(column)
        assert caught.value.reason is reason


def test_a_scale_of_zero_has_no_point() -> None:
    assert unscaled("42", 5, 0) == 42
    assert unscaled("42.000", 5, 0) == 42
    for text in ("5.", "42.5"):
        with pytest.raises(Unfit):
            unscaled(text, 5, 0)
        with pytest.raises(Unfit):
            DecimalColumn(5, 0)([text] * 8)


def test_a_bomb_costs_nothing() -> None:
    started = time.process_time()
    for text in (
        "1e999999999",
        "1e-999999999",
        "1" + "0" * 1_000_000,
        "0." + "0" * 1_000_000 + "1",
        "1e" + "9" * 1_000_000,
    ):
        with pytest.raises(Unfit):
            unscaled(text, 18, 8)
    assert time.process_time() - started < 1


def test_what_is_remembered_is_bounded() -> None:
    column = DecimalColumn(18, 8)
    for first in range(0, 100_000, 50):
        column([f"{number}.00000000" for number in range(first, first + 50) for _ in range(2)])
    assert len(column._remembered) <= 1024
    column([f"{number}.5" for number in range(5000) for _ in range(2)])
    assert len(column._remembered) <= 1024


def test_shared_values_are_remembered_and_prices_are_not() -> None:
    column = DecimalColumn(18, 8)
    column(["0.05000000"] * 10)
    column([f"{number}.12345678" for number in range(10)])
    assert list(column._remembered) == ["0.05000000"]


TYPES = st.integers(1, 60).flatmap(lambda precision: st.tuples(st.just(precision), st.integers(0, precision)))


@st.composite
def fitting(draw: st.DrawFn) -> tuple[int, int, list[Decimal]]:
    precision, scale = draw(TYPES)
    edge = st.sampled_from(
        [sign * (256**power // 2 + step) for power in range(8) for step in (-1, 0, 1) for sign in (1, -1)]
    )
    largest = 10**precision - 1
    values = draw(
        st.lists(
            st.integers(-largest, largest) | edge.filter(lambda value: abs(value) <= largest), min_size=1, max_size=6
        )
    )
    return precision, scale, [Decimal(f"{value}E-{scale}") for value in values]


@given(fitting(), st.booleans())
def test_whatever_fits_is_written_as_fastavro_writes_it(case: tuple[int, int, list[Decimal]], unsigned: bool) -> None:
    precision, scale, values = case
    values = [value.copy_abs() for value in values] if unsigned else values
    schema = {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}
    texts = [f"{value:f}" for value in values]
    expected = [written(schema, value) for value in values]
    assert list(map(decimal_writer(precision, scale), texts)) == expected
    column = DecimalColumn(precision, scale)
    assert column(texts) == expected
    assert column(texts * 2) == expected * 2
    assert column(texts * 2) == expected * 2  # now from what it remembers


def written(schema: Any, value: Decimal) -> bytes:
    buffer = BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(schema), value)
    return buffer.getvalue()


@given(st.text(alphabet="0123456789.-+eE_ ٣\n", max_size=24), TYPES)
def test_any_text_is_exact_or_refused(text: str, decimal_type: tuple[int, int]) -> None:
    precision, scale = decimal_type
    outcome = outcome_of(lambda: decimal_bytes(unscaled(text, precision, scale)))
    assert outcome_of(lambda: DecimalColumn(precision, scale)([text])[0]) == outcome
    assert outcome_of(lambda: DecimalColumn(precision, scale)([text] * 5)[0]) == outcome
    if isinstance(outcome, bytes):
        value = unscaled(text, precision, scale)
        assert Decimal(f"{value}E-{scale}") == Decimal(text)
        assert abs(value) < 10**precision


digits = st.text("0123456789", max_size=18)


@given(st.lists(st.tuples(digits, st.just("."), digits).map("".join) | digits, min_size=4, max_size=6), TYPES)
def test_no_number_of_a_column_loses_a_digit(texts: list[str], decimal_type: tuple[int, int]) -> None:
    precision, scale = decimal_type
    write, column = decimal_writer(precision, scale), DecimalColumn(precision, scale)
    for text in texts:
        for same in (text, text[:16]):
            outcome = outcome_of(lambda: write(same))  # noqa: B023 - called at once
            assert outcome_of(lambda: column([same] * 4)[0]) == outcome  # noqa: B023
    assert outcome_of(lambda: b"".join(column(texts))) == outcome_of(lambda: b"".join(map(write, texts)))


@given(st.lists(st.text('0123456789.-+eE ,[]{}"\\\n\t', max_size=16), min_size=4, max_size=6))
def test_no_text_of_a_column_is_read_together_with_its_neighbours(texts: list[str]) -> None:
    together = outcome_of(lambda: b"".join(DecimalColumn(18, 8)(texts)))
    assert together == outcome_of(lambda: b"".join(map(decimal_writer(18, 8), texts)))


@pytest.mark.parametrize(
    "texts",
    [
        ["1e8,2", "3", "4", "5"],
        ["1", "2", "3e8,4", '"5"'],
        ["[1", "2]", "3", "4", "5"],
        ['"1', '2"', "3", "4", "5"],
        ["1", "2", "3", "[]"],
        ["1", "2", "3", "4e8,"],
        ["1", "2", "3", "4e8],[5"],
        ["1", "2", "3", '4e8,"5"'],
        ["1", "2", "3", "true,4"],
    ],
)
def test_what_would_be_json_is_no_decimal(texts: list[str]) -> None:
    with pytest.raises(Unfit) as caught:
        DecimalColumn(18, 8)(texts)
    assert caught.value.reason is Reason.NOT_A_DECIMAL


def outcome_of(make: Callable[[], bytes]) -> bytes | tuple[Reason, str]:
    try:
        return make()
    except Unfit as fault:
        return fault.reason, fault.detail


@given(st.integers(-(2**63), 2**63 - 1))
def test_longs_are_written_as_fastavro_writes_them(value: int) -> None:
    buffer = BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema("long"), value)
    assert long_bytes(value) == buffer.getvalue()
