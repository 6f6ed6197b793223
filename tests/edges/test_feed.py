"""The supervisor, on a clock that the test moves and with sockets that the test scripts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import pytest

from connector.core.envelope import Acknowledged, Refused, ServerShutdown
from connector.core.errors import ConfigurationError
from connector.core.happenings import (
    FeedChanged,
    FeedComplained,
    FeedRefused,
    FrameRepeated,
    Happening,
    SocketClosed,
    SocketFailed,
    SocketOpened,
    SocketSuspected,
    StreamMissing,
)
from connector.core.schema import StreamSchema, parse_schema
from connector.core.values import Frame
from connector.edges.feed import Feed, FeedOptions
from connector.edges.websocket import ConnectFailedError, HandshakeRefusedError
from tests.edges.scripted import EPOCH_S, ManualClock, ScriptedExchange, ScriptedInspector, ScriptedSocket, settle

H = TypeVar("H", bound=Happening)
_FILE = Path(__file__).parents[2] / "schemas" / "asset_index.avsc"


@pytest.fixture(scope="module")
def schema() -> StreamSchema:
    return parse_schema(_FILE.read_text(), str(_FILE))


@dataclass
class Stage:
    """A running feed and all that surrounds it."""

    feed: Feed
    clock: ManualClock
    exchange: ScriptedExchange
    inspector: ScriptedInspector
    frames: list[Frame] = field(default_factory=list)
    happenings: list[Happening] = field(default_factory=list)

    def told(self, kind: type[H]) -> list[H]:
        return [each for each in self.happenings if isinstance(each, kind)]

    def closes(self) -> list[tuple[str, str]]:
        return [(each.connection, each.reason) for each in self.told(SocketClosed)]

    def seconds(self) -> list[int]:
        """The event times delivered, in order, counted from the beginning."""
        return [int(frame.data.split()[0]) // 1000 - EPOCH_S for frame in self.frames]


@asynccontextmanager
async def _running(
    schema: StreamSchema, options: FeedOptions, prepare: Callable[[ScriptedExchange], None] = lambda exchange: None
) -> AsyncIterator[Stage]:
    clock, inspector = ManualClock(), ScriptedInspector()
    exchange = ScriptedExchange(clock)
    prepare(exchange)
    frames: list[Frame] = []
    happenings: list[Happening] = []
    feed = Feed(
        options,
        schema,
        inspector,
        deliver=frames.append,
        tell=happenings.append,
        clock=clock,
        connect=exchange.connect,
        random=lambda: 1.0,
    )
    task = asyncio.create_task(feed.run())
    await settle()
    try:
        yield Stage(feed, clock, exchange, inspector, frames, happenings)
        assert not task.done()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert exchange.open == []


OPTIONS = FeedOptions(url="ws://exchange")


async def test_all_connections_open_one_after_the_other_on_the_market_route(schema: StreamSchema) -> None:
    async with _running(schema, replace(OPTIONS, connections=3)) as stage:
        assert len(stage.exchange.sockets) == 1
        await stage.clock.advance(1.0)
        assert [socket.url for socket in stage.exchange.sockets] == ["ws://exchange/market/ws/!assetIndex@arr"] * 3
        assert stage.exchange.attempts_at_s == [0.0, 0.5, 1.0]


async def test_each_frame_is_delivered_once_whoever_brings_it(schema: StreamSchema) -> None:
    async with _running(schema, OPTIONS) as stage:
        await stage.exchange.play(20)
        assert stage.seconds() == list(range(1, 21))
        assert len(stage.told(FrameRepeated)) == 20
        assert {frame.stream for frame in stage.frames} == {"!assetIndex@arr"}
        assert [each.state for each in stage.told(FeedChanged)] == ["advancing"]
        assert stage.closes() == []


async def test_what_one_socket_loses_the_other_brings_in_order(schema: StreamSchema) -> None:
    async with _running(schema, OPTIONS) as stage:
        await stage.exchange.play(5)
        first, second = stage.exchange.sockets
        await stage.clock.advance(1.0)
        first.send_tick(7.0)
        await settle()
        assert stage.seconds()[-1] == 5
        second.send_tick(6.0)
        second.send_tick(7.0)
        await settle()
        assert stage.seconds() == [1, 2, 3, 4, 5, 6, 7]


async def test_a_held_frame_is_let_go_after_the_hold_time(schema: StreamSchema) -> None:
    async with _running(schema, OPTIONS) as stage:
        await stage.exchange.play(5)
        stage.exchange.sockets[0].send_tick(7.0)
        await stage.clock.advance(0.49)
        assert stage.seconds()[-1] == 5
        await stage.clock.advance(0.02)
        assert stage.seconds()[-1] == 7


async def test_a_held_frame_is_delivered_when_the_feed_stops(schema: StreamSchema) -> None:
    async with _running(schema, OPTIONS) as stage:
        await stage.exchange.play(5)
        stage.exchange.sockets[0].send_tick(7.0)
        await settle()
    assert stage.seconds()[-1] == 7
    assert stage.closes()[-2:] == [("ws-1", "stopping"), ("ws-2", "stopping")]


async def test_a_lost_socket_comes_back_at_once_and_nothing_is_missing(schema: StreamSchema) -> None:
    async with _running(schema, OPTIONS) as stage:
        await stage.exchange.play(5)
        stage.exchange.sockets[0].end("lost", "reset by peer")
        await stage.exchange.play(5)
        assert stage.closes() == [("ws-1", "lost")]
        assert stage.told(SocketClosed)[0].detail == "reset by peer"
        assert len(stage.exchange.open) == 2
        assert stage.seconds() == list(range(1, 11))


async def test_a_socket_that_brings_nothing_is_named_with_its_likely_cause(schema: StreamSchema) -> None:
    async with _running(schema, OPTIONS) as stage:
        await stage.clock.advance(10.8)
        suspected = stage.told(SocketSuspected)
        assert [(each.connection, each.reason) for each in suspected] == [
            ("ws-1", "no first tick"),
            ("ws-2", "no first tick"),
        ]
        assert "wrong route" in suspected[0].detail
        assert "feed.url" in suspected[0].detail
        assert "ws://exchange/market/ws/!assetIndex@arr" in suspected[0].detail
        assert [each.state for each in stage.told(FeedChanged)] == ["silent"]


async def test_where_data_has_come_before_the_cause_is_not_the_address(schema: StreamSchema) -> None:
    async with _running(schema, OPTIONS) as stage:
        await stage.exchange.play(5)
        stage.exchange.sockets[0].end()
        await stage.exchange.play(15, skip=lambda socket: socket.number == 2)
        (suspected,) = stage.told(SocketSuspected)
        assert (suspected.connection, suspected.reason) == ("ws-1", "no first tick")
        assert "feed.url" not in suspected.detail


async def test_empty_arrays_and_acknowledgements_are_no_sign_of_life(schema: StreamSchema) -> None:
    async with _running(schema, replace(OPTIONS, connections=1)) as stage:
        stage.inspector.by_bytes[b"ack"] = Acknowledged(1)
        for _ in range(11):
            await stage.clock.advance(1.0)
            stage.exchange.sockets[0].send(b"[]")
            stage.exchange.sockets[0].send(b"ack")
            await settle()
        assert [each.reason for each in stage.told(SocketSuspected)] == ["no first tick"]
        assert [frame.data for frame in stage.frames] == [b"[]"] * 11


async def test_a_silent_exchange_keeps_a_socket_open_nearly_always_and_is_not_hammered(schema: StreamSchema) -> None:
    async with _running(schema, OPTIONS) as stage:
        open_counts = []
        for _ in range(600):
            await stage.clock.advance(1.0)
            open_counts.append(len(stage.exchange.open))
        assert min(open_counts[1:]) >= 1
        assert len(stage.exchange.attempts_at_s) <= 60
        await stage.exchange.play(3)
        assert stage.seconds() == [601, 602, 603]


async def test_a_stalled_socket_is_replaced_while_its_sibling_goes_on(schema: StreamSchema) -> None:
    async with _running(schema, OPTIONS) as stage:
        await stage.exchange.play(10)
        await stage.exchange.play(10, skip=lambda socket: socket.number == 0)
        assert stage.closes() == [("ws-1", "trailing")]
        assert "brings nothing" in stage.told(SocketSuspected)[0].detail
        assert len(stage.exchange.sockets) == 3
        assert stage.seconds() == list(range(1, 21))


async def test_a_frozen_socket_is_replaced_and_its_repetitions_are_dropped(schema: StreamSchema) -> None:
    async with _running(schema, OPTIONS) as stage:
        await stage.exchange.play(10)
        frozen = stage.exchange.sockets[0]
        for _ in range(8):
            await stage.exchange.play(1, skip=lambda socket: socket is frozen)
            if frozen.is_open:
                frozen.send_tick(10.0)
        assert stage.closes() == [("ws-1", "trailing")]
        assert "repeats" in stage.told(SocketSuspected)[0].detail
        assert stage.seconds() == list(range(1, 19))


async def test_a_socket_that_sends_old_frames_is_replaced(schema: StreamSchema) -> None:
    async with _running(schema, OPTIONS) as stage:
        await stage.exchange.play(30)
        old = stage.exchange.sockets[1]
        for _ in range(5):
            await stage.exchange.play(1, skip=lambda socket: socket is old)
            if old.is_open:
                old.send_tick(stage.clock.now_s - 25)
        assert ("ws-2", "trailing") in stage.closes()


async def test_a_socket_that_recovers_before_its_replacement_is_kept(schema: StreamSchema) -> None:
    options = replace(OPTIONS, backoff_first=4.0)
    async with _running(schema, options) as stage:
        await stage.exchange.play(10)
        await stage.exchange.play(5, skip=lambda socket: socket.number == 0)
        assert [each.reason for each in stage.told(SocketSuspected)] == ["trailing"]
        await stage.exchange.play(20)
        assert stage.closes() == []
        assert len(stage.exchange.sockets) == 2
        await stage.exchange.play(8, skip=lambda socket: socket.number == 0)
        assert len(stage.told(SocketSuspected)) == 2


async def test_a_pause_of_the_exchange_closes_nothing(schema: StreamSchema) -> None:
    async with _running(schema, OPTIONS) as stage:
        await stage.exchange.play(10)
        await stage.clock.advance(8.0)
        assert stage.feed.state().state == "silent"
        await stage.exchange.play(10)
        assert stage.closes() == []
        assert stage.told(SocketSuspected) == []
        assert [each.state for each in stage.told(FeedChanged)] == ["advancing", "silent", "advancing"]


async def test_in_a_long_silence_sockets_are_replaced_one_at_a_time(schema: StreamSchema) -> None:
    async with _running(schema, OPTIONS) as stage:
        await stage.exchange.play(10)
        await stage.clock.advance(15.3)
        assert [(each.connection, each.reason) for each in stage.told(SocketSuspected)] == [("ws-1", "silent")]
        assert stage.exchange.sockets[1].is_open
        await stage.clock.advance(14.0)
        assert stage.exchange.sockets[1].is_open
        await stage.clock.advance(1.5)
        assert ("ws-2", "silent") in [(each.connection, each.reason) for each in stage.told(SocketSuspected)]


async def test_when_both_are_frozen_the_state_says_so(schema: StreamSchema) -> None:
    async with _running(schema, OPTIONS) as stage:
        await stage.exchange.play(10)
        for _ in range(16):
            await stage.clock.advance(1.0)
            for socket in stage.exchange.open:
                socket.send_tick(10.0)
            await settle()
        assert stage.feed.state().state == "frozen"
        assert stage.told(SocketSuspected)[0].reason == "frozen"


async def test_one_event_time_far_ahead_closes_nothing(schema: StreamSchema) -> None:
    async with _running(schema, OPTIONS) as stage:
        await stage.exchange.play(10)
        stage.exchange.sockets[0].send_tick(30.0)
        await stage.exchange.play(30)
        assert stage.told(SocketSuspected) == []
        assert stage.feed.state().state == "advancing"


async def test_rotation_by_age_opens_the_new_one_first(schema: StreamSchema) -> None:
    async with _running(schema, replace(OPTIONS, rotate_after=100.0)) as stage:
        await stage.exchange.play(50)
        assert len(stage.exchange.sockets) == 2
        await stage.clock.advance(0.9)
        assert len(stage.exchange.open) == 3
        assert stage.closes() == []
        await stage.exchange.play(1)
        assert stage.closes() == [("ws-2", "rotation")]
        assert stage.exchange.sockets[1].closed_by_us
        await stage.exchange.play(60)
        assert stage.closes() == [("ws-2", "rotation"), ("ws-1", "rotation")]
        assert stage.seconds() == list(range(1, 112))


async def test_rotation_at_a_time_of_day(schema: StreamSchema) -> None:
    minutes = (EPOCH_S % 86_400) // 60 + 2
    options = replace(OPTIONS, rotate_at=f"{minutes // 60:02}:{minutes % 60:02}")
    into_the_minute_s = EPOCH_S % 60
    async with _running(schema, options) as stage:
        await stage.exchange.play(115 - into_the_minute_s)
        assert stage.closes() == []
        await stage.exchange.play(10)
        assert stage.closes() == [("ws-1", "rotation")]
        await stage.exchange.play(60)
        assert stage.closes() == [("ws-1", "rotation"), ("ws-2", "rotation")]


async def test_rotating_every_5_s_loses_nothing_and_leaves_attempts_for_need(schema: StreamSchema) -> None:
    async with _running(schema, replace(OPTIONS, rotate_after=5.0)) as stage:
        await stage.exchange.play(299)
        assert stage.seconds() == list(range(1, 300))
        assert {reason for _, reason in stage.closes()} == {"rotation"}
        assert 30 < len(stage.exchange.attempts_at_s) <= 40
        stage.exchange.open[0].end()
        await stage.exchange.play(2)
        assert len(stage.exchange.open) == 2


async def test_a_replacement_that_brings_nothing_does_not_replace(schema: StreamSchema) -> None:
    async with _running(schema, replace(OPTIONS, connections=1, rotate_after=100.0)) as stage:
        await stage.exchange.play(110, skip=lambda socket: socket.number == 1)
        assert stage.closes() == [("ws-1", "no first tick")]
        assert stage.exchange.sockets[0].is_open
        await stage.exchange.play(10)
        assert stage.closes() == [("ws-1", "no first tick"), ("ws-1", "rotation")]
        assert stage.seconds() == list(range(1, 121))


async def test_a_rotation_that_is_refused_keeps_the_old_connection(schema: StreamSchema) -> None:
    async with _running(schema, replace(OPTIONS, connections=1, rotate_after=100.0)) as stage:
        await stage.exchange.play(99)
        stage.exchange.refusals.append(HandshakeRefusedError(429, "20", b""))
        await stage.exchange.play(15)
        assert [each.status for each in stage.told(FeedRefused)] == [429]
        assert stage.exchange.sockets[0].is_open
        await stage.exchange.play(15)
        assert stage.closes() == [("ws-1", "rotation")]
        assert stage.seconds() == list(range(1, 130))


async def test_the_servers_notice_opens_the_new_one_at_once_and_first(schema: StreamSchema) -> None:
    async with _running(schema, OPTIONS) as stage:
        stage.inspector.by_bytes[b"shutdown"] = ServerShutdown()
        await stage.exchange.play(20)
        stage.exchange.sockets[0].send(b"shutdown")
        await settle()
        assert len(stage.exchange.open) == 3
        await stage.exchange.play(5)
        assert stage.closes() == [("ws-1", "server shutdown")]
        assert stage.seconds() == list(range(1, 26))


async def test_a_server_that_gives_notice_to_everyone_is_not_hammered(schema: StreamSchema) -> None:
    def give_notice(socket: ScriptedSocket) -> None:
        socket.send_tick(1.0, f"@{socket.number}")
        socket.send(b"shutdown")

    async with _running(schema, OPTIONS) as stage:
        stage.inspector.by_bytes[b"shutdown"] = ServerShutdown()
        stage.exchange.on_open = give_notice
        await stage.clock.advance(900.0)
        assert _busiest_window(stage.exchange.attempts_at_s, 300.0) <= 60


async def test_a_server_that_accepts_and_closes_is_not_hammered(schema: StreamSchema) -> None:
    async with _running(schema, OPTIONS, lambda exchange: setattr(exchange, "accept_and_close", True)) as stage:
        await stage.clock.advance(10.0)
        assert len(stage.exchange.attempts_at_s) <= 14
        await stage.clock.advance(890.0)
        assert _busiest_window(stage.exchange.attempts_at_s, 300.0) <= 60
        stage.exchange.accept_and_close = False
        await stage.clock.advance(20.0)
        await stage.exchange.play(2)
        assert stage.feed.state().state == "advancing"


async def test_one_tick_and_a_close_does_not_start_the_delays_over(schema: StreamSchema) -> None:
    def one_tick(socket: ScriptedSocket) -> None:
        socket.send_tick(socket.number)
        socket.end("closed", "1001")

    async with _running(schema, OPTIONS, lambda exchange: setattr(exchange, "on_open", one_tick)) as stage:
        await stage.clock.advance(900.0)
        assert _busiest_window(stage.exchange.attempts_at_s, 300.0) <= 60
        assert len(stage.exchange.attempts_at_s) <= 110


async def test_the_limit_on_attempts_holds_for_all_connections_together(schema: StreamSchema) -> None:
    options = replace(OPTIONS, connections=20, backoff_cap=0.25)
    async with _running(schema, options, lambda exchange: setattr(exchange, "accept_and_close", True)) as stage:
        await stage.clock.advance(700.0)
        assert _busiest_window(stage.exchange.attempts_at_s, 300.0) == 60


async def test_a_refusal_for_our_address_holds_all_new_attempts_and_no_open_connection(schema: StreamSchema) -> None:
    async with _running(schema, OPTIONS) as stage:
        await stage.exchange.play(5)
        stage.exchange.refusals.append(HandshakeRefusedError(418, "100", b""))
        stage.exchange.sockets[0].end()
        await stage.exchange.play(90)
        assert len(stage.exchange.attempts_at_s) == 3
        refused = stage.told(FeedRefused)
        assert [(each.connection, each.status, each.retry_after_s) for each in refused] == [("ws-1", 418, 100.0)]
        assert stage.exchange.sockets[1].is_open
        await stage.exchange.play(15)
        assert len(stage.exchange.open) == 2
        assert stage.seconds() == list(range(1, 111))


@pytest.mark.parametrize(("status", "quiet_s", "attempts"), [(429, 10, 100), (403, 60, 18), (451, 600, 2)])
async def test_refusals_without_a_word_are_told_apart(
    schema: StreamSchema, status: int, quiet_s: float, attempts: int
) -> None:
    def refuse(exchange: ScriptedExchange) -> None:
        exchange.refuse_all = HandshakeRefusedError(status, None, b"")

    async with _running(schema, replace(OPTIONS, connections=1), refuse) as stage:
        await stage.clock.advance(quiet_s - 0.1)
        assert stage.exchange.attempts_at_s == [0.0]
        await stage.clock.advance(1000.0)
        assert len(stage.exchange.attempts_at_s) <= attempts
        assert {each.status for each in stage.told(FeedRefused)} == {status}
        assert stage.feed.state().state == "down"


async def test_a_connection_that_cannot_be_made_is_told_with_its_cause(schema: StreamSchema) -> None:
    def fail(exchange: ScriptedExchange) -> None:
        exchange.refusals.append(ConnectFailedError("name not found", "no such host"))

    async with _running(schema, OPTIONS, fail) as stage:
        await stage.exchange.play(5)
        (failed,) = stage.told(SocketFailed)
        assert (failed.connection, failed.reason, failed.detail) == ("ws-1", "name not found", "no such host")
        assert failed.next_attempt_s == 0.25
        assert len(stage.told(SocketOpened)) == 2


async def test_an_error_reply_is_told(schema: StreamSchema) -> None:
    async with _running(schema, OPTIONS) as stage:
        stage.inspector.by_bytes[b"no"] = Refused(2, "Invalid request")
        stage.exchange.sockets[0].send(b"no")
        await settle()
        assert stage.told(FeedComplained) == [FeedComplained("ws-1", 2, "Invalid request")]
        assert stage.frames == []


async def test_the_state_names_every_connection(schema: StreamSchema) -> None:
    async with _running(schema, OPTIONS) as stage:
        assert stage.feed.state().advanced_at_monotonic is None
        await stage.exchange.play(10)
        stage.exchange.refuse_all = HandshakeRefusedError(503, None, b"")
        stage.exchange.sockets[0].end("closed", "1001")
        await stage.exchange.play(1)
        state = stage.feed.state()
        assert (state.state, state.newest_event_time_ms) == ("advancing", (EPOCH_S + 11) * 1000)
        assert state.advanced_at_monotonic == 11.0
        first, second = state.sockets
        assert (first.connection, first.state, first.since) == ("ws-1", "down", 10.0)
        assert first.last_end.startswith("refused by the exchange: ")
        assert "503" in first.last_end
        assert first.next_attempt_at is not None
        assert first.next_attempt_at > 10.0
        assert first.url == "ws://exchange/market/ws/!assetIndex@arr"
        assert first.streams == ("!assetIndex@arr",)
        assert (second.connection, second.state, second.since, second.frames) == ("ws-2", "advancing", 0.5, 11)
        stage.exchange.sockets[1].end()
        await stage.clock.advance(1.0)
        assert stage.feed.state().state == "down"
        assert stage.told(FeedChanged)[-1].state == "down"


async def test_a_silence_is_as_long_as_no_tick_came_however_often_it_is_connected_anew(schema: StreamSchema) -> None:
    async with _running(schema, OPTIONS) as stage:
        await stage.exchange.play(10)
        await stage.clock.advance(90.0)
        assert len(stage.exchange.sockets) > 2, "connections were made anew meanwhile"
        state = stage.feed.state()
        assert state.state in ("silent", "down")
        assert [each.since for each in state.sockets] == [10.0, 10.0]


async def test_a_process_that_was_stopped_has_not_watched_a_silence(schema: StreamSchema) -> None:
    async with _running(schema, OPTIONS) as stage:
        await stage.exchange.play(10)
        await stage.clock.advance(2.5)
        assert stage.feed.state().silent_s == 2.5
        stage.clock.now_s += 60.0
        assert stage.feed.state().silent_s == 0.0, "before its watch has its turn"
        await stage.clock.advance(0.1)
        for socket in stage.exchange.sockets:
            socket.send_tick(60.0)
        await stage.clock.advance(1.0)
        assert stage.feed.state().silent_s == 1.0
        assert not stage.told(SocketSuspected), "what has come meanwhile is read first"
        assert [state.state for state in stage.told(FeedChanged)][-1] == "advancing"
        await stage.clock.advance(30.0)
        assert stage.told(SocketSuspected)


async def test_a_process_that_is_stopped_again_and_again_has_watched_in_between(schema: StreamSchema) -> None:
    async with _running(schema, OPTIONS) as stage:
        await stage.exchange.play(10)
        for stopped in range(1, 8):
            stage.clock.now_s += 1.5
            await stage.clock.advance(1.0)
            assert 0.6 * stopped <= stage.feed.state().silent_s <= stopped
        stage.exchange.sockets[0].send_tick(60.0)
        await settle()
        assert stage.feed.state().silent_s == 0.0
        stage.clock.now_s += 1.5
        await stage.clock.advance(0.5)
        assert stage.feed.state().silent_s <= 0.5


async def test_from_when_on_a_socket_has_brought_all_there_was(schema: StreamSchema) -> None:
    def since_s() -> float | None:
        since_ms = stage.feed.state().unbroken_since_ms
        return None if since_ms is None else since_ms / 1000 - EPOCH_S

    async with _running(schema, OPTIONS) as stage:
        assert since_s() is None
        await stage.exchange.play(10)
        first, second = stage.exchange.sockets
        assert since_s() == 1.0
        first.end()
        await stage.exchange.play(2)
        assert since_s() == 1.0, "the other one was there"
        second.end()
        await settle()
        assert since_s() == 11.0, "the one that was opened anew"
        stage.exchange.open[-1].end()
        await stage.clock.advance(5.0)
        for at_s in (3, 4, 20):
            stage.exchange.open[-1].send_tick(at_s)
        await settle()
        assert since_s() == 20.0, "old ticks do not say that nothing was missed since"
        await stage.clock.advance(5.0)
        assert since_s() is None, "it may stand still while the exchange does not"


async def test_the_offset_of_event_time_has_its_sign(schema: StreamSchema) -> None:
    async with _running(schema, OPTIONS) as stage:
        assert stage.feed.state().ahead_ms is None
        for sent, expected_ms in ((5.0, 3_500), (-5.0, -6_500)):
            for socket in stage.exchange.sockets:
                socket.send_tick(sent)
            await settle()
            ahead_ms = stage.feed.state().ahead_ms
            assert ahead_ms is not None
            assert (ahead_ms > 0) == (sent > 0), expected_ms


async def test_chosen_symbols_share_a_connection_and_a_missing_one_is_named_once(schema: StreamSchema) -> None:
    options = replace(OPTIONS, symbols=("BTCUSD", "NOSUCHUSD"))
    async with _running(schema, options) as stage:
        assert (
            stage.exchange.sockets[0].url
            == "ws://exchange/market/stream?streams=btcusd@assetIndex/nosuchusd@assetIndex"
        )
        for second in range(1, 30):
            await stage.clock.advance(1.0)
            for socket in stage.exchange.open:
                socket.send_tick(second, "btcusd@assetIndex")
            await settle()
        assert stage.seconds() == list(range(1, 30))
        assert [each.streams for each in stage.told(StreamMissing)] == [("nosuchusd@assetIndex",)]


async def test_more_streams_than_an_address_holds_are_split(schema: StreamSchema) -> None:
    options = replace(OPTIONS, symbols=tuple(f"ASSET{number}USD" for number in range(400)))
    async with _running(schema, options) as stage:
        await stage.clock.advance(0.5)
        assert [each.connection for each in stage.feed.state().sockets] == [
            f"ws-{connection}.{part}" for connection in (1, 2) for part in (1, 2, 3)
        ]
        part, other = stage.exchange.sockets[:2]
        for second in range(1, 20):
            await stage.clock.advance(1.0)
            for socket in stage.exchange.open:
                if socket.url == part.url:
                    socket.send_tick(second, "asset0usd@assetIndex")
            await settle()
        assert part.url != other.url
        assert stage.feed.state().state == "silent", "a feed whose other parts bring nothing does not advance"


async def test_options_that_cannot_work_are_refused_all_at_once(schema: StreamSchema) -> None:
    options = FeedOptions(url="wss://host/ws", rest_url="nowhere", rotate_at="25:00", connections=0)
    with pytest.raises(ConfigurationError) as caught:
        Feed(options, schema, ScriptedInspector(), deliver=lambda frame: None, tell=lambda happening: None)
    assert len(caught.value.problems) == 4


async def test_a_bug_in_what_the_feed_calls_ends_it(schema: StreamSchema) -> None:
    clock = ManualClock()
    exchange = ScriptedExchange(clock)

    def broken(frame: Frame) -> None:
        raise ZeroDivisionError

    feed = Feed(
        OPTIONS,
        schema,
        ScriptedInspector(),
        deliver=broken,
        tell=lambda happening: None,
        clock=clock,
        connect=exchange.connect,
    )
    task = asyncio.create_task(feed.run())
    await settle()
    exchange.sockets[0].send_tick(1.0)
    with pytest.raises(ExceptionGroup) as caught:
        await task
    assert caught.value.subgroup(ZeroDivisionError) is not None
    assert exchange.open == []


def _busiest_window(times_s: list[float], window_s: float) -> int:
    return max(sum(start_s <= each < start_s + window_s for each in times_s) for start_s in times_s)
