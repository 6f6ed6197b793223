"""The newest accepted frames, in memory. Not thread-safe: the journal holds its lock around it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice

from connector.edges.journal_file import Entry, charged_bytes


class Window:
    """A run of frames without a hole, bounded by bytes; holds at least the newest one.

    Every frame above ``floor`` is here.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self._entries: deque[Entry] = deque()
        self.floor = 0

    @property
    def last_seq(self) -> int:
        """0 where the window is empty."""
        return self._entries[-1].seq if self._entries else 0

    def add(self, entries: Sequence[Entry]) -> list[Entry]:
        """Takes them in; returns those that had to go."""
        self._entries.extend(entries)
        self._bytes += sum(charged_bytes(entry.frame) for entry in entries)
        gone: list[Entry] = []
        while self._bytes > self._limit_bytes and len(self._entries) > 1:
            gone.append(self._forget_first())
        return gone

    def read(self, after_seq: int, *, max_frames: int, max_bytes: int) -> list[Entry]:
        """The next ones in order: at least one where there is one, up to both bounds."""
        entries: list[Entry] = []
        if not self._entries:
            return entries
        total_bytes = 0
        first = max(0, after_seq + 1 - self._entries[0].seq)
        for entry in islice(self._entries, first, first + max_frames):
            total_bytes += len(entry.frame.data)
            if entries and total_bytes > max_bytes:
                break
            entries.append(entry)
        return entries

    def above(self, seq: int) -> list[Entry]:
        if self.last_seq <= seq:
            return []
        return [entry for entry in self._entries if entry.seq > seq]

    def trim(self, through_seq: int) -> None:
        while self._entries and self._entries[0].seq <= through_seq:
            self._forget_first()

    def restart(self, floor: int) -> None:
        """Forgets everything; the next frame's place is above ``floor``."""
        self._entries.clear()
        self._bytes = 0
        self.floor = floor

    def _forget_first(self) -> Entry:
        entry = self._entries.popleft()
        self._bytes -= charged_bytes(entry.frame)
        self.floor = entry.seq
        return entry
