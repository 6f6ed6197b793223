"""What can befall the journal: the file is damaged, full, unwritable, gone; the process is killed."""

import os
import random
import select
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from connector.core.errors import ConfigurationError
from connector.core.happenings import JournalDropped, JournalMended, JournalTroubled
from connector.edges import journal, journal_file, journal_store
from connector.edges.journal_file import Entry
from tests.edges.journal_support import Told, eventually, frame, new_journal, opened, put_all, read_all

PAGE_BYTES = 8192


class Disk:
    """A seam between the journal and its file: may be full or unwritable from one moment to the next."""

    def __init__(self) -> None:
        self.writable = True
        self.max_pages = 1 << 30
        self.connections: list[sqlite3.Connection] = []

    def connect(self, path: Path) -> sqlite3.Connection:
        if not self.writable:
            path = Path(f"file:{path}?mode=ro")
        connection = sqlite3.connect(path, uri=True, isolation_level=None, check_same_thread=False)
        connection.execute(f"PRAGMA max_page_count={self.max_pages}")
        self.connections.append(connection)
        return connection

    def forbid_writing(self) -> None:
        self.writable = False
        self.connections[-1].execute("PRAGMA query_only=1")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_UPKEEP_S", 0.1)
    for trouble in journal_file.Trouble:
        monkeypatch.setitem(journal_store._RETRY_S, trouble, 0.2)


def overwrite(path: Path, seed: int) -> None:
    noise = random.Random(seed)
    for tail in ("", "-wal"):
        target = path.with_name(path.name + tail)
        if target.exists():
            with target.open("r+b") as file:
                file.write(noise.randbytes(target.stat().st_size))


def asides(path: Path) -> list[Path]:
    return [each for each in path.parent.glob(f"{path.name}.damaged-*") if not each.name.endswith("-wal")]


# Killed


_CHILD = """
import os, sys, time
from pathlib import Path
from tests.edges.journal_support import frame, new_journal
journal = new_journal(Path(sys.argv[1]), tell=print, max_bytes=10**9)
journal.open()
journal.note("advancing", time.time_ns() // 1_000_000)
seq = journal.newest_seq
number = seq
while True:
    for _ in range(5):
        number += 1
        journal.put(frame(number, 15_000))
    journal.note("advancing", time.time_ns() // 1_000_000)
    journal.wait(seq, 5)
    seq = journal.read(seq, max_frames=1000, max_bytes=10**9)[-1].seq
    os.write(1, b"%d\\n" % seq)
"""


def test_what_was_readable_is_there_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "j"
    moment = random.Random(1)
    readable = 0
    for shortest_s in (0.0, 0.0, 0.0, 0.0, 1.5):
        child = subprocess.Popen([sys.executable, "-c", _CHILD, str(path)], stdout=subprocess.PIPE)
        assert child.stdout is not None
        try:
            assert select.select([child.stdout], [], [], 30)[0], "the child got as far as putting frames"
            time.sleep(shortest_s + moment.uniform(0.0, 0.4))
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait(10)
        # The last line may be cut.
        readable = int(child.stdout.read().split(b"\n")[-2])
        child.stdout.close()
    told = Told()
    with opened(new_journal(path, tell=told)) as journal:
        entries = read_all(journal, max_frames=500, max_bytes=10**7)
        assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
        assert len(entries) >= readable > 0
        assert all(entry.frame == frame(entry.seq, 15_000) for entry in entries)
        spans = journal.witness(0, time.time_ns() // 1_000_000)
        assert "advancing" in {span.state for span in spans}
        assert spans[-1].state == "not running"
    assert told.of(JournalTroubled) == []


# Damaged


@pytest.mark.parametrize("size_bytes", [100, 15_000])
def test_overwritten_while_running(tmp_path: Path, size_bytes: int) -> None:
    """The frames in memory, and what the file still gives, are in a new file; ticks go on."""
    path, told = tmp_path / "j", Told()
    frames = [frame(number, size_bytes) for number in range(400)]
    with opened(new_journal(path, tell=told)) as journal:
        put_all(journal, frames[:200])
        journal.trim(50)
        time.sleep(0.5)  # trimmed frames are out of the file
        overwrite(path, 1)
        put_all(journal, frames[200:])
        assert eventually(lambda: bool(told.of(JournalMended)))
        assert [entry.frame for entry in read_all(journal, 50)] == frames[50:]
        assert eventually(lambda: journal.frames == 350)
        (trouble,) = told.of(JournalTroubled)
        assert str(asides(path)[0]) in trouble.problem
        assert trouble.remedy
        assert journal.problem is None
    with opened(new_journal(path, tell=told)) as journal:
        assert [entry.frame for entry in read_all(journal)] == frames[50:]
        assert journal.newest_seq == 400
    assert len(told.of(JournalTroubled)) == 1


def test_overwritten_again_and_again_while_running(tmp_path: Path) -> None:
    path, told = tmp_path / "j", Told()
    with opened(new_journal(path, tell=told)) as journal:
        for seed in range(8):
            put_all(journal, [frame(seed * 10 + number) for number in range(10)])
            overwrite(path, seed)
            time.sleep(0.2)
        assert [entry.frame for entry in read_all(journal)] == [frame(number) for number in range(80)]
        assert len(asides(path)) <= 3


@pytest.mark.parametrize("seed", range(8))
def test_damaged_between_two_runs(tmp_path: Path, seed: int) -> None:
    """Whatever is read back is what was put, and the journal takes new frames."""
    path, told = tmp_path / "j", Told()
    frames = [frame(number, 3_000) for number in range(300)]
    with opened(new_journal(path, tell=told)) as journal:
        put_all(journal, frames)
    noise = random.Random(seed)
    with path.open("r+b") as file:
        for _ in range(seed + 1):
            file.seek(noise.randrange(0, path.stat().st_size - 600))
            file.write(noise.randbytes(600))
    with opened(new_journal(path, tell=told)) as journal:
        put_all(journal, [frame(1000)])
        # While reading, the file may be found damaged and replaced.
        entries = read_all(journal)
        assert entries[-1].frame == frame(1000)
        assert all(entry.frame == frames[entry.seq - 1] for entry in entries[:-1])
        assert len(entries) > 150, "most can be saved"
    assert len(told.of(JournalTroubled)) == len(told.of(JournalMended)) >= 1


def test_no_database_any_more(tmp_path: Path) -> None:
    path, told = tmp_path / "j", Told()
    with opened(new_journal(path, tell=Told())):
        pass
    path.write_bytes(random.Random(3).randbytes(100_000))
    with opened(new_journal(path, tell=told)) as journal:
        put_all(journal, [frame(1)])
        assert [entry.frame for entry in read_all(journal)] == [frame(1)]
    assert len(told.of(JournalTroubled)) == 1
    assert len(asides(path)) == 1
    with opened(new_journal(path, tell=told)) as journal:
        assert journal.frames == 1


def test_a_file_that_never_was_a_journal_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "connector.toml"
    path.write_text("[feed]\n")
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="is no journal"), opened(new_journal(path, tell=Told())):
            pass
    assert path.read_text() == "[feed]\n"
    assert list(tmp_path.iterdir()) == [path]


def test_an_altered_frame_is_never_read(tmp_path: Path) -> None:
    """A sound page with altered bytes: SQLite does not notice, the checksum does."""
    path, told = tmp_path / "j", Told()
    frames = [frame(number, 1000) for number in range(30)]
    with opened(new_journal(path, tell=told)) as journal:
        put_all(journal, frames)
    content = path.read_bytes()
    assert content.count(frames[7].data) == 1
    path.write_bytes(content.replace(frames[7].data, frames[7].data[:500] + b"X" + frames[7].data[501:]))
    with opened(new_journal(path, tell=told)) as journal:
        assert [entry.frame for entry in read_all(journal)] == frames[:7] + frames[8:]
        assert "frame 8 is not what was stored" in told.of(JournalTroubled)[0].problem


def test_removed_while_running(tmp_path: Path) -> None:
    path, told = tmp_path / "j", Told()
    frames = [frame(number) for number in range(20)]
    with opened(new_journal(path, tell=told, window_bytes=1000)) as journal:
        put_all(journal, frames[:10])
        path.unlink()
        assert eventually(lambda: bool(told.of(JournalMended)))
        put_all(journal, frames[10:])
        assert [entry.frame for entry in read_all(journal)] == frames
    with opened(new_journal(path, tell=told)) as journal:
        assert [entry.frame for entry in read_all(journal)] == frames


# Full


def test_full(tmp_path: Path) -> None:
    path, told, disk = tmp_path / "j", Told(), Disk()
    disk.max_pages = 15
    frames = [frame(number, 5_000) for number in range(300)]
    with opened(new_journal(path, tell=told, connect=disk.connect)) as journal:
        for each in frames:
            put_all(journal, [each])
        assert len(told.of(JournalTroubled)) == 1
        assert "full" in told.of(JournalTroubled)[0].problem
        assert journal.problem is not None
        assert journal.frames == 300
        assert [entry.frame for entry in read_all(journal)] == frames
        assert told.of(JournalMended) == []
        journal.trim(290)
        assert eventually(lambda: bool(told.of(JournalMended)))
        put_all(journal, [frame(1000)])
        assert journal.close(10) == 0
    assert told.of(JournalDropped) == []
    with opened(new_journal(path, tell=told)) as journal:
        assert [entry.frame for entry in read_all(journal)] == [*frames[290:], frame(1000)]


def test_full_beyond_what_memory_holds(tmp_path: Path) -> None:
    told, disk = Told(), Disk()
    disk.max_pages = 15
    journal = new_journal(tmp_path / "j", tell=told, connect=disk.connect, window_bytes=50 * 5_128)
    with opened(journal):
        for number in range(300):
            put_all(journal, [frame(number, 5_000)])
        entries = read_all(journal)
        assert [entry.frame for entry in entries[-50:]] == [frame(number, 5_000) for number in range(250, 300)]
        stored = len(entries) - 50
        assert [entry.frame for entry in entries[:stored]] == [frame(number, 5_000) for number in range(stored)]
        lost = 300 - len(entries)
        assert lost > 0
        assert journal.close(10) == 50
    assert sum(happening.frames for happening in told.of(JournalDropped)) == lost


def test_what_is_tried_again_and_again_on_a_full_disk_counts_once(tmp_path: Path) -> None:
    path, told, disk = tmp_path / "j", Told(), Disk()
    disk.max_pages = 25
    noise = random.Random(1)
    frames = [replace(frame(number), data=noise.randbytes(500)) for number in range(1200)]
    with opened(new_journal(path, tell=told, connect=disk.connect)) as journal:
        disk.connections[-1].execute("PRAGMA query_only=1")
        put_all(journal, frames)
        assert eventually(lambda: "full" in (journal.problem or ""))
        time.sleep(0.7)
        disk.connections[-1].execute(f"PRAGMA max_page_count={1 << 30}")
        assert eventually(lambda: bool(told.of(JournalMended)))
        assert eventually(lambda: journal.frames == 1200)
        assert journal.size_bytes == sum(map(journal_file.charged_bytes, frames))
        assert [entry.frame for entry in read_all(journal)] == frames


# Unwritable


def test_read_only_while_running(tmp_path: Path) -> None:
    path, told, disk = tmp_path / "j", Told(), Disk()
    frames = [frame(number) for number in range(30)]
    with opened(new_journal(path, tell=told, connect=disk.connect)) as journal:
        put_all(journal, frames[:10])
        disk.forbid_writing()
        put_all(journal, frames[10:20])
        assert "readonly" in told.of(JournalTroubled)[0].problem
        assert [entry.frame for entry in read_all(journal)] == frames[:20]
        time.sleep(0.8)  # tried again, in vain
        assert len(told.of(JournalTroubled)) == 1
        disk.writable = True
        assert eventually(lambda: bool(told.of(JournalMended)))
        put_all(journal, frames[20:])
        assert [entry.frame for entry in read_all(journal)] == frames
    with opened(new_journal(path, tell=told)) as journal:
        assert [entry.frame for entry in read_all(journal)] == frames


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    told = Told()
    (tmp_path / "file").write_text("no folder")
    with opened(new_journal(tmp_path / "file" / "j", tell=told)) as journal:
        put_all(journal, [frame(1), frame(2)])
        assert [entry.frame for entry in read_all(journal)] == [frame(1), frame(2)]
        journal.note("advancing", 1_000)
        journal.note("advancing", 2_000)
        assert [span.state for span in journal.witness(1_000, 2_000)] == ["advancing"]
        journal.trim(journal.newest_seq - 1)
        assert journal.close(10) == 1
    assert len(told.of(JournalTroubled)) == 1


def test_frames_of_a_file_that_could_not_be_opened_at_first_come_in_late(tmp_path: Path) -> None:
    path, told, disk = tmp_path / "j", Told(), Disk()
    earlier, now = [frame(number) for number in range(10)], [frame(number) for number in range(100, 120)]
    with opened(new_journal(path, tell=told)) as journal:
        put_all(journal, earlier)
    disk.writable = False
    with opened(new_journal(path, tell=told, connect=disk.connect)) as journal:
        put_all(journal, now[:10])
        entries = read_all(journal, journal.newest_seq - 10)
        assert [entry.frame for entry in entries] == now[:10]
        journal.trim(entries[-1].seq)
        disk.writable = True
        assert eventually(lambda: bool(told.of(JournalMended)))
        assert eventually(lambda: journal.wait(entries[-1].seq, 0))
        put_all(journal, now[10:])
        assert [entry.frame for entry in read_all(journal, entries[-1].seq)] == earlier + now[10:]


def test_a_backlog_that_could_not_be_read_for_a_while_comes_in_late(tmp_path: Path) -> None:
    """Readers are led past what the file holds, to what memory holds, and back to it when the file is well again."""
    path, told, disk = tmp_path / "j", Told(), Disk()
    frames = [frame(number) for number in range(40)]
    with opened(new_journal(path, tell=told)) as journal:
        put_all(journal, frames[:20])
    with opened(new_journal(path, tell=told, connect=disk.connect)) as journal:
        first = journal.read(0, max_frames=5, max_bytes=10**6)
        assert [entry.frame for entry in first] == frames[:5]
        disk.forbid_writing()
        put_all(journal, frames[20:30])
        assert eventually(lambda: journal.problem is not None)
        position = first[-1].seq
        second = read_all(journal, position)
        assert [entry.frame for entry in second] == frames[20:30]
        position = second[-1].seq
        journal.trim(position)
        disk.writable = True
        assert eventually(lambda: journal.wait(position, 0))
        put_all(journal, frames[30:])
        assert [entry.frame for entry in read_all(journal, position)] == frames[5:20] + frames[30:]


def test_a_backlog_that_could_not_be_read_outlasts_a_disk_that_is_full_behind_it(tmp_path: Path) -> None:
    path, told, disk = tmp_path / "j", Told(), Disk()
    skipped, passed = [frame(number) for number in range(20)], [frame(number) for number in range(20, 30)]
    held = [frame(number, 50_000) for number in range(30, 40)]
    with opened(new_journal(path, tell=told)) as journal:
        put_all(journal, skipped)
    with opened(new_journal(path, tell=told, connect=disk.connect)) as journal:
        disk.forbid_writing()
        put_all(journal, passed)
        assert eventually(lambda: journal.problem is not None)
        entries = read_all(journal)
        assert [entry.frame for entry in entries] == passed
        position = entries[-1].seq
        journal.trim(position)
        put_all(journal, held)
        disk.writable, disk.max_pages = True, 15
        assert eventually(lambda: "full" in (journal.problem or ""))
        time.sleep(0.3)  # the file is looked after meanwhile
        disk.connections[-1].execute(f"PRAGMA max_page_count={1 << 30}")
        assert eventually(lambda: bool(told.of(JournalMended)))
        assert eventually(lambda: len(read_all(journal, position)) == len(skipped + held))
        late = [entry.frame for entry in read_all(journal, position)]
        assert sorted(late, key=lambda each: each.data) == sorted(skipped + held, key=lambda each: each.data)


def test_a_backlog_that_readers_were_led_past_while_it_was_opened_again_comes_in_late(tmp_path: Path) -> None:
    path, told, disk = tmp_path / "j", Told(), Disk()
    skipped, passed = [frame(number) for number in range(20)], [frame(number) for number in range(20, 30)]
    entries: list[Entry] = []

    def connect(path: Path) -> sqlite3.Connection:
        if disk.connections and disk.writable and not entries:
            entries.extend(reopened.read(0, max_frames=100, max_bytes=10**6))
        return disk.connect(path)

    with opened(new_journal(path, tell=told)) as earlier:
        put_all(earlier, skipped)
    reopened = new_journal(path, tell=told, connect=connect)
    with opened(reopened):
        disk.forbid_writing()
        put_all(reopened, passed)
        assert eventually(lambda: reopened.problem is not None)
        disk.writable = True
        assert eventually(lambda: bool(told.of(JournalMended)))
        assert [entry.frame for entry in entries] == passed
        reopened.trim(entries[-1].seq)
        assert eventually(lambda: reopened.wait(entries[-1].seq, 0))
        assert [entry.frame for entry in read_all(reopened, entries[-1].seq)] == skipped


def test_a_backlog_that_readers_were_led_past_is_saved_from_a_damaged_file_too(tmp_path: Path) -> None:
    path, told, disk = tmp_path / "j", Told(), Disk()
    skipped, passed = [frame(number) for number in range(20)], [frame(number) for number in range(20, 30)]

    damaged: list[Path] = []

    def connect(path: Path) -> sqlite3.Connection:
        if path in damaged:
            damaged.remove(path)
            raise sqlite3.DatabaseError("database disk image is malformed")
        return disk.connect(path)

    with opened(new_journal(path, tell=told)) as earlier:
        put_all(earlier, skipped)
    with opened(new_journal(path, tell=told, connect=connect)) as journal:
        disk.forbid_writing()
        put_all(journal, passed)
        assert eventually(lambda: journal.problem is not None)
        entries = read_all(journal)
        assert [entry.frame for entry in entries] == passed
        journal.trim(entries[-1].seq)
        damaged.append(path)
        disk.writable = True
        assert eventually(lambda: journal.wait(entries[-1].seq, 0))
        assert [entry.frame for entry in read_all(journal, entries[-1].seq)] == skipped
        assert asides(path)


@pytest.mark.parametrize("rights", [0o555, 0o000])
def test_a_real_folder_without_rights(tmp_path: Path, rights: int) -> None:
    """As another user where we are root, for root may write anywhere."""
    folder = tmp_path / "folder"
    folder.mkdir()
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from tests.edges.journal_support import Told, frame, new_journal, opened, put_all, read_all\n"
        "from connector.core.happenings import JournalTroubled\n"
        "os.getuid() or os.setuid(65534)\n"
        "told = Told()\n"
        "with opened(new_journal(Path(sys.argv[1]), tell=told)) as journal:\n"
        "    put_all(journal, [frame(1)])\n"
        "    print(len(read_all(journal)), told.of(JournalTroubled)[0].problem)\n"
    )
    folder.chmod(rights)
    for parent in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        parent.chmod(0o755)
    result = subprocess.run(
        [sys.executable, "-c", code, str(folder / "j")], capture_output=True, text=True, timeout=60, check=False
    )
    folder.chmod(0o755)
    assert result.stdout.startswith("1 "), result.stderr
    assert "Permission denied" in result.stdout


def test_another_process_has_the_lock_when_the_folder_comes_back(tmp_path: Path) -> None:
    told = Told()
    (tmp_path / "folder").write_text("in the way")
    with opened(new_journal(tmp_path / "folder" / "j", tell=told)) as journal:
        (tmp_path / "folder").unlink()
        other = new_journal(tmp_path / "folder" / "j", tell=Told())
        with opened(other):
            put_all(journal, [frame(1)])
            assert eventually(lambda: len(told.of(JournalTroubled)) == 2)
            assert f"pid {os.getpid()}" in told.of(JournalTroubled)[1].problem
        assert eventually(lambda: bool(told.of(JournalMended)))
        assert journal.close(10) == 0


def test_drops_are_bounded_where_the_disk_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_INCOMING_LIMIT_BYTES", 100_000)
    told = Told()
    hang_s = [0.0]

    class HangingConnection(sqlite3.Connection):
        def executemany(self, *arguments):  # type: ignore[no-untyped-def]
            time.sleep(hang_s[0])
            return super().executemany(*arguments)

    def connect(path: Path) -> sqlite3.Connection:
        return sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=HangingConnection)

    with opened(new_journal(tmp_path / "j", tell=told, connect=connect)) as slow:
        hang_s[0] = 0.5
        for number in range(1000):
            slow.put(frame(number, 872))
        hang_s[0] = 0.0
        assert eventually(lambda: len(read_all(slow)) > 0)
        assert slow.close(10) == 0
        assert sum(happening.frames for happening in told.of(JournalDropped)) > 700
        assert {happening.policy for happening in told.of(JournalDropped)} == {"memory"}
