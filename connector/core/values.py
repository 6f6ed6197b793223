"""The frozen values that pass between the parts.

Times: ``*_ns`` and ``*_ms`` are since the Unix epoch; an *event time* is the
exchange's own, always in milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, overload


class Origin(StrEnum):
    """Where a frame came from; its value is written to the record's ``origin`` field."""

    WEBSOCKET = "websocket"
    REST = "rest"


@dataclass(frozen=True, slots=True)
class Frame:
    """One message as received."""

    data: bytes
    received_at_ns: int
    connection: str
    """Which connection brought it, for logs and dead-letter headers: ``ws-1``, ``rest``, ``replay``."""
    stream: str
    """Stream name asked for on this connection; a combined envelope names its own, which wins."""
    origin: Origin = Origin.WEBSOCKET


class Tick(NamedTuple):
    """One element of a frame that fits the schema. A tuple, for there are thousands a second in a replay."""

    symbol: str
    event_time_ms: int
    content: bytes
    """The Avro encoding of all fields that come from the wire, in schema order."""
    position: int
    """Place among the frame's elements; finds the element's bytes again (``Normalizer.element``)."""


class Ticks(Sequence[Tick]):
    """The ticks of a frame, in order, and equal to any sequence of the same.

    Kept as columns, and made into tuples for whoever asks for a single one:
    nobody does in the normal run, where thousands of them would be made a
    second, and gone through by the garbage collector. Frame after frame has the
    same symbols: then they are the very same texts, which have been hashed.
    """

    __slots__ = ("contents", "event_times_ms", "positions", "symbols")

    def __init__(
        self, symbols: Sequence[str], event_times_ms: list[int], contents: list[bytes], positions: Sequence[int]
    ) -> None:
        self.symbols = symbols
        self.event_times_ms = event_times_ms
        self.contents = contents
        self.positions = positions

    @classmethod
    def of(cls, ticks: Sequence[Tick]) -> Ticks:
        """The same as columns."""
        if isinstance(ticks, Ticks):
            return ticks
        return cls(*map(list, zip(*ticks, strict=True))) if ticks else cls([], [], [], ())

    def __len__(self) -> int:
        return len(self.symbols)

    def __iter__(self) -> Iterator[Tick]:
        return map(Tick, self.symbols, self.event_times_ms, self.contents, self.positions)

    @overload
    def __getitem__(self, index: int) -> Tick: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Tick]: ...
    def __getitem__(self, index: int | slice) -> Tick | Sequence[Tick]:
        return tuple(self)[index]

    def __eq__(self, other: object) -> bool:
        return tuple(self) == tuple(other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # its lists may change

    def __repr__(self) -> str:
        return repr(tuple(self))


class Reason(StrEnum):
    """Why something could not become a record; the ``reason`` header of a dead letter."""

    NOT_JSON = "not json"
    NOT_AN_ELEMENT = "not an element"
    EVENT_TYPE = "event type"
    MISSING = "missing"
    NULL = "null"
    EMPTY = "empty"
    TYPE = "type"
    NOT_A_DECIMAL = "not a decimal"
    SCALE = "scale"
    PRECISION = "precision"
    EVENT_TIME = "event time"
    CONFLICT = "conflict"
    LATE = "late"


@dataclass(frozen=True, slots=True)
class Reject:
    """A frame or an element that could not become a record."""

    reason: Reason
    field: str
    """Name of the schema's field at fault; empty where it is the whole."""
    detail: str
    """One sentence for a person."""
    data: bytes
    """The bytes as received: the element where it could be told apart, else the frame."""
    symbol: str
    """Empty where it is not known."""
    stream: str


@dataclass(frozen=True, slots=True)
class Normalized:
    """What one frame came to: its ticks in order, and its rejects."""

    ticks: Sequence[Tick]
    rejects: tuple[Reject, ...]
    stream: str
    unknown_fields: frozenset[str] = frozenset()
    """Keys of the elements that the schema does not name."""
