"""What becomes of each happening, one line for each class of :mod:`connector.core.happenings`.

A class without a line fails a test. A line without an event's name is counted
and not logged: in normal running nothing is logged per message.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

from connector.core import happenings as h
from connector.core.happenings import Happening
from connector.core.quality import FROZEN
from connector.edges.metrics import FEED_STATES, ROLES, Metrics

H = TypeVar("H", bound=Happening)
Fields = Mapping[str, Any]

_SAMPLE_BYTES = 160


def _all_fields(happening: Happening) -> Fields:
    return {field.name: getattr(happening, field.name) for field in fields(happening)}


def _nothing(_metrics: Metrics, _happening: Any) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Line(Generic[H]):
    """What becomes of one class of happenings."""

    kind: type[H]
    event: str
    """Name in the log; stable. Empty: not logged."""
    level: str
    meaning: str
    """For the reference page."""
    count: Callable[[Metrics, H], object] = _nothing
    is_calm: Callable[[H], bool] | None = None
    """Where it says so, the level is ``info``."""
    show: Callable[[H], Fields] = _all_fields
    names: tuple[str, ...] = ()
    """Of the fields shown; empty: all of them."""
    repeats_by: Callable[[H], Hashable] | None = None
    """Where given, those with the same key are logged at once, and then once a minute with their number."""

    def level_of(self, happening: H) -> str:
        return "info" if self.is_calm is not None and self.is_calm(happening) else self.level

    def level_words(self) -> str:
        return self.level if self.is_calm is None else f"info or {self.level}"

    def field_names(self) -> tuple[str, ...]:
        return self.names or tuple(field.name for field in fields(self.kind))


def _frame_received(metrics: Metrics, it: h.FrameReceived) -> None:
    metrics.frames_received.labels(it.connection).inc()
    metrics.bytes_received.labels(it.connection).inc(it.size_bytes)
    metrics.elements_received.labels(it.connection).inc(it.elements)


def _journal_dropped(metrics: Metrics, it: h.JournalDropped) -> None:
    metrics.journal_dropped_frames.labels(it.policy).inc(it.frames)
    metrics.journal_dropped_bytes.labels(it.policy).inc(it.size_bytes)


def _journal_troubled(metrics: Metrics, _it: h.JournalTroubled) -> None:
    metrics.journal_troubles.inc()
    metrics.journal_troubled.set(1)


def _rejected(metrics: Metrics, it: h.Rejected) -> None:
    counter = metrics.rejects_repeated if it.repeated else metrics.rejects
    counter.labels(it.reject.reason.value).inc()


def _show_rejected(it: h.Rejected) -> Fields:
    reject = it.reject
    return {
        "reason": reject.reason.value,
        "field": reject.field,
        "detail": reject.detail,
        "symbol": reject.symbol,
        "stream": reject.stream,
        "sample": reject.data[:_SAMPLE_BYTES].decode("utf-8", "backslashreplace"),
    }


def _role_changed(metrics: Metrics, it: h.RoleChanged) -> None:
    metrics.role_changes.labels(it.role, it.reason).inc()
    metrics.set_one_of(metrics.role, ROLES, it.role)


def _took_over(metrics: Metrics, it: h.TookOver) -> None:
    metrics.takeovers.inc()
    metrics.takeover_seconds.observe(it.duration_s)


def _committed(metrics: Metrics, it: h.Committed) -> None:
    metrics.transactions.labels("committed").inc()
    metrics.frames_written.inc(it.frames)
    for topic, records in (("ticks", it.records), ("dead_letters", it.letters), ("events", it.events)):
        metrics.records_written.labels(topic).inc(records)
    metrics.duplicates.inc(it.duplicates)
    metrics.late.inc(it.late)
    metrics.conflicts.inc(it.conflicts)
    metrics.commit_seconds.observe(it.duration_s)
    metrics.latency_seconds.observe(max(0.0, (it.committed_at_ns - it.oldest_received_ns) / 1e9))


def _followed(metrics: Metrics, it: h.Followed) -> None:
    metrics.records_followed.inc(it.records)
    metrics.set_topic_event_time(it.newest_event_time_ms)


def _gap_found(metrics: Metrics, it: h.GapFound) -> None:
    metrics.gaps.labels(it.reason).inc()
    metrics.gap_periods.labels(it.reason).inc(it.periods)


def _quality_found(metrics: Metrics, it: h.QualityFound) -> None:
    metrics.quality_findings.labels(it.finding).inc()
    metrics.quality_open.labels(it.finding).inc()


_EXPECTED_CLOSES = frozenset({"rotation", "stopping", "server shutdown"})

_TABLE: tuple[Line[Any], ...] = (
    # Feed
    Line(
        h.SocketOpened,
        "connection_opened",
        "info",
        "A connection to the exchange is open.",
        lambda m, it: m.connections_opened.labels(it.connection).inc(),
    ),
    Line(
        h.SocketClosed,
        "connection_closed",
        "warning",
        "A connection to the exchange ended; another one is opened.",
        lambda m, it: m.reconnects.labels(it.connection, it.reason).inc(),
        is_calm=lambda it: it.reason in _EXPECTED_CLOSES,
    ),
    Line(
        h.SocketFailed,
        "connection_failed",
        "warning",
        "A connection could not be opened; it is tried again.",
        lambda m, it: m.connections_failed.labels(it.reason).inc(),
        repeats_by=lambda it: (it.connection, it.reason),
    ),
    Line(
        h.SocketSuspected,
        "connection_suspected",
        "warning",
        "An open connection does not bring what it should; it is kept until another one is open.",
        lambda m, it: m.connections_suspected.labels(it.reason).inc(),
        repeats_by=lambda it: (it.connection, it.reason),
    ),
    Line(h.FrameReceived, "", "debug", "", _frame_received),
    Line(h.FrameRepeated, "", "debug", "", lambda m, it: m.frames_repeated.labels(it.connection).inc()),
    Line(
        h.FeedRefused,
        "feed_refused",
        "warning",
        "The exchange refused a connection or a request; the wait that it asks for is kept.",
        lambda m, it: m.feed_refusals.labels(str(it.status)).inc(),
        repeats_by=lambda it: (it.connection, it.status),
    ),
    Line(
        h.FeedChanged,
        "feed_changed",
        "warning",
        "The feed as a whole is in another state.",
        lambda m, it: m.set_one_of(m.feed_state, FEED_STATES, it.state),
        is_calm=lambda it: it.state == "advancing",
    ),
    Line(
        h.FeedComplained,
        "feed_complained",
        "warning",
        "The exchange answered a control message with an error.",
        lambda m, it: m.feed_complaints.inc(),
        repeats_by=lambda it: (it.connection, it.code),
    ),
    Line(
        h.StreamMissing,
        "streams_missing",
        "error",
        "Streams asked for brought nothing: see feed.symbols.",
        lambda m, it: m.streams_missing.inc(len(it.streams)),
    ),
    Line(
        h.RestFillChanged,
        "rest_fill_changed",
        "info",
        "REST began or ceased to fill in for the connections.",
        lambda m, it: m.rest_filling.set(it.filling),
    ),
    Line(
        h.RestFailed,
        "rest_failed",
        "warning",
        "A REST request brought nothing.",
        lambda m, it: m.rest_failures.labels(it.reason).inc(),
        repeats_by=lambda it: it.reason,
    ),
    # Journal
    Line(
        h.JournalTroubled,
        "journal_troubled",
        "error",
        "The journal's file cannot be used as it is; ticks go on. `remedy` says what to do.",
        _journal_troubled,
    ),
    Line(
        h.JournalMended,
        "journal_mended",
        "info",
        "The journal's file is in use again.",
        lambda m, it: m.journal_troubled.set(0),
    ),
    Line(
        h.JournalDropped,
        "journal_dropped",
        "error",
        "Accepted frames were given up at a bound of the journal.",
        _journal_dropped,
    ),
    # Sink
    Line(
        h.Rejected,
        "rejected",
        "warning",
        "A frame or an element could not become a record; its bytes are in the dead-letter topic.",
        _rejected,
        show=_show_rejected,
        names=("reason", "field", "detail", "symbol", "stream", "sample"),
        repeats_by=lambda it: (it.reject.reason, it.reject.field),
    ),
    Line(
        h.FieldUnknown,
        "field_unknown",
        "warning",
        "The exchange sends a field that the schema does not name.",
        lambda m, it: m.unknown_fields.inc(),
        repeats_by=lambda it: it.field,
    ),
    Line(
        h.Waiting,
        "waiting",
        "warning",
        "Something outside is not there yet; it is tried again.",
        lambda m, it: m.waits.labels(it.what).inc(),
        repeats_by=lambda it: (it.what, it.problem),
    ),
    Line(
        h.RoleChanged,
        "role_changed",
        "info",
        "This replica is the writer, a follower, or starting.",
        _role_changed,
    ),
    Line(
        h.WriterWanted,
        "writer_wanted",
        "info",
        "This replica asks for another one that holds what follows in the topic: it stops, its feed is down, it "
        "has only rows from REST, or it lacks ticks itself.",
    ),
    Line(h.TakingOver, "taking_over", "info", "The answer: this replica holds what follows, and takes the lock."),
    Line(h.TookOver, "took_over", "warning", "This replica took the lock and may write.", _took_over),
    Line(
        h.TransactionFailed,
        "transaction_failed",
        "warning",
        "A transaction failed or its end is not known; its ticks are judged against the topic again.",
        lambda m, it: m.transactions.labels("fenced" if it.fenced else "failed").inc(),
    ),
    Line(h.Committed, "", "debug", "", _committed),
    Line(h.GapFound, "gap_found", "warning", "A gap was written to the ledger.", _gap_found),
    Line(
        h.SymbolChanged,
        "symbol_changed",
        "info",
        "A symbol appeared, vanished or returned.",
        lambda m, it: m.symbol_changes.labels(it.kind).inc(),
    ),
    Line(
        h.QualityFound,
        "quality_found",
        "warning",
        "Values are not as good data is; they are in the topic as they came.",
        _quality_found,
        is_calm=lambda it: it.finding == FROZEN,
        repeats_by=lambda it: it.finding,
    ),
    Line(
        h.QualityCleared,
        "quality_cleared",
        "info",
        "What was found is over.",
        lambda m, it: m.quality_open.labels(it.finding).dec(),
        repeats_by=lambda it: it.finding,
    ),
    Line(
        h.TombstoneWritten,
        "tombstone_written",
        "info",
        "A symbol that has gone for `latest.tombstone_after` got a tombstone in the latest topic.",
        lambda m, it: m.tombstones.inc(),
    ),
    Line(
        h.StartedWithoutHistory,
        "started_without_history",
        "warning",
        "The topic held nothing to go on from.",
        lambda m, it: m.starts_without_history.inc(),
    ),
    Line(
        h.PartitionsGrown,
        "partitions_grown",
        "warning",
        "The topic has more partitions than before: keys are on other partitions from here on.",
        lambda m, it: m.partitions_grown.inc(),
    ),
    Line(
        h.KafkaComplained,
        "kafka_complained",
        "warning",
        "The Kafka client reported an error; it goes on by itself.",
        lambda m, it: m.kafka_complaints.labels(it.client, it.code).inc(),
        repeats_by=lambda it: (it.client, it.code),
    ),
    Line(h.KafkaMeasured, "", "debug", "", lambda m, it: m.set_kafka(it)),
    Line(h.Followed, "", "debug", "", _followed),
    Line(
        h.CredentialsRenewed,
        "credentials_renewed",
        "info",
        "A file of a credential has changed; what is in it now is in force.",
        lambda m, it: m.credentials_renewed.inc(),
    ),
    Line(
        h.CredentialsKept,
        "credentials_kept",
        "warning",
        "A file of a credential cannot be used as it is; what stood in it before stays in force.",
        lambda m, it: m.credentials_kept.inc(),
        repeats_by=lambda it: it.problem,
    ),
    # Process
    Line(
        h.LogLinesLost,
        "log_lines_lost",
        "warning",
        "Whoever reads standard error stopped for a while, and so many lines before this one were lost.",
        lambda m, it: m.log_lines_lost.inc(it.lines),
    ),
    Line(
        h.Started,
        "started",
        "info",
        "The process has started.",
        lambda m, it: m.build.labels(it.version, it.replica, it.topic).set(1),
    ),
    Line(
        h.NotVerified,
        "tls_not_verified",
        "warning",
        "TLS verification is turned off by this option; told on every start.",
    ),
    Line(
        h.Stopped,
        "stopped",
        "error",
        "The process ends with this exit code.",
        is_calm=lambda it: it.exit_code == 0,
    ),
)

LINES: dict[type[Happening], Line[Any]] = {line.kind: line for line in _TABLE}
