"""The journal's file together with everything that can befall it: told, tried again, replaced.

For the journal's thread alone. After :meth:`JournalStore.open` nothing is raised.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from connector.core.errors import ConfigurationError
from connector.core.happenings import JournalMended, JournalTroubled, Tell
from connector.core.witness import Span
from connector.edges import journal_file
from connector.edges.journal_file import Entry, JournalFile, JournalFileError, Stored, Trouble

_SQLITE = b"SQLite format 3\0"
_STEP_FRAMES = 500
_STEP_BYTES = 4 * 1024 * 1024
_RETRY_S = {Trouble.FULL: 2.0, Trouble.READ_ONLY: 5.0, Trouble.DAMAGED: 5.0, Trouble.UNUSABLE: 5.0}
_REPLACE_EVERY_S = 10.0
"""A file that somebody keeps writing to is not replaced at every stroke: each one leaves a file behind."""
_REMEDY = {
    Trouble.FULL: "Free space on the journal's volume, or see why the topic does not take the frames; "
    "it is tried again by itself.",
    Trouble.READ_ONLY: "Make the journal's folder and file writable for this user; it is tried again by itself.",
    Trouble.DAMAGED: "A new file is in use. Look after the disk; the file set aside is not needed any more.",
    Trouble.UNUSABLE: "See that the journal's volume is there and healthy; it is tried again by itself.",
}


class JournalStore:
    """Keeps frames and witness in the file as long as the file can, and mends it when it cannot.

    ``held_in_memory(after_seq)`` must give the frames that memory still holds; they are stored again
    where the file lost them. ``done_through()`` gives the place up to which nobody needs frames.
    """

    def __init__(
        self,
        path: Path,
        *,
        tell: Tell,
        clock: Callable[[], int],
        held_in_memory: Callable[[int], list[Entry]],
        done_through: Callable[[], int],
        connect: journal_file.Connect,
    ) -> None:
        self._path = path
        self._lock_path = path.with_name(path.name + ".lock")
        self._tell = tell
        self._clock_ns = clock
        self._held_in_memory = held_in_memory
        self._done_through = done_through
        self._connect = connect
        self._file: JournalFile | None = None
        self._lock: int | None = None
        self._last_seq = 0
        self._told: set[Trouble] = set()
        self._retry_at = 0.0
        self._replaced_at = -_REPLACE_EVERY_S
        self._save_all_spans = False
        self.healthy = False
        """What is inserted goes to the file. Where not, it may still be readable."""
        self.problem: str | None = None
        self.stored_through = 0
        """Every frame up to here that is not trimmed is in the file, or lost with it."""

    def open(self) -> list[Span]:
        """Takes the lock, opens the file, returns the witness in it.

        Raises :class:`ConfigurationError` where another process uses this journal or the file is not ours.
        """
        self._refuse_foreign()
        try:
            self._take_lock()
            try:
                self._file = JournalFile.open(self._path, self._connect)
                spans = self._file.spans()
            except JournalFileError as error:
                if error.trouble is not Trouble.DAMAGED:
                    raise
                spans = self._replace(error)
        except JournalFileError as error:
            self._in_trouble(error)
            return []
        except ConfigurationError:
            self.close()
            raise
        self.healthy = True
        self.stored_through = self.last_seq
        return spans

    # What is in the file

    @property
    def readable(self) -> bool:
        return self._file is not None

    @property
    def frames(self) -> int:
        return self._file.frames if self._file is not None else 0

    @property
    def size_bytes(self) -> int:
        return self._file.size_bytes if self._file is not None else 0

    @property
    def highest_seq(self) -> int:
        """Of a frame that can be read from the file; 0 where none can."""
        return self._file.highest_seq if self._file is not None and self._file.frames else 0

    @property
    def last_seq(self) -> int:
        """No frame that the file ever held has a higher place."""
        if self._file is not None:
            self._last_seq = max(self._last_seq, self._file.highest_seq, self._file.passed_seq)
        return self._last_seq

    @property
    def passed_seq(self) -> int:
        return self._file.passed_seq if self._file is not None else 0

    def insert(self, entries: Sequence[Entry]) -> None:
        """Stores frames that memory does not hold yet. Where they could not be, ``stored_through`` stays."""
        for _ in range(2):  # a damaged file is replaced, and then written
            if not self.healthy or self._file is None:
                return
            try:
                self._file.insert(entries, self._clock_ns())
            except JournalFileError as error:
                self._in_trouble(error)
            else:
                self.stored_through = entries[-1].seq
                return
        self.healthy = False

    def read(self, after_seq: int, through_seq: int, *, max_frames: int, max_bytes: int) -> list[Entry]:
        for _ in range(2):  # a damaged file is replaced, and then read
            if self._file is None:
                break
            try:
                return self._file.read(after_seq, through_seq, max_frames=max_frames, max_bytes=max_bytes)
            except JournalFileError as error:
                self._in_trouble(error)
        return []

    def oldest(self, limit: int) -> list[Stored]:
        if self._file is None:
            return []
        try:
            return self._file.oldest(limit)
        except JournalFileError as error:
            self._in_trouble(error)
            return []

    def remove_some(self, through_seq: int) -> bool:
        """Removes a bounded number of frames up to that place; true where none is left (or none can be)."""
        if self._file is None:
            return True
        try:
            return self._file.remove_through(through_seq, limit=_STEP_FRAMES)
        except JournalFileError as error:
            self._in_trouble(error)
            return True

    def save_spans(self, changed: Sequence[Span], everything: Callable[[], Sequence[Span]], before_ms: int) -> None:
        """Saves what changed; all of it where an earlier time failed. Forgets what ended before that time."""
        if not self.healthy or self._file is None:
            self._save_all_spans = True
            return
        spans = everything() if self._save_all_spans else changed
        if not spans:
            return
        try:
            self._save_all_spans = True
            self._file.save_spans(spans, forget_before_ms=before_ms)
            self._save_all_spans = False
        except JournalFileError as error:
            self._in_trouble(error)

    def upkeep(self) -> None:
        """To be called each second: notices what others did to the file, bounds the WAL, gives space back."""
        if self._file is None:
            return
        try:
            self._file.verify()
            self._file.tidy()
        except JournalFileError as error:
            self._in_trouble(error)

    def retry_due(self, *, now: bool = False) -> bool:
        return not self.healthy and (now or time.monotonic() >= self._retry_at)

    def try_again(self, skipped: Sequence[tuple[int, int]], trimmed: int, next_seq: int) -> bool:
        """After trouble: opens the file again and stores what memory holds.

        ``skipped``: ranges of places that readers were led past while the file could not be read, all that there were
        when the journal was trimmed through ``trimmed``. What the file holds there gets new places from ``next_seq``
        on: late is better than lost. False where that is still to be done, be it that a new file is in use.
        """
        try:
            if self._file is None:
                self._take_lock()
                self._file = JournalFile.open(self._path, self._connect)
                self.stored_through = min(self.stored_through, max(self._file.highest_seq, self._file.passed_seq))
            file = self._file
            # Removal comes first, for a full file has no room otherwise; but not of what was skipped.
            _remove(file, min([trimmed, *(after_seq for after_seq, _ in skipped)]))
            self._store_held(file)
            for after_seq, through_seq in skipped:
                file.renumber(after_seq, through_seq, max(next_seq, self.last_seq + 1))
            self._last_seq = self.last_seq
            _remove(file, trimmed)
        except JournalFileError as error:
            self._in_trouble(error)
        except ConfigurationError as error:
            self._in_trouble(JournalFileError(Trouble.UNUSABLE, str(error)))
        else:
            self._mended()
            return True
        return False

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        self.healthy = False
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # Trouble, and out of it

    def _in_trouble(self, error: JournalFileError) -> None:
        self.healthy = False
        self._save_all_spans = True
        if error.trouble is Trouble.DAMAGED:
            try:
                self._replace(error)
            except JournalFileError as next_error:
                error = next_error
            else:
                return
        self._tell_trouble(error.trouble, str(error))
        if error.trouble is not Trouble.FULL and self._file is not None:
            self._file.close()
            self._file = None
        self._retry_at = time.monotonic() + _RETRY_S[error.trouble]

    def _tell_trouble(self, trouble: Trouble, problem: str) -> None:
        self.problem = problem
        if trouble not in self._told:
            self._told.add(trouble)
            self._tell(JournalTroubled(problem, _REMEDY[trouble]))

    def _mended(self) -> None:
        self.healthy = True
        self.problem = None
        if self._told:
            self._told.clear()
            self._tell(JournalMended(str(self._path)))

    def _replace(self, error: JournalFileError) -> list[Span]:
        """Sets the damaged file aside; goes on with a new one that holds all that could be saved."""
        damaged, self._file = self._file, None
        if time.monotonic() - self._replaced_at < _REPLACE_EVERY_S:
            if damaged is not None:
                damaged.close()
            raise JournalFileError(Trouble.UNUSABLE, f"{error}; again, within {_REPLACE_EVERY_S:.0f} s")
        known = damaged.frames if damaged is not None else None
        try:
            aside = journal_file.set_aside(self._path, f"damaged-{self._utc()}")
            if damaged is None and aside is not None:
                damaged = JournalFile.open_damaged(aside, self._connect)
            file = JournalFile.open(self._path, self._connect)
            try:
                spans = self._rebuild(file, damaged)
            except JournalFileError:
                file.close()
                raise
        except (JournalFileError, ConfigurationError) as next_error:
            raise JournalFileError(Trouble.UNUSABLE, f"{error}; a new file cannot be made: {next_error}") from error
        finally:
            if damaged is not None:
                damaged.close()
        self._file = file
        self._replaced_at = time.monotonic()
        lost = f"at most {max(0, known - file.frames)} frames" if known is not None else "what could not be read"
        where = f"set aside as {aside}" if aside is not None else "no longer there"
        self._tell_trouble(Trouble.DAMAGED, f"{error}; {where}; lost from it: {lost}")
        self._mended()
        return spans

    def _rebuild(self, file: JournalFile, damaged: JournalFile | None) -> list[Span]:
        spans: list[Span] = []
        if damaged is not None:
            done_through = self._done_through()
            for batch in _batches(entry for entry in damaged.salvage() if entry.seq > done_through):
                file.insert(batch, self._clock_ns())
            spans = damaged.salvage_spans()
            file.save_spans(spans, forget_before_ms=0)
        self.stored_through = 0
        self._store_held(file)
        file.count()  # memory may hold what was saved
        _remove(file, self._done_through())
        return spans

    def _store_held(self, file: JournalFile) -> None:
        for batch in _batches(self._held_in_memory(self.stored_through)):
            file.insert(batch, self._clock_ns())
            self.stored_through = batch[-1].seq

    def _refuse_foreign(self) -> None:
        """A damaged journal is set aside; what never was one must not be. An earlier run leaves its lock file."""
        try:
            if not self._path.is_file():  # a pipe would never open
                return
            with self._path.open("rb") as file:
                start = file.read(len(_SQLITE))
        except OSError:  # not there, or in a trouble that opening it will tell
            return
        if start and start != _SQLITE and not self._lock_path.exists():
            raise ConfigurationError(
                f"journal.path {self._path} is no journal: give the journal a file of its own, or, where this is one "
                "that was damaged, move it away."
            )

    def _take_lock(self) -> None:
        if self._lock is not None:
            return
        path = self._lock_path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise JournalFileError(Trouble.READ_ONLY, f"{path}: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(lock, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(lock)
            raise ConfigurationError(
                f"Another process (pid {holder}) uses the journal {self._path}: "
                "give each replica its own journal.path, or stop the other process."
            ) from error
        except OSError as error:
            os.close(lock)
            raise JournalFileError(Trouble.UNUSABLE, f"{path}: cannot be locked: {error.strerror}") from error
        with contextlib.suppress(OSError):  # only for the message above
            os.ftruncate(lock, 0)
            os.pwrite(lock, str(os.getpid()).encode(), 0)
        self._lock = lock

    def _utc(self) -> str:
        return f"{datetime.fromtimestamp(self._clock_ns() / 1e9, UTC):%Y%m%dT%H%M%S.%fZ}"


def _batches(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    batch: list[Entry] = []
    waiting_bytes = 0
    for entry in entries:
        batch.append(entry)
        waiting_bytes += len(entry.frame.data)
        if waiting_bytes >= _STEP_BYTES or len(batch) >= _STEP_FRAMES:
            yield batch
            batch, waiting_bytes = [], 0
    if batch:
        yield batch


def _remove(file: JournalFile, through_seq: int) -> None:
    while not file.remove_through(through_seq, limit=_STEP_FRAMES):
        pass
