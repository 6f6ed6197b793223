"""Joins that run while the connector and its broker are broken: no duplicate, and nothing that was aborted."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest
from confluent_kafka import Producer

from connector.core.joincheck import check_join
from connector.core.schema import parse_schema
from connector.edges.topic_facts import topic_facts
from connector.local.flink import Flink, inserted
from connector.local.stack import LocalStack
from tests.chaos.harness import Scene
from tests.downstream.conftest import Generate
from tests.downstream.test_joins import COLUMNS, PRICE_COLUMNS, as_row
from tests.downstream.topics import Balance, BalanceTopic, Price, Topics, priced_as_of
from tests.readers import read_messages, read_records

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

CHANGES_PER_S = 10


@contextmanager
def changing_balances(stack: LocalStack, topic: BalanceTopic, symbols: tuple[str, ...]) -> Iterator[None]:
    """Another team's producer: exactly once over a restart of the broker, as any idempotent one."""
    producer = Producer(
        {"bootstrap.servers": stack.bootstrap_servers, "enable.idempotence": True, "linger.ms": 0, "log_level": 0}
    )
    random, over = Random(5), threading.Event()

    def send(change: Balance) -> None:
        record = topic.record(change)
        producer.produce(
            topic.name, record.value, record.key, partition=record.partition, timestamp=record.timestamp_ms
        )
        producer.poll(0)

    def run() -> None:
        while not over.wait(1 / CHANGES_PER_S):
            balance = Decimal(random.randrange(-(10**11), 10**11)).scaleb(-8)
            change = Balance(random.choice(symbols), time.time_ns() // 1_000_000, "account", balance)
            send(change)
            topic.balances.append(change)

    thread = threading.Thread(target=run, name="balances")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        for symbol in symbols:  # later ones, so that event time on this side passes all others
            send(Balance(symbol, time.time_ns() // 1_000_000 + 60_000, "later", Decimal(1)))
        assert producer.flush(30) == 0


def test_while_the_writer_is_killed_the_broker_restarted_and_the_writer_frozen(
    flink: Flink, generate: Generate, tmp_path: Path
) -> None:
    with LocalStack() as stack, Scene(stack, tmp_path, rate_hz=5, symbols=20) as scene:
        for name in ("one", "two"):
            scene.replica(name, options={"latest": {"enabled": True}})
        topics = Topics(stack)
        balances = BalanceTopic(topics, f"{scene.topic}.balances", partitions=6)
        address = {"kafka.bootstrap.servers": stack.bootstrap_servers, "registry.url": stack.registry_url}
        opened = flink.session()
        opened.execute(
            *generate(scene.topic, "--table", "append", **address),
            *generate(scene.topic, "--kind", "versioned", "--table", "versioned", **address),
            *generate(balances.name, "--key", "symbol", "--table", "balances", **address),
        )
        plain = opened.start(f"SELECT {', '.join(PRICE_COLUMNS)} FROM append")
        join = opened.start(
            f"SELECT {COLUMNS} FROM balances AS b JOIN versioned FOR SYSTEM_TIME AS OF b.ts AS a ON a.symbol = b.symbol"
        )
        with changing_balances(stack, balances, symbols_of(scene)):
            assert len(plain.wait_for(1, 60)) >= 1
            scene.run_on(2)
            scene.writer().kill()
            scene.run_on(2)
            stack.kafka.restart()
            scene.run_on(2)
            frozen = scene.writer()
            frozen.freeze()
            time.sleep(5)
            frozen.thaw()
            scene.run_on(2)
        scene.run_on(4)  # the index goes on past the last change
        outcome = scene.finish()
        outcome.assert_nothing_lost()
        assert outcome.takeovers >= 2
        prices = in_the_topic(scene)
        expected = priced_as_of(balances.balances, prices)
        rows = inserted(plain.wait_for(len(prices), 30))
        joined = inserted(join.wait_for(len(expected), 30))
        time.sleep(1.0)  # whatever is too much would come now
        rows, joined = inserted(plain.stop()), inserted(join.stop())
        kafka = {"bootstrap.servers": stack.bootstrap_servers}
        ours, other = (topic_facts(kafka, topics.registry, name) for name in (scene.topic, balances.name))
        topics.registry.close()
        in_topic, in_latest = (committed(stack, name) for name in (scene.topic, f"{scene.topic}.latest"))
    assert in_latest == in_topic, "each in the transaction of the other"
    assert ours.transactional
    assert check_join(ours, other, window_ms=60_000).findings == (), "nothing is wrong with what the connector made"
    assert len(rows) == len(prices)
    assert sorted(rows) == sorted(map(as_row, prices))
    assert len(expected) > 50
    assert sorted(joined) == expected


def committed(stack: LocalStack, topic: str) -> Counter[tuple[object, ...]]:
    """Key, time and value of each record."""
    messages = read_messages(stack.bootstrap_servers, topic)
    return Counter((message.key(), message.timestamp(), message.value()) for message in messages)


def symbols_of(scene: Scene) -> tuple[str, ...]:
    return tuple(dict.fromkeys(element.symbol for element in scene.exchange.truth.elements()))


def in_the_topic(scene: Scene) -> list[Price]:
    """What the exchange sent, under the schema's names, of what a reader that is not Flink finds committed."""
    found = {
        (str(record.value["symbol"]), record.timestamp_ms)
        for record in read_records(scene.stack.bootstrap_servers, scene.stack.registry_url, scene.topic)
    }
    schema = parse_schema(scene.schema_path.read_text("utf-8"), "asset_index")
    wire = {spec.name: str(spec.wire) for spec in schema.content_fields}
    return [
        Price(
            element.symbol,
            element.event_time_ms,
            {
                name: {"s": element.symbol, "E": str(element.event_time_ms), **element.values}[key]
                for name, key in wire.items()
            },
        )
        for element in scene.exchange.truth.elements()
        if (element.symbol, element.event_time_ms) in found
    ]
