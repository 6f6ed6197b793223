"""Every fault that a test may order, seen by a raw client; and what the truth says of it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from connector.local.exchange import FakeExchange
from connector.local.faults import REMOVE
from tests.local.wire import ARRAY, clients, is_silent, receive, receive_raw


def _sent(exchange: FakeExchange) -> dict[tuple[str, int], tuple[int, ...]]:
    return {(element.symbol, element.event_time_ms): element.connection_ids for element in exchange.truth.elements()}


def _manual(**options: Any) -> FakeExchange:
    return FakeExchange(symbols=3, manual=True, start_time_ms=10_000_000_000, **options)


T0 = 10_000_000_000
SYMBOLS = ("BTCUSD", "ETHUSD", "USDTUSD")


async def test_drop_meets_the_selected_connections_only() -> None:
    async with _manual() as exchange, clients(exchange, "/~a" + ARRAY, "/~b" + ARRAY, ARRAY) as (a, b, c):
        assert [info.label for info in exchange.connections()] == ["a", "b", ""]
        assert exchange.drop(1) == 1
        assert exchange.drop("~a") == 1
        exchange.publish()
        for client in (a, b):
            with pytest.raises(ConnectionClosed) as closed:
                await receive(client)
            assert closed.value.rcvd is None
        assert len(await receive(c)) == 3
        assert set(_sent(exchange).values()) == {(3,)}
        assert exchange.drop(lambda info: info.id == 3 and info.streams == ("!assetIndex@arr",)) == 1
        assert exchange.drop() == 0
        with pytest.raises(IndexError):
            exchange.drop(0)
        with pytest.raises(ValueError, match="not a selector"):
            exchange.drop("every")


async def test_close_sends_its_code() -> None:
    async with _manual() as exchange, clients(exchange, ARRAY) as (client,):
        exchange.close(0, 1012, "restart")
        with pytest.raises(ConnectionClosed) as closed:
            await receive(client)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1012, "restart")


async def test_a_server_that_stopped_reading_sends_data_and_never_answers_a_close() -> None:
    async with _manual() as exchange, clients(exchange, ARRAY) as (client,):
        exchange.stop_reading()
        exchange.publish()
        assert len(await receive(client)) == 3
        loop = asyncio.get_running_loop()
        started = loop.time()
        await client.close()  # the client's own bound of 1 s ends it
        assert loop.time() - started > 0.9


async def test_stall_keeps_the_connection_answering_without_data() -> None:
    async with _manual() as exchange, clients(exchange, ARRAY, ARRAY) as (stalled, healthy):
        fault = exchange.stall(0)
        exchange.publish(2)
        assert await is_silent(stalled)
        assert (await receive(healthy))[0]["E"] == T0
        fault.stop()
        exchange.publish()
        assert (await receive(stalled))[0]["E"] == T0 + 2000
        assert [period.whole for period in exchange.truth.periods()] == [(2,), (2,), (1, 2)]


async def test_a_fault_ends_after_its_duration_and_clear_ends_all() -> None:
    async with _manual() as exchange, clients(exchange, ARRAY) as (client,):
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


async def test_skip_period_for_all_and_for_one() -> None:
    async with _manual() as exchange, clients(exchange, ARRAY, ARRAY) as (first, second):
        exchange.skip_period()
        exchange.publish()
        exchange.skip_period(1)
        exchange.publish(2)
        assert [(await receive(first))[0]["E"] for _ in range(2)] == [T0 + 1000, T0 + 2000]
        assert (await receive(second))[0]["E"] == T0 + 2000
        assert [period.whole for period in exchange.truth.periods()] == [(), (1,), (1, 2)]


async def test_freeze_repeats_the_last_data() -> None:
    async with _manual() as exchange, clients(exchange, ARRAY, "/market/ws/ethusd@assetIndex") as (array, single):
        exchange.publish()
        last, last_single = await receive(array), await receive(single)
        fault = exchange.freeze()
        exchange.publish(2)
        assert [await receive(array) for _ in range(2)] == [last, last]
        assert [await receive(single) for _ in range(2)] == [last_single, last_single]
        fault.stop()
        exchange.publish()
        assert (await receive(array))[0]["E"] == T0 + 3000
        assert {event_time_ms for _, event_time_ms in _sent(exchange)} == {T0, T0 + 3000}
        frozen = [fault for fault in exchange.truth.faults if fault.connection_id == 1]
        assert [(fault.kind, fault.event_time_ms, fault.symbols) for fault in frozen] == [
            ("freeze", T0 + 1000, SYMBOLS),
            ("freeze", T0 + 2000, SYMBOLS),
        ]
        assert json.loads(frozen[0].payload) == last


@pytest.mark.parametrize("payload", ["{", b"\xff\xfe", "[" * 20_000, "", "17"])
async def test_garbage_instead_of_the_data_and_beside_it(payload: bytes | str) -> None:
    async with _manual() as exchange, clients(exchange, ARRAY) as (client,):
        data = payload.encode() if isinstance(payload, str) else payload
        exchange.garbage(payload)
        exchange.publish(2)
        assert await receive_raw(client) == data
        assert (await receive(client))[0]["E"] == T0 + 1000
        exchange.send(payload)
        assert await receive_raw(client) == data
        assert len(_sent(exchange)) == 3
        assert [fault.kind for fault in exchange.truth.faults] == ["garbage", "garbage"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"i": "NaN"}, {"i": "NaN"}),
        ({"i": REMOVE, "x": 1}, {"x": 1}),
        (lambda element: {**element, "s": ""}, {"s": ""}),
        (lambda element: None, None),
        (lambda element: '{"s":NaN', ...),
    ],
)
async def test_a_bad_element_leaves_its_neighbours(change: Any, expected: Any) -> None:
    async with _manual() as exchange, clients(exchange, ARRAY) as (client,):
        exchange.bad_element(change, "ETHUSD")
        exchange.publish()
        (fault,) = exchange.truth.faults
        assert (fault.kind, fault.event_time_ms, fault.symbols) == ("bad_element", T0, ("ETHUSD",))
        raw = await receive_raw(client)
        assert fault.payload.encode() in raw
        if expected is not ...:
            array = json.loads(raw)
            assert [array[0]["s"], array[2]["s"]] == ["BTCUSD", "USDTUSD"]
            assert array[1] == expected or expected.items() <= array[1].items()
            assert expected != {"x": 1} or "i" not in array[1]
        assert [symbol for symbol, _ in _sent(exchange)] == ["BTCUSD", "USDTUSD"]


async def test_what_one_connection_got_bad_another_got_well() -> None:
    async with _manual() as exchange, clients(exchange, ARRAY, ARRAY) as (first, second):
        exchange.bad_element({"i": ""}, select=-1)
        exchange.publish()
        assert (await receive(first))[0]["i"] != (await receive(second))[0]["i"] == ""
        assert _sent(exchange) == {("BTCUSD", T0): (1,), ("ETHUSD", T0): (1, 2), ("USDTUSD", T0): (1, 2)}


async def test_one_bad_event_time_and_all_of_them() -> None:
    async with _manual() as exchange, clients(exchange, ARRAY) as (client,):
        exchange.bad_event_time(20_000, "ETHUSD")
        exchange.publish()
        assert [element["E"] - T0 for element in await receive(client)] == [0, 20_000, 0]
        exchange.time_shift(-3_600_000, periods=2)
        exchange.publish(3)
        for expected in (1000 - 3_600_000, 2000 - 3_600_000, 3000):
            assert {element["E"] - T0 for element in await receive(client)} == {expected}
        assert {event_time_ms - T0 for _, event_time_ms in _sent(exchange)} == {0, 3000}
        assert [fault.kind for fault in exchange.truth.faults] == ["bad_event_time", "time_shift", "time_shift"]


async def test_duplicates_of_a_frame_and_of_an_element() -> None:
    async with _manual() as exchange, clients(exchange, ARRAY) as (client,):
        exchange.duplicate()
        exchange.publish()
        assert await receive_raw(client) == await receive_raw(client)
        exchange.duplicate_element("ETHUSD")
        exchange.publish()
        array = await receive(client)
        assert [element["s"] for element in array] == [*SYMBOLS, "ETHUSD"]
        assert array[1] == array[3]
        assert len(_sent(exchange)) == 6
        assert [fault.symbols for fault in exchange.truth.faults] == [SYMBOLS, ("ETHUSD",)]


async def test_conflict_follows_the_true_frame() -> None:
    async with _manual() as exchange, clients(exchange, ARRAY) as (client,):
        exchange.conflict("ETHUSD")
        exchange.publish()
        true, (other,) = await receive(client), await receive(client)
        assert (other["s"], other["E"]) == ("ETHUSD", T0)
        assert other["i"] == "1.23456789" != true[1]["i"]
        assert len(_sent(exchange)) == 3
        assert [(fault.kind, json.loads(fault.payload)) for fault in exchange.truth.faults] == [("conflict", other)]


async def test_split_and_fragmented_messages_are_the_truth_all_the_same() -> None:
    async with _manual() as exchange, clients(exchange, ARRAY) as (client,):
        exchange.split(2)
        exchange.publish()
        assert [len(await receive(client)) for _ in range(2)] == [2, 1]
        exchange.fragmented(4)
        exchange.publish()
        async with asyncio.timeout(3):
            fragments = [fragment async for fragment in client.recv_streaming(decode=True)]
        assert len([fragment for fragment in fragments if fragment]) == 4
        assert len(json.loads("".join(fragments))) == 3
        assert [period.whole for period in exchange.truth.periods()] == [(1,), (1,)]
        assert exchange.truth.faults == []


async def test_a_late_frame_comes_behind_later_ones() -> None:
    async with _manual() as exchange, clients(exchange, ARRAY, ARRAY) as (late, healthy):
        exchange.late(after=2, select=0)
        exchange.publish(4)
        assert [(await receive(late))[0]["E"] - T0 for _ in range(4)] == [1000, 2000, 0, 3000]
        assert [(await receive(healthy))[0]["E"] - T0 for _ in range(4)] == [0, 1000, 2000, 3000]
        assert [period.whole for period in exchange.truth.periods()] == [(2,), (1, 2), (1, 2), (1, 2)]
        (fault,) = exchange.truth.faults
        assert (fault.kind, fault.event_time_ms, fault.connection_id) == ("late", T0 + 2000, 1)


async def test_symbols_appear_vanish_and_return() -> None:
    async with _manual() as exchange, clients(exchange, ARRAY) as (client,):
        exchange.new_symbol("NEWUSD")
        exchange.vanish_symbol("ETHUSD")
        exchange.publish()
        exchange.return_symbol("ETHUSD")
        exchange.publish()
        assert [element["s"] for element in await receive(client)] == ["BTCUSD", "USDTUSD", "NEWUSD"]
        assert [element["s"] for element in await receive(client)] == ["BTCUSD", "USDTUSD", "NEWUSD", "ETHUSD"]
        assert len(_sent(exchange)) == 7


async def test_server_shutdown_in_both_shapes_and_an_oversize_frame() -> None:
    async with _manual() as exchange, clients(exchange, ARRAY) as (client,):
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
    async with _manual() as exchange:
        exchange.refuse(status, retry_after_s=7, times=1)
        with pytest.raises(InvalidStatus) as refused:
            await connect(exchange.url + ARRAY)
        assert refused.value.response.status_code == status
        assert refused.value.response.headers["Retry-After"] == "7"
        async with clients(exchange, ARRAY):
            pass


async def test_refused_by_label_and_for_a_time() -> None:
    async with _manual() as exchange:
        exchange.refuse(429, "~a", duration_s=0.3)
        with pytest.raises(InvalidStatus) as refused:
            await connect(exchange.url + "/~a" + ARRAY)
        assert "Retry-After" not in refused.value.response.headers
        async with clients(exchange, "/~b" + ARRAY):
            await asyncio.sleep(0.3)
            async with clients(exchange, "/~a" + ARRAY):
                pass


async def test_accepted_and_closed() -> None:
    async with _manual() as exchange:
        gate = exchange.accept_and_close(code=1008)
        for _ in range(2):
            async with connect(exchange.url + ARRAY) as client:
                with pytest.raises(ConnectionClosed, match="1008"):
                    await receive(client)
        gate.stop()
        async with clients(exchange, ARRAY):
            exchange.publish()
        assert len(_sent(exchange)) == 3


async def test_a_slow_handshake() -> None:
    async with _manual() as exchange:
        exchange.slow_handshake(5)
        with pytest.raises((TimeoutError, InvalidMessage)):
            await connect(exchange.url + ARRAY, open_timeout=0.1)
