"""The journal: accepted frames, until the topic has passed them.

One thread owns the file. ``put`` hands a frame to it and returns; once the
frame is in the file it becomes readable. The newest frames also stay in a
window in memory: readers are served from there, and when the file is in
trouble the window is all there is, so that ticks go on. Nothing that goes
wrong with the file is raised to callers once :meth:`Journal.open` is through:
it is told, and tried again.

The bounds: by bytes and by age in the file (``at_bound`` says which frames go),
by ``window_bytes`` in memory (the oldest go), and where the disk hangs by 32 MiB
that wait for it (the newest go). What goes is told, and stands in
the witness as ``journal bound``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from connector.core.happenings import JournalDropped, Tell
from connector.core.values import Frame
from connector.core.witness import Span, Witness
from connector.edges import journal_file
from connector.edges.journal_file import Entry, Stored, charged_bytes
from connector.edges.journal_store import JournalStore
from connector.edges.journal_window import Window

__all__ = ["AtBound", "Entry", "Journal"]

AtBound = Literal["drop-oldest", "drop-newest"]

_UPKEEP_S = 1.0
_REMOVED_EVERY_BYTES = 4 * 1024 * 1024
_TELL_DROPS_EVERY_S = 10.0
_READ_PATIENCE_S = 10.0
_INCOMING_LIMIT_BYTES = 32 * 1024 * 1024
_LOOK_AT_FRAMES = 500
_WITNESS_KEPT_MS = 7 * 24 * 3600 * 1000


class _ReadRequest:
    """A read that only the file can answer, handed to the thread that owns it."""

    def __init__(self, after_seq: int, max_frames: int, max_bytes: int) -> None:
        self.after_seq = after_seq
        self.max_frames = max_frames
        self.max_bytes = max_bytes
        self.entries: list[Entry] = []
        self.answered = threading.Event()


class Journal:
    """See the module. Methods may be called from any thread, ``open`` first and ``close`` last."""

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int,
        max_age_s: float,
        at_bound: AtBound,
        tell: Tell,
        clock: Callable[[], int] = time.time_ns,
        window_bytes: int = 8 * 1024 * 1024,
        connect: journal_file.Connect = journal_file.connect,
    ) -> None:
        self._max_bytes = max_bytes
        self._max_age_ns = int(max_age_s * 1e9)
        self._at_bound = at_bound
        self._tell = tell
        self._clock_ns = clock
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        # Shared between the threads, under the lock.
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._readable = threading.Condition(self._lock)
        self._incoming: list[Frame] = []
        self._incoming_bytes = 0
        self._unsettled = 0
        self._incoming_limit = _INCOMING_LIMIT_BYTES
        self._requests: list[_ReadRequest] = []
        self._window = Window(window_bytes)
        self._trimmed = 0
        self._newest = 0
        self._file_top = 0
        self._file_readable = False
        self._skipped: list[tuple[int, int]] = []
        self._counted = (0, 0)
        self._closing = False
        self._closed = False
        self._witness = Witness()
        self._dropped = (0, 0, "")
        self._dropped_told_at = -_TELL_DROPS_EVERY_S
        # The journal thread's own.
        self._store = JournalStore(
            path,
            tell=tell,
            clock=clock,
            held_in_memory=self._held_in_memory,
            done_through=self._done_through,
            connect=connect,
        )
        self._next_seq = 1
        self._upkeep_at = 0.0
        self._kept_bytes = 0
        """In the file, when frames were last removed from it."""

    def open(self) -> None:
        """Takes the lock and opens the file; what it holds is readable afterwards.

        Raises :class:`~connector.core.errors.ConfigurationError` where another process uses this journal,
        or the file is not ours. Any other trouble is told, and the journal goes on in memory.
        """
        self._witness = Witness(self._store.open())
        if self._store.healthy:
            last_seq = self._store.last_seq
            self._trimmed = self._store.passed_seq
        else:
            # Above whatever the file will turn out to hold; and what it holds will come in later.
            last_seq = self._clock_ns() // 1000
            self._trimmed = last_seq
            self._skipped.append((-1, last_seq))
        self._next_seq = last_seq + 1
        self._newest = last_seq
        self._window.restart(last_seq)
        self._look_at_store()
        self._thread.start()

    def put(self, frame: Frame) -> None:
        """Hands a frame over. Never blocks and never raises; nobody reads it before it is stored."""
        with self._lock:
            # Only a disk that hangs lets frames wait here.
            policy = "closed" if self._closing else "memory" if self._incoming_bytes > self._incoming_limit else ""
            if not policy:
                self._incoming.append(frame)
                self._incoming_bytes += charged_bytes(frame)
                self._unsettled += 1
                self._work.notify()
        if policy:
            self._give_up_frames([frame], policy)

    def settle(self, timeout_s: float) -> bool:
        """Blocks until every frame put before is readable or given up; false where that takes longer."""
        with self._lock:
            return self._readable.wait_for(lambda: not self._unsettled, timeout_s)

    def wait(self, after_seq: int, timeout_s: float) -> bool:
        """Blocks until a frame after that one is readable; false after the time, or when the journal is closed."""
        with self._lock:
            self._readable.wait_for(lambda: self._closed or self._has_after(after_seq), timeout_s)
            return self._has_after(after_seq)

    def read(self, after_seq: int, *, max_frames: int, max_bytes: int) -> list[Entry]:
        """The next frames in order, at least one where one is readable, up to both bounds."""
        with self._lock:
            after_seq = max(after_seq, self._trimmed)
            if self._closing and after_seq < self._window.floor:
                return []
            if after_seq >= min(self._window.floor, self._file_top):
                return self._read_window(after_seq, max_frames, max_bytes)
            request = _ReadRequest(after_seq, max_frames, max_bytes)
            self._requests.append(request)
            self._work.notify()
        answered = request.answered.wait(_READ_PATIENCE_S)
        if request.entries or not answered:
            return request.entries
        with self._lock:
            return self._read_window(after_seq, max_frames, max_bytes)

    def trim(self, through_seq: int) -> None:
        """Done with the frames up to here. The file's space is taken back within about a second."""
        with self._lock:
            self._trim(min(through_seq, self._newest))

    def oldest(self) -> Entry | None:
        """The oldest frame not trimmed; none where the journal is empty."""
        return next(iter(self.read(0, max_frames=1, max_bytes=1)), None)

    @property
    def newest_seq(self) -> int:
        """Of the newest readable frame; where the journal is empty, of the last one there was."""
        with self._lock:
            return self._newest

    @property
    def trimmed_through(self) -> int:
        """Nobody needs a frame up to this place: trimmed, or given up at a bound."""
        with self._lock:
            return self._trimmed

    @property
    def frames(self) -> int:
        """Frames not trimmed. May count trimmed ones for a second, but is 0 as soon as all are."""
        with self._lock:
            return 0 if self._trimmed >= self._newest else self._counted[0]

    @property
    def size_bytes(self) -> int:
        """What these count for against the bound."""
        with self._lock:
            return 0 if self._trimmed >= self._newest else self._counted[1]

    @property
    def problem(self) -> str | None:
        """What is wrong with the file; none where all is well."""
        return self._store.problem

    def note(self, state: str, at_ms: int) -> None:
        """The feed is in this state (:mod:`connector.core.witness` has the words), and the process lives: to be
        called each second."""
        with self._lock:
            self._witness.note(state, at_ms)
            self._upkeep_at = 0.0  # the next heartbeat may be one too late
            self._work.notify()

    def witness(self, from_ms: int, to_ms: int) -> tuple[Span, ...]:
        """What is known of that time; see :meth:`connector.core.witness.Witness.between`."""
        with self._lock:
            return self._witness.between(from_ms, to_ms)

    def close(self, timeout_s: float) -> int:
        """Stores what was put, closes, and gives the lock back.

        Returns how many frames end with this process: accepted, not trimmed, and not in the file.
        """
        with self._lock:
            self._closing = True
            self._work.notify()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        with self._lock:
            return len(self._window.above(self._store.stored_through)) + len(self._incoming)

    # Under the lock

    def _has_after(self, after_seq: int) -> bool:
        after_seq = max(after_seq, self._trimmed)
        return self._window.last_seq > after_seq or min(self._file_top, self._window.floor) > after_seq

    def _read_window(self, after_seq: int, max_frames: int, max_bytes: int) -> list[Entry]:
        entries = self._window.read(after_seq, max_frames=max_frames, max_bytes=max_bytes)
        if entries and not self._file_readable and entries[0].seq > after_seq + 1:
            # What the file holds in between cannot be read now. It will come in again when it can.
            self._skipped.append((after_seq, entries[0].seq - 1))
        return entries

    def _trim(self, through_seq: int) -> None:
        self._trimmed = max(self._trimmed, through_seq)
        self._window.trim(self._trimmed)

    def _look_at_store(self) -> None:
        store = self._store
        self._file_top = store.highest_seq
        self._file_readable = store.readable
        unstored = [] if store.healthy else self._window.above(store.stored_through)
        unstored_bytes = sum(charged_bytes(entry.frame) for entry in unstored)
        self._counted = (store.frames + len(unstored), store.size_bytes + unstored_bytes)

    # The journal thread

    def _run(self) -> None:
        closing = False
        while not closing:
            with self._lock:
                self._work.wait_for(self._has_work, max(0.0, self._upkeep_at - time.monotonic()))
                frames, self._incoming, self._incoming_bytes = self._incoming, [], 0
                requests, self._requests = self._requests, []
                closing = self._closing
            self._accept(frames)
            if frames:
                with self._lock:
                    self._unsettled -= len(frames)
                    self._readable.notify_all()
            for request in requests:
                request.entries = self._store.read(
                    request.after_seq,
                    self._window.floor,
                    max_frames=request.max_frames,
                    max_bytes=request.max_bytes,
                )
            if requests:
                with self._lock:
                    self._look_at_store()
            for request in requests:
                request.answered.set()
            if closing or time.monotonic() >= self._upkeep_at:
                self._upkeep_at = time.monotonic() + _UPKEEP_S
                self._upkeep(last=closing)
        self._store.close()
        with self._lock:
            self._closed = True
            for request in self._requests:
                request.answered.set()
            self._readable.notify_all()

    def _has_work(self) -> bool:
        return bool(self._incoming or self._requests or self._closing or not self._upkeep_at)

    def _accept(self, frames: list[Frame]) -> None:
        frames = self._within_bounds(frames) if frames else frames
        if not frames:
            return
        entries = [Entry(seq, frame) for seq, frame in enumerate(frames, self._next_seq)]
        self._next_seq += len(entries)
        self._store.insert(entries)
        with self._lock:
            gone = self._window.add(entries)
            self._newest = entries[-1].seq
            self._look_at_store()
            self._readable.notify_all()
        self._remove_early()
        self._give_up_frames([entry.frame for entry in gone if entry.seq > self._store.stored_through], "drop-oldest")

    def _within_bounds(self, frames: list[Frame]) -> list[Frame]:
        """Makes room for them, or leaves out those that the bound refuses."""
        if not self._store.healthy:
            return frames
        new_bytes = sum(map(charged_bytes, frames))
        if self._store.size_bytes + new_bytes <= self._max_bytes and not self._too_old():
            return frames
        # What is trimmed but not removed yet must not cost other frames their place.
        self._remove_trimmed()
        if self._at_bound == "drop-oldest":
            self._drop_oldest(new_bytes)
            return frames
        room_bytes = 0 if self._too_old() else self._max_bytes - self._store.size_bytes
        kept = 0
        for frame in frames:
            room_bytes -= charged_bytes(frame)
            if room_bytes < 0:
                break
            kept += 1
        self._give_up_frames(frames[kept:], self._at_bound)
        return frames[:kept]

    def _too_old(self) -> bool:
        oldest = self._store.oldest(1)
        return bool(oldest) and oldest[0].stored_at_ns < self._clock_ns() - self._max_age_ns

    def _drop_oldest(self, new_bytes: int) -> None:
        """Gives up frames from the front until the bounds hold, and by bytes one in a hundred more."""
        excess_bytes = self._store.size_bytes + new_bytes - self._max_bytes
        if excess_bytes > 0:
            excess_bytes += self._max_bytes // 100
        too_old_ns = self._clock_ns() - self._max_age_ns
        while self._store.healthy:
            given_up: list[Stored] = []
            for stored in self._store.oldest(_LOOK_AT_FRAMES):
                if excess_bytes <= 0 and stored.stored_at_ns >= too_old_ns:
                    break
                given_up.append(stored)
                excess_bytes -= stored.size_bytes
            if not given_up:
                return
            missed = [stored for stored in given_up if stored.seq > self._trimmed]
            if missed:
                times_ns = [stored.received_at_ns for stored in missed]
                size_bytes = sum(stored.size_bytes for stored in missed)
                self._give_up(len(missed), size_bytes, min(times_ns), max(times_ns), self._at_bound)
            with self._lock:
                self._trim(given_up[-1].seq)
            self._store.remove_some(given_up[-1].seq)

    def _bring_back(self) -> None:
        """Until readers know that the file can be read again, they are led past more of it."""
        while True:
            with self._lock:
                skipped, trimmed = tuple(self._skipped), self._trimmed
            are_back = self._store.try_again(skipped, trimmed, self._next_seq)
            with self._lock:
                self._look_at_store()
                if are_back:
                    del self._skipped[: len(skipped)]
                if not (self._store.healthy and self._skipped):
                    return

    def _done_through(self) -> int:
        """What was skipped is yet to be read, although frames behind it are trimmed."""
        with self._lock:
            return min([self._trimmed, *(after_seq for after_seq, _ in self._skipped)])

    def _remove_trimmed(self) -> None:
        while not self._store.remove_some(self._done_through()):
            if self._incoming:  # they come first; the rest goes next time
                return

    def _remove_early(self) -> None:
        """In a backlog: a page that is freed and used again before the log is copied into the file is copied once."""
        if self._store.size_bytes > self._kept_bytes + _REMOVED_EVERY_BYTES:
            self._store.remove_some(self._done_through())
            self._kept_bytes = self._store.size_bytes

    def _upkeep(self, *, last: bool) -> None:
        if self._store.retry_due(now=last) or (self._store.healthy and self._skipped):
            self._bring_back()
        self._remove_trimmed()
        self._kept_bytes = self._store.size_bytes
        if self._at_bound == "drop-oldest" and self._too_old():
            self._drop_oldest(0)
        before_ms = self._clock_ns() // 1_000_000 - _WITNESS_KEPT_MS
        with self._lock:
            self._witness.forget(before_ms)
            changed = self._witness.take_changes()
            everything = self._witness.all_spans
        self._store.save_spans(changed, everything, before_ms)
        self._store.upkeep()
        with self._lock:
            if self._store.last_seq >= self._next_seq:
                # Frames that came in from a file which could not be read before; memory's are stored too.
                self._next_seq = self._store.last_seq + 1
                self._newest = self._store.last_seq
                self._window.restart(self._newest)
            self._look_at_store()
            self._readable.notify_all()
        self._tell_dropped(now=last)

    def _held_in_memory(self, after_seq: int) -> list[Entry]:
        with self._lock:
            return self._window.above(after_seq)

    # Giving up

    def _give_up_frames(self, frames: Sequence[Frame], policy: str) -> None:
        if frames:
            times_ns = [frame.received_at_ns for frame in frames]
            self._give_up(len(frames), sum(map(charged_bytes, frames)), min(times_ns), max(times_ns), policy)

    def _give_up(self, frames: int, size_bytes: int, first_ns: int, last_ns: int, policy: str) -> None:
        with self._lock:
            self._witness.gave_up(first_ns // 1_000_000, last_ns // 1_000_000)
            self._dropped = (self._dropped[0] + frames, self._dropped[1] + size_bytes, policy)
        self._tell_dropped(now=False)

    def _tell_dropped(self, *, now: bool) -> None:
        """At once, and then at most every ten seconds, with what came together since."""
        with self._lock:
            frames, size_bytes, policy = self._dropped
            if not frames or (not now and time.monotonic() - self._dropped_told_at < _TELL_DROPS_EVERY_S):
                return
            self._dropped = (0, 0, "")
            self._dropped_told_at = time.monotonic()
        self._tell(JournalDropped(frames, size_bytes, policy))
