"""Topics to join, and what they must come to: every record is known here, so a reference can be computed in Python.

Records of the asset index go through the connector's own normalizer and
encoder. Prices come from the fake exchange's market; nothing else of the
connector is used.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import fastavro
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # public, not marked as exported

from connector.config import TopicOptions
from connector.core.encode import RecordEncoder
from connector.core.normalize import Normalizer
from connector.core.partitioner_guess import murmur2_partition
from connector.core.values import Frame, Origin
from connector.edges.registry import Registry, subject_of
from connector.edges.schema_files import load_schema
from connector.edges.topics import ensure_topics, wanted_topics
from connector.local.market import Market
from connector.local.stack import LocalStack

ROOT = Path(__file__).resolve().parents[2]
BALANCE_SCHEMA = (ROOT / "connector" / "local" / "balance.avsc").read_text("utf-8")
CADENCE_MS = 1000


@dataclass(frozen=True, slots=True)
class Price:
    symbol: str
    event_time_ms: int
    values: Mapping[str, str]
    """By the schema's field names, as the exchange wrote them."""

    def decimal(self, name: str) -> Decimal:
        return Decimal(self.values[name])


@dataclass(frozen=True, slots=True)
class Balance:
    symbol: str
    event_time_ms: int
    account: str
    balance: Decimal


@dataclass(frozen=True, slots=True)
class Record:
    """As it is produced; the partition is explicit."""

    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    partition: int


@dataclass
class Topics:
    """Makes and fills topics on the local stack."""

    stack: LocalStack
    registry: Registry = field(init=False)

    def __post_init__(self) -> None:
        self.registry = Registry({"url": self.stack.registry_url})

    def create(self, name: str, partitions: int, **config: str) -> None:
        admin = AdminClient({"bootstrap.servers": self.stack.bootstrap_servers})
        dotted = {key.replace("_", "."): value for key, value in config.items()}
        admin.create_topics([NewTopic(name, partitions, 1, config=dotted)])[name].result(10)

    def create_as_the_connector(self, name: str, partitions: int) -> None:
        wanted = wanted_topics(
            name,
            events=f"{name}.events",
            dead_letters=f"{name}.dlq",
            latest=f"{name}.latest",
            partitions=partitions,
            replication_factor=-1,
            retention_ms=TopicOptions().retention_ms,
            config={},
        )
        ensure_topics({"bootstrap.servers": self.stack.bootstrap_servers}, wanted, create=True, tell=lambda _: None)

    def register(self, topic: str, text: str) -> int:
        return self.registry.register(subject_of(topic), text)

    def produce(self, topic: str, records: Iterable[Record], **properties: Any) -> None:
        """Outside transactions."""
        producer = Producer(
            {"bootstrap.servers": self.stack.bootstrap_servers, "linger.ms": 5, "log_level": 0, **properties}
        )
        for each in records:
            producer.produce(topic, each.value, each.key, partition=each.partition, timestamp=each.timestamp_ms)
        assert producer.flush(20) == 0

    def transactional(self, transactional_id: str) -> Producer:
        producer = Producer(
            {
                "bootstrap.servers": self.stack.bootstrap_servers,
                "transactional.id": transactional_id,
                "linger.ms": 0,
                "log_level": 0,
            }
        )
        producer.init_transactions(20)
        return producer


def send(producer: Producer, topic: str, records: Sequence[Record], *, commit: bool = True) -> None:
    """One transaction."""
    producer.begin_transaction()
    for each in records:
        producer.produce(topic, each.value, each.key, partition=each.partition, timestamp=each.timestamp_ms)
    if commit:
        producer.commit_transaction(20)
    else:
        assert producer.flush(20) == 0  # they must be in the log for their abort to mean anything
        producer.abort_transaction(20)


class AssetIndexTopic:
    """The asset index as the connector writes it: in transactions, some of which were aborted."""

    def __init__(
        self,
        topics: Topics,
        name: str,
        *,
        partitions: int,
        symbols: int = 0,
        seed: int = 1,
        as_the_connector: bool = False,
        **config: str,
    ) -> None:
        """``as_the_connector``: made by it with its defaults, the latest topic too."""
        self.name = name
        self.partitions = partitions
        self.prices: list[Price] = []
        self._topics = topics
        self._schema = load_schema("asset_index")
        if as_the_connector:
            topics.create_as_the_connector(name, partitions)
        else:
            topics.create(name, partitions, **config)
        self._encoder = RecordEncoder(self._schema, topics.register(name, self._schema.text))
        self._normalizer = Normalizer(self._schema, ahead_ms=None, behind_ms=None)
        self._market = Market(symbols, seed)
        self._producer = topics.transactional(name)

    def write(self, times_ms: Iterable[int], *, also: str | None = None) -> None:
        """One transaction a period; before every third one, another with wrong prices, which is aborted.

        ``also``: another topic that the same records go to.
        """
        for number, time_ms in enumerate(times_ms):
            if number % 3 == 0:
                wrong = self._records(Market(self._market.symbols, seed=99).snapshot(time_ms).array)
                send(self._producer, self.name, wrong, commit=False)
            self.write_array(self._market.snapshot(time_ms).array, also=also)

    def write_array(self, array: bytes, *, also: str | None = None) -> None:
        """One transaction with what the exchange pushes at once."""
        records = self._records(array)
        self._producer.begin_transaction()
        for topic in (self.name, also) if also else (self.name,):
            for each in records:
                self._producer.produce(
                    topic, each.value, each.key, partition=each.partition, timestamp=each.timestamp_ms
                )
        self._producer.commit_transaction(20)
        self.prices += [self._price(element) for element in json.loads(array)]

    def _records(self, array: bytes) -> list[Record]:
        done = self._normalizer.normalize(Frame(array, 0, "test", "!assetIndex@arr"))
        assert not done.rejects
        return [
            Record(
                tick.symbol.encode(),
                self._encoder.encode(tick, tick.event_time_ms + 40, Origin.WEBSOCKET),
                tick.event_time_ms,
                murmur2_partition(tick.symbol.encode(), self.partitions),
            )
            for tick in done.ticks
        ]

    def _price(self, element: Mapping[str, Any]) -> Price:
        values = {spec.name: str(element[str(spec.wire)]) for spec in self._schema.content_fields}
        return Price(element["s"], element["E"], values)

    @property
    def symbols(self) -> tuple[str, ...]:
        return self._market.symbols


class BalanceTopic:
    """Balances of a few accounts, of either sign, in a topic of plain records."""

    def __init__(self, topics: Topics, name: str, *, partitions: int, **config: str) -> None:
        self.name = name
        self.partitions = partitions
        self.balances: list[Balance] = []
        self._topics = topics
        topics.create(name, partitions, **config)
        self._id = topics.register(name, BALANCE_SCHEMA)

    def write(self, balances: Sequence[Balance]) -> None:
        self._topics.produce(self.name, [self.record(each) for each in balances])
        self.balances += balances

    def record(self, balance: Balance) -> Record:
        value = {
            "symbol": balance.symbol,
            "event_time": balance.event_time_ms,
            "account": balance.account,
            "balance": balance.balance,
        }
        return Record(
            balance.symbol.encode(),
            framed(self._id, BALANCE_SCHEMA, value),
            balance.event_time_ms,
            murmur2_partition(balance.symbol.encode(), self.partitions),
        )


def some_balances(symbols: Sequence[str], times_ms: Iterable[int], seed: int = 7) -> list[Balance]:
    """One for each time, of either sign, with all eight digits after the point."""
    random = Random(seed)
    return [
        Balance(
            random.choice(symbols),
            time_ms,
            random.choice(("alice", "bob", "carol")),
            Decimal(random.randrange(-(10**11), 10**11)).scaleb(-8),
        )
        for time_ms in times_ms
    ]


def framed(schema_id: int, schema_text: str, value: Mapping[str, Any]) -> bytes:
    """Confluent's framing, the value by fastavro."""
    buffer = BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(json.loads(schema_text)), dict(value))
    return b"\x00" + struct.pack(">I", schema_id) + buffer.getvalue()


# What joins must come to.

Joined = tuple[str, str, str, str, str]
"""Account, symbol, time of the balance, time of the price (both as milliseconds), value in US dollars."""


def priced_as_of(balances: Iterable[Balance], prices: Iterable[Price]) -> list[Joined]:
    """Each balance with the newest price at its time; without one it is left out."""
    by_symbol: dict[str, list[Price]] = {}
    for price in sorted(prices, key=lambda price: price.event_time_ms):
        by_symbol.setdefault(price.symbol, []).append(price)
    found = []
    for balance in balances:
        known = [price for price in by_symbol.get(balance.symbol, ()) if price.event_time_ms <= balance.event_time_ms]
        if known:
            found.append(valued(balance, known[-1]))
    return sorted(found)


def priced_within(balances: Iterable[Balance], prices: Iterable[Price], within_ms: int) -> list[Joined]:
    """Each balance with every price of the time before it, its own instant included."""
    return sorted(
        valued(balance, price)
        for balance in balances
        for price in prices
        if price.symbol == balance.symbol and 0 <= balance.event_time_ms - price.event_time_ms < within_ms
    )


def valued(balance: Balance, price: Price) -> Joined:
    rate = price.decimal("ask_rate" if balance.balance < 0 else "bid_rate")
    return (
        balance.account,
        balance.symbol,
        str(balance.event_time_ms),
        str(price.event_time_ms),
        f"{balance.balance * rate:.16f}",
    )


def every(start_ms: int, step_ms: int, count: int) -> Iterator[int]:
    return iter(range(start_ms, start_ms + step_ms * count, step_ms))
