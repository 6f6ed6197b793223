"""What a test orders of connections and requests: who is selected, what a raw client sees, when it ends."""

from __future__ import annotations

import asyncio

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from tests.local.wire import ARRAY, T0, clients, manual_exchange, receive, receive_raw, sent


async def test_drop_meets_the_selected_connections_only() -> None:
    async with manual_exchange() as exchange, clients(exchange, "/~a" + ARRAY, "/~b" + ARRAY, ARRAY) as (a, b, c):
        assert [info.label for info in exchange.connections()] == ["a", "b", ""]
        assert exchange.drop(1) == 1
        assert exchange.drop("~a") == 1
        exchange.publish()
        for client in (a, b):
            with pytest.raises(ConnectionClosed) as closed:
                await receive(client)
            assert closed.value.rcvd is None
        assert len(await receive(c)) == 3
        assert set(sent(exchange).values()) == {(3,)}
        assert exchange.drop(lambda info: info.id == 3 and info.streams == ("!assetIndex@arr",)) == 1
        assert exchange.drop() == 0
        with pytest.raises(IndexError):
            exchange.drop(0)
        with pytest.raises(ValueError, match="not a selector"):
            exchange.drop("every")


async def test_close_sends_its_code() -> None:
    async with manual_exchange() as exchange, clients(exchange, ARRAY) as (client,):
        exchange.close(0, 1012, "restart")
        with pytest.raises(ConnectionClosed) as closed:
            await receive(client)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1012, "restart")


async def test_a_server_that_stopped_reading_sends_data_and_never_answers_a_close() -> None:
    async with manual_exchange() as exchange, clients(exchange, ARRAY) as (client,):
        exchange.stop_reading()
        exchange.publish()
        assert len(await receive(client)) == 3
        loop = asyncio.get_running_loop()
        started = loop.time()
        await client.close()  # the client's own bound of 1 s ends it
        assert loop.time() - started > 0.9


async def test_a_fault_ends_after_its_duration_and_clear_ends_all() -> None:
    async with manual_exchange() as exchange, clients(exchange, ARRAY) as (client,):
        exchange.stall(duration_s=0.05)
        exchange.publish()
        await asyncio.sleep(0.06)
        exchange.publish()
        assert (await receive(client))[0]["E"] == T0 + 1000
        exchange.stall()
        exchange.refuse(403)
        exchange.publish()
        exchange.clear()
        exchange.publish()
        assert (await receive(client))[0]["E"] == T0 + 3000
        async with clients(exchange, ARRAY):
            pass


async def test_symbols_appear_vanish_and_return() -> None:
    async with manual_exchange() as exchange, clients(exchange, ARRAY) as (client,):
        exchange.new_symbol("NEWUSD")
        exchange.vanish_symbol("ETHUSD")
        exchange.publish()
        exchange.return_symbol("ETHUSD")
        exchange.publish()
        assert [element["s"] for element in await receive(client)] == ["BTCUSD", "USDTUSD", "NEWUSD"]
        assert [element["s"] for element in await receive(client)] == ["BTCUSD", "USDTUSD", "NEWUSD", "ETHUSD"]
        assert len(sent(exchange)) == 7


async def test_server_shutdown_in_both_shapes_and_an_oversize_frame() -> None:
    async with manual_exchange() as exchange, clients(exchange, ARRAY) as (client,):
        exchange.server_shutdown()
        exchange.server_shutdown(nested=True)
        exchange.oversize(5_000_000)
        assert (await receive(client))["e"] == "serverShutdown"
        assert (await receive(client))["event"]["e"] == "serverShutdown"
        assert len(await receive_raw(client)) == 5_000_000
        kinds = [fault.kind for fault in exchange.truth.faults]
        assert kinds == ["server_shutdown", "server_shutdown", "oversize"]


@pytest.mark.parametrize("status", [403, 418, 429, 451, 503])
async def test_refused_handshakes(status: int) -> None:
    async with manual_exchange() as exchange:
        exchange.refuse(status, retry_after_s=7, times=1)
        with pytest.raises(InvalidStatus) as refused:
            await connect(exchange.url + ARRAY)
        assert refused.value.response.status_code == status
        assert refused.value.response.headers["Retry-After"] == "7"
        async with clients(exchange, ARRAY):
            pass


async def test_refused_by_label_and_for_a_time() -> None:
    async with manual_exchange() as exchange:
        exchange.refuse(429, "~a", duration_s=0.3)
        with pytest.raises(InvalidStatus) as refused:
            await connect(exchange.url + "/~a" + ARRAY)
        assert "Retry-After" not in refused.value.response.headers
        async with clients(exchange, "/~b" + ARRAY):
            await asyncio.sleep(0.3)
            async with clients(exchange, "/~a" + ARRAY):
                pass


async def test_accepted_and_closed() -> None:
    async with manual_exchange() as exchange:
        gate = exchange.accept_and_close(code=1008)
        for _ in range(2):
            async with connect(exchange.url + ARRAY) as client:
                with pytest.raises(ConnectionClosed, match="1008"):
                    await receive(client)
        gate.stop()
        async with clients(exchange, ARRAY):
            exchange.publish()
        assert len(sent(exchange)) == 3


async def test_a_slow_handshake() -> None:
    async with manual_exchange() as exchange:
        exchange.slow_handshake(5)
        with pytest.raises((TimeoutError, InvalidMessage)):
            await connect(exchange.url + ARRAY, open_timeout=0.1)
