"""From frames to what one transaction writes. Pure: the same frames over the same history give the same batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import repeat
from typing import NamedTuple

from connector.core.admit import CONTENT_UNKNOWN, Admission, History, content_hash
from connector.core.dead_letters import DeadLetter, RecentRejects
from connector.core.encode import RecordEncoder
from connector.core.feed_time import FeedTime
from connector.core.gaps import GapFinder, Witness
from connector.core.happenings import FieldUnknown, Happening, Rejected
from connector.core.ledger_events import EventKind, FeedEvent
from connector.core.normalize import Normalizer
from connector.core.rest_rows import RestRows, Rows
from connector.core.tombstones import Graveyard, Held, Tombstone
from connector.core.values import Frame, Normalized, Origin, Reason, Reject, Tick, Ticks


class Record(NamedTuple):
    """A tick as produced: key, record timestamp, value."""

    symbol: str
    event_time_ms: int
    value: bytes


@dataclass(slots=True)
class Batch:
    """What the frames of one transaction came to.

    Records are kept as three columns: thousands of tuples in a transaction
    would have the garbage collector go through all of them, again and again.
    """

    symbols: list[str] = field(default_factory=list)
    event_times_ms: list[int] = field(default_factory=list)
    values: list[bytes] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    events: list[FeedEvent] = field(default_factory=list)
    due: list[Tombstone] = field(default_factory=list)
    told: list[Happening] = field(default_factory=list)
    frames: int = 0
    duplicates: int = 0
    oldest_received_ns: int = 0

    @property
    def empty(self) -> bool:
        return not (self.values or self.letters or self.events or self.due)

    @property
    def records(self) -> list[Record]:
        """The columns, record by record."""
        return list(map(Record, self.symbols, self.event_times_ms, self.values))

    @property
    def tombstones(self) -> list[Tombstone]:
        """Those that stand at the batch's end: a symbol that returned behind its own needs none."""
        return [each for each in self.due if each.symbol not in self.symbols[each.behind :]]

    def add_record(self, symbol: str, event_time_ms: int, value: bytes) -> None:
        self.symbols.append(symbol)
        self.event_times_ms.append(event_time_ms)
        self.values.append(value)


class Oldest(dict[frozenset[str], int]):
    """By set of symbols, the oldest of their newest event times in the topic; -1 where it lacks one of them.

    Looked up once for each set, as frame after frame has the same symbols: good for one look at the topic.
    """

    def __init__(self, newest_by_symbol: Mapping[str, int]) -> None:
        self._newest_by_symbol = newest_by_symbol

    def __missing__(self, symbols: frozenset[str]) -> int:
        oldest = self[symbols] = min(map(self._newest_by_symbol.get, symbols, repeat(-1)))
        return oldest


class Passage(NamedTuple):
    """What must stand in the topic before a frame may leave the journal: symbols by event time."""

    newest_ms: int
    marks: tuple[tuple[int, frozenset[str]], ...]
    exact: bool = True
    """The marks are the ticks' own event times; rows from REST wait for any tick of their period."""

    @property
    def event_time_ms(self) -> int:
        """The event time that most of its ticks have; -1 where it has none."""
        return max(self.marks, key=lambda mark: len(mark[1]))[0] if self.marks else -1

    def passed(self, oldest: Oldest) -> bool:
        """Whether the topic holds every symbol at its event time or later."""
        return all(oldest[symbols] >= event_time_ms for event_time_ms, symbols in self.marks)


class ReadFrame(NamedTuple):
    """A frame, what the normalizer made of it, and what it waits for."""

    frame: Frame
    normalized: Normalized
    passage: Passage


class Pipeline:
    """Normalize, admit, encode. The history must hold what the topic holds; admitted ticks join it at once.

    ``rest_wait_s``: for so long rows from REST wait for ticks. ``tombstone_after_ms``: how long a symbol must have gone
    for a tombstone; ``None``: there is no topic for them.
    """

    def __init__(
        self,
        normalizer: Normalizer,
        encoder: RecordEncoder,
        history: History,
        witness: Witness,
        *,
        rest_wait_s: float = 0.0,
        tombstone_after_ms: int | None = None,
    ) -> None:
        self._normalizer = normalizer
        self._encoder = encoder
        self._history = history
        self._gaps = GapFinder(history, witness)
        self._graveyard = Graveyard(history, tombstone_after_ms)
        self._feed_time = FeedTime(history.cadence_ms)
        self._rest_rows = RestRows(history.cadence_ms, rest_wait_s)
        self._recent = RecentRejects()
        self._unknown_fields: set[str] = set()
        self._symbol_sets: dict[frozenset[str], frozenset[str]] = {}
        self._last_set: tuple[Sequence[str], frozenset[str]] = ((), frozenset())

    def history_loaded(self) -> None:
        """The history was read anew, or rolled back, and all frames will come again: nothing that was told in a lost
        transaction is taken as told."""
        self._rest_rows.clear()
        self._recent.forget()
        self._feed_time.forget()
        self._gaps.history_loaded()
        self._graveyard.forget()
        self._unknown_fields.clear()

    def latest_loaded(self, held: Held) -> None:
        """The compacted topic was read to its end: from here on tombstones fall due."""
        self._graveyard.loaded(held)

    def passage(self, frame: Frame) -> Passage:
        """What the frame waits for, without admitting it: a replica that does not write."""
        return self.read(frame).passage

    def read(self, frame: Frame) -> ReadFrame:
        """Without admitting anything of it."""
        normalized = self._normalizer.normalize(frame)
        return ReadFrame(frame, normalized, self._passage(normalized, frame))

    def leaves_hole(self, passage: Passage) -> bool:
        """Whether periods are missing between the newest in the history and a frame's."""
        periods = self._history.periods
        return bool(periods) and passage.event_time_ms // self._history.cadence_ms - periods[-1] > 1

    def is_overtaken(self, passage: Passage) -> bool:
        """Whether the topic has gone on without a tick of the frame: another replica did not have it."""
        return any(
            self._is_missed(symbol, event_time_ms, exact=passage.exact)
            for event_time_ms, marked in passage.marks
            for symbol in marked
        )

    def _is_missed(self, symbol: str, event_time_ms: int, *, exact: bool) -> bool:
        known = self._history.symbols.get(symbol)
        if known is None or event_time_ms > known.newest:
            return True
        return exact and known.admission(event_time_ms, CONTENT_UNKNOWN) is Admission.LATE

    def overtaken(self, frame: Frame) -> list[DeadLetter]:
        """The ticks of a frame that came too late to be written, of a replica that does not write."""
        batch, normalized = Batch(), self._normalizer.normalize(frame)
        exact, cadence = frame.origin is not Origin.REST, self._history.cadence_ms
        for tick in normalized.ticks:
            mark = tick.event_time_ms if exact else tick.event_time_ms // cadence * cadence
            if self._is_missed(tick.symbol, mark, exact=exact):
                self._refuse(Admission.LATE, tick, normalized, frame, batch)
        return batch.letters

    def add(self, frame: Frame, batch: Batch) -> None:
        """Read a frame and put it into the batch."""
        self.add_read(self.read(frame), batch)

    def add_read(self, read: ReadFrame, batch: Batch) -> None:
        """Put what a frame comes to into the batch; rows from REST first wait for ticks, here.

        What is refused of them does not: the frame may leave the journal meanwhile, passed by ticks.
        """
        frame, normalized, passage = read
        if frame.origin is not Origin.REST or not normalized.ticks:
            self._take(normalized, frame, batch)
            return
        if normalized.rejects:
            self._take(replace(normalized, ticks=()), frame, batch)
        self._rest_rows.wait(Rows(passage.newest_ms, frame, replace(normalized, rejects=())))

    def holds_rows(self) -> bool:
        """Whether rows from REST wait."""
        return bool(self._rest_rows)

    def add_ripe_rows(self, now_ns: int, batch: Batch) -> bool:
        """Put those rows from REST into the batch that have waited for long enough; whether there were any."""
        ripe = tuple(self._rest_rows.ripe(now_ns))
        for _, frame, normalized in ripe:
            self._take(normalized, frame, batch)
        return bool(ripe)

    def _take(self, normalized: Normalized, frame: Frame, batch: Batch) -> None:
        if not batch.frames:
            batch.oldest_received_ns = frame.received_at_ns
        batch.frames += 1
        for reject in normalized.rejects:
            self._reject(reject, frame, batch)
        for name in normalized.unknown_fields - self._unknown_fields:
            self._unknown_fields.add(name)
            batch.told.append(FieldUnknown(name))
            batch.events.append(FeedEvent(EventKind.FIELD_UNKNOWN, name, frame.received_at_ns // 1_000_000))
        if normalized.ticks:
            self._admit(normalized, frame, batch)

    def _admit(self, normalized: Normalized, frame: Frame, batch: Batch) -> None:
        """All ticks of a frame, and what its period begins or ends."""
        ticks = Ticks.of(normalized.ticks)
        frame_time_ms = self._feed_time.of(ticks, frame.received_at_ns, has_siblings=self._history.has_siblings)
        if frame.origin is not Origin.REST:
            for _, earlier, rows in self._rest_rows.before(frame_time_ms):
                self._take(rows, earlier, batch)
        first_period = len(self._history.periods) <= 1
        if begun := self._begins_period(frame_time_ms):
            batch.events.extend(self._gaps.before_period(frame_time_ms))
            self._history.add_period(frame_time_ms)
        if not self._admit_whole(ticks, frame, batch):
            self._admit_each(normalized, frame, batch, frame_time_ms, first_period=first_period)
        if begun:
            batch.events.extend(self._gaps.after_period(frame_time_ms))
            for symbol, newest_ms in self._graveyard.due(frame_time_ms):
                batch.due.append(Tombstone(symbol, frame_time_ms, newest_ms, behind=len(batch.symbols)))

    def _admit_whole(self, ticks: Ticks, frame: Frame, batch: Batch) -> bool:
        """Admit a frame as nearly all are: of one event time, with each symbol's next tick. Elsewhere nothing is done.

        Such ticks have nothing to be told or refused, so they need not be looked at one by one.
        """
        symbols, times, contents = ticks.symbols, ticks.event_times_ms, ticks.contents
        if (
            frame.origin is Origin.REST
            or times.count(times[0]) < len(times)
            or not self._history.append_frame(symbols, times[0], map(content_hash, contents))
        ):
            return False
        batch.symbols += symbols
        batch.event_times_ms += times
        batch.values += self._encoder.encode_all(contents, frame.received_at_ns // 1_000_000, frame.origin)
        return True

    def _admit_each(
        self, normalized: Normalized, frame: Frame, batch: Batch, frame_time_ms: int, *, first_period: bool
    ) -> None:
        history, symbols, cadence = self._history, self._history.symbols, self._history.cadence_ms
        received_ms, origin = frame.received_at_ns // 1_000_000, frame.origin
        from_rest = origin is Origin.REST
        for tick in normalized.ticks:
            symbol, event_time_ms, content, _ = tick
            known = symbols.get(symbol)
            hashed = content_hash(content)
            if known is not None:
                newest = known.newest
                if from_rest and event_time_ms // cadence <= newest // cadence:
                    batch.duplicates += 1
                    continue
                if event_time_ms <= newest:
                    self._refuse(known.admission(event_time_ms, hashed), tick, normalized, frame, batch)
                    continue
            if known is None:
                if not first_period:
                    batch.events.append(FeedEvent(EventKind.SYMBOL_APPEARED, symbol, event_time_ms))
            elif event_time_ms // cadence - newest // cadence > 1:
                batch.events.extend(self._gaps.before_tick(symbol, newest, event_time_ms, frame_time_ms))
            (known or history.symbol(symbol)).append(event_time_ms, hashed)
            batch.add_record(symbol, event_time_ms, self._encoder.encode(tick, received_ms, origin))

    def _begins_period(self, event_time_ms: int) -> bool:
        periods = self._history.periods
        return not periods or event_time_ms // self._history.cadence_ms > periods[-1]

    def _refuse(self, admission: Admission, tick: Tick, normalized: Normalized, frame: Frame, batch: Batch) -> None:
        if admission is Admission.DUPLICATE:
            batch.duplicates += 1
            return
        if admission is Admission.CONFLICT:
            reason, detail = Reason.CONFLICT, "the topic holds this symbol and event time with other content"
        else:
            known = self._history.symbols.get(tick.symbol)
            behind_ms = known.newest - tick.event_time_ms if known is not None else -1
            reason, detail = (
                Reason.LATE,
                f"{behind_ms} ms older than the symbol's newest in the topic"
                if behind_ms > 0
                else f"the topic has gone on to {self._history.newest_ms} without it",
            )
        data = self._normalizer.element(frame, tick.position)
        reject = Reject(reason, "", f"{detail} (event time {tick.event_time_ms})", data, tick.symbol, normalized.stream)
        self._reject(reject, frame, batch)

    def _reject(self, reject: Reject, frame: Frame, batch: Batch) -> None:
        self._gaps.rejected(reject, frame.received_at_ns // 1_000_000)
        repeated = self._recent.is_repeated(reject, frame.received_at_ns)
        if not repeated:
            batch.letters.append(DeadLetter(reject, frame))
        batch.told.append(Rejected(reject, repeated))

    def _passage(self, normalized: Normalized, frame: Frame) -> Passage:
        ticks = Ticks.of(normalized.ticks)
        if not ticks:
            return Passage(-1, ())
        cadence = self._history.cadence_ms
        # A row from REST gives way to a tick of the same period, whose event time may be a little less.
        round_ms = cadence if frame.origin is Origin.REST else 1
        first_ms, times = ticks.event_times_ms[0], ticks.event_times_ms
        if times.count(first_ms) == len(times):
            mark = first_ms // round_ms * round_ms
            return Passage(mark, ((mark, self._shared(ticks.symbols)),), exact=round_ms == 1)
        by_time: dict[int, list[str]] = {}
        for symbol, event_time_ms in zip(ticks.symbols, times, strict=True):
            by_time.setdefault(event_time_ms // round_ms * round_ms, []).append(symbol)
        marks = tuple((mark, self._shared(symbols)) for mark, symbols in by_time.items())
        return Passage(max(by_time), marks, exact=round_ms == 1)

    def _shared(self, symbols: Sequence[str]) -> frozenset[str]:
        """One object for equal sets: thousands of waiting frames name the same symbols."""
        last, shared = self._last_set
        if symbols != last:
            if len(self._symbol_sets) > 1024:
                self._symbol_sets.clear()
            made = frozenset(symbols)
            shared = self._symbol_sets.setdefault(made, made)
            self._last_set = (symbols, shared)
        return shared
