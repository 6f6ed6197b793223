"""The normalizer with an eye on the quality of what goes through it."""

from __future__ import annotations

import time
from collections.abc import Callable

from connector.core.happenings import Tell
from connector.core.normalize import Normalizer
from connector.core.quality import LOOKS_MISSED, Quality
from connector.core.schema import StreamSchema
from connector.core.values import Frame, Normalized, Ticks

MOST_SYMBOLS = 16_384
"""That begin a frame; beyond any that there are, and then all have their turn anew."""


REST_AFTER_LOOK = 25
"""Times what a look took."""


class WatchedNormalizer(Normalizer):
    """Tells what :class:`~connector.core.quality.Quality` finds, where the schema has a ``quality`` attribute.

    Live, every frame is looked at. Where frames come faster than the stream's cadence, as in a backlog, it is one
    in half a period of our time, for each set of symbols that comes as a frame: the cost stays the same. And where
    frames are so large that a look takes long (thousands of symbols), it is fewer, so that looking stays a small part
    of the time, but never so few that a frozen value could not be told.
    """

    def __init__(
        self,
        schema: StreamSchema,
        *,
        ahead_ms: int | None,
        behind_ms: int | None,
        tell: Tell,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(schema, ahead_ms=ahead_ms, behind_ms=behind_ms)
        self._quality = Quality(schema, schema.quality) if schema.quality is not None else None
        self._pause_s = schema.feed.cadence_ms / 1000 / 2
        self._longest_pause_s = schema.feed.cadence_ms / 1000 * LOOKS_MISSED / 2
        self._tell = tell
        self._monotonic_s = monotonic
        self._due_s: dict[str, float] = {}

    def normalize(self, frame: Frame) -> Normalized:
        normalized = super().normalize(frame)
        if normalized.ticks and self._quality is not None:
            ticks = Ticks.of(normalized.ticks)
            now_s, first = self._monotonic_s(), ticks.symbols[0]
            if now_s >= self._due_s.get(first, 0.0):
                if len(self._due_s) >= MOST_SYMBOLS:
                    self._due_s.clear()
                for happening in self._quality.look(ticks):
                    self._tell(happening)
                took_s = self._monotonic_s() - now_s
                pause_s = min(max(self._pause_s, took_s * REST_AFTER_LOOK), self._longest_pause_s)
                self._due_s[first] = now_s + pause_s
        return normalized
