"""A raw client of the fake exchange, for the tests in this folder."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from connector.local.exchange import FakeExchange

ARRAY = "/market/ws/!assetIndex@arr"
T0 = 10_000_000_000
"""The first event time of :func:`manual_exchange`."""


def manual_exchange() -> FakeExchange:
    """Three symbols, pushed when the test says so."""
    return FakeExchange(symbols=3, manual=True, start_time_ms=T0)


def sent(exchange: FakeExchange) -> dict[tuple[str, int], tuple[int, ...]]:
    """Who was sent what, by symbol and event time."""
    return {(element.symbol, element.event_time_ms): element.connection_ids for element in exchange.truth.elements()}


@asynccontextmanager
async def clients(
    exchange: FakeExchange, *paths: str, live: int | None = None
) -> AsyncIterator[tuple[ClientConnection, ...]]:
    """Open connections, each in the order of the paths; waits until ``live`` of them (all) are due to get data."""
    async with AsyncExitStack() as stack:
        opened = []
        for number, path in enumerate(paths, start=1):
            connection = connect(exchange.url + path, max_size=None, ping_interval=None, close_timeout=1)
            opened.append(await stack.enter_async_context(connection))
            if live is None:
                await exchange.wait_for_subscribers(number)
        yield tuple(opened)


async def receive(client: ClientConnection, timeout_s: float = 3.0) -> Any:
    """The next message, parsed."""
    async with asyncio.timeout(timeout_s):
        return json.loads(await client.recv())


async def receive_raw(client: ClientConnection, timeout_s: float = 3.0) -> bytes:
    async with asyncio.timeout(timeout_s):
        return await client.recv(decode=False)


async def is_silent(client: ClientConnection) -> bool:
    """Whether nothing has come, once a ping went there and back behind whatever was sent."""
    async with asyncio.timeout(3):
        await (await client.ping())
    try:
        async with asyncio.timeout(0.02):
            await client.recv()
    except TimeoutError:
        return True
    return False
