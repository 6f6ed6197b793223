"""One element read with care: a tick, or which field is at fault and why.

What a value must be, by the kind of its field:

* In a field that may be null, an absent value, null and empty text are all
  null. In any other field each of them is a reject.
* Integers are JSON integers. Text, booleans and ``1.0`` are not.
* Decimals are text, or JSON numbers by their literal text; see
  :mod:`connector.core.decimals`.
* The key is text of 1 to 64 characters that can be shown: no control characters.
* The event time is in milliseconds, and within the window around the
  frame's receive time.
* A key that stands twice in an element: the last one counts, as in
  JavaScript, Python and msgspec.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from connector.core.decimals import Unfit, exact_decimal, shown, unscaled
from connector.core.encode import Writer
from connector.core.envelope import Number
from connector.core.schema import FieldSpec, Kind, StreamSchema
from connector.core.values import Reason, Tick

LATEST_EVENT_TIME_MS = 9_999_999_999_999
"""The year 2286: what is above it is not milliseconds. Holds also where the window is off."""

_INTEGER = re.compile(r"-?[0-9]{1,40}", re.ASCII)
_ABSENT = object()

FieldReader = Callable[[Any], Any]
"""Takes a JSON value (numbers as Number, never null) and gives what the field's writer takes, or raises Unfit."""


@dataclass(frozen=True, slots=True)
class Window:
    """What event times are believed: both ends belong to it."""

    received_ms: int
    earliest_ms: int
    latest_ms: int

    @classmethod
    def around(cls, received_ms: int, behind_ms: int | None, ahead_ms: int | None) -> Window:
        """None switches an end off; then only absurd times are refused."""
        earliest = 0 if behind_ms is None else max(0, received_ms - behind_ms)
        latest = LATEST_EVENT_TIME_MS
        return cls(received_ms, earliest, latest if ahead_ms is None else min(latest, received_ms + ahead_ms))

    def check(self, event_time_ms: int) -> None:
        """Raise Unfit where the event time is outside."""
        if self.earliest_ms <= event_time_ms <= self.latest_ms:
            return
        if event_time_ms < 0 or event_time_ms > LATEST_EVENT_TIME_MS:
            raise Unfit(Reason.EVENT_TIME, f"is not a time in milliseconds: {shown(str(event_time_ms))}")
        ahead_s = (event_time_ms - self.received_ms) / 1000
        where = "ahead of" if ahead_s > 0 else "behind"
        raise Unfit(Reason.EVENT_TIME, f"is {abs(ahead_s):.1f} s {where} the receive time")


class ElementReader:
    """Reads elements whose fields have the names that ``paths`` gives, in the order of the content fields."""

    def __init__(
        self, schema: StreamSchema, paths: tuple[tuple[str, ...], ...], event_type_key: str, writers: tuple[Writer, ...]
    ) -> None:
        """``event_type_key`` is empty where elements have no event type (REST)."""
        feed = schema.feed
        self._specs = schema.content_fields
        self._paths = paths
        self._readers = tuple(field_reader(spec) for spec in self._specs)
        self._writers = writers
        self._key_at = [spec.name for spec in self._specs].index(feed.key_field)
        self._time_at = [spec.name for spec in self._specs].index(feed.time_field)
        self._event_type_key = event_type_key
        self._event_type = feed.event_type

    def tick(self, element: Any, index: int, window: Window) -> Tick:
        """Raises Unfit, with the field at fault."""
        if not isinstance(element, dict):
            raise Unfit(Reason.NOT_AN_ELEMENT, f"is {_json_name(element)}, not an object")
        self._check_event_type(element)
        values: list[Any] = []
        content: list[bytes] = []
        for spec, path, read, write in zip(self._specs, self._paths, self._readers, self._writers, strict=True):
            try:
                value = self._value(element, spec, path, read)
                content.append(write(value))
                if len(values) == self._time_at:
                    window.check(value)
            except Unfit as fault:
                fault.field = spec.name
                raise
            values.append(value)
        return Tick(values[self._key_at], values[self._time_at], b"".join(content), index)

    def symbol(self, element: Any) -> str:
        """The element's key where it can be read, else empty."""
        try:
            text = _read_text(_at(element, self._paths[self._key_at]))
            self._writers[self._key_at](text)
        except Unfit:
            return ""
        return text

    def event_time(self, element: Any) -> int | None:
        """The element's event time where it has the stream's event type and a time in milliseconds."""
        value = _at(element, self._paths[self._time_at])
        if not isinstance(element, dict) or element.get(self._event_type_key) != self._event_type:
            return None
        if not isinstance(value, Number) or not _INTEGER.fullmatch(value):
            return None
        return int(value) if 0 <= int(value) <= LATEST_EVENT_TIME_MS else None

    def _check_event_type(self, element: dict[str, Any]) -> None:
        if not self._event_type_key:
            return
        found = element.get(self._event_type_key, _ABSENT)
        if found is _ABSENT:
            raise Unfit(Reason.MISSING, "is missing: it is the event type", self._event_type_key)
        is_text = isinstance(found, str) and not isinstance(found, Number)
        if not is_text or found != self._event_type:
            said = shown(found) if is_text else _json_name(found)
            raise Unfit(Reason.EVENT_TYPE, f"is {said}, not the event type {self._event_type!r}", self._event_type_key)

    def _value(self, element: dict[str, Any], spec: FieldSpec, path: tuple[str, ...], read: FieldReader) -> Any:
        value = _at(element, path)
        if value is not None and value is not _ABSENT and value != "":
            return read(value)
        if spec.nullable:
            return None
        if value is _ABSENT:
            raise Unfit(Reason.MISSING, "is missing")
        if value is None:
            raise Unfit(Reason.NULL, "is null")
        raise Unfit(Reason.EMPTY, "is empty text")


def _at(element: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        if not isinstance(element, dict) or key not in element:
            return _ABSENT
        element = element[key]
    return element


def field_reader(spec: FieldSpec) -> FieldReader:
    """The reader of one field; what it gives for an event time is not yet checked against a window."""
    if spec.kind is Kind.OTHER:
        return lambda value: _native(spec.avro_type, value)
    return _READERS[spec.kind]


def _read_text(value: Any) -> str:
    if not isinstance(value, str) or isinstance(value, Number):
        raise Unfit(Reason.TYPE, f"is {_json_name(value)}, not text")
    return value


def _read_boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Unfit(Reason.TYPE, f"is {_json_name(value)}, not a boolean")
    return value


def _read_integer(bits: int) -> FieldReader:
    def read(value: Any) -> int:
        if not isinstance(value, Number) or not _INTEGER.fullmatch(value):
            said = shown(value) if isinstance(value, Number) else _json_name(value)
            raise Unfit(Reason.TYPE, f"is {said}, not an integer")
        number = int(value)
        if not -(1 << bits - 1) <= number < 1 << bits - 1:
            raise Unfit(Reason.TYPE, f"does not fit {bits} bits: {shown(value)}")
        return number

    return read


def _read_decimal(value: Any) -> str:
    """Its text; whether that is a decimal, its writer says."""
    if not isinstance(value, str):
        raise Unfit(Reason.TYPE, f"is {_json_name(value)}, not a decimal")
    return value


_READERS: dict[Kind, FieldReader] = {
    Kind.STRING: _read_text,
    Kind.BOOLEAN: _read_boolean,
    Kind.INT: _read_integer(32),
    Kind.LONG: _read_integer(64),
    Kind.DECIMAL: _read_decimal,
}


def _native(avro_type: Any, value: Any) -> Any:
    """A JSON value as fastavro takes it for a type that the fast writers do not know."""
    if isinstance(avro_type, list):
        return _first_that_fits(avro_type, value)
    if isinstance(avro_type, str):
        read: FieldReader = _NATIVE.get(avro_type, _read_text)
        return read(value)
    if avro_type.get("logicalType") == "decimal":
        precision, scale = avro_type["precision"], avro_type.get("scale", 0)
        number = unscaled(_read_decimal(value), precision, scale)
        return exact_decimal(number, scale)
    if avro_type["type"] == "array":
        return [_native(avro_type["items"], item) for item in _of(list, value, "an array")]
    if avro_type["type"] == "map":
        return {key: _native(avro_type["values"], item) for key, item in _of(dict, value, "an object").items()}
    if avro_type["type"] == "record":
        members = _of(dict, value, "an object")
        return {
            field["name"]: _native(field["type"], members[field["name"]])
            for field in avro_type["fields"]
            if field["name"] in members
        }
    return _native(avro_type["type"], value)


def _first_that_fits(branches: list[Any], value: Any) -> Any:
    for branch in branches:
        try:
            return _native(branch, value)
        except Unfit:
            continue
    raise Unfit(Reason.TYPE, f"is {_json_name(value)}, which no branch of the union takes")


def _of(expected: type, value: Any, name: str) -> Any:
    if not isinstance(value, expected):
        raise Unfit(Reason.TYPE, f"is {_json_name(value)}, not {name}")
    return value


def _read_float(value: Any) -> float:
    """A number, or one as text: for a ``double`` the schema's author gave exactness up."""
    try:
        return float(_decimal_text(value))
    except OverflowError as error:
        raise Unfit(Reason.TYPE, f"is beyond a double: {shown(value)}") from error


def _decimal_text(value: Any) -> str:
    text = _read_decimal(value)
    if not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", text, re.ASCII):
        raise Unfit(Reason.NOT_A_DECIMAL, f"is not a decimal: {shown(text)}")
    return text


def _read_null(value: Any) -> None:
    if value is not None:
        raise Unfit(Reason.TYPE, f"is {_json_name(value)}, not null")


_NATIVE: dict[str, FieldReader] = {
    "null": _read_null,
    "boolean": _read_boolean,
    "int": _read_integer(32),
    "long": _read_integer(64),
    "float": _read_float,
    "double": _read_float,
    "bytes": lambda value: _read_text(value).encode(errors="replace"),
    "fixed": lambda value: _read_text(value).encode(errors="replace"),
}


def _json_name(value: Any) -> str:
    for expected, name in _JSON_NAMES:
        if isinstance(value, expected):
            return name
    return "null"


_JSON_NAMES: tuple[tuple[type, str], ...] = (
    (Number, "a number"),
    (str, "text"),
    (bool, "a boolean"),
    (list, "an array"),
    (dict, "an object"),
)
