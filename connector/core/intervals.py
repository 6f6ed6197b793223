"""Sets of whole numbers as intervals: sorted, apart from each other, both ends included."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

Interval = tuple[int, int]


def merged(intervals: Iterable[Interval]) -> list[Interval]:
    """The union of any intervals."""
    found: list[Interval] = []
    for first, last in sorted(intervals):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found


def common(some: Iterable[Interval], others: Iterable[Interval]) -> Iterator[Interval]:
    """What is in both; each must be sorted and apart."""
    left, right = iter(some), iter(others)
    one, other = next(left, None), next(right, None)
    while one is not None and other is not None:
        first, last = max(one[0], other[0]), min(one[1], other[1])
        if first <= last:
            yield first, last
        if one[1] <= other[1]:
            one = next(left, None)
        else:
            other = next(right, None)


def without(some: Iterable[Interval], others: Iterable[Interval]) -> Iterator[Interval]:
    """What is in the first and not in the second; each must be sorted and apart."""
    taken = list(others)
    at = 0
    for first, last in some:
        while at < len(taken) and taken[at][1] < first:
            at += 1
        position, look = first, at
        while look < len(taken) and taken[look][0] <= last:
            if taken[look][0] > position:
                yield position, taken[look][0] - 1
            position = max(position, taken[look][1] + 1)
            look += 1
        if position <= last:
            yield position, last


def holes(intervals: Iterable[Interval]) -> Iterator[Interval]:
    """What is between them; they must be sorted and apart."""
    before: int | None = None
    for first, last in intervals:
        if before is not None:
            yield before + 1, first - 1
        before = last


def covered_twice(intervals: Iterable[Interval]) -> list[Interval]:
    """What more than one of them has."""
    found: list[Interval] = []
    furthest: int | None = None
    for first, last in sorted(intervals):
        if furthest is not None and first <= furthest:
            found.append((first, min(last, furthest)))
        furthest = last if furthest is None else max(furthest, last)
    return merged(found)


def size(intervals: Iterable[Interval]) -> int:
    """How many numbers."""
    return sum(last - first + 1 for first, last in intervals)
