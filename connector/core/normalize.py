"""Frames to ticks and rejects, as the schema says.

There are two ways, with one outcome (a test holds them to it):

The *fast* one takes the whole frame or nothing: msgspec decodes all elements
at once into structs made from the schema, which checks JSON, types, presence
and event type in C. Then the frame is turned round, and each field's writer
checks and encodes that field of all elements at once: most of it too runs in
C, and the cost of a Python call is one per column instead of one per value.

The *careful* one takes over as soon as the fast one objects to anything. It
reads one element at a time (:mod:`connector.core.envelope`), says for each which
field is at fault and why (:mod:`connector.core.element_reader`), and lets its
neighbours be ticks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from operator import call
from typing import Any

import msgspec

from connector.core.decimals import Unfit
from connector.core.element_reader import LATEST_EVENT_TIME_MS, ElementReader, FieldReader, Window, field_reader
from connector.core.encode import KeyColumn, Writer, column_writers, content_writers
from connector.core.envelope import Control, Data, Element, Payload, Unreadable, classify, read_value
from connector.core.pieces import Pieces
from connector.core.schema import Kind, StreamSchema
from connector.core.structs import ElementDecoder, Path, path_of
from connector.core.unknown_fields import UnknownFields
from connector.core.values import Frame, Normalized, Origin, Reason, Reject, Tick, Ticks

_OBJECTIONS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, Unfit)
"""Why the fast way gives a frame up."""
_FOREIGN = (Reason.NOT_AN_ELEMENT, Reason.EVENT_TYPE)
"""What is no element of this stream says nothing of the stream's fields."""
PIECE_BYTES = 128 * 1024
"""Of a frame that is larger, so much is read at a time. The values of thousands of elements would not stay in the
processor's cache until they are written; and where more than 700 tuples are made, the garbage collector looks through
them (of our stream, 128 KiB are 600 elements)."""


class Normalizer:
    """Made from a schema at start; then ``normalize`` takes any bytes and never raises."""

    def __init__(self, schema: StreamSchema, *, ahead_ms: int | None, behind_ms: int | None) -> None:
        """Event times more than ``ahead_ms`` after or ``behind_ms`` before a frame's receive time are refused.

        None switches that end off.
        """
        self._ahead_ms = ahead_ms
        self._behind_ms = behind_ms
        pushed = Shape(schema, tuple(path_of(spec.wire) for spec in schema.content_fields), schema.feed.event_type_key)
        asked = pushed
        if schema.feed.rest is not None:
            asked = Shape(schema, tuple(path_of(spec.rest) for spec in schema.content_fields), "")
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
        normalized = shape.fast(frame, window)
        return shape.careful(frame, window) if normalized is None else normalized

    def element(self, frame: Frame, index: int) -> bytes:
        """The bytes of one element as received; the whole frame where it has no such element."""
        message = classify(frame.data)
        if isinstance(message, Payload) and 0 <= index < len(message.elements):
            return message.elements[index].data
        return frame.data


class Shape:
    """How elements look that come one way: pushed with wire names and event type, or asked for with REST names."""

    def __init__(self, schema: StreamSchema, paths: tuple[Path, ...], event_type_key: str) -> None:
        """``event_type_key`` is empty where elements have no event type."""
        specs = schema.content_fields
        names = [spec.name for spec in specs]
        writers = content_writers(schema)
        self._key_at = names.index(schema.feed.key_field)
        self._time_at = names.index(schema.feed.time_field)
        self._event_type_key = event_type_key
        self._unknown = UnknownFields(paths, event_type_key)
        self._reader = ElementReader(schema, paths, event_type_key, writers)
        self._decoder = ElementDecoder(schema, paths, event_type_key)
        self._keys = KeyColumn(writers[self._key_at])
        self._column_writers = column_writers(
            schema,
            tuple(
                RawWriter(field_reader(spec), write, nullable=spec.nullable) if spec.kind is Kind.OTHER else write
                for spec, write in zip(specs, writers, strict=True)
            ),
            self._keys,
        )

    def inspect(self, data: bytes) -> Data | Control:
        try:
            stream, times = self._decoder.times(data)
            newest = max(times, default=None)
            if newest is not None and not 0 <= min(times) <= newest <= LATEST_EVENT_TIME_MS:
                newest = max((time for time in times if 0 <= time <= LATEST_EVENT_TIME_MS), default=None)
            return Data(stream, newest, len(times))
        except _OBJECTIONS:
            message = classify(data)
        if isinstance(message, Unreadable):
            return Data("", None, 0)
        if isinstance(message, Payload):
            found = [self._reader.event_time(element.value) for element in message.elements]
            newest = max((time for time in found if time is not None), default=None)
            return Data(message.stream, newest, len(message.elements))
        return message

    def fast(self, frame: Frame, window: Window) -> Normalized | None:
        """None where not every element is as it should be."""
        data = frame.data
        pieces = Pieces.of(data, PIECE_BYTES) if len(data) > PIECE_BYTES else None
        normalized = None if pieces is None else self._columns_of(frame, window, pieces.stream, pieces)
        return normalized or self._columns_of(frame, window, "", (data,))

    def _columns_of(self, frame: Frame, window: Window, stream: str, pieces: Iterable[bytes]) -> Normalized | None:
        """The same, of a frame in such pieces; of one that is its only piece, an envelope is read too."""
        data = frame.data
        times: list[int] = []
        contents: list[bytes] = []
        only_known = True
        self._keys.begin()
        try:
            if not data.isascii():
                data.decode()  # msgspec does not look into text that nobody reads
            for piece in pieces:
                named, elements, are_known = self._decoder.elements(piece)
                stream, only_known = named or stream, only_known and are_known
                if elements:
                    columns = self._decoder.columns(elements)
                    for event_time_ms in set(columns[self._time_at]):
                        window.check(event_time_ms)
                    times += columns[self._time_at]
                    contents += map(b"".join, zip(*map(call, self._column_writers, columns), strict=True))
        except _OBJECTIONS:
            return None
        unknown = frozenset() if only_known else self._unknown.of_good_frame(data, len(times))
        ticks = Ticks(self._keys.symbols, times, contents, range(len(times)))
        return Normalized(ticks, (), stream or frame.stream, unknown)

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
        ours: list[Any] = []
        for index, element in enumerate(message.elements):
            try:
                ticks.append(self._reader.tick(element.value, index, window))
            except Unfit as fault:
                rejects.append(self._reject(element, fault, stream))
                if fault.reason in _FOREIGN or fault.field == self._event_type_key:
                    continue
            ours.append(element.value)
        if not ticks:
            rejects = _suspect_clock(rejects)
        return Normalized(tuple(ticks), tuple(rejects), stream, self._unknown.of(ours))

    def _reject(self, element: Element, fault: Unfit, stream: str) -> Reject:
        detail = f"{fault.field or 'the element'} {fault.detail}"
        return Reject(fault.reason, fault.field, detail, element.data, self._reader.symbol(element.value), stream)


class RawWriter:
    """Writes a field that msgspec left as it stands in the frame, for it is for fastavro to write."""

    def __init__(self, read: FieldReader, write: Writer, *, nullable: bool) -> None:
        self._read = read
        self._write = write
        self._nullable = nullable

    def __call__(self, raw: Any) -> bytes:
        data = bytes(raw or b"")
        value = read_value(data) if data else None
        if value is not None and value != "":
            return self._write(self._read(value))
        if self._nullable:
            return self._write(None)
        raise Unfit(Reason.EMPTY, "left to the careful way")


def _suspect_clock(rejects: list[Reject]) -> list[Reject]:
    """Where the event time of every tick is out of the window, a clock is off, and a frame cannot tell whose."""
    if not all(reject.reason is Reason.EVENT_TIME for reject in rejects):
        return rejects
    hint = (
        "; so is every tick of the frame: a clock is off, this machine's or the exchange's. Compare this one with a "
        "time server (chronyc tracking) and with the other replica"
    )
    return [dataclasses.replace(reject, detail=reject.detail + hint) for reject in rejects]
