"""``join-check`` on a real broker: topics made wrong on purpose, one way each, and ours, which are right."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from click.testing import CliRunner
from confluent_kafka import Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, yet not marked as exported
    AdminClient,
    NewPartitions,
)
from confluent_kafka.schema_registry import Schema as RegistrySchema

from connector.cli import cli
from connector.core.errors import ConfigurationError
from connector.core.joincheck import JoinReport, TopicFacts, check_join
from connector.core.partitioner_guess import crc32_partition, murmur2_partition
from connector.edges.topic_facts import topic_facts
from connector.local.stack import LocalStack
from tests.downstream.conftest import Case
from tests.downstream.topics import BALANCE_SCHEMA, Topics, framed

pytestmark = pytest.mark.stack

WINDOW_MS = 3_600_000


@pytest.fixture(scope="session")
def ours(stack: LocalStack, topics: Topics, large: Case) -> TopicFacts:
    return topic_facts({"bootstrap.servers": stack.bootstrap_servers}, topics.registry, large.index.name)


@dataclass(frozen=True, slots=True)
class Made:
    """How a topic differs from one that joins."""

    key: Callable[[str], bytes | None] = str.encode
    time_off_ms: int = 0
    event_time: Callable[[int], int] = int
    value: Callable[[bytes], bytes | None] = bytes
    partitioner: str = "murmur2_random"
    partitions: int = 6
    schema: str = BALANCE_SCHEMA
    config: Mapping[str, str] | None = None


class Workshop:
    """Makes topics wrong, and checks them."""

    def __init__(self, stack: LocalStack, topics: Topics, ours: TopicFacts, case: Case, name: str) -> None:
        self.kafka = {"bootstrap.servers": stack.bootstrap_servers}
        self.topics = topics
        self.ours = ours
        self.case = case
        self.name = name

    def make(self, made: Made) -> None:
        """Two records a symbol, by a client with its own way to choose partitions."""
        self.topics.create(self.name, made.partitions, **(made.config or {}))
        self.fill(made)

    def fill(self, made: Made, *, subject_topic: str | None = None) -> None:
        schema_id = self.topics.register(subject_topic or self.name, made.schema)
        producer = Producer({**self.kafka, "partitioner": made.partitioner, "linger.ms": 5, "log_level": 0})
        for symbol in self.case.index.symbols:
            for time_ms in (self.case.start_ms, self.case.start_ms + 500):
                fields = {
                    "symbol": symbol,
                    "event_time": made.event_time(time_ms),
                    "account": "a",
                    "balance": ONE,
                    "id": b"ab",
                }
                value = made.value(framed(schema_id, plain(made.schema), fields))
                producer.produce(self.name, value, made.key(symbol), timestamp=time_ms + made.time_off_ms)
        assert producer.flush(20) == 0

    def facts(self, **options: Any) -> TopicFacts:
        return topic_facts(self.kafka, self.topics.registry, self.name, **options)

    def check(self, **options: Any) -> JoinReport:
        return check_join(self.ours, self.facts(**options), window_ms=WINDOW_MS)


ONE = Decimal(1)


def plain(schema: str) -> str:
    """Without logical types, so that any number can be written."""
    document = json.loads(schema)
    for each in document["fields"]:
        if each["name"] == "event_time":
            each["type"] = "long"
    return json.dumps(document)


@pytest.fixture
def workshop(stack: LocalStack, topics: Topics, ours: TopicFacts, large: Case, topic_name: str) -> Workshop:
    return Workshop(stack, topics, ours, large, topic_name)


def codes(report: JoinReport) -> list[str]:
    return [finding.code for finding in report.findings]


def test_nothing_is_found_on_ours(workshop: Workshop, large: Case, ours: TopicFacts) -> None:
    workshop.make(Made())
    report = workshop.check()
    assert not report.findings
    assert ours.transactional
    assert not workshop.facts().transactional
    assert large.index.name in report.requirements[0].setting
    workshop.name = large.balances.name
    assert not workshop.check().findings


WRONG: dict[str, tuple[Made, list[str], str]] = {
    "another number of partitions": (Made(partitions=4), ["partition-count"], "has 4"),
    "librdkafka's own partitioner": (Made(partitioner="consistent"), ["partitioner"], "CRC32"),
    "a partitioner that nobody knows": (Made(partitioner="fnv1a"), ["partitioner"], "neither murmur2"),
    "keys as JSON": (Made(key=lambda symbol: json.dumps(symbol).encode()), ["key-bytes"], "quoted JSON"),
    "keys as Avro": (
        Made(key=lambda symbol: b"\0\0\0\0\1" + bytes([2 * len(symbol)]) + symbol.encode()),
        ["key-bytes"],
        "Avro-framed",
    ),
    "keys that are numbers": (
        Made(key=lambda symbol: zlib.crc32(symbol.encode()).to_bytes(8)),
        ["key-bytes"],
        "no text",
    ),
    "no keys": (Made(key=lambda symbol: None), ["key-bytes"], "null"),
    "keys that never match": (Made(key=lambda symbol: symbol[:-3].encode()), ["keys-never-match"], "USD behind"),
    "time by the broker": (Made(config={"message_timestamp_type": "LogAppendTime"}), ["timestamp-type"], ""),
    "time far from event time": (Made(time_off_ms=-60_000), ["timestamp-far"], "at most -60000 ms"),
    "event time in microseconds": (Made(event_time=lambda ms: ms * 1000), ["timestamp-far"], "microseconds"),
    "a compacted topic": (Made(config={"cleanup_policy": "compact"}), ["compacted"], "history"),
    "short retention": (Made(config={"retention_ms": "1800000"}), ["retention"], "1800000"),
    "values that are no Avro": (Made(value=lambda value: b'{"symbol":1}'), ["not-avro"], "120 of 120"),
    "values of an unknown schema": (
        Made(value=lambda value: b"\0\x7f\xff\xff\xff" + value[5:]),
        ["unknown-schema"],
        "120 of 120",
    ),
    "values cut short": (Made(value=lambda value: value[:-3]), ["unknown-schema"], "120 of 120"),
    "an enum": (
        Made(
            schema=BALANCE_SCHEMA.replace(
                '"type": "string", "doc": "Whose',
                '"type": {"type": "enum", "name": "Who", "symbols": ["a"]}, "doc": "Whose',
            )
        ),
        ["type"],
        "enum",
    ),
    "a fixed": (
        Made(
            schema=BALANCE_SCHEMA.replace(
                '{"name": "balance"',
                '{"name": "id", "type": {"type": "fixed", "name": "Id", "size": 2}, "default": "ab"},'
                '{"name": "balance"',
            )
        ),
        ["type"],
        "fixed",
    ),
    "micros": (
        Made(schema=BALANCE_SCHEMA.replace("timestamp-millis", "timestamp-micros"), event_time=lambda ms: ms * 1000),
        ["timestamp-far", "type"],
        "microseconds",
    ),
}


@pytest.mark.parametrize("way", WRONG)
def test_each_way_to_be_wrong_is_found_alone(workshop: Workshop, way: str) -> None:
    made, expected, said = WRONG[way]
    workshop.make(made)
    report = workshop.check()
    found = [code for code in codes(report) if code != "empty-partitions" or way != "no keys"]
    assert sorted(found) == sorted(expected), report.findings
    assert any(said in finding.found for finding in report.findings), report.findings
    assert report.broken


def test_crc32_is_told_from_murmur2_although_some_keys_agree(workshop: Workshop) -> None:
    workshop.make(Made(partitioner="consistent"))
    facts = workshop.facts()
    agreeing = [key for key in facts.keys if murmur2_partition(key, 6) == crc32_partition(key, 6)]
    assert b"BTCUSD" in agreeing
    assert codes(workshop.check()) == ["partitioner"]


def test_some_keys_without_a_partner(workshop: Workshop) -> None:
    workshop.make(Made(key=lambda symbol: b"DOGEUSD" if symbol == "BTCUSD" else symbol.encode()))
    report = workshop.check()
    assert codes(report) == ["keys-never-match"]
    assert "1 of the 60 keys" in report.findings[0].found
    assert not report.broken, "the others match"


def test_keys_that_moved(workshop: Workshop) -> None:
    workshop.make(Made(partitions=3))
    admin = AdminClient({**workshop.kafka})
    admin.create_partitions([NewPartitions(workshop.name, 6)])[workshop.name].result(10)
    workshop.fill(Made())
    assert codes(workshop.check()) == ["keys-move"]


def test_no_records(workshop: Workshop) -> None:
    workshop.topics.create(workshop.name, 6)
    workshop.topics.register(workshop.name, BALANCE_SCHEMA)
    assert codes(workshop.check()) == ["no-records"]


def test_no_schema(workshop: Workshop) -> None:
    """Its records are Avro all the same, of a schema that the registry knows by another subject."""
    workshop.topics.create(workshop.name, 6)
    workshop.fill(Made(), subject_topic=workshop.case.balances.name)
    assert codes(workshop.check(time_field="event_time")) == ["no-schema"]


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (RegistrySchema('{"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}', "JSON"), b"{}"),
        (RegistrySchema('"string"', "AVRO"), b"\x02a"),
    ],
    ids=["JSON Schema", "Avro, but no record"],
)
def test_a_schema_that_is_no_avro_record(workshop: Workshop, schema: RegistrySchema, value: bytes) -> None:
    schema_id = workshop.topics.registry._client.register_schema(f"{workshop.name}-value", schema)
    framed_value = b"\0" + struct.pack(">I", schema_id) + value
    workshop.topics.create(workshop.name, 6)
    workshop.fill(Made(value=lambda _: framed_value), subject_topic=workshop.case.balances.name)
    found = codes(workshop.check())
    assert found == (["not-avro", "no-record"] if schema.schema_type == "JSON" else ["no-record"])


def test_a_time_field_that_is_not_there(workshop: Workshop) -> None:
    workshop.make(Made())
    with pytest.raises(ConfigurationError, match="no field 'when'; it has symbol, event_time, account, balance"):
        workshop.check(time_field="when")


def test_empty_partitions(workshop: Workshop) -> None:
    workshop.make(Made(partitions=50))
    assert "empty-partitions" in codes(workshop.check())


def test_a_changing_scale(workshop: Workshop) -> None:
    workshop.make(Made())
    client = workshop.topics.registry._client
    client.set_compatibility(f"{workshop.name}-value", "NONE")
    changed = BALANCE_SCHEMA.replace('"scale": 8', '"scale": 6')
    client.register_schema(f"{workshop.name}-value", workshop.topics.registry._avro(changed))
    report = workshop.check()
    assert codes(report) == ["type"]
    assert "6 and 8" in report.findings[0].found


@contextmanager
def open_transaction(workshop: Workshop) -> Iterator[None]:
    """Records that are in the log, and whose end nobody tells."""
    producer = workshop.topics.transactional(f"{workshop.name}-stuck")
    producer.begin_transaction()
    producer.produce(workshop.name, b"", b"BTCUSD", partition=2)
    assert producer.flush(10) == 0
    yield
    producer.abort_transaction(10)


def test_a_transaction_that_does_not_end(workshop: Workshop) -> None:
    workshop.make(Made())
    with open_transaction(workshop):
        report = workshop.check(watch_s=0.5)
    assert codes(report) == ["open-transaction"]
    assert "partition 2" in report.findings[0].found
    assert workshop.name in report.requirements[0].setting, "it is written in transactions after all"
    assert not workshop.check().findings, "what was open has ended"


def command(stack: LocalStack, case: Case, *arguments: str) -> Any:
    settings = {
        "kafka.bootstrap.servers": stack.bootstrap_servers,
        "registry.url": stack.registry_url,
        "topic.name": case.index.name,
    }
    options = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    return CliRunner().invoke(
        cli, ["join-check", *options, *arguments], catch_exceptions=False, standalone_mode=False, env={"COLUMNS": "150"}
    )


def test_the_command(stack: LocalStack, large: Case, workshop: Workshop) -> None:
    workshop.make(Made(partitions=4, partitioner="consistent"))
    good = command(stack, large, "--with", large.balances.name)
    assert good.return_value == 0
    assert "nothing stands in the way" in good.output
    assert "read_committed" in good.output

    bad = command(stack, large, "--with", workshop.name)
    assert bad.return_value == 2
    for said in ("partition-count", "partitioner", "CRC32", "murmur2_random"):
        assert said in bad.output

    machine = command(stack, large, "--with", workshop.name, "--json")
    assert machine.return_value == 2
    told = json.loads(machine.output)
    assert {finding["code"] for finding in told["findings"]} == {"partition-count", "partitioner"}
    assert told["requirements"][0]["reader"] == "Flink SQL"
