"""Frames to ticks and rejects, as the schema says.

There are two ways, with one outcome (a test holds them to it):

The *fast* one takes the whole frame or nothing: msgspec decodes all elements
at once into structs made from the schema, which checks JSON, types, presence
and event type in C. Then the frame is turned round, and each field's writer
checks and encodes that field of all elements at once: most of it too runs in
C, and the cost of a Python call is one per column instead of one per value.

The *careful* one takes over as soon as the fast one objects to anything. It
reads one element at a time (:mod:`connector.core.decode`), says for each which
field is at fault and why, and lets its neighbours be ticks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from itertools import count
from operator import attrgetter, call
from typing import Annotated, Any, Literal

import msgspec

from connector.core.careful import ElementReader, FieldReader, Window, field_reader
from connector.core.decimals import Unfit
from connector.core.decode import Control, Data, Element, Payload, Unreadable, classify, read_value
from connector.core.encode import KEY_LIMIT, Writer, column_writers, content_writers
from connector.core.schema import FieldSpec, Kind, StreamSchema
from connector.core.values import Frame, Normalized, Origin, Reason, Reject, Tick

_ENVELOPE = b'{"stream":'
_OBJECTIONS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, Unfit)
"""Why the fast way gives a frame up."""
_FOREIGN = (Reason.NOT_AN_ELEMENT, Reason.EVENT_TYPE)
"""What is no element of this stream says nothing of the stream's fields."""
_MAX_UNKNOWN = 32
_MAX_UNKNOWN_LENGTH = 64
_MAX_LAYOUTS = 1024

Path = tuple[str, ...]
Decode = Callable[[bytes], Any]


class Normalizer:
    """Made from a schema at start; then ``normalize`` takes any bytes and never raises."""

    def __init__(self, schema: StreamSchema, *, ahead_ms: int | None, behind_ms: int | None) -> None:
        """Event times more than ``ahead_ms`` after or ``behind_ms`` before a frame's receive time are refused.

        None switches that end off.
        """
        self._ahead_ms = ahead_ms
        self._behind_ms = behind_ms
        pushed = _Shape(schema, tuple(_path(spec.wire) for spec in schema.content_fields), schema.feed.event_type_key)
        asked = pushed
        if schema.feed.rest is not None:
            asked = _Shape(schema, tuple(_path(spec.rest) for spec in schema.content_fields), "")
        self._shapes = {Origin.WEBSOCKET: pushed, Origin.REST: asked}

    def inspect(self, data: bytes) -> Data | Control:
        """What a socket needs to know of a message, at a fraction of the price of ``normalize``. Never raises.

        Event times are those that elements say; whether they can be believed, only
        ``normalize`` checks. What cannot be read is Data without stream and elements.
        """
        return self._shapes[Origin.WEBSOCKET].inspect(data)

    def normalize(self, frame: Frame) -> Normalized:
        """Every element of the frame as a tick or a reject, in order. Never raises.

        A control message has neither. What is no JSON is one reject.
        """
        shape = self._shapes[frame.origin]
        window = Window.around(frame.received_at_ns // 1_000_000, self._behind_ms, self._ahead_ms)
        try:
            return shape.fast(frame, window)
        except _OBJECTIONS:
            return shape.careful(frame, window)

    def element(self, frame: Frame, index: int) -> bytes:
        """The bytes of one element as received; the whole frame where it has no such element."""
        message = classify(frame.data)
        if isinstance(message, Payload) and 0 <= index < len(message.elements):
            return message.elements[index].data
        return frame.data


class _Shape:
    """How elements look that come one way: pushed with wire names and event type, or asked for with REST names."""

    def __init__(self, schema: StreamSchema, paths: tuple[Path, ...], event_type_key: str) -> None:
        specs = schema.content_fields
        names = [spec.name for spec in specs]
        writers = content_writers(schema)
        feed = schema.feed
        self._key_at = names.index(feed.key_field)
        self._time_at = names.index(feed.time_field)
        self._event_type_key = event_type_key
        self._known = _tree(paths, event_type_key)
        self._keys_per_element = _count(self._known)
        self._unknown_by_layout: dict[tuple[int, int], frozenset[str]] = {}
        self._reader = ElementReader(schema, paths, event_type_key, writers)
        self._column_writers = column_writers(
            schema,
            tuple(
                _raw_writer(field_reader(spec), write, nullable=spec.nullable) if spec.kind is Kind.OTHER else write
                for spec, write in zip(specs, writers, strict=True)
            ),
        )
        types: dict[Path, Any] = {
            path: _struct_type(spec, feed.key_field, feed.time_field)
            for spec, path in zip(specs, paths, strict=True)
            if path
        }
        if event_type_key:
            types[(event_type_key,)] = (Literal[feed.event_type],)
        element, attributes = _struct(types)
        self._values = _row_maker(paths, attributes)
        self._decode, self._decode_enveloped = _decoders(element)
        time_path = paths[self._time_at]
        timed, attributes = _struct({path: types[path] for path in ((event_type_key,), time_path) if path in types})
        self._event_time: Callable[[Any], int] = attrgetter(attributes[time_path])
        self._decode_times, self._decode_enveloped_times = _decoders(timed)

    def inspect(self, data: bytes) -> Data | Control:
        try:
            stream, elements = self._decoded(data, self._decode_times, self._decode_enveloped_times)
            return Data(stream, max(map(self._event_time, elements), default=None), len(elements))
        except _OBJECTIONS:
            message = classify(data)
        if isinstance(message, Unreadable):
            return Data("", None, 0)
        if isinstance(message, Payload):
            times = [self._reader.event_time(element.value) for element in message.elements]
            newest = max((time for time in times if time is not None), default=None)
            return Data(message.stream, newest, len(message.elements))
        return message

    def fast(self, frame: Frame, window: Window) -> Normalized:
        """Raises one of _OBJECTIONS where not every element is as it should be."""
        data = frame.data
        if not data.isascii():
            data.decode()  # msgspec does not look into text that nobody reads
        stream, elements = self._decoded(data, self._decode, self._decode_enveloped)
        columns = list(zip(*map(self._values, elements), strict=True))
        if not columns:
            return Normalized((), (), stream or frame.stream)
        symbols, times = columns[self._key_at], columns[self._time_at]
        if not window.earliest_ms <= min(times) <= max(times) <= window.latest_ms:
            raise Unfit(Reason.EVENT_TIME, "left to the careful way")
        contents = map(b"".join, zip(*map(call, self._column_writers, columns), strict=True))
        ticks = tuple(map(Tick, symbols, times, contents, count()))
        return Normalized(ticks, (), stream or frame.stream, self._unknown(data, len(ticks)))

    def careful(self, frame: Frame, window: Window) -> Normalized:
        message = classify(frame.data)
        if isinstance(message, Unreadable):
            reject = Reject(Reason.NOT_JSON, "", f"the frame {message.problem}", frame.data, "", frame.stream)
            return Normalized((), (reject,), frame.stream)
        if not isinstance(message, Payload):
            return Normalized((), (), frame.stream)
        stream = message.stream or frame.stream
        ticks: list[Tick] = []
        rejects: list[Reject] = []
        unknown: set[str] = set()
        for index, element in enumerate(message.elements):
            try:
                ticks.append(self._reader.tick(element.value, index, window))
            except Unfit as fault:
                rejects.append(self._reject(element, fault, stream))
                if fault.reason in _FOREIGN or fault.field == self._event_type_key:
                    continue
            _collect(element.value, self._known, "", unknown)
        if not ticks:
            rejects = _suspect_clock(rejects)
        return Normalized(tuple(ticks), tuple(rejects), stream, _some_of(unknown))

    def _reject(self, element: Element, fault: Unfit, stream: str) -> Reject:
        detail = f"{fault.field} {fault.detail}" if fault.field else f"the element {fault.detail}"
        return Reject(fault.reason, fault.field, detail, element.data, self._reader.symbol(element.value), stream)

    @staticmethod
    def _decoded(
        data: bytes, plain: Callable[[bytes], Any], enveloped: Callable[[bytes], Any]
    ) -> tuple[str, list[Any]]:
        stream = ""
        if data.startswith(_ENVELOPE):
            envelope = enveloped(data)
            stream, elements = envelope.stream, envelope.data
        else:
            elements = plain(data)
        return stream, elements if isinstance(elements, list) else [elements]

    def _unknown(self, data: bytes, elements: int) -> frozenset[str]:
        """Unknown fields of a frame that is otherwise good.

        Counting colons tells at next to no cost that there are none. Else the
        frame is read once more, and frames with as many elements and colons are
        then taken to be alike.
        """
        colons = data.count(b":")
        expected = elements * self._keys_per_element
        if colons == expected + 2 * data.startswith(_ENVELOPE):
            return frozenset()
        known = self._unknown_by_layout.get((elements, colons))
        if known is None:
            message = classify(data)
            found: set[str] = set()
            for element in message.elements if isinstance(message, Payload) else ():
                _collect(element.value, self._known, "", found)
            known = _some_of(found)
            if len(self._unknown_by_layout) >= _MAX_LAYOUTS:
                self._unknown_by_layout.clear()
            self._unknown_by_layout[elements, colons] = known
        return known


def _path(dotted: str | None) -> Path:
    return tuple(dotted.split(".")) if dotted else ()


def _struct_type(spec: FieldSpec, key_field: str, time_field: str) -> tuple[Any, ...]:
    """The type of a field in the struct, and its default where it may be absent."""
    if spec.name == key_field:
        return (Annotated[str, msgspec.Meta(min_length=1, max_length=KEY_LIMIT)],)
    if spec.name == time_field:
        return (int,)
    if spec.kind is Kind.OTHER:
        return (msgspec.Raw, msgspec.Raw()) if spec.nullable else (msgspec.Raw,)
    if spec.nullable:
        return (_NULLABLE_TYPES[spec.kind] | None, None)
    return (_STRUCT_TYPES[spec.kind],)


_INT = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
_LONG = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_STRUCT_TYPES: dict[Kind, Any] = {
    Kind.STRING: Annotated[str, msgspec.Meta(min_length=1)],
    Kind.BOOLEAN: bool,
    Kind.INT: _INT,
    Kind.LONG: _LONG,
    Kind.DECIMAL: str,
}
_NULLABLE_TYPES: dict[Kind, Any] = _STRUCT_TYPES | {Kind.STRING: str}


def _struct(types: dict[Path, tuple[Any, ...]]) -> tuple[Any, dict[Path, str]]:
    """A struct type for objects with these paths, and the attribute (dotted for nested ones) of each.

    A path that is empty, for a nullable field that does not come this way, becomes a constant None.
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
        nested, nested_attributes = _struct(inner)
        fields.append((attribute, nested))
        attributes |= {(key, *path): f"{attribute}.{name}" for path, name in nested_attributes.items()}
    made = msgspec.defstruct("Element", fields, rename=names, kw_only=True, gc=False, namespace={"absent": None})
    return made, {(): "absent"} | attributes


def _row_maker(paths: tuple[Path, ...], attributes: dict[Path, str]) -> Callable[[Any], tuple[Any, ...]]:
    """From a decoded element, its values in the order of the fields; more (the event type) may follow."""
    if all(len(path) == 1 for path in paths):
        return msgspec.structs.astuple  # a third of the price of attrgetter, which can do the same
    return attrgetter(*[attributes[path] for path in paths])


def _decoders(element: Any) -> tuple[Decode, Decode]:
    """Decode an array of elements or a single one; the same in a combined envelope."""
    either = list[element] | element
    envelope = msgspec.defstruct("Envelope", [("stream", str), ("data", either)])
    return msgspec.json.Decoder(either).decode, msgspec.json.Decoder(envelope).decode


def _raw_writer(read: FieldReader, write: Writer, *, nullable: bool) -> Writer:
    def write_raw(raw: Any) -> bytes:
        value = read_value(bytes(raw)) if len(bytes(raw)) else None
        if nullable and (value is None or value == ""):
            return write(None)
        return write(read(value))

    return write_raw


def _tree(paths: Iterable[Path], event_type_key: str) -> dict[str, Any]:
    """The known keys; a nested dict where a key is only the way to others, else None."""
    tree: dict[str, Any] = {event_type_key: None} if event_type_key else {}
    for path in paths:
        branch = tree
        for key in path[:-1]:
            branch = branch.setdefault(key, {})
        if path:
            branch[path[-1]] = None
    return tree


def _count(tree: dict[str, Any]) -> int:
    return len(tree) + sum(_count(branch) for branch in tree.values() if branch)


def _some_of(unknown: set[str]) -> frozenset[str]:
    """Bounded, for whoever remembers what was told."""
    return frozenset(sorted(unknown)[:_MAX_UNKNOWN])


def _collect(element: dict[str, Any], known: dict[str, Any], prefix: str, found: set[str]) -> None:
    found.update((prefix + key)[:_MAX_UNKNOWN_LENGTH] for key in element.keys() - known.keys())
    for key, branch in known.items():
        inner = element.get(key)
        if branch and isinstance(inner, dict):
            _collect(inner, branch, f"{prefix}{key}.", found)


def _suspect_clock(rejects: list[Reject]) -> list[Reject]:
    """Where the event time of every tick is out of the window, the likely cause is a clock: say so."""
    if not all(reject.reason is Reason.EVENT_TIME for reject in rejects):
        return rejects
    hint = "; so is every tick of the frame: a clock is off, most likely this machine's"
    return [dataclasses.replace(reject, detail=reject.detail + hint) for reject in rejects]
