"""Whatever is run was verified; what is missing or damaged is fetched, once."""

from __future__ import annotations

import hashlib
import io
import shutil
import tarfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from connector.core.errors import ConfigurationError, RetryableError
from connector.local import jars as module
from connector.local.cache import cache_folder
from connector.local.jars import Jar, jars, read_list, unpacked


class Repository:
    """Stands for the far side: what it has, and what was asked of it."""

    def __init__(self, contents: dict[str, bytes]) -> None:
        self.contents = contents
        self.asked: list[str] = []
        self.failures_before_success = 0
        self._lock = threading.Lock()

    def listed(self) -> tuple[Jar, ...]:
        return tuple(Jar(name, hashlib.sha256(data).hexdigest(), len(data)) for name, data in self.contents.items())

    def download(self, jar: Jar, path: Path, advance: Callable[[int], None]) -> str:
        with self._lock:
            self.asked.append(jar.coordinates)
            self.failures_before_success -= 1
            if self.failures_before_success >= 0:
                raise ConnectionResetError("reset by peer")
        data = self.contents[jar.coordinates]
        path.write_bytes(data)
        advance(len(data))
        return hashlib.sha256(data).hexdigest()


def archive(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(f"lib/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch) -> Repository:
    repository = Repository({"org.one:one:jar:1.0": b"one" * 100, "org.two:two:jar:all:2.0": b"two" * 100})
    listed = repository.listed()
    monkeypatch.setattr(module, "_download", repository.download)
    monkeypatch.setattr(module, "read_list", lambda _: listed)
    monkeypatch.setattr(module, "PAUSE_S", 0)
    return repository


def serve_archive(repository: Repository, monkeypatch: pytest.MonkeyPatch, **files: bytes) -> None:
    repository.contents = {"org.app:app:tar.gz:all:1.0": archive(**files)}
    listed = repository.listed()
    monkeypatch.setattr(module, "read_list", lambda _: listed)


@pytest.mark.parametrize("name", ["kafka", "registry"])
def test_the_lists_name_each_file_once_with_checksum_and_size(name: str) -> None:
    listed = read_list(name)
    assert len({jar.file_name for jar in listed}) == len(listed) > 0
    assert all(len(bytes.fromhex(jar.sha256)) == 32 and jar.size_bytes > 0 for jar in listed)


def test_what_is_missing_is_fetched_and_what_is_there_is_not(repository: Repository, tmp_path: Path) -> None:
    first = jars("any", tmp_path)
    assert [path.name for path in first] == ["org.one-one-1.0.jar", "org.two-two-all-2.0.jar"]
    assert [path.read_bytes() for path in first] == list(repository.contents.values())
    assert jars("any", tmp_path) == first
    assert len(repository.asked) == 2


@pytest.mark.parametrize("damage", [b"", b"one", b"0ne" + b"one" * 99], ids=["emptied", "cut", "same size"])
def test_a_damaged_file_alone_is_fetched_again(repository: Repository, tmp_path: Path, damage: bytes) -> None:
    one, _ = jars("any", tmp_path)
    one.write_bytes(damage)
    jars("any", tmp_path)
    assert one.read_bytes() == b"one" * 100
    assert sorted(repository.asked) == ["org.one:one:jar:1.0", "org.one:one:jar:1.0", "org.two:two:jar:all:2.0"]


def test_a_fetch_is_tried_again(repository: Repository, tmp_path: Path) -> None:
    repository.failures_before_success = module.ATTEMPTS - 1
    jars("any", tmp_path)


def test_a_repository_that_cannot_be_reached_is_told(repository: Repository, tmp_path: Path) -> None:
    repository.failures_before_success = 100
    with pytest.raises(RetryableError, match=r"cannot fetch org\.(one|two):.*: reset by peer"):
        jars("any", tmp_path)


def test_content_other_than_listed_is_refused_and_not_kept(repository: Repository, tmp_path: Path) -> None:
    repository.contents["org.one:one:jar:1.0"] = b"something else"
    with pytest.raises(ConfigurationError, match=r"org\.one:one:jar:1\.0 came with SHA-256"):
        jars("any", tmp_path)
    assert not (tmp_path / "jars" / "org.one-one-1.0.jar").exists()


def test_of_many_who_ask_at_once_one_fetches(repository: Repository, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: jars("any", tmp_path), range(8)))
    assert len(set(answers)) == 1
    assert len(repository.asked) == 2


def test_an_archive_is_unpacked_once_and_not_kept(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_archive(repository, monkeypatch, a=b"1", b=b"2")
    folder = unpacked("app", tmp_path)
    assert (folder / "lib" / "a").read_bytes() == b"1"
    assert unpacked("app", tmp_path) == folder
    assert len(repository.asked) == 1
    assert {path.name for path in tmp_path.iterdir()} == {folder.name, "app.lock"}


@pytest.mark.parametrize("damaged", ["lib/a", module.MANIFEST])
@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"x"), Path.unlink], ids=["changed", "removed"])
def test_a_damaged_folder_is_fetched_again(
    repository: Repository,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    damaged: str,
    damage: Callable[[Path], object],
) -> None:
    serve_archive(repository, monkeypatch, a=b"1", b=b"2")
    folder = unpacked("app", tmp_path)
    damage(folder / damaged)
    assert unpacked("app", tmp_path) == folder
    assert (folder / "lib" / "a").read_bytes() == b"1"
    assert len(repository.asked) == 2


def test_a_damaged_jar_of_the_broker_is_fetched_again_from_the_real_repository(tmp_path: Path) -> None:
    good = jars("kafka")
    shutil.copytree(cache_folder() / "jars", tmp_path / "jars")
    smallest = min((tmp_path / "jars" / path.name for path in good), key=lambda path: path.stat().st_size)
    content = smallest.read_bytes()
    smallest.write_bytes(b"\0" + content[1:])
    assert smallest in jars("kafka", tmp_path)
    assert smallest.read_bytes() == content
