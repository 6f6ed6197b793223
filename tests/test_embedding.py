"""The connector inside another program: beside its event loop, its signals and its threads."""

from __future__ import annotations

import asyncio
import io
import json
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest

from connector.config import Config
from connector.embedding import (
    ConfigurationError,
    DecodedTick,
    Delivery,
    EventKind,
    Happening,
    Reject,
    RetryableError,
    Source,
    TickSink,
    TickStream,
    load_config,
    why_not_ready,
)
from connector.local.exchange import FakeExchange
from connector.local.stack import LocalStack
from tests.integration.bench import SCHEMA, schema_at
from tests.readers import read_records

RATE_HZ = 10


class Memory:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.ticks: list[DecodedTick] = []
        self.rejects: list[Reject] = []
        self.problem: BaseException | None = None

    def newest(self) -> Mapping[str, int]:
        return {tick.symbol: tick.event_time_ms for tick in self.ticks}

    def write(self, delivery: Delivery) -> None:
        if self.problem is not None:
            raise self.problem
        self.ticks += delivery.ticks
        self.rejects += delivery.rejects

    def close(self) -> None:
        pass


@asynccontextmanager
async def feeding(symbols: int = 5) -> AsyncIterator[FakeExchange]:
    async with FakeExchange(symbols=symbols, rate_hz=RATE_HZ) as exchange:
        yield exchange


def config(exchange: FakeExchange, folder: Path, **more: str) -> Config:
    options = {
        "feed.url": exchange.url,
        "feed.rest_url": exchange.rest_url,
        "schema.file": str(schema_at(SCHEMA, folder, 1000 // RATE_HZ)),
        "journal.path": str(folder / "journal"),
        "http.port": "0",
        **more,
    }
    return load_config(overrides=[f"{key}={value}" for key, value in options.items()], needs=()).config


def keys(ticks: list[DecodedTick]) -> set[tuple[str, int]]:
    return {(tick.symbol, tick.event_time_ms) for tick in ticks}


def sent(exchange: FakeExchange) -> dict[tuple[str, int], str]:
    """The index price by symbol and event time."""
    return {(each.symbol, each.event_time_ms): each.values["i"] for each in exchange.truth.elements()}


async def until(condition: Any, timeout_s: float = 20.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - what is looked at belongs to other threads
            await asyncio.sleep(0.02)


# A sink of one's own


async def test_every_tick_reaches_another_sink_and_what_is_refused_too(tmp_path: Path) -> None:
    sink: TickSink = (memory := Memory())
    async with feeding() as exchange:
        source = Source(config(exchange, tmp_path), sink=sink, log=io.StringIO())
        await source.start()
        await until(lambda: len(memory.ticks) > 20)
        exchange.bad_element({"i": "NaN"}, symbol="BTCUSD")
        await until(lambda: memory.rejects)
        assert why_not_ready(source.status()) == ()
        exchange.stop_feeding()
        assert await source.stop() == 0
        prices = sent(exchange)
    assert len(keys(memory.ticks)) == len(memory.ticks)
    assert {(tick.symbol, tick.event_time_ms): tick.fields["index_price"] for tick in memory.ticks} == {
        key: Decimal(price) for key, price in prices.items()
    }
    assert {(reject.symbol, reject.field) for reject in memory.rejects} == {("BTCUSD", "index_price")}


async def test_the_next_source_goes_on_where_the_sink_was(tmp_path: Path) -> None:
    memory = Memory()
    async with feeding() as exchange:
        for _ in range(2):
            before = len(memory.ticks)
            async with Source(config(exchange, tmp_path), sink=memory, log=io.StringIO()):
                await until(lambda before=before: len(memory.ticks) > before + 20)
    assert len(keys(memory.ticks)) == len(memory.ticks)


async def test_what_the_sink_does_not_take_is_there_at_the_next_start(tmp_path: Path) -> None:
    memory = Memory()
    async with feeding() as exchange:
        memory.problem = RetryableError("the disk is full")
        short = config(exchange, tmp_path, **{"shutdown.timeout": "0.5"})
        async with Source(short, sink=memory, log=io.StringIO()) as source:
            await until(lambda: source.status().journal_frames > 5)
            assert why_not_ready(source.status()) == ("waits: the disk is full",)
            assert await source.stop() == 3
        memory.problem = None
        first = min(each.event_time_ms for each in exchange.truth.elements())
        async with Source(short, sink=memory, log=io.StringIO()):
            await until(lambda: memory.ticks)
    assert min(tick.event_time_ms for tick in memory.ticks) <= first + 1000


async def test_a_bug_in_the_sink_is_raised_to_whoever_waits(tmp_path: Path) -> None:
    memory = Memory()
    memory.problem = ZeroDivisionError("a bug")
    async with feeding() as exchange:
        source = Source(config(exchange, tmp_path), sink=memory, log=io.StringIO())
        await source.start()
        with pytest.raises(ZeroDivisionError, match="a bug"):
            await asyncio.wait_for(source.wait(), 20)


# Somebody else's process


async def test_it_leaves_signals_and_threads_as_they_were(tmp_path: Path) -> None:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before, threads = [signal.getsignal(number) for number in numbers], set(threading.enumerate())
    memory, log = Memory(), io.StringIO()
    async with feeding() as exchange, Source(config(exchange, tmp_path), sink=memory, log=log):
        await until(lambda: memory.ticks)
        assert [signal.getsignal(number) for number in numbers] == before
        assert {each.name for each in set(threading.enumerate()) - threads if "asyncio" not in each.name} == {
            "journal",
            "sink",
        }
    left = {each.name for each in set(threading.enumerate()) - threads if "asyncio" not in each.name}
    assert left == set()
    assert " started " in log.getvalue()


def test_it_changes_nothing_of_the_libraries_that_a_program_shares_with_it() -> None:
    """In a process of its own: here other tests have imported and set this and that."""
    program = """
import logging
from prometheus_client import Counter, generate_latest, REGISTRY
before = {name: logging.getLogger(name).level for name in ("", "httpx", "websockets", "websockets.client")}
import connector.embedding, connector.edges.websocket
assert {name: logging.getLogger(name).level for name in before} == before
assert not logging.getLogger().handlers
Counter("theirs", "a counter of the program")
assert b"theirs_created" in generate_latest(REGISTRY)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


async def test_the_loop_is_not_blocked(tmp_path: Path) -> None:
    memory, longest_s = Memory(), 0.0
    loop = asyncio.get_running_loop()

    async def tick_tock() -> None:
        nonlocal longest_s
        while True:
            began = loop.time()
            await asyncio.sleep(0.01)
            longest_s = max(longest_s, loop.time() - began)

    async with feeding() as exchange:
        memory.problem = RetryableError("down")
        source = Source(config(exchange, tmp_path, **{"shutdown.timeout": "2"}), sink=memory, log=io.StringIO())
        await source.start()
        await until(lambda: source.status().journal_frames > 3)
        other = asyncio.create_task(tick_tock())
        began = loop.time()
        assert await source.stop() == 3
        assert loop.time() - began >= 2, "it waited for the sink"
        other.cancel()
    assert longest_s < 1, "and others went on meanwhile"


async def test_cancelled_it_still_delivers(tmp_path: Path) -> None:
    memory = Memory()
    async with feeding() as exchange:

        async def program() -> None:
            async with Source(config(exchange, tmp_path), sink=memory, log=io.StringIO()):
                await asyncio.Event().wait()

        task = asyncio.create_task(program())
        await until(lambda: len(memory.ticks) > 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        newest_ms = max(tick.event_time_ms for tick in memory.ticks)
        async with Source(config(exchange, tmp_path), sink=memory, log=io.StringIO()) as source:  # the lock is free
            await until(lambda: max(tick.event_time_ms for tick in memory.ticks) > newest_ms)
            assert source.status().journal_frames < 5


async def test_a_journal_in_use_is_said_at_the_start(tmp_path: Path) -> None:
    async with feeding() as exchange, Source(config(exchange, tmp_path), sink=Memory(), log=io.StringIO()):
        second = Source(config(exchange, tmp_path), sink=Memory(), log=io.StringIO())
        with pytest.raises(ConfigurationError, match="journal"):
            await second.start()


async def test_pages_metrics_and_happenings(tmp_path: Path) -> None:
    told: list[Happening] = []
    memory = Memory()
    async with feeding() as exchange:
        source = Source(
            config(exchange, tmp_path, **{"log.format": "json"}),
            sink=memory,
            tell=told.append,
            pages=True,
            log=(log := io.StringIO()),
        )
        async with source:
            await until(lambda: memory.ticks)
            port = source._connector._http.port
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /livez HTTP/1.0\r\n\r\n")
            assert b"200 OK" in await reader.readline()
            writer.close()
            assert b"binance_kafka_source_records_written_total" in generate_latest(source.metrics)
    assert {type(each).__name__ for each in told} >= {"Started", "SocketOpened", "Committed", "Stopped"}
    assert json.loads(log.getvalue().splitlines()[0])["event"] == "started"


@pytest.mark.stack
@pytest.mark.timeout(120)
async def test_to_kafka_from_a_thread_that_is_not_the_main_one(
    stack: LocalStack, tmp_path: Path, topic_name: str
) -> None:
    async with feeding() as exchange:
        options = config(
            exchange,
            tmp_path,
            **{
                "topic.name": topic_name,
                'kafka."bootstrap.servers"': stack.bootstrap_servers,
                "registry.url": stack.registry_url,
                "takeover.after": "0.5",
            },
        )
        from connector.commands.schema import subjects_of
        from connector.edges.registry import Registry

        registry = Registry(options.registry)
        for subject, text in subjects_of(options).items():
            await asyncio.to_thread(registry.register, subject, text)
        registry.close()
        codes: list[int] = []

        async def program() -> None:
            source = Source(options, log=io.StringIO())
            await source.start()
            await until(lambda: len(source.status().symbols) == 5, 40)
            codes.append(await source.stop())

        thread = threading.Thread(target=lambda: asyncio.run(program()))
        thread.start()
        await asyncio.to_thread(thread.join, 60)
        assert codes == [0]
        records = await asyncio.to_thread(
            lambda: list(read_records(stack.bootstrap_servers, stack.registry_url, topic_name))
        )
        prices = sent(exchange)
    assert records
    for each in records:
        assert each.value["index_price"] == Decimal(prices[(each.key or b"").decode(), each.timestamp_ms])


# Ticks as an iterator


async def test_ticks_as_they_come(tmp_path: Path) -> None:
    ticks: list[DecodedTick] = []
    async with feeding() as exchange:
        async with TickStream(config(exchange, tmp_path)) as stream:
            async for tick in stream:
                ticks.append(tick)
                if len(ticks) == 100:
                    break
        prices = sent(exchange)
    assert len(keys(ticks)) == 100
    for symbol in {tick.symbol for tick in ticks}:
        times = [tick.event_time_ms for tick in ticks if tick.symbol == symbol]
        assert times == sorted(times)
    assert all(tick.fields["index_price"] == Decimal(prices[tick.symbol, tick.event_time_ms]) for tick in ticks)
    assert [path.name for path in tmp_path.iterdir()] == [SCHEMA.name], "no journal"  # noqa: ASYNC240


async def test_rejects_and_gaps_are_beside_them(tmp_path: Path) -> None:
    rejects: list[Reject] = []
    kinds: list[EventKind] = []
    async with feeding() as exchange, TickStream(config(exchange, tmp_path)) as stream, asyncio.timeout(20):
        exchange.bad_element({"i": "NaN"}, symbol="BTCUSD")
        async for delivery in stream.deliveries():
            if delivery.rejects:
                exchange.skip_period(periods=6)
            rejects += delivery.rejects
            kinds += [event.kind for event in delivery.events]
            if EventKind.GAP in kinds and rejects:
                break
    assert {(reject.symbol, reject.field) for reject in rejects} == {("BTCUSD", "index_price")}
    assert kinds[0] is EventKind.STARTED_WITHOUT_HISTORY


async def test_a_slow_consumer_loses_the_oldest_and_is_told(tmp_path: Path) -> None:
    told: list[Happening] = []
    async with (
        feeding() as exchange,
        TickStream(config(exchange, tmp_path), tell=told.append, most_waiting=3) as stream,
    ):
        deliveries = stream.deliveries()
        await anext(deliveries)
        await asyncio.sleep(1.5)  # a consumer that does something else
        async with asyncio.timeout(20):
            async for delivery in deliveries:
                if gaps := [event for event in delivery.events if event.kind is EventKind.GAP]:
                    break
    assert {type(each).__name__ for each in told} >= {"JournalDropped", "SocketOpened"}
    assert gaps[0].reason == "journal bound"


async def test_what_cannot_work_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"feed\.url"):
        TickStream(load_config(overrides=["feed.url=wss://host/ws/x"], needs=()).config)
