"""Of several measurements: the least, the middle and the greatest; and percentiles."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

import msgspec


class Spread(msgspec.Struct, frozen=True):
    min: float
    median: float
    max: float


class Percentiles(msgspec.Struct, frozen=True):
    p50: float
    p90: float
    p99: float
    max: float
    count: int


def spread(values: Iterable[float]) -> Spread:
    known = sorted(values)
    return Spread(known[0], median(known), known[-1])


def percentiles(values: Iterable[float]) -> Percentiles:
    known = sorted(values)
    p50, p90, p99 = (known[min(len(known) - 1, len(known) * percent // 100)] for percent in (50, 90, 99))
    return Percentiles(p50, p90, p99, known[-1], len(known))
