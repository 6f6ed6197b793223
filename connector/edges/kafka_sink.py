"""The sink: one thread that follows the topic, takes it over when its writer is gone, and writes.

Whatever goes wrong with writing has one remedy: stop being the writer, follow
the topic, and let the takeover rule decide. Taking over always means: take
the lock, read the topic to its end, and write what the journal holds beyond.
Being fenced, a commit whose outcome is not known, a broker that restarts and
a first start are the same path.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import random

from connector.core.admit import History
from connector.core.dead_letters import DeadLetter
from connector.core.encode import RecordEncoder
from connector.core.errors import RetryableError
from connector.core.happenings import (
    Followed,
    PartitionsGrown,
    Rejected,
    RoleChanged,
    TakingOver,
    Tell,
    TookOver,
    TransactionFailed,
    WriterWanted,
)
from connector.core.ledger_events import EventEncoder, EventKind
from connector.core.normalize import Normalizer
from connector.core.pipeline import Batch, Passage, Pipeline
from connector.core.takeover import Request, Standing, TakeoverRule
from connector.core.values import Frame
from connector.core.waiting import WaitingFrames
from connector.core.witness import ADVANCING, DOWN
from connector.edges.journal import Entry, Journal
from connector.edges.kafka_follower import Follower, TopicPartitions
from connector.edges.kafka_latest import LatestReader
from connector.edges.kafka_records import Outbox, SinkOptions, told_of
from connector.edges.kafka_writer import Outgoing, PlainWriter, TransactionalWriter, WriteError, Writer
from connector.edges.sink_thread import (
    BYTES_A_STEP,
    FRAMES_A_STEP,
    HISTORY_TRIMMED_EVERY_S,
    IDLE_S,
    Role,
    SinkState,
    SinkThread,
)

PARTITIONS_CHECKED_EVERY_S = 10.0
CATCH_UP_S = 0.05
RETRY_AFTER_S = 1.0
REST_HELD_TAKEOVERS = 4.0
"""Rows from REST wait for so many times the time after which another replica takes over."""
LETTERS_AT_ONCE = 1000
HELD_BACK_ROWS = "rows from REST wait, for another replica may have ticks"
HELD_BACK_BEHIND_HOLE = "ticks are missing before those that wait, and another replica that has them goes first"
WAITING_FRAMES = 4096
"""Frames whose passage a replica keeps in mind; the rest wait in the journal."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the registry and the broker said at the start."""

    partitions: int
    event_partitions: int
    schema_id: int
    event_schema_id: int
    event_schema_text: str
    latest_partitions: int | None = None
    """``None``: there is no latest topic."""


class Guards:
    """What keeps the promises, made replaceable so that a test can show that each one matters."""

    def open_writer(self, options: SinkOptions, tell: Tell) -> Writer:
        """The fence."""
        if options.transactional_id is None:
            return PlainWriter(options.kafka, tell)
        return TransactionalWriter(options.kafka, options.transactional_id, tell)

    def read_to_end(self, follower: Follower, timeout_s: float) -> None:
        """The high-water mark: what anybody wrote before the lock was taken."""
        follower.read_to(follower.end_offsets(), timeout_s)


class Sink(SinkThread):
    """See the module. Methods may be called from any thread.

    ``prepare`` is called on the sink's thread, again after each
    :class:`RetryableError`; any other exception ends the thread and stands in
    :attr:`failure`. ``feed_state`` tells how this replica's own feed is (:mod:`connector.core.witness` has the
    words), ``unbroken_since_ms`` from which event time on it has brought all that the exchange sent (``None``: none
    now). ``aside`` produces records outside any transaction and returns when they are acknowledged; it raises
    :class:`RetryableError` where they are not.
    """

    def __init__(
        self,
        options: SinkOptions,
        *,
        normalizer: Normalizer,
        cadence_ms: int,
        make_encoder: Callable[[int], RecordEncoder],
        journal: Journal,
        prepare: Callable[[], Prepared],
        feed_state: Callable[[], str],
        unbroken_since_ms: Callable[[], int | None],
        aside: Callable[[Iterable[Outgoing]], None],
        tell: Tell,
        guards: Guards | None = None,
    ) -> None:
        super().__init__(tell)
        self._options = options
        self._normalizer = normalizer
        self._make_encoder = make_encoder
        self._journal = journal
        self._prepare = prepare
        self._feed_state = feed_state
        self._unbroken_since_ms = unbroken_since_ms
        self._aside = aside
        self._guards = guards or Guards()
        self._history = History(cadence_ms, options.history_window_ms)
        self._latest = LatestReader(options.kafka, options.latest_topic if options.tombstone_after_ms else None, tell)
        self._rule = TakeoverRule(options.takeover_after_s)
        self._clients_are_old = threading.Event()
        self._held_back = ""
        self._answered_at_ms: int | None = None
        self._committed_at_ms: int | None = None
        self._writer: Writer | None = None
        self._writer_since = 0.0
        self._cursor = 0
        self._left_by_earlier_life = 0
        self._waiting = WaitingFrames()
        self._held_since: float | None = None
        self._request = Request()
        self._lags = False
        """While more waits to be written, its own records are yet to be read."""
        self._watched_at = 0.0
        self._partitions_at = 0.0
        self._trimmed_at = 0.0
        self._answer_s = 0.0
        self._chance = random()
        # Made by _start, on the sink's thread.
        self._latest_partitions: int | None
        self._follower: Follower
        self._pipeline: Pipeline
        self._events: EventEncoder
        self._outbox: Outbox

    # For everybody

    def start(self) -> None:
        self._left_by_earlier_life = self._journal.newest_seq
        super().start()

    def state(self) -> SinkState:
        newest_ms = self._follower.newest_ms if hasattr(self, "_follower") else -1
        problem, problem_at_ms = self._problem
        return SinkState(
            self._role,
            newest_ms,
            self._cursor,
            self._waiting_for,
            self._answered_at_ms,
            self._committed_at_ms,
            problem,
            problem_at_ms,
            self._held_back if self._role is Role.WRITER else "",
        )

    def symbols(self) -> dict[str, int]:
        """Newest event time by symbol, as the topic was seen to hold it."""
        return dict(self._follower.passed) if hasattr(self, "_follower") else {}

    def log_in(self, username: str, password: str) -> None:
        """The credentials for the next login of the clients that there are."""
        for client in (self._writer, self._follower if hasattr(self, "_follower") else None):
            if client is not None:
                client.log_in(username, password)

    def start_over(self) -> None:
        """Make the clients anew, soon: what they were made with is no longer what it was."""
        self._clients_are_old.set()

    # The thread

    def _start(self) -> None:
        prepared = self._prepare()
        encoder = self._make_encoder(prepared.schema_id)
        self._events = EventEncoder(prepared.event_schema_text, prepared.event_schema_id)
        self._pipeline = Pipeline(
            self._normalizer,
            encoder,
            self._history,
            self._journal.witness,
            rest_wait_s=REST_HELD_TAKEOVERS * self._options.takeover_after_s,
            tombstone_after_ms=self._options.tombstone_after_ms,
        )
        self._follower = Follower(
            self._options.kafka,
            self._options.topic,
            self._history,
            encoder.content_of,
            self._tell,
            ledger=TopicPartitions(self._options.events_topic, prepared.event_partitions),
            hear=self._hear,
            whole=self._options.whole_history,
        )
        self._latest_partitions = prepared.latest_partitions
        self._open_follower(prepared.partitions)
        topic_age_s = time.time() - self._follower.newest_ms / 1000
        self._rule.advanced(self._follower.newest_ms)  # what was asked for before stands there
        self._rule.started(topic_age_s)
        self._become(Role.FOLLOWER, "started")

    def _open_follower(self, partitions: int) -> None:
        oldest = self._journal.read(0, max_frames=1, max_bytes=1)
        oldest_ms = self._oldest_needed(oldest[0].frame) if oldest else None
        self._follower.open(partitions, oldest_ms)
        self._answered()
        self._outbox = self._new_outbox()
        self._pipeline.history_loaded()
        self._go_back()

    def _new_outbox(self) -> Outbox:
        return Outbox(self._options, self._events, self._follower.partitions, self._latest_partitions)

    def _oldest_needed(self, frame: Frame) -> int:
        passage = self._pipeline.passage(frame)
        return min((mark for mark, _ in passage.marks), default=frame.received_at_ns // 1_000_000)

    def delivered(self) -> bool:
        """Whether the topic was seen to hold all that was accepted."""
        if self._cursor < self._journal.newest_seq or self._waiting.hold_ticks:
            return False
        return self._role is Role.STARTING or not self._pipeline.holds_rows()

    def _step(self) -> None:
        try:
            self._follow()
            wrote = False
            if self._writer is not None:
                wrote = self._write(self._writer)
            else:
                self._wait_in_line()
            if not wrote:
                self._follower.read_all()
            self._look_after(wrote=wrote)
            self._waiting_for = ""
        except RetryableError as error:
            # While the broker does not answer, nobody can advance the topic: its writer is owed the whole time again.
            self._rule.advanced(self._follower.newest_ms)
            self._tell_waiting("broker", error, RETRY_AFTER_S)
            time.sleep(RETRY_AFTER_S)

    def _close(self) -> None:
        if self._writer is not None:
            if self._finished():
                self._tell(WriterWanted("stopping", self._follower.newest_ms))
            self._writer.close()
        self._latest.close()
        if self._role is not Role.STARTING:
            self._follower.close()

    def _answered(self) -> None:
        """A broker did."""
        self._answered_at_ms = _now_ms()

    def _follow(self) -> None:
        """Read back what the topic holds, and trim the journal by it."""
        if not self._follower.is_open:
            self._open_follower(self._follower.partitions)
        before = self._follower.records
        foreign = self._follower.poll(self._reads_for_s())
        now = time.monotonic()
        if followed := self._follower.records - before:
            self._advanced(followed)
        else:
            self._rule.watched(now - self._watched_at)
        self._watched_at = now
        if foreign and self._writer is not None:
            self._drop_writer("another replica writes")
        self._trim()

    def _reads_for_s(self) -> float:
        if self._writer is None:
            return 0.1
        return CATCH_UP_S if self._lags else 0.0  # or it would not catch up as long as there is a backlog

    def _advanced(self, records: int) -> None:
        """The topic did, by so many records, as far as this replica knows."""
        self._answered()
        self._rule.advanced(self._follower.newest_ms)
        self._tell(Followed(records, self._follower.newest_ms))

    def _hear(self, value: bytes) -> None:
        """What another replica says in the ledger."""
        heard = self._events.decode(value)
        if heard is None:
            return
        event, replica = heard
        if replica == self._options.replica:
            self._rule.heard_itself = True
            return
        self._rule.heard_others = True
        if event.kind is EventKind.WRITER_WANTED:
            self._rule.asked(event.time, self._follower.newest_ms)
        elif event.kind is EventKind.TAKING_OVER:
            self._rule.another_takes_over(event.time, self._follower.newest_ms)

    def _trim(self) -> None:
        follows, through = self._writer is None, 0
        letters: list[DeadLetter] = []
        # Older than a tick may be when it comes; a replay has ticks of any age.
        hopeless_ms = -1 if self._options.whole_history else self._follower.newest_ms - self._options.history_window_ms
        for seq, passage in self._waiting.take_passed(self._follower.passed, follows=follows, hopeless_ms=hopeless_ms):
            through = seq
            if follows and self._pipeline.is_overtaken(passage):
                letters += self._overtaken(seq)
                if len(letters) >= LETTERS_AT_ONCE:
                    break  # the rest at the next step
        if letters:
            self._give_up(letters)
        if through:
            self._journal.trim(through)

    def _overtaken(self, seq: int) -> list[DeadLetter]:
        return [
            letter
            for entry in self._journal.read(seq - 1, max_frames=1, max_bytes=1)
            if entry.seq == seq  # else it went at the journal's bound
            for letter in self._pipeline.overtaken(entry.frame)
        ]

    def _give_up(self, letters: list[DeadLetter]) -> None:
        """This replica accepted ticks that the writer did not have, and the topic has gone on: they leave a trace,
        before they leave the journal.

        Its own letters go without a transaction: it does not write the topic.
        """
        try:
            self._aside(map(self._outbox.letter, letters))
        except RetryableError:
            self._pipeline.history_loaded()
            self._go_back()
            raise
        for letter in letters:
            self._tell(Rejected(letter.reject, repeated=False))

    # As follower

    def _wait_in_line(self) -> None:
        while entries := self._next_entries():
            self._waiting.extend((entry.seq, self._pipeline.passage(entry.frame)) for entry in entries)
            self._cursor = entries[-1].seq
        self._trim()
        rule, chance, standing = self._rule, self._chance, self._standing()
        if self._held_since is None and standing.feed_advancing:
            rule.advanced(self._follower.newest_ms)
            return
        if rule.must_call(standing, chance=chance):
            rule.called()
            self._want_writer("lacks ticks")
        answers = rule.is_asked and standing.has_next
        if rule.due(standing, answer_s=0.0, chance=chance):
            if answers:
                self._tell(TakingOver(self._follower.newest_ms))
            if self._writer_at_work():
                rule.advanced(self._follower.newest_ms)
            elif rule.due(standing, answer_s=self._answer_s, chance=chance):
                self._take_over(answering=answers)
                if answers or standing.complete:
                    self._request = Request()  # as one that lacks ticks it has just asked

    def _standing(self) -> Standing:
        now = time.monotonic()
        self._held_since = (self._held_since or now) if self._waiting.hold_ticks else None
        newest_ms, cadence_ms = self._follower.newest_ms, self._history.cadence_ms
        has_next = self._waiting.have_next(newest_ms, cadence_ms)
        complete = self._waiting.continue_topic(newest_ms, cadence_ms, own_since_seq=self._left_by_earlier_life)
        # One that is asked to stop has closed its own feed, and is in a hurry to hand over what it holds.
        feed_advancing = self._stop.is_set() or self._feed_state() == ADVANCING
        return Standing(complete, has_next, feed_advancing, held_s=now - (self._held_since or now))

    def _next_entries(self) -> list[Entry]:
        room = WAITING_FRAMES - len(self._waiting)
        if room <= 0:
            return []
        return self._journal.read(self._cursor, max_frames=min(room, FRAMES_A_STEP), max_bytes=BYTES_A_STEP)

    def _writer_at_work(self) -> bool:
        """Whether records arrive in the topic that are not committed yet."""
        before = self._end_offsets()
        if self._follower.poll(0.2):
            return True
        return self._follower.end_offsets() != before

    def _end_offsets(self) -> dict[int, int]:
        """And how long the broker takes to answer."""
        started = time.monotonic()
        ends = self._follower.end_offsets()
        self._answer_s = time.monotonic() - started
        self._answered()
        return ends

    def _take_over(self, *, answering: bool) -> None:
        started = time.monotonic()
        idle_s = self._rule.idle_s
        self._rule.took_over(answering=answering)
        self._chance = random()
        writer = self._guards.open_writer(self._options, self._tell)
        try:
            # Who wrote before may have known of partitions that this replica has not looked for since.
            self._look_for_partitions()
            self._guards.read_to_end(self._follower, 30.0)
            self._history.roll_back(self._follower.passed)
            self._pipeline.history_loaded()
            self._trim()
        except RetryableError:
            writer.close()
            raise
        beyond = len(self._waiting)
        self._go_back()
        self._latest.start(self._latest_partitions or 0)
        self._writer = writer
        self._writer_since = time.monotonic()
        self._tell(TookOver(idle_s, self._writer_since - started, beyond))
        self._become(Role.WRITER, "took over")

    def _go_back(self) -> None:
        """To the oldest frame that the topic has not passed."""
        self._waiting.clear()
        self._cursor = self._journal.trimmed_through

    # As writer

    def _write(self, writer: Writer) -> bool:
        """Whether something was written: the next frame is likely a while away."""
        self._lags = False
        self._ask_while_down()
        batch = Batch()
        passages: list[tuple[int, Passage]] = []
        if self._journal.wait(self._cursor, IDLE_S):
            passages = self._take_waiting(batch)
            if not passages:
                self._held_back = HELD_BACK_BEHIND_HOLE
                time.sleep(IDLE_S)
                return False
        elif not self._add_ripe_rows(batch):
            self._held_back = HELD_BACK_ROWS if self._pipeline.holds_rows() else ""
            return False
        self._held_back = ""
        started = time.monotonic()
        through = passages[-1][0] if passages else self._cursor
        more = self._journal.newest_seq > through
        try:
            written = {} if batch.empty else writer.write(self._outbox.records(batch), self._outbox.others(batch))
        except WriteError as error:
            self._problem = (str(error), _now_ms())
            self._tell(TransactionFailed(str(error), error.fenced))
            self._drop_writer("fenced" if error.fenced else "a transaction failed")
            return False
        committed_at_ns, took_s = time.time_ns(), time.monotonic() - started
        if not batch.empty:
            self._answered()
            self._committed_at_ms = committed_at_ns // 1_000_000
        where = written.get(self._options.topic, {})
        if self._follower.acknowledged(batch.symbols, batch.event_times_ms, where, more=more):
            self._advanced(len(batch.symbols))
        else:
            self._lags = more
        self._cursor = through
        self._waiting.extend(passages)
        if batch.frames:
            for happening in told_of(batch, took_s, committed_at_ns):
                self._tell(happening)
        if batch.values and not passages:
            self._ask("rows from REST")
        return True

    def _take_waiting(self, batch: Batch) -> list[tuple[int, Passage]]:
        """Put the frames that wait into the batch, up to its bound or to one that has to wait on."""
        passages: list[tuple[int, Passage]] = []
        since_ms = self._unbroken_since_ms()
        for entry in self._journal.read(self._cursor, max_frames=FRAMES_A_STEP, max_bytes=BYTES_A_STEP):
            read = self._pipeline.read(entry.frame)
            if self._lacks_ticks_before(read.passage, since_ms) and (passages or self._ask("lacks ticks")):
                break  # what comes before the hole is written before another is asked for what follows
            self._pipeline.add_read(read, batch)
            passages.append((entry.seq, read.passage))
            if len(batch.values) >= self._options.max_records:
                break
        return passages

    def _add_ripe_rows(self, batch: Batch) -> bool:
        """Only while nothing waits in the journal: it may be older. Whether there were any.

        One that stops lets all go, once another replica had the time to bring ticks.
        """
        ripe_ns = time.time_ns()
        if self._stop.is_set() and self._pipeline.holds_rows():
            if self._ask("lacks ticks"):
                return False
            ripe_ns = sys.maxsize
        return self._pipeline.add_ripe_rows(ripe_ns, batch)

    def _ask_while_down(self) -> None:
        # Not before its last ticks are written, or they would look like an answer.
        if self._cursor < self._journal.newest_seq or self._stop.is_set() or self._feed_state() != DOWN:
            self._request.outage_ended()
        elif self._request.is_due_for_outage(time.monotonic()):
            self._want_writer("feed down", for_outage=True)

    def _lacks_ticks_before(self, passage: Passage, since_ms: int | None) -> bool:
        """Whether periods are missing before this frame that another replica may have: once it is in the topic, that
        one's ticks would be late. Rows from REST wait in any case.

        Where a socket was open all the while (``since_ms``), the exchange sent nothing, and nobody has any.
        """
        has_brought_all = since_ms is not None and since_ms <= self._history.newest_ms
        if has_brought_all or self._rule.is_alone or not passage.exact:
            return False
        return self._pipeline.leaves_hole(passage)

    def _ask(self, reason: str) -> bool:
        """Have another replica take over with what this one lacks, unless it has asked lately. Whether one may yet."""
        if self._rule.is_alone:
            return False
        if self._request.is_due(time.monotonic()):
            self._want_writer(reason)
        return self._request.is_open(time.monotonic())

    def _want_writer(self, reason: str, *, for_outage: bool = False) -> None:
        self._end_offsets()  # first: where no broker answers, nobody would hear of it, and it would be said again
        # One symbol far ahead is the newest for those who read it in the topic, but not in its writer's own history.
        self._tell(WriterWanted(reason, max(self._history.newest_ms, self._follower.newest_ms)))
        self._request.made(time.monotonic(), answer_s=self._answer_s, for_outage=for_outage)

    def _drop_writer(self, reason: str) -> None:
        if self._writer is None:
            return
        self._writer.close()
        self._writer = None
        self._latest.close()
        self._history.roll_back(self._follower.passed)
        self._pipeline.history_loaded()
        self._go_back()
        self._become(Role.FOLLOWER, reason)

    # Both

    def _look_after(self, *, wrote: bool) -> None:
        now = time.monotonic()
        if self._writer is not None:
            self._writer.serve()
            self._rule.written(now - self._writer_since)
            if (held := self._latest.read_on()) is not None:
                self._pipeline.latest_loaded(held)
        if self._clients_are_old.is_set():
            self._clients_are_old.clear()
            self._drop_writer("credentials were renewed")
            self._follower.close()
        if now - self._trimmed_at > HISTORY_TRIMMED_EVERY_S:
            self._trimmed_at = now
            self._history.forget_old_periods()
        # The answer takes some milliseconds: rather directly behind a write, where no frame waits for it.
        if now - self._partitions_at > PARTITIONS_CHECKED_EVERY_S * (0.8 if wrote else 1.0):
            self._partitions_at = now
            self._look_for_partitions()

    def _look_for_partitions(self) -> None:
        """Where the topic was given more: this replica stands down, and follows all of them."""
        before, after = self._follower.partitions, self._follower.partition_count()
        self._answered()
        if after <= before:
            return
        self._tell(PartitionsGrown(self._options.topic, before, after))
        self._drop_writer("the topic has more partitions")
        self._follower.grow(after)
        self._outbox = self._new_outbox()

    def _become(self, role: Role, reason: str) -> None:
        self._role = role
        self._tell(RoleChanged(role.value, reason))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
