"""The servers' jars: named in a list, fetched once, verified always.

A list (``kafka.jars.txt``) has one line a file: Maven coordinates, SHA-256,
size in bytes. The files are kept in the user's cache folder. Every file is
hashed each time it is asked for (some 0.1 s for everything), so a damaged or
half-written one is never run but fetched again. Any number of processes may
ask at the same time: one fetches, the others wait for it.
"""

from __future__ import annotations

import hashlib
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
from connector.local.cache import cache_folder, only_one, sha256_of

PARALLEL_FETCHES = 8
ATTEMPTS = 3
PAUSE_S = 1.0
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 30.0
MANIFEST = "verified-files.txt"
_CHUNK_BYTES = 1 << 18


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


def read_list(name: str) -> tuple[Jar, ...]:
    """The list ``connector/local/<name>.jars.txt``."""
    text = files("connector.local").joinpath(f"{name}.jars.txt").read_text("utf-8")
    rows = (line.split() for line in text.splitlines() if line and not line.startswith("#"))
    return tuple(Jar(coordinates, sha256, int(size)) for coordinates, sha256, size in rows)


def jars(name: str, cache: Path | None = None) -> tuple[Path, ...]:
    """All files of a list, present and verified.

    Raises RetryableError where one cannot be fetched, and ConfigurationError
    where what comes is not what the list names.
    """
    cache = cache or cache_folder()
    folder, wanted = cache / "jars", read_list(name)
    if _damaged(wanted, folder):
        with only_one(cache / f"{name}.lock"):
            # Looked at again: another process may have fetched them while we waited for the lock.
            _fetch(name, _damaged(wanted, folder), folder)
    return tuple(folder / jar.file_name for jar in wanted)


def unpacked(name: str, cache: Path | None = None) -> Path:
    """The folder with the content of a list's one archive, every file verified.

    The archive itself is not kept. What was in it is remembered with checksums;
    a folder that no longer agrees with them is thrown away and fetched anew.
    Raises as :func:`jars` does.
    """
    cache = cache or cache_folder()
    (archive,) = read_list(name)
    target = cache / f"{name}-{archive.sha256[:12]}"
    if not _is_intact(target):
        with only_one(cache / f"{name}.lock"):
            if not _is_intact(target):
                _unpack(name, archive, target)
    return target


def _damaged(wanted: Sequence[Jar], folder: Path) -> list[Jar]:
    def is_good(jar: Jar) -> bool:
        try:
            return sha256_of(folder / jar.file_name) == jar.sha256
        except FileNotFoundError:
            return False

    with ThreadPoolExecutor(PARALLEL_FETCHES) as pool:
        return [jar for jar, good in zip(wanted, pool.map(is_good, wanted), strict=True) if not good]


def _is_intact(target: Path) -> bool:
    try:
        rows = [line.split(" ", 1) for line in (target / MANIFEST).read_text("utf-8").splitlines()]
        with ThreadPoolExecutor(PARALLEL_FETCHES) as pool:
            found = pool.map(sha256_of, [target / path for _, path in rows])
            return bool(rows) and all(row[0] == sha256 for row, sha256 in zip(rows, found, strict=True))
    except (OSError, ValueError):  # a file is missing, or the manifest is missing or damaged itself
        return False


def _unpack(name: str, archive: Jar, target: Path) -> None:
    work = target.with_name(f".{target.name}.part")
    shutil.rmtree(work, ignore_errors=True)
    try:
        _fetch(name, [archive], work)
        content = work / "content"
        with tarfile.open(work / archive.file_name) as tar:
            tar.extractall(content, filter="data")
        paths = sorted(path for path in content.rglob("*") if path.is_file())
        lines = [f"{sha256_of(path)} {path.relative_to(content).as_posix()}\n" for path in paths]
        (content / MANIFEST).write_text("".join(lines), "utf-8")
        if target.exists():
            target.rename(work / "damaged")
        content.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _fetch(name: str, wanted: Sequence[Jar], folder: Path) -> None:
    if not wanted:
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (
        _progress(name, len(wanted), sum(jar.size_bytes for jar in wanted)) as advance,
        ThreadPoolExecutor(PARALLEL_FETCHES) as pool,
    ):
        fetches = [pool.submit(_fetch_one, jar, folder, advance) for jar in wanted]
        try:
            for fetch in fetches:
                fetch.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _fetch_one(jar: Jar, folder: Path, advance: Callable[[int], None]) -> None:
    part = folder / f".{jar.file_name}.part"
    for attempt in range(1, ATTEMPTS + 1):
        try:
            sha256 = _download(jar, part, advance)
            break
        except OSError as error:
            if attempt == ATTEMPTS:
                raise RetryableError(f"cannot fetch {jar.coordinates}: {error}") from error
            time.sleep(PAUSE_S * attempt)
    if sha256 != jar.sha256:
        part.unlink()
        raise ConfigurationError(f"{jar.coordinates} came with SHA-256 {sha256}, the list says {jar.sha256}")
    part.replace(folder / jar.file_name)


def _download(jar: Jar, path: Path, advance: Callable[[int], None]) -> str:
    """Fetch into ``path``; the SHA-256 of what came. Raises OSError, of which the errors of `requests` are a kind."""
    try:
        from maven_artifact import Artifact, Downloader
    except ImportError as error:
        raise ConfigurationError("the local stack needs the extra `local`: binance-kafka-source[local]") from error
    # The parts of its Downloader, since the whole prints to standard output and tells no progress.
    downloader = Downloader()
    address = downloader.resolver.uri_for_artifact(Artifact.parse(jar.coordinates))
    response = downloader.requestor.request(address, None, stream=True, timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S))
    digest = hashlib.sha256()
    with response, path.open("wb") as file:
        for chunk in response.iter_content(_CHUNK_BYTES):
            file.write(chunk)
            digest.update(chunk)
            advance(len(chunk))
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
