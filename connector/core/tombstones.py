"""When a symbol that has gone gets a tombstone in the compacted topic of the newest records.

Nothing of it outlives the process: what the compacted topic holds is read
from it by each new writer, while it writes. So a symbol that went before a
restart, or before another replica took over, gets its tombstone all the
same, however far behind the history's window its last tick is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from connector.core.admit import History

LOOKED_EVERY_MS = 10_000
"""In event time. It is a matter of minutes at least, so not every tick need pay for it."""


@dataclass(frozen=True, slots=True)
class Held:
    """What the compacted topic was read to hold, by symbol: the timestamp of its newest record or tombstone."""

    records: Mapping[str, int]
    tombstones: Mapping[str, int]


class Tombstone(NamedTuple):
    """``event_time_ms``: of the frame that showed it, and of the Kafka record; ``newest_ms``: of the last tick.

    ``behind``: how many records of its batch come before it.
    """

    symbol: str
    event_time_ms: int
    newest_ms: int
    behind: int


class Graveyard:
    """Knows which symbols are due. ``after_ms``: how long one must have gone; ``None``: no tombstones at all."""

    def __init__(self, history: History, after_ms: int | None) -> None:
        self._history = history
        self._after_ms = after_ms
        self._held: dict[str, int] | None = None
        self._buried: dict[str, int] = {}
        self._looked_at_ms = -LOOKED_EVERY_MS

    def forget(self) -> None:
        """What was known may be wrong now: nothing is due until :meth:`loaded` is called."""
        self._held = None

    def loaded(self, held: Held) -> None:
        """Take up what the compacted topic holds."""
        known = self._history.symbols
        self._held = {symbol: at_ms for symbol, at_ms in held.records.items() if symbol not in known}
        self._buried = {
            symbol: known[symbol].newest
            for symbol, at_ms in held.tombstones.items()
            if symbol in known and known[symbol].newest <= at_ms
        }
        self._looked_at_ms = -LOOKED_EVERY_MS

    def due(self, now_ms: int) -> Iterator[tuple[str, int]]:
        """Symbols that are due for the first time since their last tick, each with that tick's event time.

        Gone is what has had no tick for so long, while others had some: after
        a silence of the whole feed each symbol has a minute to come back.
        """
        if self._after_ms is None or self._held is None or now_ms - self._looked_at_ms < LOOKED_EVERY_MS:
            return
        self._looked_at_ms = now_ms
        newest_of = self._held | {symbol: known.newest for symbol, known in self._history.symbols.items()}
        for symbol, newest_ms in newest_of.items():
            if (
                now_ms - newest_ms >= self._after_ms
                and self._buried.get(symbol, -1) < newest_ms
                and self._history.went_on_without(newest_ms, now_ms)
            ):
                self._buried[symbol] = newest_ms
                yield symbol, newest_ms
