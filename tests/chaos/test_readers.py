"""Judge and readers on a real broker and registry, with records made by confluent-kafka's own serializer."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from websockets.sync.client import connect

from connector.local.exchange import ExchangeThread
from connector.local.stack import LocalStack
from connector.local.truth import SentElement
from tests.judge import WIRE_NAMES, Judge, Verdict, java_partition
from tests.readers import Tail, read_dead_letters, read_records
from tests.truths import everything_sent

pytestmark = pytest.mark.stack

SCHEMA = Path(__file__).parents[2] / "schemas" / "asset_index.avsc"
PARTITIONS = 6


@pytest.fixture
def topic(stack: LocalStack, topic_name: str) -> str:
    admin = AdminClient({"bootstrap.servers": stack.bootstrap_servers})
    admin.create_topics([NewTopic(topic_name, PARTITIONS, 1)])[topic_name].result(10)
    return topic_name


def value_of(element: SentElement) -> dict[str, Any]:
    moment = datetime.fromtimestamp(element.event_time_ms / 1000, UTC)
    decimals = {name: Decimal(element.values[wire]) for name, wire in WIRE_NAMES.items()}
    return {
        "symbol": element.symbol,
        "event_time": moment,
        "received_time": moment,
        "origin": "websocket",
        **decimals,
    }


class PlainWriter:
    """The plain way to write such a record, transactions included."""

    def __init__(self, stack: LocalStack, registry: SchemaRegistryClient, topic: str) -> None:
        schema = json.dumps(json.loads(SCHEMA.read_text()))
        self.serialize = AvroSerializer(registry, schema, conf={"auto.register.schemas": True})
        self.topic = topic
        self.producer = Producer(
            {"bootstrap.servers": stack.bootstrap_servers, "transactional.id": topic, "linger.ms": 0}
        )
        self.producer.init_transactions(30)

    def write(self, elements: list[SentElement], change: Callable[[dict[str, Any]], None] = lambda _: None) -> None:
        for element in elements:
            value = value_of(element)
            change(value)
            self.producer.produce(
                self.topic,
                self.serialize(value, SerializationContext(self.topic, MessageField.VALUE)),
                key=element.symbol.encode(),
                partition=java_partition(element.symbol.encode(), PARTITIONS),
                timestamp=element.event_time_ms,
            )

    def commit(self, *elements: SentElement) -> None:
        self.producer.begin_transaction()
        self.write(list(elements))
        self.producer.commit_transaction(20)

    def abort(self, *elements: SentElement) -> None:
        self.producer.begin_transaction()
        self.write(list(elements))
        self.producer.flush(10)
        self.producer.abort_transaction(20)


def judged(stack: LocalStack, topic: str, exchange: ExchangeThread) -> Verdict:
    judge = Judge(everything_sent(exchange.truth), [PARTITIONS])
    for record in read_records(stack.bootstrap_servers, stack.registry_url, topic):
        judge.take(record)
    return judge.verdict()


def test_through_a_real_broker_and_registry(stack: LocalStack, topic: str) -> None:
    # The exchange's truth is what somebody was sent, so somebody listens.
    with (
        ExchangeThread(symbols=20, rate_hz=5, manual=True) as exchange,
        connect(f"{exchange.url}/market/ws/!assetIndex@arr"),
        SchemaRegistryClient({"url": stack.registry_url, "timeout": 20}) as registry,
    ):
        exchange.wait_for_subscribers(1)
        exchange.publish(10)
        elements = list(exchange.truth.elements())
        assert len(elements) == 200
        writer = PlainWriter(stack, registry, topic)
        with Tail(stack.bootstrap_servers, topic) as tail:
            assert tail.lateness().records == 0
            writer.abort(*elements)
            writer.commit(*elements[:100])
            tail.wait_for_records(100, 10)
            writer.commit(*elements[100:-1])
            lossy = judged(stack, topic, exchange)
            assert (lossy.lost, lossy.faults) == (1, {})
            writer.commit(elements[-1])
            assert judged(stack, topic, exchange).clean
            newest = {element.symbol: element.event_time_ms for element in elements}
            tail.wait_until(newest, 10)
            assert tail.records == 200
            writer.commit(elements[3])
        assert judged(stack, topic, exchange).faults == {"duplicates": 1, "out_of_order": 1}
        writer.producer.begin_transaction()
        writer.write(elements[4:5], lambda value: value.update(ask_rate=value["ask_rate"] + Decimal("0.00000001")))
        writer.producer.commit_transaction(20)
        assert judged(stack, topic, exchange).faults == {"duplicates": 2, "out_of_order": 2, "altered": 1}


def test_dead_letters(stack: LocalStack, topic: str) -> None:
    producer = Producer({"bootstrap.servers": stack.bootstrap_servers})
    producer.produce(topic, b"{}", key="BTCUSD", headers=[("reason", b"missing"), ("field", b"event_time")])
    producer.flush(10)
    (letter,) = read_dead_letters(stack.bootstrap_servers, topic)
    assert (letter.key, letter.value) == ("BTCUSD", b"{}")
    assert letter.headers == {"reason": "missing", "field": "event_time"}
