"""Intervals against plain sets."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from connector.core.intervals import Interval, common, covered_twice, holes, merged, size, without

any_intervals = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 8)).map(lambda it: (it[0], it[0] + it[1])))


def numbers(intervals: list[Interval]) -> set[int]:
    return {number for first, last in intervals for number in range(first, last + 1)}


def is_tidy(intervals: list[Interval]) -> bool:
    pairs = pairwise(intervals)
    return all(first <= last for first, last in intervals) and all(one[1] < other[0] for one, other in pairs)


@settings(max_examples=60, deadline=None)
@given(any_intervals)
def test_merged(intervals: list[Interval]) -> None:
    found = merged(intervals)
    assert numbers(found) == numbers(intervals)
    assert is_tidy(found)
    assert size(found) == len(numbers(intervals))


@settings(max_examples=60, deadline=None)
@given(any_intervals, any_intervals)
def test_common_and_without(some: list[Interval], others: list[Interval]) -> None:
    left, right = merged(some), merged(others)
    both, rest = list(common(left, right)), list(without(left, right))
    assert numbers(both) == numbers(some) & numbers(others)
    assert numbers(rest) == numbers(some) - numbers(others)
    assert is_tidy(both)
    assert is_tidy(rest)


@settings(max_examples=60, deadline=None)
@given(any_intervals)
def test_holes(intervals: list[Interval]) -> None:
    have = numbers(intervals)
    expected = set(range(min(have), max(have))) - have if have else set()
    assert numbers(list(holes(merged(intervals)))) == expected


@settings(max_examples=60, deadline=None)
@given(any_intervals)
def test_covered_twice(intervals: list[Interval]) -> None:
    counts = Counter(number for first, last in intervals for number in range(first, last + 1))
    assert numbers(covered_twice(intervals)) == {number for number, count in counts.items() if count > 1}
