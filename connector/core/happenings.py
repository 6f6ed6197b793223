"""What happens, as values: one for each thing that somebody may want to know.

The parts that do the work call one function, :data:`Tell`, with one of these.
What becomes of it (a log line, a metric, an event in the ledger) is decided
in one place, :mod:`connector.edges.telemetry`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from connector.core.values import Reject


@dataclass(frozen=True, slots=True)
class Happening:
    """Base of all."""


Tell = Callable[[Happening], None]


# Feed


@dataclass(frozen=True, slots=True)
class SocketOpened(Happening):
    connection: str
    url: str


@dataclass(frozen=True, slots=True)
class SocketClosed(Happening):
    connection: str
    reason: str
    """A stable word: ``rotation``, ``silent``, ``trailing``, ``refused``, ``too big``, ``closed``, ``lost`` …"""
    detail: str


@dataclass(frozen=True, slots=True)
class FrameReceived(Happening):
    connection: str
    size_bytes: int
    elements: int


@dataclass(frozen=True, slots=True)
class FrameRepeated(Happening):
    """A sibling connection has already brought these very bytes."""

    connection: str
    elements: int


@dataclass(frozen=True, slots=True)
class FeedRefused(Happening):
    """The exchange answered a handshake or a request with a refusal."""

    connection: str
    status: int
    detail: str
    retry_after_s: float


@dataclass(frozen=True, slots=True)
class FeedChanged(Happening):
    """The feed as a whole went from one state to another: ``advancing``, ``silent``, ``frozen``, ``down``."""

    state: str
    detail: str


@dataclass(frozen=True, slots=True)
class FeedComplained(Happening):
    """An error reply of the exchange to a control message."""

    connection: str
    code: int
    message: str


# Journal


@dataclass(frozen=True, slots=True)
class JournalTroubled(Happening):
    """The journal cannot do its part; ticks go on without it."""

    problem: str
    remedy: str


@dataclass(frozen=True, slots=True)
class JournalMended(Happening):
    path: str


@dataclass(frozen=True, slots=True)
class JournalDropped(Happening):
    """Accepted frames were given up at the journal's bound."""

    frames: int
    size_bytes: int
    policy: str


# Sink


@dataclass(frozen=True, slots=True)
class Rejected(Happening):
    reject: Reject
    repeated: bool
    """The same bytes came before within a minute: counted, not written again."""


@dataclass(frozen=True, slots=True)
class FieldUnknown(Happening):
    """The exchange sends a field that the schema does not name. Told once per field."""

    field: str


@dataclass(frozen=True, slots=True)
class Waiting(Happening):
    """Something outside is not there yet."""

    what: str
    problem: str
    next_attempt_s: float
