"""Avro, made from the schema once: one small writer a field, and the record around them.

fastavro takes 10 µs and more for a record with nine decimals; one C-level
``map`` over ready writers takes a quarter of that. It stays the judge: at
start every record encoder compares its bytes with fastavro's, and what the
fast writers do not know is written by fastavro itself.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from io import BytesIO
from typing import Any

import fastavro

from connector.core.decimals import DecimalColumn, Unfit, decimal_writer, exact_decimal, long_bytes, shown, unscaled
from connector.core.errors import SchemaFileError
from connector.core.schema import FieldSpec, Kind, StreamSchema
from connector.core.values import Origin, Reason, Tick

Writer = Callable[[Any], bytes]
"""Takes a value of the field's Python type (a decimal as text) and gives its Avro bytes, or raises Unfit."""

KEY_LIMIT = 64
"""Characters. The longest symbol the venue has is under 20."""
ColumnWriter = Callable[[Sequence[Any]], list[bytes]]

_TABLE_LIMIT = 1024
_KEYS_LIMIT = 16_384
"""More than the venue will ever list: a table that is cleared again and again costs five times what it saves."""
_TEXT_LIMIT = 64
_COLUMN = 8
"""Elements: enough for a column to be written together."""
_MAGIC = b"\x00"


class TextTable(dict[str, bytes]):
    """Text to its Avro bytes; bounded in entries and in the length of each, for texts that come again (symbols)."""

    limit = _TABLE_LIMIT

    def __missing__(self, text: str) -> bytes:
        try:
            encoded = text.encode()
        except UnicodeEncodeError as error:
            raise Unfit(Reason.TYPE, f"is not Unicode text: {shown(text)}") from error
        encoded = long_bytes(len(encoded)) + encoded
        if len(text) <= _TEXT_LIMIT:
            if len(self) >= self.limit:
                self.clear()
            self[text] = encoded
        return encoded


class KeyTable(TextTable):
    """The same for the record's key: what is no sane symbol is refused, once for each that is seen."""

    limit = _KEYS_LIMIT

    def __missing__(self, text: str) -> bytes:
        if len(text) > KEY_LIMIT:
            raise Unfit(Reason.TYPE, f"has {len(text)} characters, more than {KEY_LIMIT}: {shown(text)}")
        if not text.isprintable():
            raise Unfit(Reason.TYPE, f"has characters that cannot be shown: {shown(text)}")
        return super().__missing__(text)


class LongTable(dict[int, bytes]):
    """An int or long to its Avro bytes; bounded, for times that a whole frame shares."""

    def __missing__(self, value: int) -> bytes:
        encoded = long_bytes(value)
        if len(self) >= _TABLE_LIMIT:
            self.clear()
        self[value] = encoded
        return encoded


def field_writer(spec: FieldSpec, parsed: Any) -> Writer:
    """The writer of one field; ``parsed`` is the record's schema as fastavro parsed it."""
    if spec.kind is Kind.OTHER:
        return _fastavro_writer(spec, parsed)
    writer = _FAST_WRITERS[spec.kind](spec)
    if spec.null_branch is None:
        return writer
    return _nullable(writer, spec.null_branch)


_FAST_WRITERS: dict[Kind, Callable[[FieldSpec], Writer]] = {
    Kind.STRING: lambda spec: TextTable().__getitem__,
    Kind.BOOLEAN: lambda spec: {False: b"\x00", True: b"\x01"}.__getitem__,
    Kind.INT: lambda spec: LongTable().__getitem__,
    Kind.LONG: lambda spec: LongTable().__getitem__,
    Kind.DECIMAL: lambda spec: decimal_writer(spec.precision, spec.scale),
}
"""Where it is a bound ``__getitem__``, a value seen before costs one look-up and no Python frame."""


def _nullable(writer: Writer, null_branch: int) -> Writer:
    null, other = long_bytes(null_branch), long_bytes(1 - null_branch)

    def write(value: Any) -> bytes:
        # Empty text is null too: the venue sends it where it has no value.
        return null if value is None or value == "" else other + writer(value)

    return write


def _fastavro_writer(spec: FieldSpec, parsed: Any) -> Writer:
    avro_type = next(field["type"] for field in parsed["fields"] if field["name"] == spec.name)
    schema = fastavro.parse_schema(avro_type, named_schemas=dict(parsed.get("__named_schemas", {})))

    def write(value: Any) -> bytes:
        buffer = BytesIO()
        try:
            fastavro.schemaless_writer(buffer, schema, value)
        except (ValueError, TypeError, OverflowError, AttributeError, KeyError, IndexError, struct.error) as error:
            raise Unfit(Reason.TYPE, f"does not fit its type: {error}") from error
        return buffer.getvalue()

    return write


def content_writers(schema: StreamSchema) -> tuple[Writer, ...]:
    """The writers of the fields that come from the exchange, in order; joined, they give ``Tick.content``."""
    return tuple(
        KeyTable().__getitem__ if spec.name == schema.feed.key_field else field_writer(spec, schema.parsed)
        for spec in schema.content_fields
    )


def column_writers(schema: StreamSchema, writers: tuple[Writer, ...], keys: KeyColumn) -> tuple[ColumnWriter, ...]:
    """The same for many elements at once: each takes one field of all of them, ``keys`` the key."""
    return tuple(
        keys if spec.name == schema.feed.key_field else _column_writer(spec, write)
        for spec, write in zip(schema.content_fields, writers, strict=True)
    )


def _column_writer(spec: FieldSpec, write: Writer) -> ColumnWriter:
    if spec.kind is Kind.DECIMAL and not spec.nullable:
        return SameAgain(DecimalColumn(spec.precision, spec.scale))

    def write_all(column: Sequence[Any]) -> list[bytes]:
        if column.count(column[0]) == len(column):  # the event time, and whatever else all elements share
            return [write(column[0])] * len(column)
        return list(map(write, column))

    return SameAgain(write_all)


class SameAgain:
    """A column equal to the one before is not written anew: symbols, and values that hardly ever change.

    Comparing costs a fifth of writing, and next to nothing where the first value differs.
    """

    def __init__(self, write: ColumnWriter) -> None:
        self._write = write
        self._column: Sequence[Any] = ()
        self._encoded: list[bytes] = []

    def __call__(self, column: Sequence[Any]) -> list[bytes]:
        if column != self._column:
            self._encoded = self._write(column)
            self._column = column
        return self._encoded


class KeyColumn:
    """The key's writer, for frames that come in pieces: frame after frame has the same symbols in the same places."""

    def __init__(self, write: Writer) -> None:
        self._write = write
        self._symbols: list[str] = []
        self._encoded: list[bytes] = []
        self._at = 0

    def begin(self) -> None:
        """Another frame begins."""
        self._at = 0

    def __call__(self, column: Sequence[str]) -> list[bytes]:
        here = slice(self._at, self._at + len(column))
        if list(column) != self._symbols[here]:
            self._encoded[here] = list(map(self._write, column))
            self._symbols[here] = column
        self._at = here.stop
        return self._encoded[here]

    @property
    def symbols(self) -> list[str]:
        """All of the frame so far. Those equal to the ones before are the same objects, whose hashes are known."""
        return self._symbols[: self._at]


class RecordEncoder:
    """Makes the value of a Kafka record in Confluent's wire format, and finds its content again.

    Raises SchemaFileError where its bytes would differ from fastavro's.
    """

    def __init__(self, schema: StreamSchema, schema_id: int) -> None:
        self._schema = schema
        self._prefix = _MAGIC + struct.pack(">I", schema_id)
        self._fillers = tuple((spec.filled_by, field_writer(spec, schema.parsed)) for spec in schema.filled_fields)
        self._skippers = skippers(schema)
        self._filled_with: tuple[int, Origin] | None = None
        self._filled = b""
        check_against_fastavro(schema)

    def encode(self, tick: Tick, received_ms: int, origin: Origin) -> bytes:
        return self._prefix + tick.content + self._tail(received_ms, origin)

    def encode_all(self, contents: Iterable[bytes], received_ms: int, origin: Origin) -> list[bytes]:
        """The same for the contents of many ticks of one frame."""
        prefix, tail = self._prefix, self._tail(received_ms, origin)
        return [prefix + content + tail for content in contents]

    def content_of(self, value: bytes) -> bytes | None:
        """The ``Tick.content`` of a record's value; None where this schema id did not write it."""
        if not value.startswith(self._prefix):
            return None
        start = end = position = len(self._prefix)
        content_fields = len(self._schema.content_fields)
        try:
            for number, skip in enumerate(self._skippers):
                position = skip(value, position)
                if number + 1 == content_fields:
                    end = position
        except (IndexError, EOFError, ValueError):
            return None
        return value[start:end] if position == len(value) else None

    def _tail(self, received_ms: int, origin: Origin) -> bytes:
        """What the connector fills in; all ticks of a frame share it."""
        if self._filled_with != (received_ms, origin):
            values = {"received_time": received_ms, "origin": origin.value}
            self._filled = b"".join(write(values[filled_by]) for filled_by, write in self._fillers if filled_by)
            self._filled_with = (received_ms, origin)
        return self._filled


Skipper = Callable[[bytes, int], int]
"""Takes a record's bytes and where a field begins, and gives where it ends."""


def skippers(schema: StreamSchema) -> tuple[Skipper, ...]:
    """One for each field of the record, in order."""
    return tuple(_skipper(spec, schema.parsed) for spec in schema.fields)


def _skipper(spec: FieldSpec, parsed: Any) -> Skipper:
    if spec.kind is Kind.OTHER:
        return _fastavro_skipper(spec, parsed)
    skip = _SKIPPERS[spec.kind]
    if spec.null_branch is None:
        return skip
    null = long_bytes(spec.null_branch)[0]
    return lambda value, at: at + 1 if value[at] == null else skip(value, at + 1)


def _skip_long(value: bytes, at: int) -> int:
    while value[at] & 0x80:
        at += 1
    return at + 1


def _skip_bytes(value: bytes, at: int) -> int:
    length, shift = 0, 0
    while value[at] & 0x80:
        length |= (value[at] & 0x7F) << shift
        shift += 7
        at += 1
    length |= value[at] << shift
    return at + 1 + (length >> 1)


_SKIPPERS: dict[Kind, Skipper] = {
    Kind.STRING: _skip_bytes,
    Kind.BOOLEAN: lambda value, at: at + 1,
    Kind.INT: _skip_long,
    Kind.LONG: _skip_long,
    Kind.DECIMAL: _skip_bytes,
}


def _fastavro_skipper(spec: FieldSpec, parsed: Any) -> Skipper:
    avro_type = next(field["type"] for field in parsed["fields"] if field["name"] == spec.name)
    schema = fastavro.parse_schema(avro_type, named_schemas=dict(parsed.get("__named_schemas", {})))

    def skip(value: bytes, at: int) -> int:
        buffer = BytesIO(value)
        buffer.seek(at)
        fastavro.schemaless_reader(buffer, schema, None)
        return buffer.tell()

    return skip


def check_against_fastavro(schema: StreamSchema) -> None:
    """Compare every fast writer with fastavro, on made-up values at the edges of the field's type.

    Raises SchemaFileError that names the field.
    """
    for spec in schema.fields:
        if spec.kind is Kind.OTHER:
            continue
        write, judge = field_writer(spec, schema.parsed), _fastavro_writer(spec, schema.parsed)
        samples = _samples(spec)
        expected = {sample: judge(_for_fastavro(sample, spec)) for sample in samples}
        write_column = _column_writer(spec, write)
        mixed = dict(zip(samples, write_column(samples), strict=True))
        for sample in samples:
            # A sample out of the ordinary has its whole column written one by one. So each has its own column too.
            alone = set(write_column([sample] * _COLUMN))
            if {write(sample), mixed[sample]} | alone != {expected[sample]}:
                problem = f"the fast encoder and fastavro write {sample!r} differently"
                raise SchemaFileError(schema.file, spec.name, problem)


def _for_fastavro(sample: Any, spec: FieldSpec) -> Any:
    if spec.kind is Kind.DECIMAL and sample is not None:
        return exact_decimal(unscaled(sample, spec.precision, spec.scale), spec.scale)
    return sample


def _samples(spec: FieldSpec) -> list[Any]:
    samples = _SAMPLES[spec.kind](spec)
    if not spec.nullable:
        return samples
    return [None, *(sample for sample in samples if sample != "")]  # empty text is null there


def _decimal_samples(spec: FieldSpec) -> list[str]:
    largest = 10**spec.precision - 1
    edges = [0, 1, 10**15 - 1, largest] + [256**power // 2 + step for power in range(1, 20) for step in (-1, 0, 1)]
    return [_decimal_text(sign * edge, spec.scale) for edge in edges if edge <= largest for sign in (1, -1)]


def _decimal_text(value: int, scale: int) -> str:
    digits = str(abs(value)).rjust(scale + 1, "0")
    text = f"{digits[:-scale]}.{digits[-scale:]}" if scale else digits
    return f"-{text}" if value < 0 else text


_SAMPLES: dict[Kind, Callable[[FieldSpec], list[Any]]] = {
    Kind.STRING: lambda spec: ["", "BTCUSD", "x" * 200, "币安人生USD"],
    Kind.BOOLEAN: lambda spec: [False, True],
    Kind.INT: lambda spec: [0, 1, -1, 63, -64, 64, -65, 2**31 - 1, -(2**31)],
    Kind.LONG: lambda spec: [0, 1, -1, 63, -64, 64, -65, 1_700_000_000_000, 2**63 - 1, -(2**63)],
    Kind.DECIMAL: _decimal_samples,
}
