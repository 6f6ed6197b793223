"""The judge: compares what is in the topic with what the exchange sent.

Shares no code with the connector. :mod:`tests.readers` reads as any consumer
would; here Java's partitioner is computed anew, and values are compared as
``Decimal``.

Memory: 17 bytes a tick sent and 8 a record read, so an hour at 50 Hz of 60
symbols is judged in under 300 MB.
"""

from __future__ import annotations

import hashlib
import struct
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

WIRE_NAMES = {
    "index_price": "i",
    "bid_buffer": "b",
    "ask_buffer": "a",
    "bid_rate": "B",
    "ask_rate": "A",
    "auto_exchange_bid_buffer": "q",
    "auto_exchange_ask_buffer": "g",
    "auto_exchange_bid_rate": "Q",
    "auto_exchange_ask_rate": "G",
}
"""Which key of the exchange's element each decimal must equal: the judge's own reading of the documentation."""

REST_NAMES = {
    "index_price": "index",
    "bid_buffer": "bidBuffer",
    "ask_buffer": "askBuffer",
    "bid_rate": "bidRate",
    "ask_rate": "askRate",
    "auto_exchange_bid_buffer": "autoExchangeBidBuffer",
    "auto_exchange_ask_buffer": "autoExchangeAskBuffer",
    "auto_exchange_bid_rate": "autoExchangeBidRate",
    "auto_exchange_ask_rate": "autoExchangeAskRate",
}
"""The same for rows of the REST interface."""

EXAMPLES_KEPT = 20
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Sent:
    """One element the exchange sent, as it stood on the wire."""

    symbol: str
    event_time_ms: int
    element: Mapping[str, Any]
    """Key to text, by the exchange's own keys; those of :data:`REST_NAMES` where ``by_rest``."""
    by_rest: bool = False


@dataclass(frozen=True, slots=True)
class Observed:
    """One record of the topic as a reader sees it."""

    partition: int
    offset: int
    key: bytes | None
    timestamp_ms: int
    timestamp_is_create_time: bool
    headers: int
    value: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came out. Counts are of ticks or records; ``examples`` names the first of each kind."""

    sent: int
    records: int
    filled: int
    """Records of origin ``rest``: never counted as a tick of the stream, but compared with what REST answered."""
    lost: int
    duplicates: int
    altered: int
    invented: int
    """Records of what the exchange never sent."""
    out_of_order: int
    wrong_key: int
    wrong_partition: int
    wrong_timestamp: int
    with_headers: int
    read_late_max_s: float
    """The most that a frame was read after its event time, by the connector's own clock: reading never waits."""
    late_max_s: float | None
    """The most that a record became visible after its event time; None: nobody watched."""
    missing: Mapping[str, Sequence[int]] = field(repr=False)
    """Event times sent and not found, ascending, by symbol."""
    examples: tuple[str, ...] = field(repr=False)

    @property
    def faults(self) -> dict[str, int]:
        """Everything that must never be, loss aside, where it is not zero."""
        names = (
            "duplicates",
            "altered",
            "invented",
            "out_of_order",
            "wrong_key",
            "wrong_partition",
            "wrong_timestamp",
            "with_headers",
        )
        return {name: count for name in names if (count := getattr(self, name))}

    @property
    def clean(self) -> bool:
        return self.lost == 0 and not self.faults

    def report(self) -> str:
        late = "not measured" if self.late_max_s is None else f"{self.late_max_s:.2f} s"
        lines = [
            f"sent {self.sent:,}  in the topic {self.records:,} ({self.filled:,} filled by REST)  lost {self.lost:,}",
            f"duplicates {self.duplicates}  altered {self.altered}  invented {self.invented}  "
            f"out of order {self.out_of_order}",
            f"wrong key {self.wrong_key}  wrong partition {self.wrong_partition}  "
            f"wrong timestamp {self.wrong_timestamp}  with headers {self.with_headers}",
            f"latest visible {late} after its event time, latest read {self.read_late_max_s:.2f} s after",
            *self.examples,
        ]
        return "\n".join(lines)


class Judge:
    """Takes what was sent, then every record, then says the verdict.

    ``partitions``: the counts under which a record's partition may have been
    computed; more than one only where a test grows the topic.
    """

    def __init__(self, sent: Iterable[Sent], partitions: Sequence[int]) -> None:
        self._partitions = tuple(partitions)
        self._expected: dict[str, _Expected] = {}
        self._answered: dict[str, _Expected] = {}
        for tick in sent:
            known = self._answered if tick.by_rest else self._expected
            known.setdefault(tick.symbol, _Expected()).add(tick)
        self.observed: dict[str, array[int]] = {}
        """Event times found, in the order of offsets, by symbol."""
        self._newest: dict[tuple[str, int], int] = {}
        self._records = 0
        self._read_late_max_ms = 0
        self._counts: Counter[str] = Counter()
        self._examples: list[str] = []

    def take(self, record: Observed) -> None:
        self._records += 1
        symbol = record.value["symbol"]
        event_time_ms = _milliseconds(record.value["event_time"])
        where = f"{symbol} at {event_time_ms} (partition {record.partition}, offset {record.offset})"
        self._check_frame(record, symbol, event_time_ms, where)
        by_rest = record.value["origin"] == "rest"
        self._counts["filled"] += by_rest
        known = self._answered if by_rest else self._expected
        self._check_content(record, known.get(symbol), event_time_ms, where)
        if not by_rest:
            read_late_ms = _milliseconds(record.value["received_time"]) - event_time_ms
            self._read_late_max_ms = max(self._read_late_max_ms, read_late_ms)
        newest = self._newest.get((symbol, record.partition), -1)
        if event_time_ms < newest:
            self._find("out_of_order", f"{where} stands behind {newest}")
        self._newest[symbol, record.partition] = max(newest, event_time_ms)
        self.observed.setdefault(symbol, array("q")).append(event_time_ms)

    def verdict(self, late_max_s: float | None = None) -> Verdict:
        duplicates = 0
        for symbol, observed in self.observed.items():
            distinct = len(set(observed))
            if distinct < len(observed):
                duplicates += len(observed) - distinct
                (time_ms, count), *_ = Counter(observed).most_common(1)
                self._example("duplicates", f"{symbol} at {time_ms} stands {count} times")
        missing = {symbol: times for symbol, expected in self._expected.items() if (times := expected.missing())}
        for symbol, lost_ms in missing.items():
            self._example("lost", f"{symbol}: {len(lost_ms)} from {lost_ms[0]} to {lost_ms[-1]}")
        return Verdict(
            sent=sum(len(expected.times) for expected in self._expected.values()),
            records=self._records,
            filled=self._counts["filled"],
            lost=sum(len(times) for times in missing.values()),
            duplicates=duplicates,
            altered=self._counts["altered"],
            invented=self._counts["invented"],
            out_of_order=self._counts["out_of_order"],
            wrong_key=self._counts["wrong_key"],
            wrong_partition=self._counts["wrong_partition"],
            wrong_timestamp=self._counts["wrong_timestamp"],
            with_headers=self._counts["with_headers"],
            read_late_max_s=self._read_late_max_ms / 1000,
            late_max_s=late_max_s,
            missing=missing,
            examples=tuple(self._examples),
        )

    def _check_frame(self, record: Observed, symbol: str, event_time_ms: int, where: str) -> None:
        key = symbol.encode()
        if record.key != key:
            self._find("wrong_key", f"{where} has key {record.key!r}")
        if record.partition not in {java_partition(key, count) for count in self._partitions}:
            self._find("wrong_partition", where)
        if record.timestamp_ms != event_time_ms or not record.timestamp_is_create_time:
            self._find("wrong_timestamp", f"{where} has timestamp {record.timestamp_ms}")
        if record.headers:
            self._find("with_headers", where)

    def _check_content(self, record: Observed, expected: _Expected | None, event_time_ms: int, where: str) -> None:
        index = expected.index_of(event_time_ms) if expected else None
        if expected is None or index is None:
            self._find("invented", where)
            return
        expected.found[index] = 1
        if _digest(record.value[name] for name in WIRE_NAMES) != expected.digests[index]:
            values = {name: str(record.value[name]) for name in WIRE_NAMES}
            self._find("altered", f"{where} reads {values}")

    def _find(self, kind: str, what: str) -> None:
        self._counts[kind] += 1
        self._example(kind, what)

    def _example(self, kind: str, what: str) -> None:
        if len(self._examples) < EXAMPLES_KEPT:
            self._examples.append(f"{kind}: {what}")


class _Expected:
    """What was sent of one symbol, one way. Where one event time was sent twice, the first stands."""

    __slots__ = ("digests", "found", "times")

    def __init__(self) -> None:
        self.times = array("q")
        self.digests = array("Q")
        self.found = bytearray()

    def add(self, tick: Sent) -> None:
        place = bisect_left(self.times, tick.event_time_ms)
        if place < len(self.times) and self.times[place] == tick.event_time_ms:
            return
        self.times.insert(place, tick.event_time_ms)
        names = REST_NAMES if tick.by_rest else WIRE_NAMES
        self.digests.insert(place, _digest(Decimal(tick.element[name]) for name in names.values()))
        self.found.insert(place, 0)

    def index_of(self, event_time_ms: int) -> int | None:
        place = bisect_left(self.times, event_time_ms)
        return place if place < len(self.times) and self.times[place] == event_time_ms else None

    def missing(self) -> tuple[int, ...]:
        return tuple(time_ms for time_ms, found in zip(self.times, self.found, strict=True) if not found)


def _digest(values: Iterable[Decimal]) -> int:
    """64 bits of the decimals' values, whatever their notation (5, 5.0 and 5.00 are one)."""
    text = "|".join(f"{value:.18f}" for value in values)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


def _milliseconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(milliseconds=1)


def java_partition(key: bytes, partitions: int) -> int:
    """Where Java's default partitioner puts a key: murmur2 as in ``org.apache.kafka.common.utils.Utils``."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def murmur2(data: bytes) -> int:
    """MurmurHash2, 32 bits, with Kafka's seed."""
    multiplier, mask = 0x5BD1E995, 0xFFFFFFFF
    value = 0x9747B28C ^ len(data)
    whole = len(data) & ~3
    for (word,) in struct.iter_unpack("<I", data[:whole]):
        word = word * multiplier & mask
        word = (word ^ word >> 24) * multiplier & mask
        value = value * multiplier & mask ^ word
    if rest := data[whole:]:
        value = (value ^ int.from_bytes(rest, "little")) * multiplier & mask
    value = (value ^ value >> 13) * multiplier & mask
    return value ^ value >> 15
