"""Streams other than all symbols of the asset index: chosen symbols, and one that only a schema file declares."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connector.local.exchange import ExchangeThread
from connector.local.stack import LocalStack
from tests.chaos.replica import ROOT
from tests.integration.bench import PARTITIONS, Bench, command
from tests.judge import Sent, java_partition
from tests.readers import Tail
from tests.truths import everything_sent

pytestmark = [pytest.mark.stack, pytest.mark.timeout(60)]

SAMPLES = ROOT / "tests" / "samples" / "other_streams"
PERIODS = 5


def test_chosen_symbols_come_as_single_objects_in_the_combined_envelope(
    stack: LocalStack, tmp_path: Path, topic_name: str
) -> None:
    with (
        ExchangeThread(symbols=20, rate_hz=5) as exchange,
        Bench(stack, tmp_path, topic_name, exchange, rate_hz=5) as bench,
    ):
        bench.register()
        feed = {"url": exchange.url, "rest_url": exchange.rest_url, "symbols": ["BTCUSD", "ETHUSD"]}
        replica = bench.replica(more={"feed": feed})
        exchange.wait_for_subscribers(2)
        for connection in exchange.connections():
            assert "/market/stream?streams=" in connection.path
            assert connection.streams == ("btcusd@assetIndex", "ethusd@assetIndex")
        bench.wait_for_topic(replica)
        with Tail(stack.bootstrap_servers, bench.topic) as tail:
            tail.wait_for_records(20, 20)
            exchange.stop_feeding()
            *_, last = exchange.truth.periods()
            assert last.parts.keys() == {"BTCUSD", "ETHUSD"}
            # The documentation and the exchange do not agree on shapes, so each is taken for either name.
            elements = {element["s"]: element for element in json.loads(last.array_text)}
            bitcoin, ether = ({**elements[symbol], "E": last.event_time_ms + 200} for symbol in ("BTCUSD", "ETHUSD"))
            exchange.send(json.dumps({"stream": "btcusd@assetIndex", "data": [bitcoin]}))
            exchange.send(json.dumps(ether))
            tail.wait_until({"BTCUSD": bitcoin["E"], "ETHUSD": ether["E"]}, 5)
        assert replica.stop() == 0, replica.log()
        shaped = [Sent(element["s"], element["E"], element) for element in (bitcoin, ether)]
        verdict = bench.judged([*everything_sent(exchange.truth), *shaped])
        assert verdict.clean, verdict.report()
        assert not bench.letters()


def mark_prices() -> Iterator[list[dict[str, Any]]]:
    """The sample of the exchange, as of several seconds."""
    sample = json.loads((SAMPLES / "mark_price.jsonl").read_text("utf-8").splitlines()[0])
    for period in range(PERIODS):
        yield [{**element, "E": element["E"] + 1000 * period} for element in sample]


def mark_price_options(topic: str) -> dict[str, Mapping[str, Any]]:
    """The sample is old: a broker that looks at retention meanwhile would take its records away."""
    topics = {"name": topic, "retention_ms": -1}
    return {"topic": topics, "schema": {"file": str(SAMPLES / "mark_price.avsc")}}


def test_another_stream_is_one_file(stack: LocalStack, tmp_path: Path, topic_name: str) -> None:
    """Promise: a new state stream needs a schema and a sample, no code."""
    wire_of = {
        field["name"]: field["wire"]
        for field in json.loads((SAMPLES / "mark_price.avsc").read_text("utf-8"))["fields"]
        if "wire" in field
    }
    frames = tmp_path / "frames.txt"
    frames.write_text("\n".join(map(json.dumps, mark_prices())), "utf-8")
    with Bench(stack, tmp_path, topic_name) as bench:
        bench.register(mark_price_options(topic_name))
        config = bench.config("mark-price", mark_price_options(topic_name))
        done = command("replay", str(frames), "--config", str(config), "--speed", "max")
        assert done.returncode == 0, done.stderr
        sent = {(element["s"], element["E"]): element for array in mark_prices() for element in array}
        found = {}
        for record in bench.records():
            symbol, value = record.value["symbol"], record.value
            assert record.key == symbol.encode()
            assert record.partition == java_partition(symbol.encode(), PARTITIONS)
            assert not record.headers
            element = sent[symbol, record.timestamp_ms]
            for name in ("mark_price", "mark_price_average", "index_price", "settle_price"):
                assert value[name] == Decimal(element[wire_of[name]])
            assert value["funding_rate"] == (Decimal(element["r"]) if element["r"] else None)
            assert round(value["next_funding_time"].timestamp() * 1000) == element["T"]
            assert (value["margin_kind"], value["origin"]) == (element["st"], "websocket")
            found[symbol, record.timestamp_ms] = value
        assert found.keys() == sent.keys()
        assert not bench.letters()
