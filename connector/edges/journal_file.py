"""The journal's file: SQLite in WAL mode, for one thread of one process.

Three choices that are not obvious:

* ``locking_mode=EXCLUSIVE`` keeps the WAL's index in our own memory. The shared
  ``-shm`` file is mapped into memory otherwise, and whoever cuts it kills the process.
* Checkpoints are run by us, never by SQLite. So between two calls nothing may
  write to the file, and :meth:`JournalFile.verify` can tell that somebody did.
* Every frame carries a checksum: SQLite notices a broken page, not altered bytes in a sound one.

Space is reused page by page; once nearly everything is passed, what a long
backlog has left behind is given back to the file system (``VACUUM``).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from connector.core.errors import ConfigurationError, RetryableError
from connector.core.values import Frame, Origin
from connector.core.witness import Span

FORMAT_VERSION = 1
APPLICATION_ID = 0x424B534A
_PAGE_BYTES = 32768
"""A frame of some sixty symbols is one part of one page: with smaller ones, several writes each."""
_WAL_LIMIT_BYTES = 32 * 1024 * 1024
"""Pages are reused soon: the longer a checkpoint waits, the fewer of them it has to copy; and one holds frames up."""
_SMALL_BYTES = 4 * 1024 * 1024
_GIVE_BACK_BYTES = 16 * 1024 * 1024
_ASIDE_KEPT = 3
_SALVAGE_LIMIT_FRAMES = 200_000
"""How many places between two damaged ones are looked at; a few seconds."""
_OVERHEAD_BYTES = 128
"""What a frame takes in the file beside its data, about."""

_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE frames (
    seq INTEGER PRIMARY KEY, stored_at_ns INTEGER NOT NULL, size_bytes INTEGER NOT NULL, checksum INTEGER NOT NULL,
    received_at_ns INTEGER NOT NULL, connection TEXT NOT NULL, stream TEXT NOT NULL, origin TEXT NOT NULL,
    data BLOB NOT NULL);
CREATE TABLE witness (
    from_ms INTEGER NOT NULL, state TEXT NOT NULL, to_ms INTEGER NOT NULL,
    PRIMARY KEY (from_ms, state)) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """An accepted frame and its place in the order of acceptance."""

    seq: int
    frame: Frame


@dataclass(frozen=True, slots=True)
class Stored:
    """What the file knows of a frame without reading it."""

    seq: int
    size_bytes: int
    stored_at_ns: int
    received_at_ns: int


class Trouble(StrEnum):
    """What is wrong with the file, by what is to be done."""

    FULL = "full"
    READ_ONLY = "read-only"
    DAMAGED = "damaged"
    UNUSABLE = "unusable"


class JournalFileError(RetryableError):
    """The file cannot be used for now."""

    def __init__(self, trouble: Trouble, problem: str) -> None:
        self.trouble = trouble
        super().__init__(problem)


_TROUBLE_BY_CODE = {
    sqlite3.SQLITE_FULL: Trouble.FULL,
    sqlite3.SQLITE_READONLY: Trouble.READ_ONLY,
    sqlite3.SQLITE_PERM: Trouble.READ_ONLY,
    sqlite3.SQLITE_CORRUPT: Trouble.DAMAGED,
    sqlite3.SQLITE_NOTADB: Trouble.DAMAGED,
}

Connect = Callable[[Path], sqlite3.Connection]


def connect(path: Path) -> sqlite3.Connection:
    """The way to the file. Tests hand the journal another one, to make it full or unwritable."""
    return sqlite3.connect(path, timeout=1.0, isolation_level=None, check_same_thread=False)


def charged_bytes(frame: Frame) -> int:
    """What a frame counts for against the bounds."""
    return len(frame.data) + _OVERHEAD_BYTES


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        # Text that is no UTF-8 comes without a code: the bytes were altered.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
        trouble = _TROUBLE_BY_CODE.get(code & 0xFF, Trouble.UNUSABLE)
        raise JournalFileError(trouble, f"{path}: {error}") from error


class JournalFile:
    """One open file. Every method may raise :class:`JournalFileError`; after one, only ``close`` and,
    where it was ``full``, anything else may be called."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection
        self._wal = path.with_name(path.name + "-wal")
        self._fingerprint: tuple[object, ...] = ()
        self.frames = 0
        self.size_bytes = 0
        self.highest_seq = 0
        """Of a frame that is in the file."""
        self.passed_seq = 0
        """No frame up to here is in the file any more."""

    @classmethod
    def open(cls, path: Path, connect: Connect = connect) -> JournalFile:
        """Opens or makes the file.

        Raises :class:`ConfigurationError` where the file is another program's, or of a later version.
        """
        with _translated(path):
            connection = connect(path)
        file = cls(path, connection)
        try:
            with _translated(path):
                file._prepare()
        except BaseException:
            file.close()
            raise
        return file

    @classmethod
    def open_damaged(cls, path: Path, connect: Connect = connect) -> JournalFile:
        """Opens a file for ``salvage`` and ``salvage_spans`` alone, without looking at it."""
        with _translated(path):
            return cls(path, connect(path))

    def _prepare(self) -> None:
        run = self._connection.execute
        for pragma in ("locking_mode=EXCLUSIVE", "secure_delete=OFF", "cache_size=-4096"):
            run(f"PRAGMA {pragma}")
        version, application = (run(f"PRAGMA {name}").fetchone()[0] for name in ("user_version", "application_id"))
        tables = run("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        if application != APPLICATION_ID and (tables or version):
            raise ConfigurationError(
                f"journal.path {self._path} is the database of another program: give the journal a file of its own."
            )
        if version > FORMAT_VERSION:
            raise ConfigurationError(
                f"The journal {self._path} has format {version}, this version of the connector knows up to "
                f"{FORMAT_VERSION}: start the newer version again and let it empty the journal, or give another "
                "journal.path."
            )
        if not tables:
            run(f"PRAGMA page_size={_PAGE_BYTES}")
        mode = run("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode != "wal":
            raise JournalFileError(Trouble.READ_ONLY, f"{self._path}: cannot be written (journal mode {mode!r})")
        for pragma in ("synchronous=NORMAL", "wal_autocheckpoint=0", f"journal_size_limit={_WAL_LIMIT_BYTES}"):
            run(f"PRAGMA {pragma}")
        with self._transaction():
            if not tables:
                for statement in _TABLES.strip().removesuffix(";").split(";\n"):
                    run(statement)
                run(f"PRAGMA application_id={APPLICATION_ID}")
                run(f"PRAGMA user_version={FORMAT_VERSION}")
            # The first write tells at once whether the file can be written.
            run("INSERT OR IGNORE INTO meta VALUES ('passed_seq', 0)")
            run("UPDATE meta SET value = value WHERE name = 'passed_seq'")
        self.passed_seq = run("SELECT value FROM meta WHERE name = 'passed_seq'").fetchone()[0]
        self.count()

    def count(self) -> None:
        """Anew: where frames were stored that may have been there already."""
        with _translated(self._path):
            row = self._connection.execute(
                "SELECT count(*), coalesce(sum(size_bytes), 0), coalesce(max(seq), 0) FROM frames"
            ).fetchone()
        self.frames, self.size_bytes, self.highest_seq = row

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self.verify()
        with _translated(self._path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                raise
            finally:
                self._remember()

    # Frames

    def insert(self, entries: Sequence[Entry], stored_at_ns: int) -> None:
        """Stores them all or none. Afterwards they survive the end of this process, however it ends."""
        rows = [_row(entry, stored_at_ns) for entry in entries]
        with self._transaction():
            self._connection.executemany("INSERT OR REPLACE INTO frames VALUES (?,?,?,?,?,?,?,?,?)", rows)
        self.frames += len(rows)
        self.size_bytes += sum(charged_bytes(entry.frame) for entry in entries)
        self.highest_seq = max(self.highest_seq, max((entry.seq for entry in entries), default=0))

    def read(self, after_seq: int, through_seq: int, *, max_frames: int, max_bytes: int) -> list[Entry]:
        """In order; at least one where there is one, then up to both bounds."""
        entries: list[Entry] = []
        total = 0
        for entry in self._rows("seq > ? AND seq <= ? ORDER BY seq LIMIT ?", (after_seq, through_seq, max_frames)):
            total += len(entry.frame.data)
            if entries and total > max_bytes:
                break
            entries.append(entry)
        return entries

    def _rows(self, condition: str, values: tuple[int, ...], *, skip_altered: bool = False) -> Iterator[Entry]:
        columns = "seq, checksum, received_at_ns, connection, stream, origin, data"
        with _translated(self._path), contextlib.closing(self._connection.cursor()) as cursor:
            for seq, checksum, received_at_ns, name, stream, origin, data in cursor.execute(
                f"SELECT {columns} FROM frames WHERE {condition}", values
            ):
                if _checksum_of(received_at_ns, name, stream, origin, data) != checksum:
                    if skip_altered:
                        continue
                    raise JournalFileError(Trouble.DAMAGED, f"{self._path}: frame {seq} is not what was stored")
                yield Entry(seq, Frame(data, received_at_ns, name, stream, Origin(origin)))

    def oldest(self, limit: int) -> list[Stored]:
        with _translated(self._path):
            rows = self._connection.execute(
                "SELECT seq, size_bytes, stored_at_ns, received_at_ns FROM frames ORDER BY seq LIMIT ?", (limit,)
            ).fetchall()
        return [Stored(*row) for row in rows]

    def remove_through(self, seq: int, *, limit: int) -> bool:
        """Removes at most ``limit`` frames up to ``seq``; false where some of them are left."""
        if seq <= self.passed_seq:
            return True
        with self._transaction():
            run = self._connection.execute
            (cut,) = run(
                "SELECT max(seq) FROM (SELECT seq FROM frames WHERE seq <= ? ORDER BY seq LIMIT ?)", (seq, limit)
            ).fetchone()
            cut = seq if cut is None else cut
            frames, size_bytes = run(
                "SELECT count(*), coalesce(sum(size_bytes), 0) FROM frames WHERE seq <= ?", (cut,)
            ).fetchone()
            run("DELETE FROM frames WHERE seq <= ?", (cut,))
            done = bool(frames < limit)
            passed_seq = seq if done else cut
            run("UPDATE meta SET value = max(value, ?) WHERE name = 'passed_seq'", (passed_seq,))
        self.frames -= frames
        self.size_bytes -= size_bytes
        self.passed_seq = passed_seq
        return done

    def renumber(self, after_seq: int, through_seq: int, first_seq: int) -> None:
        """Gives the frames in that range new places, in the same order, from ``first_seq`` on."""
        with self._transaction():
            where = "WHERE seq > ? AND seq <= ?"
            (lowest,) = self._connection.execute(
                f"SELECT min(seq) FROM frames {where}", (after_seq, through_seq)
            ).fetchone()
            if lowest is not None:
                self._connection.execute(
                    f"UPDATE frames SET seq = seq + ? {where}", (first_seq - lowest, after_seq, through_seq)
                )
        self.count()

    def salvage(self) -> Iterator[Entry]:
        """Every frame that can still be read, in no order: from the front, from the back, then one by one between."""
        front_seq, back_seq = 0, 0
        with contextlib.suppress(JournalFileError):
            for entry in self._rows("seq > 0 ORDER BY seq", (), skip_altered=True):
                front_seq = entry.seq
                yield entry
            return
        with contextlib.suppress(JournalFileError):
            for entry in self._rows("seq > ? ORDER BY seq DESC", (front_seq,), skip_altered=True):
                back_seq = entry.seq
                yield entry
        for seq in range(front_seq + 1, min(back_seq, front_seq + _SALVAGE_LIMIT_FRAMES)):
            with contextlib.suppress(JournalFileError):
                yield from self._rows("seq = ?", (seq,), skip_altered=True)

    def salvage_spans(self) -> list[Span]:
        """The witness, where it can still be read."""
        with contextlib.suppress(JournalFileError):
            return self.spans()
        return []

    # Witness

    def spans(self) -> list[Span]:
        with _translated(self._path):
            rows = self._connection.execute("SELECT from_ms, to_ms, state FROM witness").fetchall()
        return [Span(*row) for row in rows]

    def save_spans(self, spans: Sequence[Span], *, forget_before_ms: int) -> None:
        with self._transaction():
            self._connection.executemany(
                "INSERT OR REPLACE INTO witness VALUES (?,?,?)", [(s.from_ms, s.state, s.to_ms) for s in spans]
            )
            self._connection.execute("DELETE FROM witness WHERE to_ms < ?", (forget_before_ms,))

    # Upkeep

    def tidy(self) -> None:
        """Bounds the WAL, and gives back the space of a backlog that is gone."""
        try:
            with _translated(self._path):
                run = self._connection.execute
                if _size(self._wal) > _WAL_LIMIT_BYTES:
                    run("PRAGMA wal_checkpoint(PASSIVE)")
                if self.size_bytes < _SMALL_BYTES:
                    (free_pages,) = run("PRAGMA freelist_count").fetchone()
                    if free_pages * _PAGE_BYTES > _GIVE_BACK_BYTES:
                        run("VACUUM")
                        run("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            self._remember()

    def verify(self) -> None:
        """Raises where somebody else has written to the file, or taken it away, since our last call."""
        if self._fingerprint and self._seen() != self._fingerprint:
            raise JournalFileError(Trouble.DAMAGED, f"{self._path}: written, moved or removed by somebody else")

    def _remember(self) -> None:
        self._fingerprint = self._seen()

    def _seen(self) -> tuple[object, ...]:
        seen: list[object] = []
        for path in (self._path, self._wal):
            try:
                status = os.stat(path)
                seen.append((status.st_ino, status.st_size, status.st_mtime_ns))
            except OSError as error:
                seen.append(error.errno)
        return tuple(seen)

    def close(self) -> None:
        """Never raises: a file in trouble is left as it is."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()


def set_aside(path: Path, suffix: str) -> Path | None:
    """Renames the file and its WAL; returns the new name, None where there was no file.

    Raises :class:`JournalFileError` where the folder does not allow it.
    """
    aside = path.with_name(f"{path.name}.{suffix}")
    try:
        for tail in ("-wal", ""):
            source = path.with_name(path.name + tail)
            if source.exists():
                source.rename(aside.with_name(aside.name + tail))
    except OSError as error:
        raise JournalFileError(Trouble.UNUSABLE, f"{path}: cannot be set aside: {error}") from error
    for old in sorted(path.parent.glob(f"{path.name}.damaged-*Z"))[:-_ASIDE_KEPT]:
        for tail in ("-wal", ""):
            with contextlib.suppress(OSError):  # a leftover more does no harm
                old.with_name(old.name + tail).unlink(missing_ok=True)
    return aside if aside.exists() else None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _row(entry: Entry, stored_at_ns: int) -> tuple[int | str | bytes, ...]:
    frame = entry.frame
    text = (frame.connection, frame.stream, frame.origin.value)
    return (entry.seq, stored_at_ns, charged_bytes(frame), _checksum(frame), frame.received_at_ns, *text, frame.data)


def _checksum(frame: Frame) -> int:
    return _checksum_of(frame.received_at_ns, frame.connection, frame.stream, frame.origin.value, frame.data)


def _checksum_of(received_at_ns: object, connection: object, stream: object, origin: object, data: object) -> int:
    if not isinstance(data, bytes):
        return -1
    return zlib.crc32(data, zlib.crc32(f"{received_at_ns}\0{connection}\0{stream}\0{origin}".encode()))
