import os
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from connector.core.errors import ConfigurationError
from connector.core.happenings import Happening, JournalDropped
from connector.edges import journal
from tests.edges.journal_support import Clock, Told, eventually, frame, new_journal, opened, put_all, read_all


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_UPKEEP_S", 0.1)


def test_reads_in_order_what_was_put(tmp_path: Path) -> None:
    frames = [frame(number, size_bytes=number * 37 % 20_000) for number in range(300)]
    with opened(new_journal(tmp_path / "j", tell=Told())) as journal:
        put_all(journal, frames)
        entries = read_all(journal)
        assert [entry.frame for entry in entries] == frames
        assert [entry.seq for entry in entries] == list(range(1, 301))
        assert journal.newest_seq == 300
        assert journal.frames == 300
        assert journal.size_bytes > sum(len(each.data) for each in frames)


def test_a_frame_is_in_the_file_before_it_can_be_read(tmp_path: Path) -> None:
    with opened(new_journal(tmp_path / "j", tell=Told())) as journal:
        journal.put(frame(1))
        assert journal.wait(0, 5)
        copy = tmp_path / "copy"
        for tail in ("", "-wal"):
            Path(f"{copy}{tail}").write_bytes(Path(f"{tmp_path / 'j'}{tail}").read_bytes())
        connection = sqlite3.connect(copy)
        assert connection.execute("SELECT data FROM frames").fetchall() == [(frame(1).data,)]
        connection.close()


def test_wait_times_out_where_nothing_comes(tmp_path: Path) -> None:
    with opened(new_journal(tmp_path / "j", tell=Told())) as journal:
        begin = time.monotonic()
        assert not journal.wait(0, 0.05)
        assert time.monotonic() - begin < 1
        assert journal.read(0, max_frames=10, max_bytes=1000) == []
        assert journal.oldest() is None


def test_wait_wakes_when_a_frame_becomes_readable(tmp_path: Path) -> None:
    with opened(new_journal(tmp_path / "j", tell=Told())) as journal:
        timer = threading.Timer(0.1, journal.put, [frame(1)])
        timer.start()
        assert journal.wait(0, 5)
        timer.join()


def test_reads_stop_at_both_bounds_but_give_at_least_one(tmp_path: Path) -> None:
    with opened(new_journal(tmp_path / "j", tell=Told())) as journal:
        put_all(journal, [frame(number, 1000) for number in range(20)])
        assert len(journal.read(0, max_frames=3, max_bytes=10**9)) == 3
        assert len(journal.read(0, max_frames=100, max_bytes=5500)) == 5
        assert len(journal.read(0, max_frames=100, max_bytes=1)) == 1


@pytest.mark.parametrize("window_bytes", [1, 5_000, 10**9])
def test_the_window_makes_no_difference_to_what_is_read(tmp_path: Path, window_bytes: int) -> None:
    frames = [frame(number, 1000) for number in range(200)]
    with opened(new_journal(tmp_path / "j", tell=Told(), window_bytes=window_bytes)) as journal:
        for each in frames:
            journal.put(each)
            assert eventually(lambda: not journal._incoming)
        assert eventually(lambda: journal.newest_seq == 200)
        assert [entry.frame for entry in read_all(journal, max_frames=7)] == frames
        journal.trim(100)
        assert [entry.frame for entry in read_all(journal)] == frames[100:]
        oldest = journal.oldest()
        assert oldest is not None
        assert oldest.seq == 101


def test_what_was_not_trimmed_is_there_after_a_restart(tmp_path: Path) -> None:
    frames = [frame(number) for number in range(50)]
    with opened(new_journal(tmp_path / "j", tell=Told())) as journal:
        put_all(journal, frames)
        journal.trim(20)
        assert journal.close(10) == 0
    with opened(new_journal(tmp_path / "j", tell=Told())) as journal:
        assert journal.frames == 30
        assert journal.trimmed_through == 20
        assert [entry.seq for entry in read_all(journal)] == list(range(21, 51))
        put_all(journal, [frame(99)])
        assert journal.newest_seq == 51


def test_places_go_on_after_a_restart_with_an_empty_journal(tmp_path: Path) -> None:
    with opened(new_journal(tmp_path / "j", tell=Told())) as journal:
        put_all(journal, [frame(number) for number in range(5)])
        journal.trim(5)
        assert (journal.frames, journal.size_bytes) == (0, 0)
    with opened(new_journal(tmp_path / "j", tell=Told())) as journal:
        assert journal.newest_seq == 5
        assert not journal.wait(0, 0.01)
        put_all(journal, [frame(6)])
        assert [entry.seq for entry in read_all(journal)] == [6]


def test_closing_stores_what_was_put(tmp_path: Path) -> None:
    frames = [frame(number, 5000) for number in range(400)]
    with opened(new_journal(tmp_path / "j", tell=Told())) as journal:
        for each in frames:
            journal.put(each)
        assert journal.close(10) == 0
    with opened(new_journal(tmp_path / "j", tell=Told())) as journal:
        assert [entry.frame for entry in read_all(journal)] == frames


def test_put_after_closing_is_told_and_nothing_else(tmp_path: Path) -> None:
    told = Told()
    with opened(new_journal(tmp_path / "j", tell=told)) as journal:
        journal.close(10)
        journal.put(frame(1))
        assert [happening.policy for happening in told.of(JournalDropped)] == ["closed"]
        assert not journal.wait(0, 0.01)


def test_frames_from_many_threads_all_arrive(tmp_path: Path) -> None:
    with opened(new_journal(tmp_path / "j", tell=Told())) as journal:

        def put_some(start: int) -> None:
            for number in range(start, start + 200):
                journal.put(frame(number))

        threads = [threading.Thread(target=put_some, args=[start]) for start in range(0, 1000, 200)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert eventually(lambda: journal.newest_seq == 1000)
        assert {entry.frame.received_at_ns for entry in read_all(journal)} == {
            frame(number).received_at_ns for number in range(1000)
        }


def test_the_file_does_not_grow_while_frames_are_trimmed(tmp_path: Path) -> None:
    sizes: list[int] = []
    with opened(new_journal(tmp_path / "j", tell=Told())) as journal:
        for _ in range(12):
            put_all(journal, [frame(number, 60_000) for number in range(200)])
            journal.trim(journal.newest_seq)
            assert eventually(lambda: journal._counted[0] == 0)
            sizes.append(_on_disk(tmp_path))
    # 144 MB went through. Its log is 32 MB before it is begun anew, and what comes in one round more.
    assert max(sizes[6:]) <= max(sizes[:6]) + 4 * 1024 * 1024
    assert max(sizes) < 72 * 1024 * 1024


def test_space_of_a_long_backlog_is_given_back(tmp_path: Path) -> None:
    with opened(new_journal(tmp_path / "j", tell=Told())) as journal:
        for _ in range(10):
            put_all(journal, [frame(number, 15_000) for number in range(200)])
        assert _on_disk(tmp_path) > 25_000_000
        journal.trim(journal.newest_seq)
        assert eventually(lambda: _on_disk(tmp_path) < 5_000_000)


def _on_disk(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


# Bounds


def test_drops_the_oldest_at_the_bound(tmp_path: Path) -> None:
    told = Told()
    with opened(new_journal(tmp_path / "j", tell=told, max_bytes=100_000, window_bytes=5_000)) as journal:
        for number in range(300):
            put_all(journal, [frame(number, 872)])  # 1,000 bytes each, as counted
        entries = read_all(journal)
        assert entries[-1].frame == frame(299, 872)
        assert [entry.seq for entry in entries] == list(range(entries[0].seq, 301))
        assert 95 <= len(entries) <= 100
        assert journal.size_bytes <= 100_000
        journal.close(10)
    dropped = told.of(JournalDropped)
    assert sum(happening.frames for happening in dropped) == 300 - len(entries)
    assert sum(happening.size_bytes for happening in dropped) == 1000 * (300 - len(entries))
    assert {happening.policy for happening in dropped} == {"drop-oldest"}
    assert len(dropped) <= 3, "told at once, then summed up"


def test_refuses_the_newest_at_the_bound(tmp_path: Path) -> None:
    told = Told()
    with opened(new_journal(tmp_path / "j", tell=told, max_bytes=100_000, at_bound="drop-newest")) as journal:
        for number in range(150):
            journal.put(frame(number, 872))
        assert eventually(lambda: journal.newest_seq == 100)
        assert [entry.frame for entry in read_all(journal)] == [frame(number, 872) for number in range(100)]
        journal.trim(50)
        put_all(journal, [frame(number, 872) for number in range(200, 210)])
        assert [entry.frame for entry in read_all(journal, 100)] == [frame(number, 872) for number in range(200, 210)]
        journal.close(10)
    assert sum(happening.frames for happening in told.of(JournalDropped)) == 50


def test_drops_what_is_too_old(tmp_path: Path) -> None:
    told, clock = Told(), Clock()
    with opened(new_journal(tmp_path / "j", tell=told, max_age_s=60, clock=clock)) as journal:
        put_all(journal, [frame(number) for number in range(10)])
        clock.advance(50)
        put_all(journal, [frame(number) for number in range(10, 20)])
        clock.advance(20)
        assert eventually(lambda: bool(told.of(JournalDropped)))
        assert [entry.seq for entry in read_all(journal)] == list(range(11, 21))
    assert told.of(JournalDropped) == [JournalDropped(10, 10 * 328, "drop-oldest")]


def test_keeps_what_is_too_old_and_refuses_the_new_where_told_so(tmp_path: Path) -> None:
    told, clock = Told(), Clock()
    journal = new_journal(tmp_path / "j", tell=told, max_age_s=60, clock=clock, at_bound="drop-newest")
    with opened(journal):
        put_all(journal, [frame(1)])
        clock.advance(70)
        journal.put(frame(2))
        assert eventually(lambda: bool(told.of(JournalDropped)))
        journal.trim(1)
        put_all(journal, [frame(3)])
        assert [entry.frame for entry in read_all(journal)] == [frame(3)]


def test_trimmed_frames_are_never_told_as_dropped(tmp_path: Path) -> None:
    told = Told()
    with opened(new_journal(tmp_path / "j", tell=told, max_bytes=50_000)) as journal:
        for number in range(500):
            put_all(journal, [frame(number, 872)])
            journal.trim(journal.newest_seq)
    assert told.of(JournalDropped) == []


def test_the_time_of_dropped_frames_stands_in_the_witness(tmp_path: Path) -> None:
    with opened(new_journal(tmp_path / "j", tell=Told(), max_bytes=10_000, at_bound="drop-newest")) as journal:
        for number in range(20):
            journal.put(frame(number, 872))
        assert eventually(lambda: journal.newest_seq == 10)
        first_ms, last_ms = (frame(number).received_at_ns // 1_000_000 for number in (10, 19))
        journal.put(frame(19, 872))
        assert eventually(lambda: len(journal.witness(first_ms, last_ms + 1)) == 1)
        (span,) = journal.witness(first_ms, last_ms + 1)
        assert span.state == "journal bound"


# Witness


def test_the_witness_lasts_over_a_restart(tmp_path: Path) -> None:
    now_ms = time.time_ns() // 1_000_000
    with opened(new_journal(tmp_path / "j", tell=Told())) as journal:
        journal.note("advancing", now_ms - 60_000)
        for at_ms in range(now_ms - 59_000, now_ms - 49_000, 1000):
            journal.note("advancing", at_ms)
        journal.note("silent", now_ms - 49_500)
        journal.note("silent", now_ms - 49_000)
    with opened(new_journal(tmp_path / "j", tell=Told())) as journal:
        journal.note("advancing", now_ms - 40_000)
        states = [(span.to_ms - now_ms, span.state) for span in journal.witness(now_ms - 60_000, now_ms - 39_000)]
        assert states == [
            (-49_500, "advancing"),
            (-49_000, "silent"),
            (-40_000, "not running"),
            (-39_000, "advancing"),
        ]


def test_the_witness_forgets_after_a_week(tmp_path: Path) -> None:
    clock = Clock()
    now_ms = clock() // 1_000_000
    with opened(new_journal(tmp_path / "j", tell=Told(), clock=clock)) as journal:
        journal.note("advancing", now_ms)
        journal.note("silent", now_ms + 1000)
        clock.advance(8 * 24 * 3600)
        assert eventually(lambda: journal.witness(now_ms, now_ms + 1000)[0].state == "unknown")


# Whose file


def test_a_second_process_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with opened(new_journal(tmp_path / "j", tell=Told())):
        second = new_journal(tmp_path / "j", tell=Told())
        with pytest.raises(ConfigurationError, match=rf"pid {os.getpid()}.*own journal\.path"):
            second.open()
    with opened(new_journal(tmp_path / "j", tell=Told())):
        pass


def test_a_journal_of_a_later_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    with opened(new_journal(tmp_path / "j", tell=Told())) as journal:
        put_all(journal, [frame(1)])
    connection = sqlite3.connect(tmp_path / "j")
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(ConfigurationError, match="has format 99"):
        new_journal(tmp_path / "j", tell=Told()).open()
    connection = sqlite3.connect(tmp_path / "j")
    assert connection.execute("SELECT count(*) FROM frames").fetchone() == (1,)
    connection.execute("PRAGMA user_version=1")
    connection.close()
    with opened(new_journal(tmp_path / "j", tell=Told())) as journal:
        assert journal.frames == 1


def test_the_database_of_another_program_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "j")
    connection.execute("CREATE TABLE t (x)")
    connection.close()
    with pytest.raises(ConfigurationError, match="another program"):
        new_journal(tmp_path / "j", tell=Told()).open()


def test_a_missing_folder_is_made(tmp_path: Path) -> None:
    with opened(new_journal(tmp_path / "a" / "b" / "j", tell=Told())) as journal:
        put_all(journal, [frame(1)])


def test_put_is_quick_while_the_file_is_slow(tmp_path: Path) -> None:
    told: list[Happening] = []
    slow = threading.Event()

    class SlowConnection(sqlite3.Connection):
        def executemany(self, *arguments):  # type: ignore[no-untyped-def]
            if slow.is_set():
                time.sleep(2)
            return super().executemany(*arguments)

    def connect(path: Path) -> sqlite3.Connection:
        return sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=SlowConnection)

    with opened(new_journal(tmp_path / "j", tell=told.append, connect=connect)) as journal:
        slow.set()
        begin = time.monotonic()
        for number in range(1000):
            journal.put(frame(number))
        assert time.monotonic() - begin < 1.5
        assert eventually(lambda: journal.newest_seq == 1000)
    assert told == []


def test_settled_means_that_all_that_was_put_is_readable(tmp_path: Path) -> None:
    with opened(new_journal(tmp_path / "j", tell=Told())) as journal:
        for number in range(200):
            journal.put(frame(number))
        assert journal.settle(5)
        assert journal.newest_seq == 200
