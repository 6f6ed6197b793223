"""The servers' jars: named in a list, fetched once, verified always.

A list (``kafka.jars.txt``) has one line a file: Maven coordinates, SHA-256,
size in bytes. The files are kept in the user's cache folder. Every file is
hashed each time it is asked for (some 0.1 s for everything), so a damaged or
half-written one is never run but fetched again. Any number of processes may
ask at the same time: one fetches, the others wait for it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal as human_size
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from connector.core.errors import ConfigurationError, RetryableError

PARALLEL_FETCHES = 8
ATTEMPTS = 3
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 30.0
_CHUNK_BYTES = 1 << 20
_MANIFEST = "verified-files.txt"


@dataclass(frozen=True, slots=True)
class Jar:
    """One file of a list."""

    coordinates: str
    """``group:artifact:extension[:classifier]:version``"""
    sha256: str
    size_bytes: int

    @property
    def file_name(self) -> str:
        """Unique within the cache: all the coordinates are in it."""
        group, artifact, extension, *classifier, version = self.coordinates.split(":")
        return "-".join([group, artifact, *classifier, version]) + f".{extension}"


def cache_folder() -> Path:
    """Where fetched files are kept: ``$XDG_CACHE_HOME`` or ``~/.cache``, and our name below it."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "binance-kafka-source"


def read_list(name: str) -> tuple[Jar, ...]:
    """The list ``connector/local/<name>.jars.txt``."""
    text = files("connector.local").joinpath(f"{name}.jars.txt").read_text("utf-8")
    rows = (line.split() for line in text.splitlines() if line and not line.startswith("#"))
    return tuple(Jar(coordinates, sha256, int(size)) for coordinates, sha256, size in rows)


def jars(name: str, folder: Path | None = None) -> tuple[Path, ...]:
    """All files of a list, present and verified.

    Raises :class:`RetryableError` where one cannot be fetched, and
    :class:`ConfigurationError` where what comes is not what the list names.
    """
    folder = (folder or cache_folder()) / "jars"
    wanted = read_list(name)
    with ThreadPoolExecutor(PARALLEL_FETCHES) as pool:
        if _damaged(wanted, folder, pool):
            with _only_one(folder / f".{name}.lock"):
                # Looked at again: another process may have fetched them while we waited for the lock.
                _fetch(_damaged(wanted, folder, pool), folder, pool, name)
    return tuple(folder / jar.file_name for jar in wanted)


def unpacked(name: str, folder: Path | None = None) -> Path:
    """The folder with the content of a list's one archive, every file verified.

    The archive itself is not kept. What was in it is remembered with checksums;
    a folder that no longer agrees with them is thrown away and fetched anew.
    """
    folder = folder or cache_folder()
    (archive,) = read_list(name)
    target = folder / f"{name}-{archive.sha256[:12]}"
    if not _is_intact(target):
        with _only_one(folder / f".{name}.lock"):
            if not _is_intact(target):
                _unpack(archive, name, target)
    return target


def _unpack(archive: Jar, name: str, target: Path) -> None:
    work = target.with_name(f".{target.name}.part")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        with ThreadPoolExecutor(1) as pool:
            _fetch([archive], work, pool, name)
        content = work / "content"
        with tarfile.open(work / archive.file_name) as tar:
            tar.extractall(content, filter="data")
        lines = [
            f"{_sha256(path)} {path.relative_to(content).as_posix()}\n"
            for path in sorted(content.rglob("*"))
            if path.is_file()
        ]
        (content / _MANIFEST).write_text("".join(lines), "utf-8")
        if target.exists():
            target.rename(work / "damaged")
        content.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _is_intact(target: Path) -> bool:
    try:
        rows = [line.split(" ", 1) for line in (target / _MANIFEST).read_text("utf-8").splitlines()]
        with ThreadPoolExecutor(PARALLEL_FETCHES) as pool:
            found = pool.map(_sha256, [target / path for _, path in rows])
            return bool(rows) and all(row[0] == sha256 for row, sha256 in zip(rows, found, strict=True))
    except (OSError, ValueError):  # a file or the manifest is missing, or is no manifest
        return False


def _damaged(wanted: Sequence[Jar], folder: Path, pool: ThreadPoolExecutor) -> list[Jar]:
    good = pool.map(lambda jar: _is_good(jar, folder / jar.file_name), wanted)
    return [jar for jar, is_good in zip(wanted, good, strict=True) if not is_good]


def _is_good(jar: Jar, path: Path) -> bool:
    try:
        return path.stat().st_size == jar.size_bytes and _sha256(path) == jar.sha256
    except FileNotFoundError:
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _only_one(lock_path: Path) -> Iterator[None]:
    """Hold a lock that ends with this process at the latest."""
    lock_path.parent.mkdir(parents=True, exist_ok=True)
    with lock_path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(wanted: Sequence[Jar], folder: Path, pool: ThreadPoolExecutor, name: str) -> None:
    if not wanted:
        return
    folder.mkdir(parents=True, exist_ok=True)
    with _progress(name, len(wanted), sum(jar.size_bytes for jar in wanted)) as advance:
        for _ in pool.map(lambda jar: _fetch_one(jar, folder, advance), wanted):
            pass


def _fetch_one(jar: Jar, folder: Path, advance: Callable[[int], None]) -> None:
    part = folder / f".{jar.file_name}.part"
    for attempt in range(1, ATTEMPTS + 1):
        try:
            sha256 = _download(jar, part, advance)
            break
        # `requests`' own errors are OSErrors too.
        except OSError as error:
            if attempt == ATTEMPTS:
                raise RetryableError(f"cannot fetch {jar.coordinates}: {error}") from error
            time.sleep(attempt)
    if sha256 != jar.sha256:
        part.unlink()
        raise ConfigurationError(f"{jar.coordinates} came with SHA-256 {sha256}, the list says {jar.sha256}")
    part.replace(folder / jar.file_name)


def _download(jar: Jar, path: Path, advance: Callable[[int], None]) -> str:
    """Fetch into ``path``; the SHA-256 of what came. Raises OSError."""
    try:
        from maven_artifact import Artifact, Downloader
        from maven_artifact.requestor import RequestException
    except ImportError as error:
        raise ConfigurationError("the local stack needs the extra `local`: binance-kafka-source[local]") from error
    # The parts of its Downloader, since the whole prints to standard output and shows no progress.
    downloader = Downloader()
    address = downloader.resolver.uri_for_artifact(Artifact.parse(jar.coordinates))
    digest = hashlib.sha256()
    try:
        response = downloader.requestor.request(address, None, stream=True, timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S))
        with response, path.open("wb") as file:
            for chunk in response.iter_content(_CHUNK_BYTES):
                file.write(chunk)
                digest.update(chunk)
                advance(len(chunk))
    except RequestException as error:
        raise OSError(str(error)) from error
    return digest.hexdigest()


@contextmanager
def _progress(name: str, count: int, size_bytes: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, else one line; both on standard error."""
    console = Console(stderr=True)
    if not console.is_terminal:
        console.print(f"fetching {name}: {count} files, {human_size(size_bytes)}", highlight=False)
        yield lambda _: None
        return
    columns = (TextColumn("fetching {task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(name, total=size_bytes)
        yield lambda count_bytes: progress.advance(task, count_bytes)
