"""The fake exchange as a client sees it: routes, streams, limits, pings; and its truth."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect as connect_sync

from connector.local.exchange import ExchangeThread, FakeExchange, Rules, Truth
from tests.local.wire import ARRAY, clients, is_silent, receive


async def test_the_array_comes_raw_and_in_the_combined_envelope() -> None:
    async with (
        FakeExchange(symbols=3, manual=True, start_time_ms=1_791_285_204_000) as exchange,
        clients(exchange, ARRAY, "/market/stream?streams=!assetIndex@arr") as (raw, combined),
    ):
        exchange.publish()
        array = await receive(raw)
        assert [element["s"] for element in array] == ["BTCUSD", "ETHUSD", "USDTUSD"]
        assert {element["E"] for element in array} == {1_791_285_204_000}
        assert await receive(combined) == {"stream": "!assetIndex@arr", "data": array}
        exchange.publish()
        assert (await receive(raw))[0]["E"] == 1_791_285_205_000


async def test_a_symbol_stream_is_one_object_in_lower_case_only() -> None:
    async with FakeExchange(symbols=3, manual=True) as exchange:
        paths = ("/market/ws/btcusd@assetIndex", "/market/stream?streams=ethusd@assetIndex/usdtusd@assetIndex")
        async with (
            clients(exchange, *paths) as (one, two),
            clients(exchange, "/market/ws/BTCUSD@assetIndex", "/market/ws/btcusd@assetindex", live=0) as silent,
        ):
            exchange.publish()
            assert (await receive(one))["s"] == "BTCUSD"
            assert [(await receive(two))["data"]["s"] for _ in range(2)] == ["ETHUSD", "USDTUSD"]
            assert [await is_silent(client) for client in silent] == [True, True]
        sent = {element.symbol: element.connection_ids for element in exchange.truth.elements()}
        assert sent == {"BTCUSD": (1,), "ETHUSD": (2,), "USDTUSD": (2,)}


async def test_subscribing_on_an_open_connection() -> None:
    async with (
        FakeExchange(symbols=2, manual=True) as exchange,
        clients(exchange, "/market/ws", live=0) as (client,),
    ):
        exchange.publish()
        await client.send(json.dumps({"method": "SUBSCRIBE", "params": ["!assetIndex@arr", "no@such"], "id": 1}))
        assert await receive(client) == {"result": None, "id": 1}
        await exchange.wait_for_subscribers(1)
        exchange.publish()
        assert len(await receive(client)) == 2
        await client.send(json.dumps({"method": "SET_PROPERTY", "params": ["combined", True], "id": 2}))
        await receive(client)
        exchange.publish()
        assert (await receive(client))["stream"] == "!assetIndex@arr"
        await client.send(json.dumps({"method": "UNSUBSCRIBE", "params": ["!assetIndex@arr"], "id": 3}))
        await receive(client)
        exchange.publish()
        assert await is_silent(client)


@pytest.mark.parametrize("path", ["/public/ws", "/private/ws", "/ws", "/public/stream", "/stream"])
async def test_the_other_routes_acknowledge_and_answer_pings_but_never_send_data(path: str) -> None:
    async with FakeExchange(symbols=2, manual=True) as exchange:
        async with clients(exchange, path, live=0) as (client,):
            await client.send(json.dumps({"method": "SUBSCRIBE", "params": ["!assetIndex@arr"], "id": 7}))
            assert await receive(client) == {"result": None, "id": 7}
            exchange.publish(3)
            assert await is_silent(client)
        assert list(exchange.truth.elements()) == []


async def test_an_unknown_path_is_refused() -> None:
    async with FakeExchange(symbols=2, manual=True) as exchange:
        for path in ("/", "/nonsense/ws", "/market", "/market/wss"):
            with pytest.raises(InvalidStatus, match="404"):
                await connect(exchange.url + path)


async def test_more_than_ten_messages_a_second_end_the_connection() -> None:
    async with FakeExchange(symbols=2, manual=True) as exchange, clients(exchange, ARRAY) as (client,):
        for number in range(10):
            await client.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": number}))
        for _ in range(10):
            await receive(client)
        await client.ping()  # control frames count too
        with pytest.raises(ConnectionClosed, match="1008"):
            await receive(client)


async def test_a_connection_ends_after_its_lifetime() -> None:
    rules = Rules(connection_lifetime_s=0.2)
    async with FakeExchange(symbols=2, manual=True, rules=rules) as exchange, clients(exchange, ARRAY) as (client,):
        started = time.monotonic()
        with pytest.raises(ConnectionClosed, match="1001"):
            await receive(client)
        assert time.monotonic() - started > 0.1


async def test_the_server_pings_and_ends_a_connection_that_does_not_answer() -> None:
    rules = Rules(ping_interval_s=0.1, pong_timeout_s=0.1)
    async with (
        FakeExchange(symbols=2, manual=True, rules=rules) as exchange,
        clients(exchange, ARRAY, ARRAY) as (answering, mute),
    ):
        mute.transport.pause_reading()
        await asyncio.sleep(0.5)
        assert [info.id for info in exchange.connections()] == [1]
        exchange.publish()
        assert len(await receive(answering)) == 2
        mute.transport.resume_reading()


async def test_too_many_handshakes_are_answered_with_429_and_retry_after() -> None:
    async with (
        FakeExchange(symbols=2, manual=True, rules=Rules(handshakes_per_5_min=2)) as exchange,
        clients(exchange, ARRAY, ARRAY),
    ):
        with pytest.raises(InvalidStatus, match="429") as refused:
            await connect(exchange.url + ARRAY)
        assert 290 <= int(refused.value.response.headers["Retry-After"]) <= 300


async def test_event_times_are_aligned_to_the_cadence_and_every_period_is_pushed() -> None:
    async with FakeExchange(symbols=2, rate_hz=50, periods=20) as exchange, clients(exchange, ARRAY) as (client,):
        times = [(await receive(client))[0]["E"]]
        lag_ms = time.time() * 1000 - times[0]
        await exchange.wait_until_fed()
        periods = [period.event_time_ms for period in exchange.truth.periods()]
        assert len(periods) == 20
        assert all(later - earlier == 20 for earlier, later in pairwise(periods))
        assert all(event_time_ms % 20 == 0 for event_time_ms in periods)
        while times[-1] < periods[-1]:
            times.append((await receive(client))[0]["E"])
        assert times == periods[-len(times) :]
        assert -1 <= lag_ms < 1000
        assert len(exchange.connections()) == 1


async def test_the_feed_stops_and_starts_while_sockets_stay_open() -> None:
    async with FakeExchange(symbols=2, rate_hz=50) as exchange, clients(exchange, ARRAY) as (client,):
        await receive(client)
        exchange.stop_feeding()
        await exchange.wait_until_fed()
        before = len(list(exchange.truth.periods()))
        await asyncio.sleep(0.1)
        assert len(list(exchange.truth.periods())) == before
        exchange.start_feeding()
        async with asyncio.timeout(3):
            while len(list(exchange.truth.periods())) == before:
                await client.recv()
        assert time.time() * 1000 - max(period.event_time_ms for period in exchange.truth.periods()) < 1000


def test_a_rate_without_whole_milliseconds_is_refused() -> None:
    with pytest.raises(ValueError, match="whole milliseconds"):
        FakeExchange(rate_hz=3)


async def test_truth_is_what_clients_received() -> None:
    async with FakeExchange(symbols=4, manual=True) as exchange:
        exchange.publish()  # nobody is there
        received = {}
        async with clients(exchange, ARRAY, ARRAY, "/market/ws/btcusd@assetIndex") as (first, second, single):
            for _ in range(3):
                exchange.publish()
                for element in await receive(first):
                    received[element.pop("s"), element.pop("E")] = element
                await receive(second)
                await receive(single)
        sent = list(exchange.truth.elements())
        assert {(element.symbol, element.event_time_ms) for element in sent} == set(received)
        for element in sent:
            assert {"e": "assetIndexUpdate", **element.values} == received[element.symbol, element.event_time_ms]
            assert element.connection_ids == ((1, 2, 3) if element.symbol == "BTCUSD" else (1, 2))
            assert element.connections == len(element.connection_ids)
        assert len(list(exchange.truth.elements(unsent=True))) == len(sent) + 4
        assert exchange.truth.faults == []
    assert exchange.truth.ends == dict.fromkeys((1, 2, 3), sent[-1].event_time_ms)


async def test_a_client_that_leaves_too_much_unread_is_disconnected() -> None:
    rules = Rules(slow_consumer_bytes=100_000)
    async with (
        FakeExchange(symbols=3000, manual=True, rules=rules) as exchange,
        clients(exchange, ARRAY) as (client,),
    ):
        client.transport.pause_reading()
        for _ in range(30):
            exchange.publish()
        assert exchange.connections() == []
        client.transport.abort()


def test_the_thread_is_ordered_from_code_that_is_no_coroutine(tmp_path: Path) -> None:
    with ExchangeThread(symbols=3, manual=True, truth_path=tmp_path / "truth.jsonl") as exchange:
        with connect_sync(exchange.url + ARRAY) as client:
            exchange.wait_for_subscribers(1)
            event_time_ms = exchange.publish()
            assert json.loads(client.recv(timeout=3))[0]["E"] == event_time_ms
            assert [(info.id, info.path) for info in exchange.connections()] == [(1, ARRAY)]
            exchange.bad_element({"i": "NaN"})
            exchange.publish()
            assert json.loads(client.recv(timeout=3))[0]["i"] == "NaN"
            with pytest.raises(TimeoutError):
                exchange.wait_for_subscribers(2, timeout_s=0.05)
            assert exchange.drop() == 1
            with pytest.raises(ConnectionClosed):
                client.recv(timeout=3)
        assert len(list(exchange.truth.elements())) == 5


async def test_the_command_prints_its_addresses_and_ends_by_ctrl_c(tmp_path: Path) -> None:
    truth_path = tmp_path / "truth.jsonl"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "connector.local.exchange", "--symbols", "3", "--rate", "50", "--truth", str(truth_path),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        async with asyncio.timeout(20):
            url, rest_url = [(await process.stdout.readline()).decode().strip() for _ in range(2)]
        assert url.startswith("ws://127.0.0.1:")
        assert rest_url.startswith("http://127.0.0.1:")
        async with connect(url + ARRAY) as client:
            array = await receive(client)
            await receive(client)  # a period is in the truth before the next one is pushed
            sent = [element for element in Truth.read(truth_path).elements() if element.event_time_ms == array[0]["E"]]
            assert [element.values["i"] for element in sent] == [element["i"] for element in array]
        process.send_signal(2)
        async with asyncio.timeout(5):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_it_shares_no_code_with_the_connector_it_judges() -> None:
    code = (
        "import sys, connector.local.exchange; print(*(name for name in sys.modules if name.startswith('connector')))"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    modules = output.decode().split()
    assert "connector.local.truth" in modules
    assert {name for name in modules if not name.startswith("connector.local")} == {"connector"}
