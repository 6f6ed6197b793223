"""A sink that somebody plugged in, in the place of Kafka: one thread between it and the journal.

What it holds (:meth:`TickSink.newest`) is to it what the topic is to the Kafka sink: the one truth from which the
history is filled, and beside which no state is kept. One process writes to it; there is nothing to take over.
"""

from __future__ import annotations

import threading
import time

from connector.core.admit import CONTENT_UNKNOWN, History
from connector.core.encode import RecordEncoder
from connector.core.errors import RetryableError
from connector.core.happenings import RoleChanged, Tell, Waiting
from connector.core.normalize import Normalizer
from connector.core.pipeline import Batch, Pipeline
from connector.core.schema import StreamSchema
from connector.core.tick_sink import Delivery, TickSink, delivery_of
from connector.edges.journal import Journal
from connector.edges.kafka_records import told_of
from connector.edges.kafka_sink import (
    BYTES_A_STEP,
    FRAMES_A_STEP,
    HISTORY_TRIMMED_EVERY_S,
    IDLE_S,
    WAITING_TOLD_EVERY_S,
    Role,
    SinkState,
)

FIRST_RETRY_AFTER_S = 0.2
LONGEST_RETRY_AFTER_S = 10.0


class PluggedSink:
    """Has the methods of :class:`connector.edges.kafka_sink.Sink` that the runner calls; so may any thread."""

    def __init__(
        self,
        sink: TickSink,
        *,
        schema: StreamSchema,
        normalizer: Normalizer,
        journal: Journal,
        window_ms: int,
        max_records: int,
        tell: Tell,
    ) -> None:
        self._sink = sink
        self._schema = schema
        self._journal = journal
        self._max_records = max_records
        self._tell = tell
        self._history = History(schema.feed.cadence_ms, window_ms)
        self._pipeline = Pipeline(normalizer, RecordEncoder(schema, 0), self._history, journal.witness)
        self._stop = threading.Event()
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sink", daemon=True)
        self._role = Role.STARTING
        self._waiting_for = ""
        self._waiting_told_at = float("-inf")
        self._written: dict[str, int] = {}
        self._cursor = 0
        self._trimmed_at = 0.0
        self.failure: BaseException | None = None
        self.ended = threading.Event()

    # For everybody

    def start(self) -> None:
        self._cursor = self._journal.trimmed_through
        self._thread.start()

    def stop(self) -> None:
        """Go on until everything accepted is written, then end; :meth:`join` bounds it."""
        self._stop.set()

    def give_up(self) -> None:
        """End with what is under way; the rest waits in the journal."""
        self._stop.set()
        self._given_up.set()

    def join(self, timeout_s: float) -> bool:
        """Whether the thread ended in time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def state(self) -> SinkState:
        return SinkState(self._role, max(self._written.copy().values(), default=-1), self._cursor, self._waiting_for)

    def symbols(self) -> dict[str, int]:
        """Newest event time by symbol, as written."""
        return self._written.copy()

    def delivered(self) -> bool:
        return self._cursor >= self._journal.newest_seq

    # The thread

    def _run(self) -> None:
        try:
            try:
                if self._resumed():
                    while not self._finished():
                        self._step()
            finally:
                self._sink.close()
        except BaseException as error:  # the runner ends the source with it
            self.failure = error
        finally:
            self.ended.set()

    def _resumed(self) -> bool:
        """Take up what the sink holds; False where the source was stopped before it could say so."""
        pause_s = FIRST_RETRY_AFTER_S
        while not self._stop.is_set():
            try:
                newest = self._sink.newest()
            except RetryableError as error:
                pause_s = self._pause(error, pause_s, until=self._stop)
                continue
            for symbol, event_time_ms in newest.items():
                self._history.add(symbol, event_time_ms, CONTENT_UNKNOWN)
                self._history.symbols[symbol].held_through = event_time_ms
            self._written = dict(newest)
            self._pipeline.history_loaded()
            self._waiting_for = ""
            self._role = Role.WRITER
            self._tell(RoleChanged(self._role.value, "started"))
            return True
        return False

    def _finished(self) -> bool:
        return self._given_up.is_set() or (self._stop.is_set() and self.delivered())

    def _step(self) -> None:
        if not self._journal.wait(self._cursor, IDLE_S):
            return
        batch, cursor = Batch(), self._cursor
        for entry in self._journal.read(cursor, max_frames=FRAMES_A_STEP, max_bytes=BYTES_A_STEP):
            self._pipeline.add(entry.frame, batch)
            cursor = entry.seq
            if len(batch.values) >= self._max_records:
                break
        delivery, started = delivery_of(batch, self._schema), time.monotonic()
        if not (delivery.empty or self._is_written(delivery)):
            return
        self._written.update(zip(batch.symbols, batch.event_times_ms, strict=True))
        self._cursor = cursor
        self._journal.trim(cursor)
        for happening in told_of(batch, time.monotonic() - started, time.time_ns()):
            self._tell(happening)
        if started - self._trimmed_at > HISTORY_TRIMMED_EVERY_S:
            self._trimmed_at = started
            self._history.forget_old_periods()

    def _is_written(self, delivery: Delivery) -> bool:
        """Write it, however often it takes; False where it was given up."""
        pause_s = FIRST_RETRY_AFTER_S
        while True:
            try:
                self._sink.write(delivery)
            except RetryableError as error:
                if self._given_up.is_set():
                    return False
                pause_s = self._pause(error, pause_s, until=self._given_up)
            else:
                self._waiting_for = ""
                return True

    def _pause(self, error: RetryableError, pause_s: float, *, until: threading.Event) -> float:
        """Wait, told when it begins and every half minute; how long to wait the next time."""
        now = time.monotonic()
        if not self._waiting_for or now - self._waiting_told_at > WAITING_TOLD_EVERY_S:
            self._waiting_told_at = now
            self._tell(Waiting("sink", str(error), pause_s))
        self._waiting_for = str(error)
        until.wait(pause_s)
        return min(2 * pause_s, LONGEST_RETRY_AFTER_S)
