"""An Avro record as SQL engines see it: columns, key and time, and the types that readers get wrong.

Any record will do, ours or another team's: what the ``feed`` attribute says of
key and time holds where it is there, and may be said otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from connector.core.errors import ConfigurationError

FLINK_MAX_PRECISION = 38
"""Flink's DECIMAL and ksqlDB's go so far; Avro's need not end there."""


class ColumnKind(StrEnum):
    """The types that Flink and ksqlDB both read as they were written."""

    STRING = "string"
    BOOLEAN = "boolean"
    INT = "int"
    LONG = "long"
    FLOAT = "float"
    DOUBLE = "double"
    BYTES = "bytes"
    DECIMAL = "decimal"
    TIMESTAMP_MILLIS = "timestamp-millis"
    DATE = "date"


@dataclass(frozen=True, slots=True)
class Column:
    """One field of the record."""

    name: str
    kind: ColumnKind
    nullable: bool
    """Also where some published version has no such field: readers find nothing in its records."""
    doc: str
    precision: int = 0
    scale: int = 0


@dataclass(frozen=True, slots=True)
class BadType:
    """A field that readers get wrong."""

    field: str
    problem: str
    remedy: str


@dataclass(frozen=True, slots=True)
class RecordTable:
    """A record that a table can be made of."""

    name: str
    doc: str
    columns: tuple[Column, ...]
    key: Column
    time: Column | None
    """Event time, in milliseconds; unset where no field is known to be it."""
    left_out: tuple[BadType, ...]
    """Fields that are no columns, for no reader takes them right."""
    steady: bool
    """Records come at a cadence: where a partition has some, it is silent only while whoever writes it is."""

    @property
    def value_columns(self) -> tuple[Column, ...]:
        """All but the key."""
        return tuple(column for column in self.columns if column.name != self.key.name)


def read_table(
    versions: Sequence[str], subject: str, *, key_field: str | None = None, time_field: str | None = None
) -> RecordTable:
    """The table that the newest of *versions* (texts of Avro records, oldest first) makes.

    Raises ConfigurationError where it is no record, or where key or time are not told or of no use.
    """
    documents = [read_record(text, subject) for text in versions]
    newest = documents[-1]
    absent_or_null = _nullable_somewhere(documents)
    found = [_column(raw, nullable=raw["name"] in absent_or_null) for raw in newest["fields"]]
    columns = [each for each in found if isinstance(each, Column)]
    bad = [each for each in found if isinstance(each, BadType)]
    table = f"{subject}: record {newest['name']}"
    by_name = {column.name: column for column in columns}
    key = _role(by_name, bad, key_field or key_field_of(newest), table, "key", ColumnKind.STRING)
    if key is None:
        raise ConfigurationError(f"{table}: no field is told to be the key; name it with --key")
    named_time = time_field or _said_by_feed(newest, "time_field")
    if named_time is None and time_field_of(newest) in by_name:  # a guess, and of use
        named_time = time_field_of(newest)
    time = _role(by_name, bad, named_time, table, "time", ColumnKind.TIMESTAMP_MILLIS)
    return RecordTable(
        str(newest["name"]).rpartition(".")[2],
        str(newest.get("doc", "")),
        tuple(columns),
        key,
        time,
        tuple(bad),
        isinstance(newest.get("feed"), dict) and "cadence_ms" in newest["feed"],
    )


def read_record(text: str, subject: str) -> dict[str, Any]:
    """The JSON of a record's schema. Raises ConfigurationError."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"{subject}: its schema is not JSON: {error}") from error
    if not isinstance(document, dict) or document.get("type") != "record":
        raise ConfigurationError(f"{subject}: its schema is no Avro record, so it has no columns")
    return document


def key_field_of(document: Mapping[str, Any]) -> str | None:
    """What the ``feed`` attribute says is the key."""
    return _said_by_feed(document, "key_field")


def time_field_of(document: Mapping[str, Any]) -> str | None:
    """What the ``feed`` attribute says is the event time, or else the only timestamp there is."""
    said = _said_by_feed(document, "time_field")
    if said is not None:
        return said
    timestamps = [
        raw["name"] for raw in document["fields"] if str(_logical(_branch(raw["type"])[0])).startswith("timestamp-")
    ]
    if len(timestamps) > 1:
        timestamps = [name for name in timestamps if name == "event_time"]
    return timestamps[0] if timestamps else None


def _said_by_feed(document: Mapping[str, Any], role: str) -> str | None:
    feed = document.get("feed")
    said = feed.get(role) if isinstance(feed, dict) else None
    return said if isinstance(said, str) else None


def bad_types(versions: Sequence[str], subject: str) -> tuple[BadType, ...]:
    """Every field that readers get wrong, in any version, and every decimal whose scale is not always the same."""
    documents = [read_record(text, subject) for text in versions]
    found: dict[tuple[str, str], BadType] = {}
    for document in documents:
        for raw in document["fields"]:
            column = _column(raw, nullable=True)
            if isinstance(column, BadType):
                found[column.field, column.problem] = column
    return (*found.values(), *_changed_scales(documents))


def _changed_scales(documents: Iterable[Mapping[str, Any]]) -> list[BadType]:
    scales: dict[str, set[int]] = {}
    for document in documents:
        for raw in document["fields"]:
            column = _column(raw, nullable=True)
            if isinstance(column, Column) and column.kind is ColumnKind.DECIMAL:
                scales.setdefault(column.name, set()).add(column.scale)
    return [
        BadType(
            name,
            f"its scale is {' and '.join(map(str, sorted(seen)))} in different versions: a reader with one scale "
            "shifts the values of the others by powers of ten, in silence",
            "publish the values under the old scale, or under another field's name",
        )
        for name, seen in scales.items()
        if len(seen) > 1
    ]


def _nullable_somewhere(documents: Sequence[Mapping[str, Any]]) -> set[str]:
    names = {raw["name"] for document in documents for raw in document["fields"]}
    found = set()
    for document in documents:
        by_name = {raw["name"]: raw for raw in document["fields"]}
        found |= {name for name in names if name not in by_name or _branch(by_name[name]["type"])[1]}
    return found


def _role(
    columns: Mapping[str, Column], bad: Iterable[BadType], name: str | None, table: str, role: str, kind: ColumnKind
) -> Column | None:
    if name is None:
        return None
    at_fault = next((each for each in bad if each.field == name), None)
    if at_fault is not None:
        raise ConfigurationError(f"{table}: {role} field {name!r}: {at_fault.problem}; {at_fault.remedy}")
    if name not in columns:
        raise ConfigurationError(f"{table}: there is no field {name!r} to be the {role}; it has {', '.join(columns)}")
    if columns[name].kind is not kind:
        raise ConfigurationError(f"{table}: {role} field {name!r} is {columns[name].kind}, it must be {kind}")
    return columns[name]


def _branch(avro_type: Any) -> tuple[Any, bool]:
    """The type that is not null, and whether null may stand in its place; a true union stays one."""
    if isinstance(avro_type, list):
        branches = [each for each in avro_type if each != "null"]
        return (branches[0] if len(branches) == 1 else branches), len(branches) < len(avro_type)
    return avro_type, False


def _logical(avro_type: Any) -> str | None:
    return avro_type.get("logicalType") if isinstance(avro_type, dict) else None


_PLAIN = {
    kind.value: kind
    for kind in (
        ColumnKind.STRING,
        ColumnKind.BOOLEAN,
        ColumnKind.INT,
        ColumnKind.LONG,
        ColumnKind.FLOAT,
        ColumnKind.DOUBLE,
        ColumnKind.BYTES,
    )
}
_LOGICAL = {
    ("long", "timestamp-millis"): ColumnKind.TIMESTAMP_MILLIS,
    ("int", "date"): ColumnKind.DATE,
    ("string", "uuid"): ColumnKind.STRING,
}
_BAD_LOGICAL = {
    "timestamp-micros": ("Flink reads it a thousand times too late", "use timestamp-millis"),
    "timestamp-nanos": ("Flink and ksqlDB do not know it", "use timestamp-millis"),
    "local-timestamp-millis": ("it has no zone, so readers make different instants of it", "use timestamp-millis"),
    "local-timestamp-micros": ("it has no zone, so readers make different instants of it", "use timestamp-millis"),
    "time-micros": ("Flink and ksqlDB read it wrong or not at all", "use long, with the unit in the name"),
    "time-millis": ("Flink and ksqlDB do not read it alike", "use int, with the unit in the name"),
}
_BAD = {
    "enum": ("Flink fails on an enum", "use string"),
    "fixed": ("Flink and ksqlDB fail on fixed", "use bytes"),
}


def _column(raw: Mapping[str, Any], *, nullable: bool) -> Column | BadType:
    name, doc = str(raw["name"]), str(raw.get("doc", ""))
    avro_type, _ = _branch(raw["type"])
    if isinstance(avro_type, list):
        return BadType(name, "is a union of more than one type, which no SQL column is", "use one field for each type")
    base = avro_type.get("type") if isinstance(avro_type, dict) else avro_type
    logical = _logical(avro_type)
    if base in _BAD:
        return BadType(name, *_BAD[base])
    if logical in _BAD_LOGICAL:
        return BadType(name, *_BAD_LOGICAL[logical])
    if logical == "decimal" and base == "bytes":
        return _decimal(name, doc, avro_type, nullable=nullable)
    kind = _LOGICAL.get((str(base), str(logical)), _PLAIN.get(base)) if isinstance(base, str) else None
    if kind is None:
        return BadType(name, f"is {base}: made of parts, no plain column", "use a field for each part")
    return Column(name, kind, nullable, doc)


def _decimal(name: str, doc: str, avro_type: Mapping[str, Any], *, nullable: bool) -> Column | BadType:
    precision, scale = int(avro_type["precision"]), int(avro_type.get("scale", 0))
    if precision > FLINK_MAX_PRECISION:
        return BadType(
            name,
            f"has {precision} digits, Flink and ksqlDB have {FLINK_MAX_PRECISION} at most",
            f"use a precision of {FLINK_MAX_PRECISION} or less",
        )
    return Column(name, ColumnKind.DECIMAL, nullable, doc, precision, scale)
