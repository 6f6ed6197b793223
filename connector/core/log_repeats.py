"""Telling a thing that repeats: the first at once, the rest summed up. Pure."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Summary(Generic[Item]):
    """``times`` like ``last`` came since one was last told."""

    last: Item
    times: int


class Repeats(Generic[Item]):
    """Says when to tell what repeats under a key. Not thread-safe; times in seconds of a monotonic clock.

    At most ``max_keys`` are told apart, so that nothing from outside can fill the memory:
    beyond them everything is one kind more.
    """

    _OTHER = ("beyond max_keys",)

    def __init__(self, every_s: float = 60.0, max_keys: int = 500) -> None:
        self._every_s = every_s
        self._max_keys = max_keys
        self._told_at_s: dict[Hashable, float] = {}
        self._held: dict[Hashable, Summary[Item]] = {}

    def is_first(self, key: Hashable, item: Item, now_s: float) -> bool:
        """Whether to tell it now. Where not, :meth:`due` will give it."""
        if key not in self._told_at_s and len(self._told_at_s) >= self._max_keys:
            key = self._OTHER
        if key not in self._told_at_s:
            self._told_at_s[key] = now_s
            return True
        held = self._held.get(key)
        self._held[key] = Summary(item, 1 if held is None else held.times + 1)
        return False

    def due(self, now_s: float, *, all_of_them: bool = False) -> list[Summary[Item]]:
        """What to tell now, summed up; to be called now and then. What stayed away for the time counts as new again."""
        summaries: list[Summary[Item]] = []
        for key, told_at_s in list(self._told_at_s.items()):
            if now_s - told_at_s < self._every_s and not all_of_them:
                continue
            held = self._held.pop(key, None)
            if held is None:
                del self._told_at_s[key]
            else:
                self._told_at_s[key] = now_s
                summaries.append(held)
        return summaries
