"""How the whole process is doing, as one frozen value, and what readiness and liveness follow from it."""

from __future__ import annotations

from dataclasses import dataclass

from connector.core.witness import ADVANCING

WRITER = "writer"
FOLLOWER = "follower"

STALE_AFTER_MS = 15_000
"""The exchange pauses for seconds in normal operation; beyond this somebody should look."""
STUCK_AFTER_MS = 30_000
"""A heartbeat each second is that late only where the process cannot go on."""


@dataclass(frozen=True, slots=True)
class SocketStatus:
    """One connection of the feed."""

    connection: str
    state: str
    """``advancing``, ``silent``, ``frozen`` or ``down``."""
    since_ms: int
    """How long it has been so."""
    frames: int
    event_time_ms: int | None
    """The newest it brought."""
    last_end: str
    """How it ended last, or why it could not be opened; empty where neither has happened yet."""
    next_attempt_ms: int | None = None
    """When it is tried again to open it; None where it is open."""
    url: str = ""
    streams: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RestStatus:
    """The REST interface, which fills in where the connections bring nothing."""

    state: str
    """``idle``, ``filling`` (it brings rows that are new) or ``failing`` (it is asked, and brings none)."""
    since_ms: int
    """How long it has been so."""
    frames: int
    newest_at_ms: int | None
    """When it last brought rows that were new."""
    last_end: str
    """The last refusal or failure; empty where there was none."""
    next_attempt_ms: int | None
    url: str


@dataclass(frozen=True, slots=True)
class KafkaStatus:
    """The way to Kafka, as the sink finds it. Times are None where there was none yet."""

    servers: str
    """The bootstrap servers, without credentials; empty where another sink is in Kafka's place."""
    answered_at_ms: int | None = None
    """When a broker last answered the sink. It is asked every 10 s at least."""
    committed_at_ms: int | None = None
    """When this replica's last transaction ended well."""
    problem: str = ""
    """The last error."""
    problem_at_ms: int | None = None
    held_back: str = ""
    """Why what waits is held on purpose; empty where it is not."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Ticks that cannot become records, of one reason and field."""

    reason: str
    field: str
    symbols: tuple[str, ...]
    """The first few of them; none where they could not be told."""
    since_ms: int
    """Without a pause of a minute."""
    last_ms: int
    times: int


@dataclass(frozen=True, slots=True)
class Status:
    """What can be said of the process at ``now_ms``. Event times are None where nothing came yet."""

    now_ms: int
    started_at_ms: int
    version: str
    replica: str
    topic: str
    role: str
    """``starting``, ``follower`` or ``writer``."""
    waiting: str
    """What the sink waits for, in a sentence; empty in normal running."""
    feed_state: str
    feed_event_time_ms: int | None
    sockets: tuple[SocketStatus, ...]
    topic_event_time_ms: int | None
    """The newest that the topic is known to hold."""
    journal_frames: int
    journal_bytes: int
    journal_max_bytes: int
    journal_problem: str | None
    symbols: tuple[tuple[str, int], ...]
    """Symbol and its newest event time in the topic."""
    heartbeat_at_ms: int
    """When the event loop last showed that it runs."""
    ended: tuple[str, ...] = ()
    """Parts of the process that have ended though they should run."""
    feed_advanced_at_ms: int | None = None
    """When, by our clock, the feed's event time last advanced."""
    feed_ahead_ms: int | None = None
    """By how much the newest event time was ahead of our clock when it came; below 0 where it was behind, as it
    should be."""
    rest: RestStatus | None = None
    """None: the fill is off, or the stream has no REST end point."""
    kafka: KafkaStatus = KafkaStatus("")
    refused: tuple[Refused, ...] = ()
    """Newest first."""
    ticks_written_at_ms: int | None = None
    """When this replica last wrote a tick."""
    dropped_frames: int = 0
    """Accepted frames given up at a bound of the journal since the start."""


def age_ms(status: Status, event_time_ms: int | None) -> int:
    """How old that event time is, below 0 where it is ahead of our clock; where nothing came yet, how long it has been
    waited for."""
    since_ms = event_time_ms if event_time_ms is not None else status.started_at_ms
    return status.now_ms - since_ms


def why_not_ready(status: Status) -> tuple[str, ...]:
    """Reasons, none where ready: whatever the role, the topic must be fresh; a follower's own feed must advance too.

    A topic that stands still while the feed advances is a broker that does not answer, whoever is to write: what
    the sink waits for is said for the moment alone, between two attempts.
    """
    reasons = list(why_not_alive(status))
    if status.waiting:
        reasons.append(f"waits: {status.waiting}")
    topic_age_ms = age_ms(status, status.topic_event_time_ms)
    is_stale = topic_age_ms > STALE_AFTER_MS
    if status.role == WRITER:
        if is_stale:
            reasons.append(
                f"the topic has no tick newer than {topic_age_ms / 1000:.0f} s; the feed is {status.feed_state}"
            )
    elif status.role == FOLLOWER:
        if status.feed_state != ADVANCING:
            reasons.append(f"the feed does not advance: {status.feed_state}")
        elif is_stale:
            reasons.append(
                f"the topic has had no tick for {topic_age_ms / 1000:.0f} s while this replica holds "
                f"{status.journal_frames:,} frames beyond it"
            )
    else:
        reasons.append(f"still {status.role}")
    return tuple(reasons)


def why_not_alive(status: Status) -> tuple[str, ...]:
    """Reasons to end this process and start another; a broker or an exchange that is down is none."""
    reasons = [f"{part} ended" for part in status.ended]
    late_ms = status.now_ms - status.heartbeat_at_ms
    if late_ms > STUCK_AFTER_MS:
        reasons.append(f"no heartbeat for {late_ms / 1000:.0f} s")
    return tuple(reasons)
