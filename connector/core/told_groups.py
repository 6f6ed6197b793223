"""What was told, gathered: one line for each kind, with its onset and its number, however often it is told. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

Item = TypeVar("Item")

PAUSE_S = 60.0
"""What stays away for longer has begun anew when it comes back."""
MOST_KINDS = 30
MOST_NAMES = 20


@dataclass(frozen=True, slots=True)
class Group(Generic[Item]):
    """All of one kind. Times in seconds since the epoch."""

    first_at_s: float
    since_s: float
    """Of those that came without a pause up to the last."""
    last_at_s: float
    times: int
    last: Item
    names: tuple[str, ...] = ()
    """What they are about, in the order in which they came; no more than so many."""


class Groups(Generic[Item]):
    """Keeps them by kind. Not thread-safe.

    Beyond ``most`` kinds the one that has been away for longest is forgotten, so that nothing from outside can fill
    the memory.
    """

    def __init__(self, most: int = MOST_KINDS) -> None:
        self._most = most
        self._groups: dict[Hashable, Group[Item]] = {}

    def add(self, kind: Hashable, item: Item, at_s: float, *, name: str = "") -> None:
        """Take one in. ``name``: what it is about; empty where that is not known."""
        # Taken out and put back: the last in a dict is the newest.
        group = self._groups.pop(kind, None)
        if group is None:
            group = Group(at_s, at_s, at_s, 0, item)
        names = group.names
        if name and name not in names and len(names) < MOST_NAMES:
            names = (*names, name)
        self._groups[kind] = replace(
            group,
            since_s=at_s if at_s - group.last_at_s > PAUSE_S else group.since_s,
            last_at_s=at_s,
            times=group.times + 1,
            last=item,
            names=names,
        )
        if len(self._groups) > self._most:
            del self._groups[next(iter(self._groups))]

    def newest_first(self) -> Iterable[Group[Item]]:
        return tuple(reversed(self._groups.values()))
