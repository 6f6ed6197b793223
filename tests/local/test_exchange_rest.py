"""The REST end point of the fake exchange."""

from __future__ import annotations

import json

import httpx
import pytest

from connector.local.exchange import FakeExchange, Rules
from tests.local.wire import ARRAY, clients, receive

PATH = "/fapi/v1/assetIndex"


async def test_the_array_and_the_object_with_their_own_time_and_the_weight_header() -> None:
    async with FakeExchange(symbols=3, manual=True) as exchange, httpx.AsyncClient(base_url=exchange.rest_url) as http:
        event_time_ms = exchange.publish()
        reply = await http.get(PATH)
        rows = reply.json()
        assert reply.status_code == 200
        assert reply.headers["X-MBX-USED-WEIGHT-1M"] == "10"
        assert [row["symbol"] for row in rows] == ["BTCUSD", "ETHUSD", "USDTUSD"]
        (time_ms,) = {row["time"] for row in rows}
        assert 1 <= time_ms - event_time_ms <= 4
        single = await http.get(PATH, params={"symbol": "ETHUSD"})
        assert single.headers["X-MBX-USED-WEIGHT-1M"] == "11"
        assert single.json() == {**rows[1], "time": single.json()["time"]}
        assert [reply.rows[0]["symbol"] for reply in exchange.truth.rest_replies] == ["BTCUSD", "ETHUSD"]


async def test_rest_gives_what_the_stream_gives() -> None:
    async with FakeExchange(symbols=3, manual=True) as exchange, clients(exchange, ARRAY) as (client,):
        exchange.publish()
        element = (await receive(client))[0]
        async with httpx.AsyncClient(base_url=exchange.rest_url) as http:
            row = (await http.get(PATH, params={"symbol": "BTCUSD"})).json()
        assert [row["index"], row["bidRate"], row["autoExchangeAskRate"]] == [element["i"], element["B"], element["G"]]


async def test_it_answers_before_the_first_period_and_with_thousands_of_rows() -> None:
    async with (
        FakeExchange(symbols=6000, manual=True) as exchange,
        httpx.AsyncClient(base_url=exchange.rest_url) as http,
    ):
        for _ in range(3):
            assert len((await http.get(PATH)).json()) == 6000


async def test_errors_and_the_small_paths() -> None:
    async with FakeExchange(symbols=3, manual=True) as exchange, httpx.AsyncClient(base_url=exchange.rest_url) as http:
        invalid = await http.get(PATH, params={"symbol": "BTCUSDT"})
        assert (invalid.status_code, invalid.json()) == (400, {"code": -1121, "msg": "Invalid symbol."})
        assert (await http.get("/fapi/v1/ping")).json() == {}
        assert (await http.get("/fapi/v1/time")).json()["serverTime"] > 1_700_000_000_000
        assert (await http.get("/elsewhere")).status_code == 404


async def test_above_the_weight_limit_it_refuses() -> None:
    rules = Rules(weight_per_minute=20)
    async with FakeExchange(symbols=3, manual=True, rules=rules) as exchange:
        async with httpx.AsyncClient(base_url=exchange.rest_url) as http:
            # A minute may begin in between; of four requests at least two fall into the same one.
            replies = [await http.get(PATH) for _ in range(6)]
        refused = [reply for reply in replies if reply.status_code == 429]
        assert refused
        assert 1 <= int(refused[0].headers["Retry-After"]) <= 60
        assert int(refused[0].headers["X-MBX-USED-WEIGHT-1M"]) > 20
        assert refused[0].json()["code"] == -1003


@pytest.mark.parametrize(("status", "code"), [(429, -1003), (418, -1003), (500, -1000)])
async def test_ordered_refusals(status: int, code: int) -> None:
    async with FakeExchange(symbols=3, manual=True) as exchange, httpx.AsyncClient(base_url=exchange.rest_url) as http:
        gate = exchange.rest_refuse(status, retry_after_s=9)
        reply = await http.get(PATH)
        assert (reply.status_code, reply.json()["code"], reply.headers["Retry-After"]) == (status, code, "9")
        gate.stop()
        assert (await http.get(PATH)).status_code == 200


async def test_a_ban_says_until_when_and_selects_by_label() -> None:
    async with FakeExchange(symbols=3, manual=True) as exchange, httpx.AsyncClient() as http:
        exchange.rest_refuse(418, "~a", banned_until_ms=1_800_000_000_000)
        banned = await http.get(f"{exchange.rest_url}/~a{PATH}")
        assert banned.status_code == 418
        assert "banned until 1800000000000" in json.loads(banned.text)["msg"]
        assert "Retry-After" not in banned.headers
        assert (await http.get(f"{exchange.rest_url}/~b{PATH}")).status_code == 200


async def test_a_slow_answer() -> None:
    async with FakeExchange(symbols=3, manual=True) as exchange, httpx.AsyncClient(base_url=exchange.rest_url) as http:
        exchange.rest_slow(0.5, times=1)
        with pytest.raises(httpx.ReadTimeout):
            await http.get(PATH, timeout=0.1)
        assert (await http.get(PATH)).status_code == 200
