"""What goes to the dead-letter topic: each reject once, as received, with its frame."""

from __future__ import annotations

from typing import NamedTuple

from connector.core.values import Frame, Reject

REPEAT_WITHIN_NS = 60 * 10**9
"""The same refused bytes within this time are counted and not written again: a sibling socket brought them too."""
MOST_REMEMBERED = 4096


class DeadLetter(NamedTuple):
    reject: Reject
    frame: Frame


class RecentRejects:
    """Remembers what was refused lately."""

    def __init__(self) -> None:
        self._at_ns: dict[int, int] = {}

    def forget(self) -> None:
        self._at_ns.clear()

    def is_repeated(self, reject: Reject, received_at_ns: int) -> bool:
        """Whether the same bytes were refused for the same reason within a minute; else they are remembered."""
        key = hash((reject.reason, reject.data))
        last_ns = self._at_ns.get(key)
        if last_ns is not None and received_at_ns - last_ns < REPEAT_WITHIN_NS:
            return True
        if len(self._at_ns) >= MOST_REMEMBERED:
            self._make_room(received_at_ns)
        self._at_ns[key] = received_at_ns
        return False

    def _make_room(self, now_ns: int) -> None:
        kept = {key: at for key, at in self._at_ns.items() if now_ns - at < REPEAT_WITHIN_NS}
        self._at_ns = kept if len(kept) < MOST_REMEMBERED else {}
