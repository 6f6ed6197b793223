"""The metrics: every one that ``/metrics`` shows, in one table.

Names are documented and stable; each is a line in :class:`Metrics`. Labels take
words of ours, never text from outside.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, ProcessCollector

from connector.core.happenings import KafkaMeasured
from connector.core.process_status import Status, age_ms
from connector.core.quality import FINDINGS
from connector.core.values import Reason

PREFIX = "binance_kafka_source"
ROLES = ("starting", "follower", "writer")
FEED_STATES = ("advancing", "silent", "frozen", "down")
GAP_REASONS = (
    "not running",
    "feed down",
    "feed silent",
    "feed frozen",
    "journal bound",
    "rejected",
    "unknown",
)
OUTCOMES = ("committed", "failed", "fenced")
TOPICS = ("ticks", "dead_letters", "events")
FOLLOWER = "follower"
"""The Kafka client that reads the topic back; the others write."""
_BROKER = ("client", "broker")

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class _Registry(CollectorRegistry):
    """Without the times at which counters were made, which double the page and say nothing.

    ``disable_created_metrics`` would take them from whatever program we run in, too.
    """

    def collect(self) -> Iterator[Metric]:
        for metric in super().collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


@dataclass(frozen=True, slots=True)
class MetricLine:
    """A line of the reference page."""

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str


class Metrics:
    """A registry of its own, so that several connectors can run in one process, as tests do."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.registry: CollectorRegistry = _Registry()
        self.lines: list[MetricLine] = []
        self._clock_s = clock
        self._started_at_s = clock()
        counter, gauge, histogram = self._counter, self._gauge, self._histogram

        # Feed
        self.frames_received = counter("frames_received", "Messages received.", "connection")
        self.bytes_received = counter("bytes_received", "Bytes of the messages received.", "connection")
        self.elements_received = counter("elements_received", "Elements in the messages received.", "connection")
        self.frames_repeated = counter(
            "frames_repeated", "Messages that a sibling connection had brought before.", "connection"
        )
        self.connections_opened = counter("connections_opened", "Connections opened.", "connection")
        self.reconnects = counter(
            "reconnects",
            "Connections that ended and are opened again, by the reason of the end.",
            "connection",
            "reason",
        )
        self.connections_failed = counter("connections_failed", "Attempts to connect that failed, by reason.", "reason")
        self.connections_suspected = counter(
            "connections_suspected", "Open connections that did not bring what they should, by reason.", "reason"
        )
        self.feed_refusals = counter(
            "feed_refusals", "Refusals by the exchange, by the status it answered (403, 418, 429, 451 …).", "status"
        )
        self.feed_complaints = counter("feed_complaints", "Error replies of the exchange to control messages.")
        self.streams_missing = counter("streams_missing", "Streams asked for that brought nothing.")
        self.rest_failures = counter("rest_failures", "REST requests that brought nothing, by reason.", "reason")
        self.rest_filling = gauge("rest_filling", "1 while REST brings rows in the place of the connections.")
        self.connections_open = gauge("connections_open", "Connections that are open.")
        self.connections_advancing = gauge("connections_advancing", "Connections that bring event time that advances.")
        self.feed_state = gauge("feed_state", "1 for the state that the feed is in, 0 for the others.", "state")
        self.feed_event_time = gauge(
            "feed_event_time_seconds", "Newest event time received, in seconds since the epoch; 0 before the first."
        )
        self.feed_age = gauge(
            "feed_event_time_age_seconds", "Age of the newest event time received; since the start before the first."
        )

        self.feed_ahead = gauge(
            "feed_event_time_ahead_seconds",
            "By how much the newest event time was ahead of this machine's clock when it came; below 0 where it was "
            "behind, as it should be.",
        )

        # Journal
        self.journal_frames = gauge("journal_frames", "Frames accepted that the topic was not seen to hold yet.")
        self.journal_bytes = gauge("journal_bytes", "Bytes of these frames.")
        self.journal_max_bytes = gauge("journal_max_bytes", "The bound of journal_bytes.")
        self.journal_troubled = gauge("journal_troubled", "1 while the journal's file cannot be used.")
        self.journal_troubles = counter("journal_troubles", "Times that the journal's file could not be used.")
        self.journal_dropped_frames = counter(
            "journal_dropped_frames", "Accepted frames given up at a bound of the journal, by policy.", "policy"
        )
        self.journal_dropped_bytes = counter("journal_dropped_bytes", "Bytes of these frames.", "policy")

        # Sink
        self.rejects = counter("rejects", "Frames and elements that could not become records, by reason.", "reason")
        self.rejects_repeated = counter(
            "rejects_repeated", "Rejects whose very bytes came before within a minute: counted here alone.", "reason"
        )
        self.unknown_fields = counter("unknown_fields", "Fields sent by the exchange that the schema does not name.")
        self.frames_written = counter("frames_written", "Frames whose transaction is committed.")
        self.records_written = counter("records_written", "Records committed, by the topic they went to.", "topic")
        self.duplicates = counter("duplicates", "Ticks that the topic had already: dropped.")
        self.late = counter("late", "Ticks older than the newest of their symbol: to the dead-letter topic.")
        self.conflicts = counter("conflicts", "Ticks that the topic had with other content: to the dead-letter topic.")
        self.transactions = counter("transactions", "Transactions, by how they ended.", "outcome")
        self.commit_seconds = histogram("commit_seconds", "From the begin of a transaction to the end of its commit.")
        self.latency_seconds = histogram(
            "receive_to_commit_seconds", "From the receipt of a transaction's oldest frame to the end of its commit."
        )
        self.role = gauge("role", "1 for the role that this replica has, 0 for the others.", "role")
        self.role_changes = counter(
            "role_changes", "Changes of role, by the new role and the reason.", "role", "reason"
        )
        self.takeovers = counter("takeovers", "Times that this replica took over as the writer.")
        self.takeover_seconds = histogram("takeover_seconds", "From the decision to take over to being able to write.")
        self.waits = counter("waits", "Attempts put off because something outside was not there.", "what")
        self.kafka_complaints = counter(
            "kafka_complaints", "Errors that the Kafka client reported and goes on from.", "client", "code"
        )
        self.partitions_grown = counter("partitions_grown", "Times that the topic had more partitions than before.")

        self.kafka_answer_age = gauge(
            "kafka_answer_age_seconds",
            "Since a broker last answered the sink, which asks every 10 s at least; since the start before the first.",
        )

        # What librdkafka measures of itself, every statistics.interval.ms
        self.kafka_connected = gauge("kafka_connected", "1 while the client has a connection to the broker.", *_BROKER)
        self.kafka_round_trip = gauge(
            "kafka_round_trip_seconds",
            "99 of 100 requests to the broker were answered within; a follower's include the wait for data.",
            *_BROKER,
        )
        self.kafka_send_wait = gauge(
            "kafka_send_wait_seconds", "99 of 100 requests waited no longer in the queue to the broker.", *_BROKER
        )
        self.kafka_throttled = gauge(
            "kafka_throttled_seconds", "The longest that the broker asked the client to wait: a quota.", *_BROKER
        )
        self.kafka_disconnects = counter("kafka_disconnects", "Connections to the broker that ended.", *_BROKER)
        self.kafka_retries = counter("kafka_request_retries", "Requests that were sent again.", *_BROKER)
        self.kafka_errors = counter("kafka_request_errors", "Requests not sent, or answers not understood.", *_BROKER)
        self.kafka_timeouts = counter("kafka_request_timeouts", "Requests without an answer in time.", *_BROKER)
        self.kafka_queued_records = gauge(
            "kafka_queued_records", "Records in the client that are not acknowledged yet.", "client"
        )
        self.kafka_queued_bytes = gauge("kafka_queued_bytes", "Bytes of these records.", "client")
        self.kafka_behind = gauge("kafka_follower_behind_records", "Committed records that were not read back yet.")
        self.kafka_uncommitted = gauge(
            "kafka_uncommitted_records",
            "Records that an open transaction hides from readers; where it stays so, nobody reads on.",
        )

        # Topic and ledger
        self.records_followed = counter(
            "records_followed", "Records that the topic was seen to hold: read, or acknowledged."
        )
        self.topic_event_time = gauge(
            "topic_event_time_seconds",
            "Newest event time in the topic, in seconds since the epoch; 0 before the first.",
        )
        self.topic_age = gauge(
            "topic_event_time_age_seconds",
            "Age of the newest event time in the topic; since the start before the first.",
        )
        self.symbols = gauge("symbols", "Symbols that the topic was seen to hold.")
        self.symbol_changes = counter("symbol_changes", "Symbols that appeared, vanished or returned.", "kind")
        self.tombstones = counter("tombstones", "Tombstones written to the latest topic for symbols that have gone.")
        self.gaps = counter("gaps", "Gaps written to the ledger, by reason.", "reason")
        self.gap_periods = counter("gap_periods", "Periods missing in these gaps, by reason.", "reason")
        self.quality_findings = counter(
            "quality_findings", "Times that values were found not to be as good data is, by what was found.", "finding"
        )
        self.quality_open = gauge("quality_open", "Symbols of which this is found now.", "finding")
        self.starts_without_history = counter(
            "starts_without_history", "Starts that found nothing in the topic to go on from."
        )

        # Process
        self.log_lines_lost = counter("log_lines_lost", "Log lines lost, because nobody read standard error.")
        self.credentials_renewed = counter("credentials_renewed", "Times that credentials changed in their files.")
        self.credentials_kept = counter(
            "credentials_kept", "Looks at files of credentials that could not be used: those before stay in force."
        )
        self.ready = gauge("ready", "1 while /readyz answers 200.")
        self.build = gauge("build_info", "1; what runs here.", "version", "replica", "topic")
        ProcessCollector(registry=self.registry)

        # So that the first increase from nothing can be seen.
        self._prepare(self.rejects, (reason.value for reason in Reason))
        self._prepare(self.gaps, GAP_REASONS)
        self._prepare(self.gap_periods, GAP_REASONS)
        self._prepare(self.transactions, OUTCOMES)
        self._prepare(self.quality_findings, FINDINGS)
        for finding in FINDINGS:
            self.quality_open.labels(finding)
        self._prepare(self.records_written, TOPICS)
        self.set_one_of(self.role, ROLES, "starting")
        self.set_one_of(self.feed_state, FEED_STATES, "down")
        self._kafka_brokers: dict[str, set[str]] = {}
        self._feed_event_time_s = 0.0
        self._topic_event_time_s = 0.0
        self.feed_age.set_function(lambda: self._age_s(self._feed_event_time_s))
        self.topic_age.set_function(lambda: self._age_s(self._topic_event_time_s))

    def observe(self, status: Status, *, ready: bool) -> None:
        """Takes over what only a look at the whole can tell; to be called each second."""
        self.set_one_of(self.role, ROLES, status.role)
        self.set_one_of(self.feed_state, FEED_STATES, status.feed_state)
        self.connections_open.set(sum(socket.state != "down" for socket in status.sockets))
        self.connections_advancing.set(sum(socket.state == "advancing" for socket in status.sockets))
        self.set_feed_event_time(status.feed_event_time_ms)
        self.set_topic_event_time(status.topic_event_time_ms)
        if status.feed_ahead_ms is not None:
            self.feed_ahead.set(status.feed_ahead_ms / 1000)
        if status.kafka.servers:
            self.kafka_answer_age.set(age_ms(status, status.kafka.answered_at_ms) / 1000)
        self.journal_frames.set(status.journal_frames)
        self.journal_bytes.set(status.journal_bytes)
        self.journal_max_bytes.set(status.journal_max_bytes)
        self.journal_troubled.set(status.journal_problem is not None)
        self.symbols.set(len(status.symbols))
        self.ready.set(ready)

    def set_feed_event_time(self, event_time_ms: int | None) -> None:
        self._feed_event_time_s = (event_time_ms or 0) / 1000
        self.feed_event_time.set(self._feed_event_time_s)

    def set_topic_event_time(self, event_time_ms: int | None) -> None:
        """Negative: the topic holds nothing."""
        self._topic_event_time_s = max(0, event_time_ms or 0) / 1000
        self.topic_event_time.set(self._topic_event_time_s)

    def set_kafka(self, measured: KafkaMeasured) -> None:
        """Takes over what a client measured. Brokers that it no longer speaks of are no longer shown."""
        client = measured.client
        by_broker = (self.kafka_connected, self.kafka_round_trip, self.kafka_send_wait, self.kafka_throttled)
        shown = self._kafka_brokers.get(client, set())
        now = {str(each.broker) for each in measured.brokers}
        for gauge in by_broker:
            for broker in shown - now:
                gauge.remove(client, broker)
        self._kafka_brokers[client] = now
        for each in measured.brokers:
            labels = (client, str(each.broker))
            values = (float(each.connected), each.round_trip_s, each.send_wait_s, each.throttled_s)
            for gauge, value in zip(by_broker, values, strict=True):
                if value is None:
                    gauge.remove(*labels)
                else:
                    gauge.labels(*labels).set(value)
            self.kafka_disconnects.labels(*labels).inc(each.disconnects)
            self.kafka_retries.labels(*labels).inc(each.retries)
            self.kafka_errors.labels(*labels).inc(each.errors)
            self.kafka_timeouts.labels(*labels).inc(each.timeouts)
        if client == FOLLOWER:
            self.kafka_behind.set(measured.behind)
            self.kafka_uncommitted.set(measured.uncommitted)
        else:
            self.kafka_queued_records.labels(client).set(measured.queued_records)
            self.kafka_queued_bytes.labels(client).set(measured.queued_bytes)

    def set_one_of(self, gauge: Gauge, words: tuple[str, ...], word: str) -> None:
        for each in words:
            gauge.labels(each).set(each == word)

    def _age_s(self, event_time_s: float) -> float:
        """Below 0 where event time is ahead of our clock: one of the two clocks is off, and that is to be seen."""
        return self._clock_s() - (event_time_s or self._started_at_s)

    @staticmethod
    def _prepare(counter: Counter, words: Iterable[str]) -> None:
        for word in words:
            counter.labels(word)

    def _counter(self, name: str, help: str, *labels: str) -> Counter:
        self.lines.append(MetricLine(f"{PREFIX}_{name}_total", "counter", labels, help))
        return Counter(f"{PREFIX}_{name}", help, labels, registry=self.registry)

    def _gauge(self, name: str, help: str, *labels: str) -> Gauge:
        self.lines.append(MetricLine(f"{PREFIX}_{name}", "gauge", labels, help))
        return Gauge(f"{PREFIX}_{name}", help, labels, registry=self.registry)

    def _histogram(self, name: str, help: str) -> Histogram:
        self.lines.append(MetricLine(f"{PREFIX}_{name}", "histogram", (), help))
        return Histogram(f"{PREFIX}_{name}", help, buckets=_SECONDS, registry=self.registry)
