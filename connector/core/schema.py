"""A stream, as its Avro schema file declares it.

The file is the only place where a wire name, an event type or a stream name
stands. On top of plain Avro the record has a ``feed`` attribute (where the
stream is found, what one element is, which fields are key and event time) and
each field says where its value comes from:

``wire``
    The element's key, or a path of keys with dots (``o.ap``).
``rest``
    The key of the same value in a row of the REST end point.
``filled_by``
    Not from the exchange: ``received_time`` or ``origin`` of the frame.
    Such fields come last, so that what came from the exchange is one
    contiguous prefix of the record (``Tick.content``).

A record may have a ``quality`` attribute too: what is true of good data, for
:mod:`connector.core.quality` to look at.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, NoReturn

import fastavro
from fastavro.schema import SchemaParseException, UnknownType

from connector.core.errors import ConfigurationError, SchemaFileError


class Kind(StrEnum):
    """What the fast encoder knows; all else is OTHER, and left to fastavro."""

    STRING = "string"
    BOOLEAN = "boolean"
    INT = "int"
    LONG = "long"
    """Also ``timestamp-millis``."""
    DECIMAL = "decimal"
    """Decimal in ``bytes``."""
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """One field of the record. Exactly one of ``wire`` and ``filled_by`` is set."""

    name: str
    avro_type: Any
    """The type as parsed from JSON: a name, an object, or a list of union branches."""
    wire: str | None
    rest: str | None
    filled_by: str | None
    doc: str
    kind: Kind
    """Of the branch that is not null, where the type is a union of null and one other."""
    null_branch: int | None = None
    """Which branch of the union is null; None where the field is not nullable."""
    precision: int = 0
    scale: int = 0

    @property
    def nullable(self) -> bool:
        return self.null_branch is not None


@dataclass(frozen=True, slots=True)
class RestSpec:
    path: str
    weight: int
    """Of one request for all symbols, in the exchange's units of its limit."""


@dataclass(frozen=True, slots=True)
class FeedSpec:
    """Where the stream is found, and how its elements are to be read."""

    route: str
    all_stream: str
    """Stream of all symbols; empty where the exchange has none."""
    symbol_stream: str
    """Stream of one symbol, ``{symbol}`` in it; empty where the exchange has none."""
    event_type_key: str
    event_type: str
    key_field: str
    time_field: str
    cadence_ms: int
    rest: RestSpec | None = None

    def stream_names(self, symbols: Sequence[str]) -> tuple[str, ...]:
        """Streams to subscribe to for these symbols; for all symbols where none is given.

        Raises ConfigurationError where the exchange has no such stream.
        """
        if not symbols:
            if not self.all_stream:
                raise ConfigurationError("this stream comes for one symbol at a time: name the symbols (feed.symbols)")
            return (self.all_stream,)
        if not self.symbol_stream:
            raise ConfigurationError("this stream comes for all symbols at once: leave feed.symbols empty")
        return tuple(self.symbol_stream.replace("{symbol}", symbol.lower()) for symbol in symbols)


@dataclass(frozen=True, slots=True)
class QualitySpec:
    """What is true of the stream's values as long as the exchange is well."""

    ascending: tuple[str, ...]
    """Decimal fields of one scale, none of which is greater than the next."""
    tolerance: int
    """By so many units of that scale a field may still be greater: the exchange rounds each by itself."""
    symbol_frozen_ms: int
    """A symbol whose values have not changed for so long, by event time, is frozen."""
    stream_frozen_ms: int
    """The same for the stream: no symbol's values have changed."""


@dataclass(frozen=True, slots=True)
class StreamSchema:
    """A schema file that was read and found good."""

    file: str
    name: str
    fullname: str
    fields: tuple[FieldSpec, ...]
    feed: FeedSpec
    text: str
    """The JSON to register: compact, all attributes kept."""
    parsed: Any = field(repr=False)
    """For fastavro's readers and writers."""
    quality: QualitySpec | None = None

    @property
    def content_fields(self) -> tuple[FieldSpec, ...]:
        """Fields that come from the exchange, in order: what ``Tick.content`` holds."""
        return tuple(spec for spec in self.fields if spec.wire is not None)

    @property
    def filled_fields(self) -> tuple[FieldSpec, ...]:
        """Fields that the connector fills, in order; they follow the content."""
        return tuple(spec for spec in self.fields if spec.filled_by is not None)

    def field(self, name: str) -> FieldSpec:
        return next(spec for spec in self.fields if spec.name == name)


def parse_schema(text: str, file: str) -> StreamSchema:
    """Read the text of a schema file; ``file`` is what errors call it.

    Raises SchemaFileError, which names the file and, where there is one, the field.
    """
    return _Reader(file).read(text)


_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_FEED_KEYS = {
    "route": str,
    "all_stream": str,
    "symbol_stream": str,
    "event_type_key": str,
    "event_type": str,
    "key_field": str,
    "time_field": str,
    "cadence_ms": int,
    "rest": dict,
}
_FEED_OPTIONAL = {"all_stream", "symbol_stream", "rest"}
_REST_KEYS = {"path": str, "weight": int}
_QUALITY_KEYS = {"ascending": list, "tolerance": str, "symbol_frozen_ms": int, "stream_frozen_ms": int}
_OWN_ATTRIBUTES = ("wire", "rest", "filled_by")
_AVRO_ATTRIBUTES = {"name", "type", "doc", "default", "order", "aliases", "namespace"}
_TIMESTAMP = {"type": "long", "logicalType": "timestamp-millis"}
_FILLED_BY = {"received_time": _TIMESTAMP, "origin": "string"}
"""What the connector can fill in, and the type that such a field must have."""
_KINDS = {"string": Kind.STRING, "boolean": Kind.BOOLEAN, "int": Kind.INT, "long": Kind.LONG}
_JSON_NAMES = {str: "text", int: "an integer", dict: "an object", list: "a list"}


class _Reader:
    """The checks, in the order in which a person would mend what they find."""

    def __init__(self, file: str) -> None:
        self.file = file

    def fail(self, field_name: str | None, problem: str) -> NoReturn:
        raise SchemaFileError(self.file, field_name, problem)

    def read(self, text: str) -> StreamSchema:
        document = self.document(text)
        parsed = self.avro(document)
        feed = self.feed(document)
        fields = tuple(self.field(raw) for raw in document["fields"])
        self.paths(fields, feed)
        self.order(fields)
        self.key_and_time(fields, feed)
        return StreamSchema(
            file=self.file,
            name=document["name"].rpartition(".")[2],
            fullname=parsed["name"],
            fields=fields,
            feed=feed,
            text=json.dumps(document, separators=(",", ":"), ensure_ascii=False),
            parsed=parsed,
            quality=self.quality(document, fields),
        )

    def document(self, text: str) -> dict[str, Any]:
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise SchemaFileError(self.file, None, f"is not JSON: {error}") from error
        if not isinstance(document, dict) or document.get("type") != "record":
            self.fail(None, 'is not an Avro record: it must be an object with "type": "record"')
        name = document.get("name")
        if not isinstance(name, str):
            self.fail(None, 'the record has no "name"')
        for given in (name, document.get("namespace", name)):
            if not isinstance(given, str) or not all(map(_NAME.fullmatch, given.split("."))):
                self.fail(None, f"{given!r} is not a name in Avro: letters, digits and underscores")
        fields = document.get("fields")
        if not isinstance(fields, list) or not fields:
            self.fail(None, 'the record has no "fields"')
        for position, raw in enumerate(fields):
            if not isinstance(raw, dict) or not isinstance(raw.get("name"), str):
                self.fail(None, f'"fields": number {position + 1} is not an object with a "name"')
            if not _NAME.fullmatch(raw["name"]):
                self.fail(raw["name"], "is not a name in Avro: letters, digits and underscores")
            if "type" not in raw:
                self.fail(raw["name"], 'has no "type"')
        names = [raw["name"] for raw in fields]
        for name in names:
            if names.count(name) > 1:
                self.fail(name, "is there twice")
        return document

    def avro(self, document: dict[str, Any]) -> Any:
        for raw in document["fields"]:
            self.decimal(raw["name"], raw["type"])
        problem = _avro_problem(document)
        if problem is None:
            return fastavro.parse_schema(document)
        # fastavro does not say which field it choked on: the first one without which it does not.
        fields = document["fields"]
        for count in range(len(fields)):
            at_fault = _avro_problem(document | {"fields": fields[: count + 1]})
            if at_fault is not None:
                self.fail(fields[count]["name"], at_fault)
        return self.fail(None, problem)

    def decimal(self, name: str, avro_type: Any) -> None:
        """Check decimals wherever they stand; fastavro lets most mistakes in them pass."""
        if isinstance(avro_type, list):
            for branch in avro_type:
                self.decimal(name, branch)
        elif isinstance(avro_type, dict) and avro_type.get("logicalType") == "decimal":
            precision, scale = avro_type.get("precision"), avro_type.get("scale", 0)
            if type(precision) is not int or precision < 1:
                self.fail(name, f"a decimal needs a precision of at least 1, not {precision!r}")
            if type(scale) is not int or scale < 0:
                self.fail(name, f"the scale of a decimal must be 0 or more, not {scale!r}")
            if scale > precision:
                self.fail(name, f"the scale {scale} is greater than the precision {precision}")

    def field(self, raw: dict[str, Any]) -> FieldSpec:
        name = raw["name"]
        for attribute in raw.keys() - _AVRO_ATTRIBUTES - set(_OWN_ATTRIBUTES):
            # Other attributes are the author's own business, unless one looks like ours, misspelt.
            near = difflib.get_close_matches(attribute, _OWN_ATTRIBUTES, n=1, cutoff=0.75)
            if near:
                self.fail(name, f"unknown attribute {attribute!r}: is {near[0]!r} meant?")
        for attribute in _OWN_ATTRIBUTES:
            value = raw.get(attribute)
            if value is not None and (not isinstance(value, str) or not all(value.split("."))):
                self.fail(name, f'"{attribute}" must be a name, or names with dots between, not {value!r}')
        wire, filled_by = raw.get("wire"), raw.get("filled_by")
        if wire is None and filled_by is None:
            self.fail(name, f'says neither "wire" (a key of the element) nor "filled_by" ({_choices(_FILLED_BY)})')
        if wire is not None and filled_by is not None:
            self.fail(name, 'says both "wire" and "filled_by": it can come from one of them')
        if filled_by is not None and filled_by not in _FILLED_BY:
            self.fail(name, f'"filled_by" is {filled_by!r}{_nearest(filled_by, _FILLED_BY)}')
        if filled_by is not None and raw["type"] != _FILLED_BY[filled_by]:
            self.fail(name, f'"filled_by": {filled_by!r} needs the type {json.dumps(_FILLED_BY[filled_by])}')
        doc = raw.get("doc", "")
        return FieldSpec(name, raw["type"], wire, raw.get("rest"), filled_by, doc, **_kind(raw["type"]))

    def feed(self, document: dict[str, Any]) -> FeedSpec:
        feed = document.get("feed")
        if not isinstance(feed, dict):
            self.fail(None, 'the record has no "feed" object, which says where the stream is found')
        self.keys("feed", feed, _FEED_KEYS, _FEED_OPTIONAL)
        if feed["cadence_ms"] <= 0:
            self.fail(None, f'"feed": "cadence_ms" must be positive, not {feed["cadence_ms"]}')
        all_stream, symbol_stream = feed.get("all_stream", ""), feed.get("symbol_stream", "")
        if not all_stream and not symbol_stream:
            self.fail(None, '"feed": one of "all_stream" and "symbol_stream" must be there')
        if symbol_stream and "{symbol}" not in symbol_stream:
            self.fail(None, '"feed": "symbol_stream" must have {symbol} where the symbol goes')
        rest = feed.get("rest")
        if rest is not None:
            self.keys("feed.rest", rest, _REST_KEYS, set())
            if not rest["path"].startswith("/"):
                self.fail(None, f'"feed.rest": "path" must begin with a slash, not {rest["path"]!r}')
        named = {key: feed[key] for key in _FEED_KEYS.keys() - _FEED_OPTIONAL}
        return FeedSpec(
            **named, all_stream=all_stream, symbol_stream=symbol_stream, rest=RestSpec(**rest) if rest else None
        )

    def quality(self, document: dict[str, Any], fields: tuple[FieldSpec, ...]) -> QualitySpec | None:
        given = document.get("quality")
        if given is None:
            return None
        if not isinstance(given, dict):
            self.fail(None, f'"quality" must be an object, not {given!r}')
        self.keys("quality", given, _QUALITY_KEYS, set())
        for key in ("symbol_frozen_ms", "stream_frozen_ms"):
            if given[key] <= 0:
                self.fail(None, f'"quality": {key!r} must be positive, not {given[key]}')
        decimals = {spec.name: spec for spec in fields if spec.kind is Kind.DECIMAL and spec.wire and not spec.nullable}
        for name in given["ascending"]:
            if name not in decimals:
                self.fail(None, f'"quality": "ascending" names {name!r}{_nearest(str(name), decimals)}')
        scales = {decimals[name].scale for name in given["ascending"]}
        if len(scales) > 1:
            self.fail(None, '"quality": "ascending" names fields of different scales')
        units = self.units(given["tolerance"], max(scales, default=0))
        return QualitySpec(tuple(given["ascending"]), units, given["symbol_frozen_ms"], given["stream_frozen_ms"])

    def units(self, tolerance: str, scale: int) -> int:
        try:
            units = Decimal(tolerance).scaleb(scale)
        except InvalidOperation:
            units = Decimal(-1)
        if not units.is_finite() or units < 0 or units != int(units):
            self.fail(None, f'"quality": "tolerance" must be a decimal of at most {scale} decimals, not {tolerance!r}')
        return int(units)

    def keys(self, where: str, given: dict[str, Any], known: Mapping[str, type], optional: set[str]) -> None:
        for key in given.keys() - known.keys():
            self.fail(None, f'"{where}": unknown key {key!r}{_nearest(key, known)}')
        for key, expected in known.items():
            if key not in given:
                if key not in optional:
                    self.fail(None, f'"{where}": {key!r} is missing')
            elif type(given[key]) is not expected:
                self.fail(None, f'"{where}": {key!r} must be {_JSON_NAMES[expected]}, not {given[key]!r}')
            elif not given[key] and key not in optional and expected is str:
                self.fail(None, f'"{where}": {key!r} is empty')

    def paths(self, fields: tuple[FieldSpec, ...], feed: FeedSpec) -> None:
        """No two fields may claim the same value, nor one a value inside the other's."""
        for attribute in ("wire", "rest"):
            taken = {feed.event_type_key: "the event type"} if attribute == "wire" else {}
            for spec in fields:
                path = getattr(spec, attribute)
                if path is None:
                    if attribute == "rest" and feed.rest and spec.wire and not spec.nullable:
                        self.fail(spec.name, 'has no "rest" name, yet the feed has a REST end point')
                    continue
                for other, owner in taken.items():
                    if path == other or path.startswith(other + ".") or other.startswith(path + "."):
                        self.fail(spec.name, f'"{attribute}": {path!r} is already taken by {owner}')
                taken[path] = f"field {spec.name!r}"

    def order(self, fields: tuple[FieldSpec, ...]) -> None:
        filled: dict[str, str] = {}
        for spec in fields:
            if spec.filled_by is None and filled:
                self.fail(spec.name, 'stands after a field with "filled_by": those must come last in the record')
            if spec.filled_by is not None:
                if spec.filled_by in filled:
                    self.fail(spec.name, f'"filled_by": {spec.filled_by!r} fills {filled[spec.filled_by]!r} already')
                filled[spec.filled_by] = spec.name

    def key_and_time(self, fields: tuple[FieldSpec, ...], feed: FeedSpec) -> None:
        content = {spec.name: spec for spec in fields if spec.wire is not None}
        for role, name, avro_type in (
            ("key_field", feed.key_field, "string"),
            ("time_field", feed.time_field, _TIMESTAMP),
        ):
            if name not in content:
                self.fail(None, f'"feed": {role!r} is {name!r}{_nearest(name, content)}')
            if content[name].avro_type != avro_type:
                self.fail(name, f"is the {role!r} and needs the type {json.dumps(avro_type)}")


def _avro_problem(document: dict[str, Any]) -> str | None:
    try:
        fastavro.parse_schema(document)
    except UnknownType as error:
        return f"unknown type {error.name.removeprefix(document.get('namespace', '') + '.')!r}"
    except (SchemaParseException, ValueError, TypeError, KeyError, AttributeError) as error:
        return f"is not valid Avro: {error}"
    return None


def _kind(avro_type: Any) -> dict[str, Any]:
    """The keywords of FieldSpec that follow from the type."""
    if isinstance(avro_type, list):
        branches = [branch for branch in avro_type if branch != "null"]
        if len(branches) != 1 or len(avro_type) != 2:
            return {"kind": Kind.OTHER, "null_branch": avro_type.index("null") if "null" in avro_type else None}
        return _kind(branches[0]) | {"null_branch": avro_type.index("null")}
    if not isinstance(avro_type, dict):
        return {"kind": _KINDS.get(avro_type, Kind.OTHER)}
    logical = avro_type.get("logicalType")
    if logical == "decimal" and avro_type["type"] == "bytes":
        return {"kind": Kind.DECIMAL, "precision": avro_type["precision"], "scale": avro_type.get("scale", 0)}
    if logical is None or (logical == "timestamp-millis" and avro_type["type"] == "long"):
        return {"kind": _KINDS.get(avro_type["type"], Kind.OTHER)} if isinstance(avro_type["type"], str) else _other()
    return _other()


def _other() -> dict[str, Any]:
    return {"kind": Kind.OTHER}


def _choices(known: Iterable[str]) -> str:
    return " or ".join(repr(name) for name in known)


def _nearest(name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    return f": is {near[0]!r} meant?" if near else f", which is none of {', '.join(names)}"
