"""The fake exchange itself: the server, the clock of its feed, its limits."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Final, TypeVar

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from connector.local.exchange_board import Board
from connector.local.exchange_connection import (
    ConnectionInfo,
    CountedConnection,
    Route,
    Subscriber,
    parse_route,
    split_label,
)
from connector.local.exchange_control import Session, answer
from connector.local.exchange_rest import Reply, RestEndpoint, refusal
from connector.local.fault_orders import FaultOrders
from connector.local.market import Market
from connector.local.truth import Truth

T = TypeVar("T")
_HANDSHAKE_WINDOW_S: Final = 300.0
_CALL_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Rules:
    """The exchange's limits, as documented; a test shortens them."""

    connection_lifetime_s: float = 86_400.0
    ping_interval_s: float = 180.0
    pong_timeout_s: float = 600.0
    handshakes_per_5_min: int = 300
    incoming_per_s: int = 10
    streams_per_connection: int = 1024
    weight_per_minute: int = 2400
    nested_errors: bool = False
    slow_consumer_bytes: int = 64 * 1024 * 1024
    """A client that leaves so much unread is disconnected."""


def cadence_ms(rate_hz: float) -> int:
    """The period of a rate; it must be whole milliseconds, so that event times can be aligned to it."""
    cadence = round(1000 / rate_hz)
    if cadence < 1 or abs(cadence * rate_hz - 1000) > 1e-6:
        raise ValueError(f"1000 / rate_hz must be whole milliseconds, not {1000 / rate_hz}")
    return cadence


class FakeExchange(FaultOrders):
    """An exchange on loopback, as an async context manager; what a test orders may come from any thread.

    ``symbols``: a count or names. ``periods``: stop the feed after so many, sockets stay open.
    ``manual``: nothing is pushed but by :meth:`publish`. ``start_time_ms``: event times count from there
    and not from the clock. ``truth_path``, ``keep_periods``: see :class:`Truth`.
    """

    def __init__(
        self,
        *,
        symbols: int | Sequence[str] = 60,
        rate_hz: float = 1.0,
        seed: int = 1,
        host: str = "127.0.0.1",
        port: int = 0,
        periods: int | None = None,
        manual: bool = False,
        start_time_ms: int | None = None,
        truth_path: str | Path | None = None,
        keep_periods: int | None = None,
        rules: Rules = Rules(),
    ) -> None:
        self.cadence_ms = cadence_ms(rate_hz)
        self.truth = Truth(truth_path, keep_periods)
        self._board = Board(Market(symbols, seed), self.truth, rules.slow_consumer_bytes)
        self._rest = RestEndpoint(self.truth, rules.weight_per_minute, seed)
        self._rules, self._host, self._port = rules, host, port
        self._periods, self._manual, self._start_time_ms = periods, manual, start_time_ms
        self._next_event_time_ms = 0
        self._accepted = 0
        self._handshakes: deque[float] = deque()
        self._server: Server | None = None
        self._feed: asyncio.Task[None] | None = None
        self._changed = asyncio.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread_id = 0

    # Life.

    async def __aenter__(self) -> FakeExchange:
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        self._next_event_time_ms = self._first_event_time_ms()
        self._board.begin(self._next_event_time_ms - self.cadence_ms)
        self._server = await serve(
            self._handle,
            self._host,
            self._port,
            process_request=self._process_request,
            compression=None,
            open_timeout=120,
            ping_interval=self._rules.ping_interval_s,
            ping_timeout=self._rules.pong_timeout_s,
            close_timeout=1,
            max_queue=None,
            create_connection=CountedConnection,
            server_header="nginx",
        )
        self._port = self._server.sockets[0].getsockname()[1]
        if not self._manual:
            self.start_feeding()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        if self._feed is not None:
            self._feed.cancel()
            with suppress(asyncio.CancelledError):
                await self._feed
        for subscriber in self._board.subscribers:
            subscriber.abort()
        self._server.close()
        await self._server.wait_closed()
        self.truth.close()

    @property
    def url(self) -> str:
        """The base for WebSocket connections; routes come behind it."""
        return f"ws://{self._host}:{self._port}"

    @property
    def rest_url(self) -> str:
        return f"http://{self._host}:{self._port}"

    def _on_loop(self, action: Callable[[], T]) -> T:
        if self._loop is None:
            raise RuntimeError("the exchange is not running")
        if threading.get_ident() == self._thread_id:
            return action()

        async def act() -> T:
            return action()

        return asyncio.run_coroutine_threadsafe(act(), self._loop).result(_CALL_TIMEOUT_S)

    # Feed.

    def _first_event_time_ms(self) -> int:
        if self._start_time_ms is not None:
            return self._start_time_ms
        return -(-int(time.time() * 1000) // self.cadence_ms) * self.cadence_ms

    def start_feeding(self) -> None:
        """Push again after :meth:`stop_feeding`, from the next period of the clock on."""

        def act() -> None:
            if self._feed is None or self._feed.done():
                self._feed = asyncio.get_running_loop().create_task(self._run_feed())

        self._on_loop(act)

    def stop_feeding(self) -> None:
        """Push no more; sockets stay open, and REST stays at the last values."""
        self._on_loop(lambda: self._feed.cancel() if self._feed is not None else None)

    def publish(self, periods: int = 1) -> int:
        """Push so many periods now; gives the event time of the last."""

        def act() -> int:
            for _ in range(periods):
                self._publish_next()
            return self._next_event_time_ms - self.cadence_ms

        return self._on_loop(act)

    def _publish_next(self) -> None:
        assert self._loop is not None
        self._board.publish(self._next_event_time_ms, self._loop.time())
        self._next_event_time_ms += self.cadence_ms

    async def _run_feed(self) -> None:
        assert self._loop is not None
        now_ms = time.time() * 1000
        if self._start_time_ms is None:
            self._next_event_time_ms = max(self._next_event_time_ms, self._first_event_time_ms())
            wait_s = (self._next_event_time_ms - now_ms) / 1000
        else:
            wait_s = 0.0
        due_s = self._loop.time() + wait_s
        while self._periods is None or self._periods > 0:
            # Every period is pushed, in order and without a pause where this process lags.
            await asyncio.sleep(max(0.0, due_s - self._loop.time()))
            self._publish_next()
            due_s += self.cadence_ms / 1000
            if self._periods is not None:
                self._periods -= 1

    async def wait_until_fed(self) -> None:
        """Wait until ``periods`` were pushed, or the feed was stopped."""
        if self._feed is not None:
            await asyncio.wait([self._feed])

    # Connections.

    def connections(self) -> list[ConnectionInfo]:
        """The open ones, in order of arrival."""
        return self._on_loop(lambda: [subscriber.info for subscriber in self._board.open_subscribers()])

    async def wait_for_subscribers(self, count: int, timeout_s: float = 10.0) -> None:
        """Wait until so many open connections are due to be pushed data. Raises :class:`TimeoutError`."""
        async with asyncio.timeout(timeout_s), self._changed:
            await self._changed.wait_for(lambda: self._live_count() >= count)

    def _live_count(self) -> int:
        return sum(subscriber.receives(self._board.latest) for subscriber in self._board.subscribers)

    async def _tell_change(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _handle(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        assert self._loop is not None
        route = parse_route(connection.request.path)
        assert route is not None
        self._accepted += 1
        session = Session(streams_limit=self._rules.streams_per_connection, nested_errors=self._rules.nested_errors)
        subscriber = Subscriber(self._accepted, route, connection, session)
        if isinstance(connection, CountedConnection) and connection.ordered_close_code is not None:
            await connection.close(connection.ordered_close_code)
            return
        self._board.subscribers.append(subscriber)
        end = self._loop.call_later(
            self._rules.connection_lifetime_s, self._board.close_soon, subscriber, 1001, "connection lifetime"
        )
        try:
            await self._tell_change()
            async for message in connection:
                subscriber.push(answer(message, session).encode())
                await self._tell_change()
        except ConnectionClosed:
            pass
        finally:
            end.cancel()
            self._board.subscribers.remove(subscriber)
            await self._tell_change()

    # Requests.

    async def _process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        assert self._loop is not None
        label, path = split_label(request.path)
        info = ConnectionInfo(0, request.path, label, self._loop.time(), dict(request.headers.raw_items()))
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return _response(await self._rest_reply(path, info))
        assert isinstance(connection, CountedConnection)
        connection.incoming_per_s = self._rules.incoming_per_s
        return self._handshake_refusal(connection, parse_route(request.path), info)

    async def _rest_reply(self, path: str, info: ConnectionInfo) -> Reply:
        assert self._loop is not None
        gate = self._board.gate("rest", info, self._loop.time())
        if gate is not None:
            await asyncio.sleep(gate.delay_s)
            if gate.reply is not None:
                return gate.reply
        return self._rest.reply(path, self._board.latest)

    def _handshake_refusal(
        self, connection: CountedConnection, route: Route | None, info: ConnectionInfo
    ) -> Response | None:
        now_s = info.since_s
        self._handshakes.append(now_s)
        while self._handshakes[0] <= now_s - _HANDSHAKE_WINDOW_S:
            self._handshakes.popleft()
        if len(self._handshakes) > self._rules.handshakes_per_5_min:
            retry_after_s = int(self._handshakes[0] + _HANDSHAKE_WINDOW_S - now_s) + 1
            return _response(refusal(429, retry_after_s, None))
        gate = self._board.gate("socket", info, now_s)
        if gate is not None and gate.reply is not None:
            return _response(gate.reply)
        connection.ordered_close_code = None if gate is None else gate.close_code
        if route is None:
            return _response(Reply(HTTPStatus.NOT_FOUND, "Not Found"))
        return None


def _response(reply: Reply) -> Response:
    body = reply.body.encode()
    headers = Headers([("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    headers["Connection"] = "close"
    for name, value in reply.headers:
        headers[name] = value
    return Response(reply.status.value, reply.status.phrase, headers, body)
