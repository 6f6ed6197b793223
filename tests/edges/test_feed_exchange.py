"""The real feed, with the real normalizer, against the fake exchange on loopback: its truth is the judge."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import pytest

from connector.core.happenings import (
    FeedRefused,
    Happening,
    RestFillChanged,
    SocketClosed,
    SocketOpened,
    SocketSuspected,
)
from connector.core.normalize import Normalizer
from connector.core.schema import StreamSchema, parse_schema
from connector.core.values import Frame, Origin
from connector.edges.feed import Feed, FeedOptions
from connector.edges.probe import Finding, probe
from connector.edges.rest import RestFill
from connector.local.exchange import FakeExchange
from tests.edges.scripted import until

H = TypeVar("H", bound=Happening)
_FILE = Path(__file__).parents[2] / "schemas" / "asset_index.avsc"
RATE_HZ = 20
OPTIONS = FeedOptions(
    first_tick_timeout=1.0,
    trailing_timeout=0.4,
    silence_timeout=1.5,
    stagger=0.0,
    backoff_first=0.05,
    backoff_cap=0.5,
    hold=0.5,
    close_timeout=0.2,
)


def _schema(cadence_ms: int = 1000 // RATE_HZ) -> StreamSchema:
    document = json.loads(_FILE.read_text())
    document["feed"]["cadence_ms"] = cadence_ms
    return parse_schema(json.dumps(document), str(_FILE))


@dataclass
class Stage:
    exchange: FakeExchange
    feed: Feed
    frames: list[Frame] = field(default_factory=list)
    happenings: list[Happening] = field(default_factory=list)

    def told(self, kind: type[H]) -> list[H]:
        return [each for each in self.happenings if isinstance(each, kind)]

    def reasons(self) -> list[str]:
        return [each.reason for each in self.told(SocketClosed)]

    def event_times_ms(self) -> list[int]:
        """In order of delivery; one for each frame that is an array as documented."""
        decoded = [json.loads(frame.data) for frame in self.frames if frame.data.startswith(b'[{"e"')]
        return [elements[0]["E"] for elements in decoded]

    async def periods(self, count: int) -> None:
        """Wait until so many more have been delivered."""
        goal = len(self.event_times_ms()) + count
        await until(lambda: len(self.event_times_ms()) >= goal)

    def assert_whole_and_in_order(self) -> None:
        """Every period since both sockets were there: once, in order."""
        delivered = self.event_times_ms()
        sent = [period.event_time_ms for period in self.exchange.truth.periods()]
        begin = sent.index(delivered[0])
        assert delivered == sent[begin : begin + len(delivered)]


@asynccontextmanager
async def _running(options: FeedOptions = OPTIONS) -> AsyncIterator[Stage]:
    async with FakeExchange(symbols=5, rate_hz=RATE_HZ) as exchange:
        frames: list[Frame] = []
        happenings: list[Happening] = []
        schema = _schema()
        feed = Feed(
            replace(options, url=exchange.url),
            schema,
            Normalizer(schema, ahead_ms=30_000, behind_ms=600_000),
            deliver=frames.append,
            tell=happenings.append,
        )
        task = asyncio.create_task(feed.run())
        stage = Stage(exchange, feed, frames, happenings)
        try:
            await exchange.wait_for_subscribers(options.connections)
            await stage.periods(5)
            yield stage
            assert not task.done()
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def test_two_sockets_are_one_flow() -> None:
    async with _running() as stage:
        await stage.periods(20)
        assert stage.feed.state().state == "advancing"
        assert len(stage.exchange.connections()) == 2
    stage.assert_whole_and_in_order()


_ENDS: dict[str, Callable[[FakeExchange], int]] = {
    "lost": lambda exchange: exchange.drop(0),
    "closed": lambda exchange: exchange.close(0, 1001, "bye"),
    "too big": lambda exchange: exchange.oversize(5_000_000, 0),
}


@pytest.mark.parametrize("reason", list(_ENDS))
async def test_one_socket_ends_and_nothing_shows(reason: str) -> None:
    async with _running() as stage:
        _ENDS[reason](stage.exchange)
        await until(lambda: len(stage.told(SocketOpened)) == 3)
        await stage.periods(20)
        assert stage.reasons() == [reason]
    stage.assert_whole_and_in_order()


@pytest.mark.parametrize("fault", ["stall", "freeze"])
async def test_one_socket_stalls_or_freezes_and_nothing_shows(fault: str) -> None:
    async with _running() as stage:
        getattr(stage.exchange, fault)(0)
        await until(lambda: stage.reasons() == ["trailing"])
        await stage.periods(10)
    stage.assert_whole_and_in_order()


async def test_one_socket_loses_periods_and_order_holds() -> None:
    async with _running() as stage:
        for select in (0, 1, 0, 1):
            stage.exchange.skip_period(select, 1)
            await stage.periods(4)
    stage.assert_whole_and_in_order()
    assert stage.reasons() == ["stopping", "stopping"]


async def test_rotation_loses_nothing() -> None:
    async with _running(replace(OPTIONS, rotate_after=0.5)) as stage:
        await until(lambda: stage.reasons().count("rotation") >= 6)
    stage.assert_whole_and_in_order()
    assert set(stage.reasons()) == {"rotation", "stopping"}


async def test_the_exchanges_notice_loses_nothing() -> None:
    async with _running(replace(OPTIONS, connections=1)) as stage:
        stage.exchange.server_shutdown(0)
        await until(lambda: stage.reasons() == ["server shutdown"])
        await stage.periods(5)
    stage.assert_whole_and_in_order()


async def test_one_socket_is_refused_for_a_while_and_the_other_stays() -> None:
    async with _running() as stage:
        stage.exchange.refuse(429, retry_after_s=1, times=1)
        stage.exchange.drop(0)
        await until(lambda: len(stage.told(SocketOpened)) == 3)
        await stage.periods(5)
        (refused,) = stage.told(FeedRefused)
        assert (refused.status, refused.retry_after_s) == (429, 1.0)
        assert stage.reasons() == ["lost"]
    stage.assert_whole_and_in_order()


async def test_accept_and_close_is_not_hammered() -> None:
    async with _running() as stage:
        gate = stage.exchange.accept_and_close()
        stage.exchange.drop(0)
        opened = len(stage.told(SocketOpened))
        await stage.periods(40)
        assert 2 <= len(stage.told(SocketOpened)) - opened <= 12
        gate.stop()
        await until(lambda: len(stage.exchange.connections()) == 2)
    stage.assert_whole_and_in_order()


async def test_both_stall_rest_fills_and_they_come_back() -> None:
    async with _running() as stage:
        schema = _schema(cadence_ms=500)
        answers: list[Frame] = []
        changes: list[Happening] = []
        fill = RestFill(
            FeedOptions(rest_url=stage.exchange.rest_url),
            schema,
            deliver=answers.append,
            tell=changes.append,
            should_fill=lambda: stage.feed.state().state != "advancing",
        )
        task = asyncio.create_task(fill.run())
        fault = stage.exchange.stall()
        await until(lambda: len(answers) >= 1)
        assert stage.feed.state().state in ("silent", "down")
        assert {frame.origin for frame in answers} == {Origin.REST}
        normalizer = Normalizer(schema, ahead_ms=30_000, behind_ms=600_000)
        assert len(normalizer.normalize(answers[0]).ticks) == 5
        await until(lambda: any(each.reason == "silent" for each in stage.told(SocketSuspected)))
        fault.stop()
        await until(lambda: stage.feed.state().state == "advancing")
        await until(lambda: changes[-1] == RestFillChanged(False))
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_chosen_symbols_come_on_one_combined_connection() -> None:
    async with FakeExchange(symbols=["BTCUSD", "ETHUSD", "BNBUSD"], rate_hz=RATE_HZ) as exchange:
        frames: list[Frame] = []
        schema = _schema()
        options = replace(OPTIONS, url=exchange.url, symbols=("BTCUSD", "ETHUSD"))
        normalizer = Normalizer(schema, ahead_ms=30_000, behind_ms=600_000)
        feed = Feed(options, schema, normalizer, deliver=frames.append, tell=lambda happening: None)
        task = asyncio.create_task(feed.run())
        await until(lambda: len(frames) >= 20)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    ticks = [tick for frame in frames for tick in normalizer.normalize(frame).ticks]
    assert {tick.symbol for tick in ticks} == {"BTCUSD", "ETHUSD"}
    assert {frame.stream for frame in frames} == {"btcusd@assetIndex", "ethusd@assetIndex"}
    for symbol in ("BTCUSD", "ETHUSD"):
        times = [tick.event_time_ms for tick in ticks if tick.symbol == symbol]
        assert times == list(range(times[0], times[0] + 50 * len(times), 50))


async def test_probe_finds_all_well() -> None:
    async with FakeExchange(symbols=5, rate_hz=RATE_HZ) as exchange:
        found = await _probe(replace(OPTIONS, url=exchange.url, rest_url=exchange.rest_url))
    assert [(each.ok, each.subject.split()[0]) for each in found] == [(True, "feed"), (True, "REST")]
    assert "weight used" in found[1].detail


async def test_probe_finds_a_silent_feed_and_a_refusing_rest() -> None:
    async with FakeExchange(symbols=5, manual=True) as exchange:
        exchange.rest_refuse(451)
        found = await _probe(replace(OPTIONS, url=exchange.url, rest_url=exchange.rest_url))
    assert [each.ok for each in found] == [False, False]
    assert "sent no data" in found[0].detail
    assert found[1].detail.startswith("451")


async def test_probe_finds_a_clock_that_is_off() -> None:
    async with FakeExchange(symbols=5, rate_hz=RATE_HZ) as exchange:
        exchange.time_shift(3_600_000)
        (found, _) = await _probe(replace(OPTIONS, url=exchange.url, rest_url=exchange.rest_url))
    assert not found.ok
    assert "ahead of this clock" in found.detail


async def test_probe_finds_refusals_ends_and_wrong_options() -> None:
    async with FakeExchange(symbols=5, rate_hz=RATE_HZ) as exchange:
        options = replace(OPTIONS, url=exchange.url, rest_fill=False)
        exchange.refuse(403, times=1)
        assert (await _probe(options))[0].detail.startswith("403")
        exchange.accept_and_close(times=1)
        assert "ended before any data" in (await _probe(options))[0].detail
    assert "cannot be reached" in (await _probe(options))[0].detail
    wrong = await _probe(replace(options, url=f"{exchange.url}/ws", rotate_at="noon"))
    assert [each.ok for each in wrong] == [False, False]


async def _probe(options: FeedOptions) -> tuple[Finding, ...]:
    schema = _schema()
    return await probe(options, schema, Normalizer(schema, ahead_ms=30_000, behind_ms=600_000))
