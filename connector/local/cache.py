"""The user's cache folder, shared by any number of processes."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_folder() -> Path:
    """Where what is made or fetched once is kept: ``$XDG_CACHE_HOME`` or ``~/.cache``, and our name below it."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "binance-kafka-source"


@contextmanager
def only_one(lock_path: Path) -> Iterator[None]:
    """Wait for a lock between processes and threads, and hold it; it ends with this process at the latest."""
    lock_path.parent.mkdir(parents=True, exist_ok=True)
    with lock_path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
