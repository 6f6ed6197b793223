"""Every fault of a period's data, as a raw client sees it and as the truth tells it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from connector.local.frame_faults import REMOVE
from tests.local.wire import ARRAY, T0, clients, is_silent, manual_exchange, receive, receive_raw, sent

SYMBOLS = ("BTCUSD", "ETHUSD", "USDTUSD")


async def test_stall_keeps_the_connection_answering_without_data() -> None:
    async with manual_exchange() as exchange, clients(exchange, ARRAY, ARRAY) as (stalled, healthy):
        fault = exchange.stall(0)
        exchange.publish(2)
        assert await is_silent(stalled)
        assert (await receive(healthy))[0]["E"] == T0
        fault.stop()
        exchange.publish()
        assert (await receive(stalled))[0]["E"] == T0 + 2000
        assert [period.whole for period in exchange.truth.periods()] == [(2,), (2,), (1, 2)]


async def test_skip_period_for_all_and_for_one() -> None:
    async with manual_exchange() as exchange, clients(exchange, ARRAY, ARRAY) as (first, second):
        exchange.skip_period()
        exchange.publish()
        exchange.skip_period(1)
        exchange.publish(2)
        assert [(await receive(first))[0]["E"] for _ in range(2)] == [T0 + 1000, T0 + 2000]
        assert (await receive(second))[0]["E"] == T0 + 2000
        assert [period.whole for period in exchange.truth.periods()] == [(), (1,), (1, 2)]


async def test_freeze_repeats_the_last_data() -> None:
    async with (
        manual_exchange() as exchange,
        clients(exchange, ARRAY, "/market/ws/ethusd@assetIndex") as (array, single),
    ):
        exchange.publish()
        last, last_single = await receive(array), await receive(single)
        fault = exchange.freeze()
        exchange.publish(2)
        assert [await receive(array) for _ in range(2)] == [last, last]
        assert [await receive(single) for _ in range(2)] == [last_single, last_single]
        fault.stop()
        exchange.publish()
        assert (await receive(array))[0]["E"] == T0 + 3000
        assert {event_time_ms for _, event_time_ms in sent(exchange)} == {T0, T0 + 3000}
        frozen = [fault for fault in exchange.truth.faults if fault.connection_id == 1]
        assert [(fault.kind, fault.event_time_ms, fault.symbols) for fault in frozen] == [
            ("freeze", T0 + 1000, SYMBOLS),
            ("freeze", T0 + 2000, SYMBOLS),
        ]
        assert json.loads(frozen[0].payload) == last


@pytest.mark.parametrize("payload", ["{", b"\xff\xfe", "[" * 20_000, "", "17"])
async def test_garbage_instead_of_the_data_and_beside_it(payload: bytes | str) -> None:
    async with manual_exchange() as exchange, clients(exchange, ARRAY) as (client,):
        data = payload.encode() if isinstance(payload, str) else payload
        exchange.garbage(payload)
        exchange.publish(2)
        assert await receive_raw(client) == data
        assert (await receive(client))[0]["E"] == T0 + 1000
        exchange.send(payload)
        assert await receive_raw(client) == data
        assert len(sent(exchange)) == 3
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
    async with manual_exchange() as exchange, clients(exchange, ARRAY) as (client,):
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
        assert [symbol for symbol, _ in sent(exchange)] == ["BTCUSD", "USDTUSD"]


async def test_what_one_connection_got_bad_another_got_well() -> None:
    async with manual_exchange() as exchange, clients(exchange, ARRAY, ARRAY) as (first, second):
        exchange.bad_element({"i": ""}, select=-1)
        exchange.publish()
        assert (await receive(first))[0]["i"] != (await receive(second))[0]["i"] == ""
        assert sent(exchange) == {("BTCUSD", T0): (1,), ("ETHUSD", T0): (1, 2), ("USDTUSD", T0): (1, 2)}


async def test_one_bad_event_time_and_all_of_them() -> None:
    async with manual_exchange() as exchange, clients(exchange, ARRAY) as (client,):
        exchange.bad_event_time(20_000, "ETHUSD")
        exchange.publish()
        assert [element["E"] - T0 for element in await receive(client)] == [0, 20_000, 0]
        exchange.time_shift(-3_600_000, periods=2)
        exchange.publish(3)
        for expected in (1000 - 3_600_000, 2000 - 3_600_000, 3000):
            assert {element["E"] - T0 for element in await receive(client)} == {expected}
        assert {event_time_ms - T0 for _, event_time_ms in sent(exchange)} == {0, 3000}
        assert [fault.kind for fault in exchange.truth.faults] == ["bad_event_time", "time_shift", "time_shift"]


async def test_duplicates_of_a_frame_and_of_an_element() -> None:
    async with manual_exchange() as exchange, clients(exchange, ARRAY) as (client,):
        exchange.duplicate()
        exchange.publish()
        assert await receive_raw(client) == await receive_raw(client)
        exchange.duplicate_element("ETHUSD")
        exchange.publish()
        array = await receive(client)
        assert [element["s"] for element in array] == [*SYMBOLS, "ETHUSD"]
        assert array[1] == array[3]
        assert len(sent(exchange)) == 6
        assert [fault.symbols for fault in exchange.truth.faults] == [SYMBOLS, ("ETHUSD",)]


async def test_conflict_follows_the_true_frame() -> None:
    async with manual_exchange() as exchange, clients(exchange, ARRAY) as (client,):
        exchange.conflict("ETHUSD")
        exchange.publish()
        true, (other,) = await receive(client), await receive(client)
        assert (other["s"], other["E"]) == ("ETHUSD", T0)
        assert other["i"] == "1.23456789" != true[1]["i"]
        assert len(sent(exchange)) == 3
        assert [(fault.kind, json.loads(fault.payload)) for fault in exchange.truth.faults] == [("conflict", other)]


async def test_split_and_fragmented_messages_are_the_truth_all_the_same() -> None:
    async with manual_exchange() as exchange, clients(exchange, ARRAY) as (client,):
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
    async with manual_exchange() as exchange, clients(exchange, ARRAY, ARRAY) as (late, healthy):
        exchange.late(after=2, select=0)
        exchange.publish(4)
        assert [(await receive(late))[0]["E"] - T0 for _ in range(4)] == [1000, 2000, 0, 3000]
        assert [(await receive(healthy))[0]["E"] - T0 for _ in range(4)] == [0, 1000, 2000, 3000]
        assert [period.whole for period in exchange.truth.periods()] == [(2,), (1, 2), (1, 2), (1, 2)]
        (fault,) = exchange.truth.faults
        assert (fault.kind, fault.event_time_ms, fault.connection_id) == ("late", T0 + 2000, 1)
