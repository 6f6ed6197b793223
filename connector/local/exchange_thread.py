"""The fake exchange in a thread of its own, for tests that are no coroutines."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, TypeVar

from connector.local.exchange_connection import ConnectionInfo
from connector.local.exchange_server import FakeExchange
from connector.local.fault_orders import FaultOrders
from connector.local.truth import Truth

T = TypeVar("T")


class ExchangeThread(FaultOrders):
    """A context manager with the methods of :class:`FakeExchange`; takes the same arguments."""

    def __init__(self, **arguments: Any) -> None:
        self.exchange = FakeExchange(**arguments)
        self.truth: Truth = self.exchange.truth
        self._board = self.exchange._board

    def __enter__(self) -> ExchangeThread:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fake-exchange", daemon=True)
        self._thread.start()
        try:
            self._wait(self.exchange.__aenter__())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._wait(self.exchange.__aexit__(None, None, None))
        finally:
            self._end()

    @property
    def url(self) -> str:
        return self.exchange.url

    @property
    def rest_url(self) -> str:
        return self.exchange.rest_url

    def connections(self) -> list[ConnectionInfo]:
        return self.exchange.connections()

    def wait_for_subscribers(self, count: int, timeout_s: float = 10.0) -> None:
        """Block until so many open connections are due to be pushed data. Raises :class:`TimeoutError`."""
        self._wait(self.exchange.wait_for_subscribers(count, timeout_s))

    def publish(self, periods: int = 1) -> int:
        return self.exchange.publish(periods)

    def start_feeding(self) -> None:
        self.exchange.start_feeding()

    def stop_feeding(self) -> None:
        self.exchange.stop_feeding()

    def wait_until_fed(self) -> None:
        self._wait(self.exchange.wait_until_fed())

    def _on_loop(self, action: Callable[[], T]) -> T:
        return self.exchange._on_loop(action)

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
