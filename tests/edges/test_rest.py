"""The REST fill on a clock that the test moves, against an HTTP server that answers what the test says."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qs, urlsplit

import pytest

from connector.core.happenings import (
    FeedRefused,
    FrameReceived,
    FrameRepeated,
    Happening,
    RestFailed,
    RestFillChanged,
)
from connector.core.schema import StreamSchema, parse_schema
from connector.core.values import Frame, Origin
from connector.edges import rest
from connector.edges.feed import FeedOptions
from connector.edges.rest import RestFill
from tests.edges.scripted import ManualClock, settle, until

H = TypeVar("H", bound=Happening)
_FILE = Path(__file__).parents[2] / "schemas" / "asset_index.avsc"
PATH = "/fapi/v1/assetIndex"
OPTIONS = FeedOptions()


@dataclass
class Reply:
    status: int = 200
    body: bytes = b"[]"
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    """Close the connection in the middle of the body."""


@dataclass
class Asked:
    path: str
    symbol: str | None


class Server:
    """Answers every request with what ``answer`` makes of it."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answer: Callable[[Asked], Reply] = lambda asked: Reply(body=b"[%d]" % len(self.asked))
        self.url = ""

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                target = urlsplit(head.split()[1].decode())
                symbol = parse_qs(target.query).get("symbol", [None])[0]
                asked = Asked(target.path, symbol)
                self.asked.append(asked)
                reply = self.answer(asked)
                fields = {"Content-Length": str(len(reply.body)), **reply.headers}
                lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
                body = reply.body[:1] if reply.cut else reply.body
                writer.write(f"HTTP/1.1 {reply.status} x\r\n{lines}\r\n".encode() + body)
                await writer.drain()
                if reply.cut:
                    break
        writer.close()


@dataclass
class Stage:
    clock: ManualClock
    server: Server
    frames: list[Frame]
    happenings: list[Happening]
    fill: RestFill = field(init=False)
    filling: bool = True
    compared: list[frozenset[str]] = field(default_factory=list)
    again: bool = False
    """What the comparison answers."""

    def compare(self, symbols: frozenset[str]) -> bool:
        self.compared.append(symbols)
        return self.again

    def told(self, kind: type[H]) -> list[H]:
        return [each for each in self.happenings if isinstance(each, kind)]

    async def seconds(self, count: int) -> None:
        """Let time pass, second by second; each second's requests are answered before the next."""
        for _ in range(count):
            await self.clock.advance(0.5)
            await until(lambda: self.clock.is_idle)
            await self.clock.advance(0.5)


@asynccontextmanager
async def _running(options: FeedOptions = OPTIONS) -> AsyncIterator[Stage]:
    server = Server()
    listener = await asyncio.start_server(server.talk, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    stage = Stage(ManualClock(), server, [], [])
    fill = RestFill(
        replace(options, rest_url=server.url),
        _schema(),
        deliver=stage.frames.append,
        tell=stage.happenings.append,
        should_fill=lambda: stage.filling,
        compare=stage.compare,
        clock=stage.clock,
        random=lambda: 1.0,
    )
    stage.fill = fill
    task = asyncio.create_task(fill.run())
    await settle()
    try:
        yield stage
        assert not task.done()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        listener.close()
        await listener.wait_closed()


def _schema() -> StreamSchema:
    return parse_schema(_FILE.read_text(), str(_FILE))


async def test_it_asks_only_while_it_should() -> None:
    async with _running() as stage:
        stage.filling = False
        await stage.seconds(5)
        assert stage.server.asked == []
        stage.filling = True
        await stage.seconds(5)
        assert stage.server.asked == [Asked(PATH, None)] * 5
        stage.filling = False
        await stage.seconds(5)
        assert len(stage.server.asked) == 5
        assert stage.told(RestFillChanged) == [RestFillChanged(True), RestFillChanged(False)]


async def test_it_fills_while_it_brings_rows_that_are_new() -> None:
    async with _running() as stage:
        stage.filling = True
        await stage.seconds(2)
        state = stage.fill.state()
        assert (state.state, state.last_end, state.frames) == ("filling", "", 2)
        assert state.next_attempt_at is None
        assert state.url == f"{stage.server.url}{PATH}"
        stage.server.answer = lambda asked: Reply(503)
        await stage.seconds(12)
        state = stage.fill.state()
        assert state.state == "failing"
        assert "503" in state.last_end
        assert state.next_attempt_at is not None
        assert stage.told(RestFillChanged) == [RestFillChanged(True), RestFillChanged(False)]
        stage.filling = False
        await stage.seconds(1)
        assert stage.fill.state().state == "idle"


async def test_now_and_then_the_symbols_are_compared() -> None:
    async with _running() as stage:
        stage.filling = False
        stage.server.answer = lambda asked: Reply(body=b'[{"symbol":"BTCUSD"},{"symbol":"ETHUSD"},7,{"symbol":8}]')
        await stage.seconds(59)
        assert stage.server.asked == []
        await stage.seconds(601)
        assert stage.compared == [frozenset({"BTCUSD", "ETHUSD"})]
        stage.again = True
        await stage.seconds(62)
        assert len(stage.compared) == 3, "again after a minute where it is not sure"
        assert stage.server.asked == [Asked(PATH, None)] * 3
        assert stage.frames == [], "they are no ticks"


async def test_a_refusal_puts_the_comparison_off() -> None:
    async with _running() as stage:
        stage.filling = False
        stage.server.answer = lambda asked: Reply(status=429, headers={"Retry-After": "900"})
        await stage.seconds(700)
        assert len(stage.server.asked) == 1
        assert [each.status for each in stage.told(FeedRefused)] == [429]
        stage.filling = True
        await stage.seconds(100)
        assert len(stage.server.asked) == 1, "the fill keeps the same wait"


async def test_an_answer_without_symbols_compares_nothing() -> None:
    async with _running() as stage:
        stage.filling = False
        stage.server.answer = lambda asked: Reply(body=b"<html>")
        await stage.seconds(61)
        assert len(stage.server.asked) == 1
        assert stage.compared == []


async def test_answers_are_frames_of_their_own_origin() -> None:
    body = b'[{"symbol":"BTCUSD","time":1},{"symbol":"ETHUSD","time":1}]'
    async with _running() as stage:
        stage.server.answer = lambda asked: Reply(body=body)
        await stage.seconds(1)
        (frame,) = stage.frames
        assert (frame.data, frame.connection, frame.origin, frame.stream) == (body, "rest", Origin.REST, PATH)
        assert stage.told(FrameReceived) == [FrameReceived("rest", len(body), 2)]


async def test_it_asks_in_the_middle_of_periods() -> None:
    async with _running() as stage:
        await stage.seconds(3)
        assert [frame.received_at_ns % 1_000_000_000 for frame in stage.frames] == [500_000_000] * 3


async def test_the_same_answer_again_is_dropped() -> None:
    async with _running() as stage:
        stage.server.answer = lambda asked: Reply(body=b"[1]")
        await stage.seconds(3)
        assert len(stage.frames) == 1
        assert stage.told(FrameRepeated) == [FrameRepeated("rest", 1)] * 2


async def test_few_symbols_are_asked_for_one_by_one() -> None:
    async with _running(FeedOptions(symbols=("BTCUSD", "ETHUSD"))) as stage:
        stage.server.answer = lambda asked: Reply(body=f'{{"symbol":"{asked.symbol}"}}'.encode())
        await stage.seconds(1)
        assert {frame.data for frame in stage.frames} == {b'{"symbol":"BTCUSD"}', b'{"symbol":"ETHUSD"}'}


async def test_many_symbols_are_taken_out_of_the_whole_byte_for_byte() -> None:
    symbols = tuple(f"A{number}USD" for number in range(11))
    rows = [b'{ "symbol": "A3USD", "index": 1.50 }', b'{"symbol":"OTHER"}', b'{"symbol":"A9USD"}', b"7"]
    async with _running(FeedOptions(symbols=symbols)) as stage:
        stage.server.answer = lambda asked: Reply(body=b"[" + b", ".join(rows) + b"]")
        await stage.seconds(1)
        assert stage.server.asked == [Asked(PATH, None)]
        assert [frame.data for frame in stage.frames] == [b"[" + rows[0] + b"," + rows[2] + b"]"]


async def test_what_is_no_array_is_delivered_as_it_is() -> None:
    async with _running() as stage:
        stage.server.answer = lambda asked: Reply(body=b"<html>")
        await stage.seconds(1)
        assert [frame.data for frame in stage.frames] == [b"<html>"]


async def test_the_weight_used_by_all_slows_it_down() -> None:
    async with _running() as stage:
        stage.clock.now_s = 40.0  # the beginning of a minute
        await stage.seconds(1)
        used = {"X-MBX-USED-WEIGHT-1M": "1100"}
        stage.server.answer = lambda asked: Reply(body=b"[%d]" % len(stage.server.asked), headers=used)
        before = len(stage.server.asked)
        await stage.seconds(40)
        assert 5 <= len(stage.server.asked) - before <= 10
        used["X-MBX-USED-WEIGHT-1M"] = "1300"
        await stage.seconds(8)
        before = len(stage.server.asked)
        while stage.clock.now_s < 100.0:
            await stage.seconds(1)
            assert len(stage.server.asked) - before <= 1
        used["X-MBX-USED-WEIGHT-1M"] = "10"
        before = len(stage.server.asked)
        await stage.seconds(10)
        assert len(stage.server.asked) - before >= 9


@pytest.mark.parametrize(("status", "quiet_s"), [(429, 20), (418, 20), (403, 20)])
async def test_a_refusal_is_obeyed(status: int, quiet_s: int) -> None:
    async with _running() as stage:
        stage.server.answer = lambda asked: Reply(status, b"no", {"Retry-After": str(quiet_s)})
        await stage.seconds(quiet_s)
        assert len(stage.server.asked) == 1
        (refused,) = stage.told(FeedRefused)
        assert (refused.connection, refused.status, refused.retry_after_s) == ("rest", status, quiet_s)
        stage.server.answer = lambda asked: Reply(body=b"[]")
        await stage.seconds(2)
        assert len(stage.frames) >= 1


async def test_a_ban_is_obeyed_to_its_end() -> None:
    async with _running() as stage:
        until_ms = stage.clock.time_ns() // 1_000_000 + 100_000
        stage.server.answer = lambda asked: Reply(418, f'{{"msg":"IP banned until {until_ms}."}}'.encode())
        await stage.seconds(100)
        assert len(stage.server.asked) == 1
        await stage.seconds(2)
        assert len(stage.server.asked) == 2


async def test_an_answer_that_unpacks_to_gigabytes_takes_no_memory() -> None:
    """A kilobyte of it unpacks to a megabyte."""
    packer = zlib.compressobj(9, wbits=31)
    body = b"".join(packer.compress(b"[" * 2**20) for _ in range(256)) + packer.flush()
    async with _running(FeedOptions(max_frame_bytes=1_000_000)) as stage:
        stage.server.answer = lambda asked: Reply(200, body, {"Content-Encoding": "gzip"})
        tracemalloc.start()
        await stage.seconds(3)
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert {each.reason for each in stage.told(RestFailed)} == {"too big"}
        assert peak_bytes < 10_000_000


async def test_an_answer_that_is_packed() -> None:
    async with _running() as stage:
        stage.server.answer = lambda asked: Reply(200, gzip.compress(b"[]"), {"Content-Encoding": "gzip"})
        await stage.seconds(3)
        assert {frame.data for frame in stage.frames} == {b"[]"}


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(503, b"busy"), "status"),
        (Reply(404, b"{}"), "status"),
        (Reply(200, b"[1]" * 10_000), "too big"),
        (Reply(200, b"long", cut=True), "unreachable"),
        (Reply(200, b"no gzip", {"Content-Encoding": "gzip"}), "body"),
        (Reply(200, gzip.compress(b"[" * 10_001), {"Content-Encoding": "gzip"}), "too big"),
        (Reply(200, b"[]", {"Content-Encoding": "br"}), "body"),
    ],
)
async def test_failures_are_told_and_slowed_down(reply: Reply, reason: str) -> None:
    async with _running(FeedOptions(max_frame_bytes=10_000)) as stage:
        stage.server.answer = lambda asked: reply
        await stage.seconds(30)
        assert {each.reason for each in stage.told(RestFailed)} == {reason}
        assert [each.next_attempt_s for each in stage.told(RestFailed)][:4] == [1, 2, 4, 8]
        assert len(stage.server.asked) <= 6
        assert stage.frames == []
        stage.server.answer = lambda asked: Reply(body=b"[]")
        await stage.seconds(12)
        assert stage.frames != []


async def test_one_symbol_that_does_not_exist_is_told_once_and_slows_nothing() -> None:
    def answer(asked: Asked) -> Reply:
        if asked.symbol == "NOSUCHUSD":
            return Reply(400, b'{"code":-1121,"msg":"Invalid symbol."}')
        return Reply(body=json.dumps({"symbol": asked.symbol, "time": len(stage.server.asked)}).encode())

    async with _running(FeedOptions(symbols=("BTCUSD", "NOSUCHUSD"))) as stage:
        stage.server.answer = answer
        await stage.seconds(10)
        assert len(stage.frames) == 10
        (failed,) = stage.told(RestFailed)
        assert "Invalid symbol" in failed.detail


async def test_no_answer_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "_REQUEST_TIMEOUT_S", 0.05)
    async with _running() as stage:
        stage.server.answer = lambda asked: Reply(headers={"Content-Length": "1000"})
        await stage.seconds(1)
        assert [each.reason for each in stage.told(RestFailed)] == ["timeout"]


@pytest.mark.parametrize("has_end_point", [True, False])
async def test_where_it_is_off_or_there_is_nothing_to_ask_it_ends_at_once(has_end_point: bool) -> None:
    schema = _schema()
    feed = schema.feed if has_end_point else replace(schema.feed, rest=None)
    fill = RestFill(
        FeedOptions(rest_fill=not has_end_point),
        replace(schema, feed=feed),
        deliver=lambda frame: None,
        tell=lambda happening: None,
        should_fill=lambda: True,
    )
    async with asyncio.timeout(5):
        await fill.run()
