"""A sink in the place of Kafka: what it gets, and when it gets it again."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from connector.core.errors import RetryableError
from connector.core.happenings import Committed, GapFound, RoleChanged, Waiting
from connector.core.ledger_events import EventKind
from connector.core.normalize import Normalizer
from connector.core.tick_sink import Delivery, TickSink
from connector.core.values import Frame, Origin, Reason
from connector.edges.journal import Journal
from connector.edges.plugged_sink import PluggedSink
from connector.edges.schema_files import load_schema
from connector.edges.sink_thread import Role
from tests.core.test_pipeline import START_MS, element, rest_row
from tests.edges.journal_support import Told

SCHEMA = load_schema("asset_index")
SYMBOLS = ("BTCUSD", "ETHUSD")


class Memory:
    """Holds what it was given; fails as a test says."""

    def __init__(self, newest: Mapping[str, int] | None = None) -> None:
        self.held = dict(newest or {})
        self.deliveries: list[Delivery] = []
        self.problems: list[BaseException] = []
        """Raised by the next calls, one each."""
        self.calls: list[str] = []
        self.threads: set[int] = set()
        self.gate = threading.Event()
        self.gate.set()

    def newest(self) -> Mapping[str, int]:
        self._called("newest")
        return dict(self.held)

    def write(self, delivery: Delivery) -> None:
        self._called("write")
        self.deliveries.append(delivery)
        self.held |= {tick.symbol: tick.event_time_ms for tick in delivery.ticks}

    def close(self) -> None:
        self.calls.append("close")

    def _called(self, what: str) -> None:
        self.threads.add(threading.get_ident())
        self.calls.append(what)
        assert self.gate.wait(20)
        if self.problems:
            raise self.problems.pop(0)

    def seconds(self) -> list[tuple[str, float]]:
        ticks = [tick for delivery in self.deliveries for tick in delivery.ticks]
        return [(tick.symbol, (tick.event_time_ms - START_MS) / 1000) for tick in ticks]


class Bench:
    def __init__(self, path: Path, sink: TickSink, max_records: int = 10_000) -> None:
        self.told = Told()
        self.journal = Journal(path, max_bytes=2**24, max_age_s=3600, at_bound="drop-oldest", tell=self.told)
        self.journal.open()
        self.sink = PluggedSink(
            sink,
            schema=SCHEMA,
            normalizer=Normalizer(SCHEMA, ahead_ms=None, behind_ms=None),
            journal=self.journal,
            window_ms=600_000,
            max_records=max_records,
            tell=self.told,
        )

    def put(self, *seconds: int, symbols: tuple[str, ...] = SYMBOLS) -> None:
        for second in seconds:
            data = json.dumps([element(symbol, second, f"1.{second:08d}") for symbol in symbols]).encode()
            self.put_bytes(data, second)

    def put_bytes(self, data: bytes, second: int = 0) -> None:
        self.journal.put(Frame(data, (START_MS + second * 1000) * 1_000_000, "ws-1", "!assetIndex@arr"))

    def deliver(self) -> None:
        self.journal.settle(5)
        self.sink.stop()
        assert self.sink.join(10)
        assert self.sink.failure is None
        assert self.sink.delivered()


@contextmanager
def running(path: Path, sink: TickSink, *before: int, max_records: int = 10_000) -> Iterator[Bench]:
    """``before``: seconds of frames that wait in the journal when it starts."""
    bench = Bench(path, sink, max_records)
    bench.put(*before)
    bench.journal.settle(5)
    bench.sink.start()
    try:
        yield bench
    finally:
        bench.sink.give_up()
        assert bench.sink.join(10)
        bench.journal.close(5)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def until(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def pairs(*seconds: float) -> list[tuple[str, float]]:
    return [(symbol, second) for second in seconds for symbol in SYMBOLS]


def test_ticks_come_in_order_and_leave_the_journal(path: Path) -> None:
    memory = Memory()
    with running(path, memory) as bench:
        bench.put(0, 1, 2)
        bench.deliver()
        assert bench.journal.frames == 0
        assert bench.sink.symbols() == dict.fromkeys(SYMBOLS, START_MS + 2000)
        assert bench.sink.state().newest_event_time_ms == START_MS + 2000
        assert sum(each.records for each in bench.told.of(Committed)) == 6
        assert [each.role for each in bench.told.of(RoleChanged)] == ["writer"]
    assert memory.seconds() == pairs(0, 1, 2)
    assert memory.calls[0] == "newest"
    assert memory.calls[-1] == "close"
    assert len(memory.threads) == 1


def test_repeats_rejects_and_gaps(path: Path) -> None:
    memory = Memory()
    with running(path, memory) as bench:
        bench.put(0, 0, 3)
        bench.put_bytes(b"{", 3)
        bench.deliver()
        assert [each.periods for each in bench.told.of(GapFound)] == [2]
    assert memory.seconds() == pairs(0, 3)
    assert [each.reason for delivery in memory.deliveries for each in delivery.rejects] == [Reason.NOT_JSON]
    kinds = [event.kind for delivery in memory.deliveries for event in delivery.events]
    assert kinds == [EventKind.STARTED_WITHOUT_HISTORY, EventKind.GAP]


def test_it_goes_on_behind_what_the_sink_holds(path: Path) -> None:
    memory = Memory(dict.fromkeys(SYMBOLS, START_MS + 2000))
    with running(path, memory, 0, 1, 2, 3, 4) as bench:
        bench.deliver()
    assert memory.seconds() == pairs(3, 4)
    assert all(not delivery.rejects and not delivery.events for delivery in memory.deliveries)


def test_a_sink_that_stored_half_a_delivery_gets_the_other_half(path: Path) -> None:
    memory = Memory({"BTCUSD": START_MS + 3000, "ETHUSD": START_MS + 1000})
    with running(path, memory, 0, 1, 2, 3, 4) as bench:
        bench.deliver()
    assert memory.seconds() == [("ETHUSD", 2), ("ETHUSD", 3), ("BTCUSD", 4), ("ETHUSD", 4)]
    assert not [reject for delivery in memory.deliveries for reject in delivery.rejects]


def test_what_is_between_its_newest_and_the_first_tick_is_a_gap(path: Path) -> None:
    memory = Memory(dict.fromkeys(SYMBOLS, START_MS))
    with running(path, memory, 3) as bench:
        bench.deliver()
    ((gap,),) = [delivery.events for delivery in memory.deliveries]
    assert (gap.kind, gap.about, gap.periods) == (EventKind.GAP, "*", 2)


def test_trouble_that_passes_brings_the_same_delivery_again(path: Path) -> None:
    memory = Memory()
    memory.problems = [RetryableError("asleep")]
    with running(path, memory) as bench:
        until(lambda: bench.sink.state().role is Role.WRITER)
        memory.problems = [RetryableError("busy"), RetryableError("busy")]
        bench.put(0, 1)
        bench.journal.settle(5)
        until(lambda: memory.calls.count("write") == 1)
        assert bench.sink.state().waiting == "busy"
        assert bench.journal.frames == 2, "they wait"
        bench.deliver()
        assert bench.sink.state().waiting == ""
        assert [each.problem for each in bench.told.of(Waiting)] == ["asleep", "busy"]
    assert memory.seconds() == pairs(0, 1)


def test_any_other_trouble_ends_it_and_keeps_the_ticks(path: Path) -> None:
    memory = Memory()
    memory.problems = []
    with running(path, memory) as bench:
        until(lambda: bench.sink.state().role is Role.WRITER)
        memory.problems = [ZeroDivisionError("a bug")]
        bench.put(0)
        assert bench.sink.ended.wait(10)
        assert isinstance(bench.sink.failure, ZeroDivisionError)
        assert not bench.sink.delivered()
        assert bench.journal.frames == 1
    assert memory.calls[-1] == "close"
    with running(path, memory) as bench:
        bench.deliver()
    assert memory.seconds() == pairs(0)


def test_given_up_it_ends_and_the_next_one_goes_on(path: Path) -> None:
    memory = Memory()
    with running(path, memory) as bench:
        until(lambda: bench.sink.state().role is Role.WRITER)
        memory.problems = [RetryableError("down")] * 1000
        bench.put(0, 1)
        bench.journal.settle(5)
        bench.sink.stop()
        assert not bench.sink.join(0.5), "it tries on until it is given up"
        bench.sink.give_up()
        assert bench.sink.join(12)
        assert not bench.sink.delivered()
    memory.problems = []
    with running(path, memory) as bench:
        bench.deliver()
    assert memory.seconds() == pairs(0, 1)


def test_stopped_before_the_sink_answers(path: Path) -> None:
    memory = Memory()
    memory.problems = [RetryableError("asleep")] * 1000
    with running(path, memory) as bench:
        until(lambda: memory.calls)
        bench.sink.stop()
        assert bench.sink.join(5)
    assert memory.calls[-1] == "close"


def test_a_backlog_is_cut_into_deliveries(path: Path) -> None:
    memory = Memory()
    with running(path, memory, *range(10), max_records=4) as bench:
        bench.deliver()
    assert memory.seconds() == pairs(*range(10))
    assert {len(delivery.ticks) for delivery in memory.deliveries} == {4}


def test_ticks_that_come_late_go_before_rows_from_rest_and_the_rows_stay_in_the_journal(path: Path) -> None:
    memory = Memory()
    with running(path, memory, 0) as bench:
        row = json.dumps([rest_row("BTCUSD", 2.003)]).encode()
        bench.journal.put(Frame(row, time.time_ns(), "rest", "/path", Origin.REST))
        until(lambda: bench.sink.state().written_through == 2)
        assert not bench.sink.delivered()
        bench.put(1)
        until(lambda: ("BTCUSD", 1.0) in memory.seconds())
        assert bench.journal.settle(5)
        assert bench.journal.frames >= 2, "the row is not written yet, so it would have to be read again"
        bench.put(3)
        until(bench.sink.delivered)
        btc = [second for symbol, second in memory.seconds() if symbol == "BTCUSD"]
        assert btc == [0.0, 1.0, 2.003, 3.0]
        assert bench.journal.settle(5)
        assert bench.journal.frames == 0


def test_rows_from_rest_go_behind_whatever_waits_in_the_journal(path: Path) -> None:
    memory = Memory()
    with running(path, memory, 0, max_records=2) as bench:
        until(lambda: memory.seconds() == pairs(0))
        memory.gate.clear()
        bench.put(1)
        until(lambda: memory.calls.count("write") == 2)
        row = json.dumps([rest_row("BTCUSD", 4.003)]).encode()
        long_ago_ns = time.time_ns() - 60_000_000_000
        bench.journal.put(Frame(row, long_ago_ns, "rest", "/path", Origin.REST))
        for second in (2, 3, 4):
            bench.put(second)
        memory.gate.set()
        bench.deliver()
    assert memory.seconds() == pairs(0, 1, 2, 3, 4)
