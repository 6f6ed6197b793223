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


@dataclass(frozen=True, slots=True)
class SocketFailed(Happening):
    """A connection could not be opened."""

    connection: str
    reason: str
    """A stable word: ``name not found``, ``unreachable``, ``timeout``, ``tls``, ``proxy``, ``handshake``."""
    detail: str
    next_attempt_s: float


@dataclass(frozen=True, slots=True)
class SocketSuspected(Happening):
    """An open socket does not bring what it should; it is kept until another one is open."""

    connection: str
    reason: str
    """A stable word: ``no first tick``, ``trailing``, ``silent``, ``frozen``; its close has the same."""
    detail: str


@dataclass(frozen=True, slots=True)
class StreamMissing(Happening):
    """Streams asked for have brought nothing while others on the same connection have. Told once."""

    streams: tuple[str, ...]
    detail: str


@dataclass(frozen=True, slots=True)
class RestFillChanged(Happening):
    """The REST fill began to bring rows in the place of the sockets, or ceased to."""

    filling: bool


@dataclass(frozen=True, slots=True)
class RestFailed(Happening):
    """A REST request brought nothing."""

    reason: str
    """A stable word: ``timeout``, ``unreachable``, ``status``, ``too big``, ``body``."""
    detail: str
    next_attempt_s: float


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


@dataclass(frozen=True, slots=True)
class RoleChanged(Happening):
    """``writer``, ``follower`` or ``starting``, and why."""

    role: str
    reason: str


@dataclass(frozen=True, slots=True)
class WriterWanted(Happening):
    """This replica asks for another one that holds what follows in the topic."""

    reason: str
    """A stable word: ``stopping``, ``feed down``, ``rows from REST``, ``lacks ticks``."""
    topic_event_time_ms: int
    """The newest in the topic; -1: it is empty."""


@dataclass(frozen=True, slots=True)
class TakingOver(Happening):
    """The answer: this replica holds what follows in the topic, and takes the lock unless its writer is at work."""

    topic_event_time_ms: int
    """The newest in the topic; -1: it is empty."""


@dataclass(frozen=True, slots=True)
class TookOver(Happening):
    """This replica took the lock, read the topic to its end and may write."""

    topic_idle_s: float
    duration_s: float
    frames_beyond: int


@dataclass(frozen=True, slots=True)
class TransactionFailed(Happening):
    """A transaction did not end well or its end is not known; what it held is judged against the topic again."""

    problem: str
    fenced: bool


@dataclass(frozen=True, slots=True)
class Committed(Happening):
    """A transaction is in the topic."""

    frames: int
    records: int
    letters: int
    events: int
    duplicates: int
    late: int
    conflicts: int
    duration_s: float
    oldest_received_ns: int
    """When the first of its frames was received; with ``committed_at_ns`` the latency."""
    committed_at_ns: int


@dataclass(frozen=True, slots=True)
class GapFound(Happening):
    """A gap was written to the ledger."""

    about: str
    first_missing_ms: int
    last_missing_ms: int
    periods: int
    reason: str


@dataclass(frozen=True, slots=True)
class SymbolChanged(Happening):
    """``symbol_appeared``, ``symbol_vanished`` or ``symbol_returned``."""

    kind: str
    symbol: str


@dataclass(frozen=True, slots=True)
class QualityFound(Happening):
    """Values that are not as good data is begin; they are in the topic all the same. Told once until it is cleared."""

    finding: str
    """A stable word: ``disordered``, ``frozen``, ``all frozen``, ``symbols differ``."""
    about: str
    """The symbol; ``*`` for the whole stream."""
    detail: str


@dataclass(frozen=True, slots=True)
class QualityCleared(Happening):
    """What was found is over."""

    finding: str
    about: str


@dataclass(frozen=True, slots=True)
class TombstoneWritten(Happening):
    """A symbol that has gone for ``latest.tombstone_after`` got a tombstone in the latest topic."""

    symbol: str
    newest_event_time_ms: int


@dataclass(frozen=True, slots=True)
class StartedWithoutHistory(Happening):
    """The topic held nothing to go on from."""


@dataclass(frozen=True, slots=True)
class PartitionsGrown(Happening):
    topic: str
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class KafkaComplained(Happening):
    """librdkafka's error callback: it goes on by itself."""

    client: str
    code: str
    problem: str


@dataclass(frozen=True, slots=True)
class BrokerMeasured:
    """One broker as one of our Kafka clients found it. Counts are since the measurement before."""

    broker: int
    """Its id."""
    connected: bool
    round_trip_s: float | None
    """Of a request and its answer: 99 of 100 took no longer. None: there was none."""
    send_wait_s: float | None
    """In the queue to the socket: 99 of 100 requests waited no longer. None: there was none."""
    throttled_s: float
    """The longest that the broker asked us to wait."""
    disconnects: int
    retries: int
    errors: int
    timeouts: int


@dataclass(frozen=True, slots=True)
class KafkaMeasured(Happening):
    """librdkafka's own statistics of one client; nothing but its name once the client is no more."""

    client: str
    brokers: tuple[BrokerMeasured, ...] = ()
    queued_records: int = 0
    """Not yet acknowledged."""
    queued_bytes: int = 0
    behind: int = 0
    """Committed records that a consumer has not given to us yet."""
    uncommitted: int = 0
    """Records behind the last stable offset of what a consumer reads: hidden by an open transaction."""


@dataclass(frozen=True, slots=True)
class CredentialsRenewed(Happening):
    """What stood in a file changed, and is in force."""

    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CredentialsKept(Happening):
    """What stands in a file cannot be used; what stood in it before stays in force."""

    problem: str


@dataclass(frozen=True, slots=True)
class Followed(Happening):
    """What the topic was seen to hold: read from it, or acknowledged."""

    records: int
    newest_event_time_ms: int


@dataclass(frozen=True, slots=True)
class LogLinesLost(Happening):
    """Nobody read the log for a while; it goes on from here."""

    lines: int


@dataclass(frozen=True, slots=True)
class Started(Happening):
    version: str
    replica: str
    topic: str


@dataclass(frozen=True, slots=True)
class NotVerified(Happening):
    """TLS verification is turned off. Told on every start."""

    option: str
    problem: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Stopped(Happening):
    exit_code: int
    undelivered_frames: int
    reason: str
