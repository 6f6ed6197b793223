"""msgspec structs made from a schema: what lets msgspec decode and check a whole frame in one call."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Annotated, Any, Literal

import msgspec

from connector.core.encode import KEY_LIMIT
from connector.core.envelope import DATA, STREAM, is_enveloped
from connector.core.schema import FieldSpec, Kind, StreamSchema

Path = tuple[str, ...]
"""The keys on the way to a value; empty where a nullable field does not come this way at all."""

_INT = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
_LONG = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_TYPES: dict[Kind, Any] = {
    Kind.STRING: Annotated[str, msgspec.Meta(min_length=1)],
    Kind.BOOLEAN: bool,
    Kind.INT: _INT,
    Kind.LONG: _LONG,
    Kind.DECIMAL: str,
}
_NULLABLE_TYPES: dict[Kind, Any] = _TYPES | {Kind.STRING: str}


class ElementDecoder:
    """Decodes frames of elements whose content fields stand at ``paths``.

    All methods take an array of elements or a single one, plain or in a combined
    envelope. They raise msgspec.MsgspecError, UnicodeDecodeError or
    RecursionError where any element is not exactly as it should be.
    """

    def __init__(self, schema: StreamSchema, paths: tuple[Path, ...], event_type_key: str) -> None:
        """``event_type_key`` is empty where elements have no event type."""
        feed = schema.feed
        types: dict[Path, tuple[Any, ...]] = {
            path: _field_type(spec, feed.key_field, feed.time_field)
            for spec, path in zip(schema.content_fields, paths, strict=True)
            if path
        }
        if event_type_key:
            types[(event_type_key,)] = (Literal[feed.event_type],)
        element, attributes = _struct(types)
        self._row = _row_maker(paths, attributes)
        self._elements = _Either(element)
        self._known_elements = _Either(_struct(types, only_known=True)[0])
        names = [spec.name for spec in schema.content_fields]
        time_path = paths[names.index(feed.time_field)]
        timed, attributes = _struct({path: types[path] for path in ((event_type_key,), time_path) if path in types})
        self._time: Callable[[Any], int] = attrgetter(attributes[time_path])
        self._times = _Either(timed)

    def elements(self, data: bytes) -> tuple[str, list[Any], bool]:
        """The envelope's stream (or empty text), the elements, and whether they have no other fields."""
        try:
            return *self._known_elements.decode(data), True
        except msgspec.ValidationError:
            return *self._elements.decode(data), False

    def columns(self, elements: list[Any]) -> list[tuple[Any, ...]]:
        """The values of these elements, one tuple for each field; more may follow (the event type)."""
        return list(zip(*map(self._row, elements), strict=True))

    def times(self, data: bytes) -> tuple[str, list[int]]:
        """The envelope's stream and the event times, all else skipped."""
        stream, elements = self._times.decode(data)
        return stream, list(map(self._time, elements))


class _Either:
    """An array of elements or a single one, in an envelope or not."""

    def __init__(self, element: Any) -> None:
        either = list[element] | element
        envelope = msgspec.defstruct(
            "Envelope", [("stream", str), ("data", either)], rename={"stream": STREAM, "data": DATA}
        )
        self._plain: Callable[[bytes], Any] = msgspec.json.Decoder(either).decode
        self._enveloped: Callable[[bytes], Any] = msgspec.json.Decoder(envelope).decode

    def decode(self, data: bytes) -> tuple[str, list[Any]]:
        stream = ""
        if is_enveloped(data):
            envelope = self._enveloped(data)
            stream, elements = envelope.stream, envelope.data
        else:
            elements = self._plain(data)
        return stream, elements if isinstance(elements, list) else [elements]


def path_of(dotted: str | None) -> Path:
    return tuple(dotted.split(".")) if dotted else ()


def _field_type(spec: FieldSpec, key_field: str, time_field: str) -> tuple[Any, ...]:
    """The type of a field in the struct, and its default where it may be absent."""
    if spec.name == key_field:
        return (Annotated[str, msgspec.Meta(min_length=1, max_length=KEY_LIMIT)],)
    if spec.name == time_field:
        return (int,)
    if spec.kind is Kind.OTHER:
        return (msgspec.Raw, msgspec.Raw()) if spec.nullable else (msgspec.Raw,)
    if spec.nullable:
        return (_NULLABLE_TYPES[spec.kind] | None, None)
    return (_TYPES[spec.kind],)


def _struct(types: dict[Path, tuple[Any, ...]], *, only_known: bool = False) -> tuple[Any, dict[Path, str]]:
    """A struct type for objects with these paths, and the attribute (dotted for nested ones) of each.

    The empty path is an attribute that is always None. ``only_known``: objects with other keys are refused.
    """
    attributes: dict[Path, str] = {}
    fields: list[tuple[Any, ...]] = []
    names: dict[str, str] = {}
    for number, key in enumerate(dict.fromkeys(path[0] for path in types)):
        attribute = f"f{number}"
        names[attribute] = key
        inner = {path[1:]: found for path, found in types.items() if path[0] == key}
        if () in inner:
            fields.append((attribute, *inner[()]))
            attributes[(key,)] = attribute
            continue
        nested, nested_attributes = _struct(inner, only_known=only_known)
        fields.append((attribute, nested))
        attributes |= {(key, *path): f"{attribute}.{name}" for path, name in nested_attributes.items() if path}
    made = msgspec.defstruct(
        "Element",
        fields,
        rename=names,
        kw_only=True,
        gc=False,
        forbid_unknown_fields=only_known,
        namespace={"absent": None},
    )
    return made, {(): "absent"} | attributes


def _row_maker(paths: tuple[Path, ...], attributes: dict[Path, str]) -> Callable[[Any], tuple[Any, ...]]:
    """From a decoded element, its values in the order of the fields; more (the event type) may follow."""
    if all(len(path) == 1 for path in paths):
        return msgspec.structs.astuple  # a third of the price of attrgetter, which can do the same
    return attrgetter(*[attributes[path] for path in paths])
