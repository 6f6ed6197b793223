"""The fake exchange itself: its life, its connections, and the threads it may be ordered from."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, TypeVar

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from connector.local.exchange_board import Board
from connector.local.exchange_connection import ConnectionInfo, CountedConnection, Subscriber, parse_route
from connector.local.exchange_control import Session, answer
from connector.local.exchange_feed import FeedClock, whole_cadence_ms
from connector.local.exchange_requests import RequestDesk, Rules
from connector.local.exchange_rest import RestEndpoint
from connector.local.fault_orders import FaultOrders
from connector.local.market import Market
from connector.local.truth import Truth

T = TypeVar("T")
_CALL_TIMEOUT_S: Final = 30.0
_DEFAULT_RULES: Final = Rules()


class FakeExchange(FaultOrders):
    """An exchange on loopback, as an async context manager; what is no coroutine may be called from any thread.

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
        rules: Rules = _DEFAULT_RULES,
    ) -> None:
        self._cadence_ms = whole_cadence_ms(rate_hz)
        self.truth = Truth(truth_path, keep_periods)
        self._board = Board(Market(symbols, seed), self.truth, rules.slow_consumer_bytes)
        self._desk = RequestDesk(self._board, RestEndpoint(self.truth, rules.weight_per_minute, seed), rules)
        self._clock_options = (start_time_ms, periods)
        self._manual = manual
        self._rules, self._host, self._port = rules, host, port
        self._accepted = 0
        self._changed = asyncio.Condition()
        self._clock: FeedClock | None = None
        self._server: Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread_id = 0

    async def __aenter__(self) -> FakeExchange:
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        self._clock = FeedClock(
            lambda event_time_ms: self._board.publish(event_time_ms, self._running_loop.time()),
            self._cadence_ms,
            *self._clock_options,
        )
        self._board.begin(self._clock.next_event_time_ms - self._cadence_ms)
        self._server = await serve(
            self._handle,
            self._host,
            self._port,
            process_request=self._desk.process,
            create_connection=CountedConnection,
            compression=None,
            open_timeout=120,  # above every delay that a test may order
            ping_interval=self._rules.ping_interval_s,
            ping_timeout=self._rules.pong_timeout_s,
            close_timeout=1,
            max_queue=None,
            server_header="nginx",
        )
        self._port = self._server.sockets[0].getsockname()[1]
        if not self._manual:
            self._clock.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        try:
            self._feed.stop()
            await self._feed.wait()
        finally:
            self._desk.end()
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
        """The base for REST; the same port."""
        return f"http://{self._host}:{self._port}"

    def publish(self, periods: int = 1) -> int:
        """Push so many periods now; gives the event time of the last."""
        return self._on_loop(lambda: self._feed.step(periods))

    def start_feeding(self) -> None:
        """Push at the rate, after :meth:`stop_feeding` or ``manual``, from the next period of the clock on."""
        self._on_loop(lambda: self._feed.start())

    def stop_feeding(self) -> None:
        """Push no more; sockets stay open, and REST stays at the last values."""
        self._on_loop(lambda: self._feed.stop())

    async def wait_until_fed(self) -> None:
        """Wait until ``periods`` were pushed, or the feed was stopped."""
        await self._feed.wait()

    def connections(self) -> list[ConnectionInfo]:
        """The open ones, in order of arrival."""
        return self._on_loop(lambda: [subscriber.info for subscriber in self._board.open_subscribers()])

    async def wait_for_subscribers(self, count: int, timeout_s: float = 10.0) -> None:
        """Wait until so many open connections are due to be pushed data. Raises :class:`TimeoutError`."""
        async with asyncio.timeout(timeout_s), self._changed:
            await self._changed.wait_for(lambda: self._board.live_count() >= count)

    @property
    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            raise RuntimeError("the exchange is not running")
        return self._loop

    @property
    def _feed(self) -> FeedClock:
        if self._clock is None:
            raise RuntimeError("the exchange is not running")
        return self._clock

    def _on_loop(self, action: Callable[[], T]) -> T:
        loop = self._running_loop
        if threading.get_ident() == self._thread_id:
            return action()

        async def act() -> T:
            return action()

        return asyncio.run_coroutine_threadsafe(act(), loop).result(_CALL_TIMEOUT_S)

    async def _tell_change(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _handle(self, connection: ServerConnection) -> None:
        assert isinstance(connection, CountedConnection)
        assert connection.request is not None
        if connection.ordered_close_code is not None:
            await connection.close(connection.ordered_close_code)
            return
        route = parse_route(connection.request.path)
        assert route is not None
        self._accepted += 1
        session = Session(streams_limit=self._rules.streams_per_connection, nested_errors=self._rules.nested_errors)
        subscriber = Subscriber(self._accepted, route, connection, session)
        self._board.subscribers.append(subscriber)
        end = self._running_loop.call_later(
            self._rules.connection_lifetime_s, self._board.close_soon, subscriber, 1001, "connection lifetime"
        )
        try:
            await self._tell_change()
            async for message in connection:
                subscriber.push(answer(message, session).encode())
                await self._tell_change()
        except ConnectionClosed:
            pass  # its end is told by what the client sees; here it only leaves the list
        finally:
            end.cancel()
            self._board.leave(subscriber)
            await self._tell_change()
