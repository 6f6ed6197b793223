"""The frozen values that pass between the parts.

Times: ``*_ns`` and ``*_ms`` are since the Unix epoch; an *event time* is the
exchange's own, always in milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


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

    ticks: tuple[Tick, ...]
    rejects: tuple[Reject, ...]
    stream: str
    unknown_fields: frozenset[str] = frozenset()
    """Keys of the elements that the schema does not name."""
