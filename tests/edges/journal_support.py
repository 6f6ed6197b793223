"""What the tests of the journal share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from connector.core.happenings import Happening
from connector.core.values import Frame, Origin
from connector.edges.journal import AtBound, Entry, Journal
from connector.edges.journal_file import Connect, connect

H = TypeVar("H", bound=Happening)


class Told:
    """Collects happenings from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._happenings: list[Happening] = []

    def __call__(self, happening: Happening) -> None:
        with self._lock:
            self._happenings.append(happening)

    def of(self, kind: type[H]) -> list[H]:
        with self._lock:
            return [happening for happening in self._happenings if isinstance(happening, kind)]


class Clock:
    """Nanoseconds that only a test moves."""

    def __init__(self) -> None:
        self.now_ns = 1_790_000_000_000_000_000

    def __call__(self) -> int:
        return self.now_ns

    def advance(self, seconds: float) -> None:
        self.now_ns += int(seconds * 1e9)


def frame(number: int, size_bytes: int = 200) -> Frame:
    text = b"%010d" % number
    return Frame(
        data=(text * (size_bytes // 10 + 1))[:size_bytes],
        received_at_ns=1_700_000_000_000_000_000 + number * 1_000_000_000,
        connection=f"ws-{number % 2}",
        stream="!assetIndex@arr",
        origin=Origin.REST if number % 7 == 0 else Origin.WEBSOCKET,
    )


def new_journal(
    path: Path,
    *,
    tell: Callable[[Happening], None],
    max_bytes: int = 64 * 1024 * 1024,
    max_age_s: float = 3600.0,
    at_bound: AtBound = "drop-oldest",
    clock: Callable[[], int] = time.time_ns,
    window_bytes: int = 8 * 1024 * 1024,
    connect: Connect = connect,
) -> Journal:
    return Journal(
        path,
        max_bytes=max_bytes,
        max_age_s=max_age_s,
        at_bound=at_bound,
        tell=tell,
        clock=clock,
        window_bytes=window_bytes,
        connect=connect,
    )


@contextmanager
def opened(journal: Journal) -> Iterator[Journal]:
    journal.open()
    try:
        yield journal
    finally:
        journal.close(10)


def put_all(journal: Journal, frames: list[Frame]) -> None:
    """Puts them and waits until the last one can be read."""
    before = journal.newest_seq
    for each in frames:
        journal.put(each)
    assert eventually(lambda: journal.newest_seq >= before + len(frames))


def read_all(journal: Journal, after_seq: int = 0, *, max_frames: int = 100, max_bytes: int = 1_000_000) -> list[Entry]:
    entries: list[Entry] = []
    while journal.wait(after_seq, 0.05):
        part = journal.read(after_seq, max_frames=max_frames, max_bytes=max_bytes)
        assert part, "what can be waited for can be read"
        entries += part
        after_seq = part[-1].seq
    return entries


def eventually(condition: Callable[[], bool], timeout_s: float = 15.0) -> bool:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.001)
    return condition()
