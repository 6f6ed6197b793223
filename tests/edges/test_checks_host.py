"""What ``check`` says of this machine."""

from __future__ import annotations

import fcntl
import os
import socket
import sqlite3
from pathlib import Path

import pytest

from connector.core.check_outcomes import Grade
from connector.edges import checks_host
from connector.edges.checks_host import file_system_of, lock_holder, look_at_journal, look_at_port

MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:26 / /run rw,nosuid - tmpfs tmpfs rw
41 22 0:40 / /data rw,relatime - overlay overlay rw
42 41 0:41 / /data/with\\040space rw,relatime - nfs4 server:/export rw,vers=4.2
43 41 0:42 / /data/over rw - ext4 /dev/vdb rw
44 43 0:43 / /data/over rw - cifs //server/share rw
"""
MIB = 1024 * 1024


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    file = tmp_path / "mountinfo"
    file.write_text(MOUNTS)
    return file


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/srv/journal", "ext4"),
        ("/run/user", "tmpfs"),
        ("/runner", "ext4"),
        ("/data", "overlay"),
        ("/data/with space/deep", "nfs4"),
        ("/data/over", "cifs"),
    ],
)
def test_file_systems(mounts: Path, folder: str, kind: str) -> None:
    assert file_system_of(Path(folder), mounts) == kind


def test_a_system_that_does_not_say(tmp_path: Path) -> None:
    assert file_system_of(tmp_path, tmp_path / "none") is None
    assert lock_holder(tmp_path / "journal", tmp_path / "none") is None


@pytest.mark.parametrize(
    ("kind", "grade", "words"),
    [
        ("nfs4", Grade.PROBLEM, "on a network file system (nfs4)"),
        ("tmpfs", Grade.WARNING, "in memory"),
        ("overlay", Grade.WARNING, "gone with the container"),
    ],
)
def test_unfit_file_systems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, grade: Grade, words: str
) -> None:
    monkeypatch.setattr(checks_host, "file_system_of", lambda folder: kind)
    (outcome,) = look_at_journal(tmp_path / "journal", MIB)
    assert outcome.grade is grade
    assert words in outcome.found
    assert outcome.remedy


def test_a_folder_that_is_not_there_yet_is_not_made(tmp_path: Path) -> None:
    (outcome,) = look_at_journal(tmp_path / "one" / "two" / "journal", MIB)
    assert outcome.grade is Grade.OK
    assert list(tmp_path.iterdir()) == []


def test_more_than_the_disk_has(tmp_path: Path) -> None:
    (outcome,) = look_at_journal(tmp_path / "journal", 2**60)
    assert outcome.grade is Grade.WARNING
    assert "journal.max_bytes is" in outcome.found


def test_files_of_others(tmp_path: Path) -> None:
    text, folder, database = tmp_path / "text", tmp_path / "folder", tmp_path / "database"
    text.write_text("notes")
    folder.mkdir()
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA application_id = 42")
    connection.execute("CREATE TABLE t (x)")
    connection.commit()
    connection.close()
    found = [next(iter(look_at_journal(path, MIB))) for path in (text, folder, database)]
    assert [each.grade for each in found] == [Grade.PROBLEM] * 3
    assert "database of another program" in found[2].found
    assert text.read_text() == "notes"


def test_a_journal_in_use(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    assert lock_holder(path) is None
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT)
    try:
        assert lock_holder(path) is None
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert lock_holder(path) == os.getpid()
        (outcome,) = look_at_journal(path, MIB)
        assert outcome.grade is Grade.NOTE
    finally:
        os.close(lock)


def test_ports() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (used,) = look_at_port("127.0.0.1", port, is_running=False)
        (ours,) = look_at_port("127.0.0.1", port, is_running=True)
    (free,) = look_at_port("127.0.0.1", port, is_running=False)
    (elsewhere,) = look_at_port("192.0.2.1", 0, is_running=False)
    assert [each.grade for each in (used, ours, free)] == [Grade.PROBLEM, Grade.NOTE, Grade.OK]
    assert elsewhere.grade is Grade.PROBLEM
    assert "http.host" in elsewhere.remedy


def test_a_path_that_can_be_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name, words in (("pipe", "no file, but a device"), ("folder", "is a folder"), ("a" * 300, "name too long")):
        found = [each for each in look_at_journal(tmp_path / name, MIB) if each.grade is Grade.PROBLEM]
        assert words in found[0].found
        assert "journal.path" in found[0].remedy


def test_a_file_that_is_no_journal_and_one_that_was(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not to be lost")
    (outcome,) = look_at_journal(path, MIB)
    assert (outcome.grade, outcome.found) == (Grade.PROBLEM, "is no journal")
    (tmp_path / "notes.txt.lock").touch()
    (outcome,) = look_at_journal(path, MIB)
    assert outcome.grade is Grade.WARNING
    assert "is damaged" in outcome.found


def test_an_address_that_others_can_reach_is_told() -> None:
    (inside,) = look_at_port("127.0.0.1", 0, is_running=False)
    (outside,) = look_at_port("0.0.0.0", 0, is_running=False)  # a name that is looked at, and listened on for no time
    assert (inside.grade, outside.grade) == (Grade.OK, Grade.NOTE)
    assert "no password" in outside.found
