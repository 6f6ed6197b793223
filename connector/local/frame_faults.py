"""Faults of the fake exchange that change what a connection is sent in a period.

A :class:`Fault` takes the frames that a connection would get and gives those that it gets instead.
It works on the periods from its order on, for ``periods`` of them, until a time, or until :meth:`Fault.stop`.
Every piece that is not the truth in its time carries the fault's name, so that the truth can be kept apart.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from connector.local.market import ARRAY_STREAM, Snapshot

REMOVE = ...
"""As a value in a patch: take the key out."""

Patch = Mapping[str, Any]
Mutation = Callable[[dict[str, Any]], Any]
"""Gives the JSON value to send instead of the element; a ``str`` is taken as JSON text, right or wrong."""


@dataclass(slots=True)
class Piece:
    """The text of one element; ``fault`` is the name of what made it other than the truth."""

    symbol: str
    text: str
    fault: str | None = None


@dataclass(slots=True)
class Frame:
    """One message of one stream, before it is put into bytes. ``raw`` replaces all of it."""

    stream: str
    pieces: list[Piece]
    array: bool = True
    fragments: int = 1
    raw: bytes | None = None
    fault: str | None = None

    @classmethod
    def of(cls, stream: str, snapshot: Snapshot) -> Frame | None:
        """The true frame of a stream, or none where the stream has nothing to push."""
        if stream == ARRAY_STREAM:
            return cls(stream, [Piece(symbol, text) for symbol, text in snapshot.elements.items()])
        symbol = stream.split("@")[0].upper()
        text = snapshot.elements.get(symbol)
        return None if text is None else cls(stream, [Piece(symbol, text)], array=False)

    def marked(self, fault: str) -> Frame:
        """A copy whose every piece is the fault's."""
        pieces = [Piece(piece.symbol, piece.text, fault) for piece in self.pieces]
        return Frame(self.stream, pieces, self.array, self.fragments, self.raw, fault)

    def payload(self, *, combined: bool) -> bytes:
        if self.raw is not None:
            return self.raw
        text = ",".join(piece.text for piece in self.pieces)
        if self.array:
            text = f"[{text}]"
        if combined:
            text = f'{{"stream":"{self.stream}","data":{text}}}'
        return text.encode("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True)
class Turn:
    """One period of a fault at one connection; ``number`` counts the fault's periods from 0."""

    number: int
    connection_id: int
    snapshot: Snapshot
    previous: Snapshot
    """What was pushed in the period before (the same as ``snapshot`` in the first)."""


Shape = Callable[[Turn, list[Frame]], list[Frame]]


@dataclass(slots=True)
class Fault:
    """One ordered fault. ``selects`` says whether a connection is meant; keep it to :meth:`stop` it."""

    kind: str
    selects: Callable[[Any], bool]
    shape: Shape
    periods: int | None = 1
    until_s: float | None = None
    """By the clock of the exchange's event loop."""
    turns: int = field(default=0, init=False)
    over: bool = field(default=False, init=False)

    def stop(self) -> None:
        """End it; from any thread."""
        self.over = True

    def end_turn(self) -> None:
        self.turns += 1
        if self.periods is not None and self.turns >= self.periods:
            self.over = True


def nothing(turn: Turn, frames: list[Frame]) -> list[Frame]:
    """Stall and skipped period: no data, whatever was due."""
    return []


def freeze() -> Shape:
    """The last data again and again, event time included."""
    frozen: list[Snapshot] = []

    def shape(turn: Turn, frames: list[Frame]) -> list[Frame]:
        if not frozen:
            frozen.append(turn.previous)
        repeated = (Frame.of(frame.stream, frozen[0]) for frame in frames)
        return [frame.marked("freeze") for frame in repeated if frame is not None]

    return shape


def garbage(payload: bytes) -> Shape:
    """One message of the given bytes instead of the data."""

    def shape(turn: Turn, frames: list[Frame]) -> list[Frame]:
        return [Frame("", [], raw=payload, fault="garbage")]

    return shape


def _mutated(text: str, change: Patch | Mutation) -> str:
    element = json.loads(text)
    if callable(change):
        value = change(element)
        return value if isinstance(value, str) else json.dumps(value)
    for key, value in change.items():
        if value is REMOVE:
            element.pop(key, None)
        else:
            element[key] = value
    return json.dumps(element, separators=(",", ":"))


def bad_element(kind: str, change: Patch | Mutation, symbol: str | None) -> Shape:
    """One element of each frame changed (the symbol's, or the first); its neighbours remain."""

    def shape(turn: Turn, frames: list[Frame]) -> list[Frame]:
        for frame in frames:
            for piece in frame.pieces:
                if symbol in (None, piece.symbol):
                    piece.text, piece.fault = _mutated(piece.text, change), kind
                    break
        return frames

    return shape


def duplicate(turn: Turn, frames: list[Frame]) -> list[Frame]:
    """Each frame twice."""
    return [copy for frame in frames for copy in (frame, frame.marked("duplicate"))]


def duplicate_element(symbol: str | None) -> Shape:
    """One element twice within its array."""

    def shape(turn: Turn, frames: list[Frame]) -> list[Frame]:
        for frame in frames:
            twice = next((piece for piece in frame.pieces if symbol in (None, piece.symbol)), None)
            if twice is not None and frame.array:
                frame.pieces.append(Piece(twice.symbol, twice.text, "duplicate"))
        return frames

    return shape


def split(parts: int) -> Shape:
    """Each array over several messages."""

    def shape(turn: Turn, frames: list[Frame]) -> list[Frame]:
        divided = []
        for frame in frames:
            if frame.raw is not None or not frame.pieces:
                divided.append(frame)
            size = max(1, -(-len(frame.pieces) // parts))
            for start in range(0, len(frame.pieces), size):
                divided.append(Frame(frame.stream, frame.pieces[start : start + size], frame.array))
        return divided

    return shape


def late(after: int) -> Shape:
    """The frames of the first turn held back, and sent behind those of ``after`` periods later."""
    held: dict[int, list[Frame]] = {}

    def shape(turn: Turn, frames: list[Frame]) -> list[Frame]:
        if turn.number == 0:
            held[turn.connection_id] = [frame.marked("late") for frame in frames]
            return []
        if turn.number < after:
            return frames
        return [*frames, *held.pop(turn.connection_id, [])]

    return shape


def conflict(change: Patch | Mutation, symbol: str | None) -> Shape:
    """The true frame, then one element of it again with the same symbol and event time and another value."""

    def shape(turn: Turn, frames: list[Frame]) -> list[Frame]:
        sent = list(frames)
        for frame in frames:
            twin = next((piece for piece in frame.pieces if symbol in (None, piece.symbol)), None)
            if twin is not None:
                sent.append(
                    Frame(frame.stream, [Piece(twin.symbol, _mutated(twin.text, change), "conflict")], frame.array)
                )
        return sent

    return shape


def time_shift(offset_ms: int) -> Shape:
    """Every event time off by so much."""

    def shape(turn: Turn, frames: list[Frame]) -> list[Frame]:
        true_time = turn.snapshot.event_time_ms
        for frame in frames:
            for piece in frame.pieces:
                piece.text = piece.text.replace(f'"E":{true_time}', f'"E":{true_time + offset_ms}', 1)
        return [frame.marked("time_shift") for frame in frames]

    return shape


def fragmented(parts: int) -> Shape:
    """Each message in so many WebSocket fragments."""

    def shape(turn: Turn, frames: list[Frame]) -> list[Frame]:
        for frame in frames:
            frame.fragments = parts
        return frames

    return shape
