"""A sink that somebody plugged in, in the place of Kafka: one thread between it and the journal.

What it holds (:meth:`TickSink.newest`) is to it what the topic is to the Kafka sink: the one truth from which the
history is filled, and beside which no state is kept. One process writes to it; there is nothing to take over.
"""

from __future__ import annotations

import sys
import time

from connector.core.admit import CONTENT_UNKNOWN, History
from connector.core.encode import RecordEncoder
from connector.core.errors import RetryableError
from connector.core.happenings import RoleChanged, Tell
from connector.core.normalize import Normalizer
from connector.core.pipeline import Batch, Pipeline
from connector.core.schema import StreamSchema
from connector.core.tick_sink import Delivery, TickSink, delivery_of
from connector.edges.journal import Journal
from connector.edges.kafka_records import told_of
from connector.edges.sink_thread import (
    BYTES_A_STEP,
    FIRST_RETRY_AFTER_S,
    FRAMES_A_STEP,
    HISTORY_TRIMMED_EVERY_S,
    IDLE_S,
    Role,
    SinkState,
    SinkThread,
)

REST_WAIT_S = 5.0
"""Nobody else can have ticks; but this one's own sockets may bring them late."""


class PluggedSink(SinkThread):
    """See the module."""

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
        super().__init__(tell)
        self._sink = sink
        self._schema = schema
        self._journal = journal
        self._max_records = max_records
        self._history = History(schema.feed.cadence_ms, window_ms)
        self._pipeline = Pipeline(
            normalizer, RecordEncoder(schema, 0), self._history, journal.witness, rest_wait_s=REST_WAIT_S
        )
        self._written: dict[str, int] = {}
        self._cursor = 0
        self._trimmed_at = 0.0

    # For everybody

    def start(self) -> None:
        self._cursor = self._journal.trimmed_through
        super().start()

    def state(self) -> SinkState:
        problem, problem_at_ms = self._problem
        return SinkState(
            self._role,
            max(self._written.copy().values(), default=-1),
            self._cursor,
            self._waiting_for,
            problem=problem,
            problem_at_ms=problem_at_ms,
        )

    def symbols(self) -> dict[str, int]:
        return self._written.copy()

    def delivered(self) -> bool:
        return self._cursor >= self._journal.newest_seq and not self._pipeline.holds_rows()

    # The thread

    def _start(self) -> None:
        newest = self._sink.newest()
        for symbol, event_time_ms in newest.items():
            self._history.add(symbol, event_time_ms, CONTENT_UNKNOWN)
            self._history.symbols[symbol].held_through = event_time_ms
        self._written = dict(newest)
        self._pipeline.history_loaded()
        self._role = Role.WRITER
        self._tell(RoleChanged(self._role.value, "started"))

    def _close(self) -> None:
        self._sink.close()

    def _step(self) -> None:
        batch, cursor = Batch(), self._cursor
        if self._journal.wait(cursor, IDLE_S):
            for entry in self._journal.read(cursor, max_frames=FRAMES_A_STEP, max_bytes=BYTES_A_STEP):
                self._pipeline.add(entry.frame, batch)
                cursor = entry.seq
                if len(batch.values) >= self._max_records:
                    break
        # Only while nothing waits in the journal: it may be older.
        elif not self._pipeline.add_ripe_rows(sys.maxsize if self._stop.is_set() else time.time_ns(), batch):
            return
        delivery, started = delivery_of(batch, self._schema), time.monotonic()
        if not (delivery.empty or self._is_written(delivery)):
            return
        self._written.update(zip(batch.symbols, batch.event_times_ms, strict=True))
        self._cursor = cursor
        if not self._pipeline.holds_rows():
            self._journal.trim(cursor)
        if batch.frames:
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
                pause_s = self._pause("sink", error, pause_s, until=self._given_up)
            else:
                self._waiting_for = ""
                return True
