"""What readers see that know nothing of the connector: Confluent's (de)serializer, and Java's partitioner."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, Message
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from connector.local.exchange import ExchangeThread
from connector.local.stack import LocalStack
from tests.integration.bench import PARTITIONS, Bench, newest
from tests.judge import Sent, java_partition
from tests.readers import Tail
from tests.truths import everything_sent

pytestmark = [pytest.mark.stack, pytest.mark.timeout(60)]


class Written:
    """A topic that a connector has written, and what the exchange had sent it."""

    def __init__(self, bench: Bench, sent: Sequence[Sent]) -> None:
        self.bench = bench
        self.sent = sent
        self.messages: Sequence[Message] = bench.messages()
        self.context = SerializationContext(bench.topic, MessageField.VALUE)


@pytest.fixture(scope="module")
def written(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Written]:
    with (
        ExchangeThread(symbols=60, rate_hz=5, seed=7) as exchange,
        Bench(stack, tmp_path_factory.mktemp("readers"), "test-readers-not-ours", exchange, rate_hz=5) as bench,
    ):
        bench.register()
        replica = bench.replica()
        bench.wait_for_topic(replica)
        with Tail(stack.bootstrap_servers, bench.topic) as tail:
            tail.wait_for_records(600, 20)
            exchange.stop_feeding()
            tail.wait_until(newest(exchange), 5)
        assert replica.stop() == 0, replica.log()
        yield Written(bench, list(everything_sent(exchange.truth)))


@pytest.fixture
def registry(stack: LocalStack) -> Iterator[SchemaRegistryClient]:
    with SchemaRegistryClient({"url": stack.registry_url, "timeout": 5}) as client:
        yield client


def test_a_deserializer_with_only_the_registrys_address_reads_every_record(
    written: Written, registry: SchemaRegistryClient
) -> None:
    deserialize = AvroDeserializer(registry)
    assert all(deserialize(message.value(), written.context) for message in written.messages)
    verdict = written.bench.judged(written.sent)
    assert verdict.clean, verdict.report()
    assert verdict.records == verdict.sent >= 600


def test_the_bytes_are_those_of_confluents_serializer(written: Written, registry: SchemaRegistryClient) -> None:
    deserialize = AvroDeserializer(registry)
    latest = registry.get_latest_version(f"{written.bench.topic}-value")
    serialize = AvroSerializer(
        registry,
        latest.schema.schema_str,
        conf={"auto.register.schemas": False, "use.schema.id": latest.schema_id},
    )
    for message in written.messages:
        value = message.value()
        assert serialize(deserialize(value, written.context), written.context) == value


def test_keys_are_plain_symbols_on_the_partitions_of_javas_producer(written: Written) -> None:
    assert {message.partition() for message in written.messages} == set(range(PARTITIONS))
    symbols = {tick.symbol for tick in written.sent}
    for message in written.messages:
        key = message.key()
        assert isinstance(key, bytes)
        assert key.decode("ascii") in symbols
        assert message.partition() == java_partition(key, PARTITIONS)


def test_the_timestamp_is_the_event_time(written: Written, registry: SchemaRegistryClient) -> None:
    deserialize = AvroDeserializer(registry)
    for message in written.messages:
        value = deserialize(message.value(), written.context)
        assert isinstance(value, dict)
        assert message.timestamp() == (TIMESTAMP_CREATE_TIME, round(value["event_time"].timestamp() * 1000))


def test_there_are_no_headers(written: Written) -> None:
    assert not [message for message in written.messages if message.headers()]


def test_nothing_but_the_records_is_in_the_topic(written: Written, stack: LocalStack) -> None:
    assert not written.bench.letters()
    assert {event["kind"] for event in written.bench.events()} <= {
        "started_without_history",
        "socket_opened",
        "socket_closed",
        "takeover",
        "writer_wanted",
    }
