"""``gaps`` on a real topic and ledger, written here as the connector writes them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime

import pytest
from confluent_kafka import Producer, TopicPartition

from connector.cli import exit_code_of
from connector.core.ledger_events import EventEncoder, EventKind, FeedEvent
from connector.edges.kafka_clients import admin_properties, new_admin, producer_properties, unheard
from connector.edges.kafka_partition import partition_of
from connector.edges.registry import Registry, subject_of
from connector.edges.schema_files import find_schema_file, read_schema_file
from connector.edges.topics import ensure_topics, wanted_topics
from connector.local.stack import LocalStack

pytestmark = pytest.mark.stack

PARTITIONS = 3
NOON_MS = int(datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0).timestamp() * 1000) - 43_200_000
"""Of yesterday."""

Capture = pytest.CaptureFixture[str]


class Written:
    """A topic and its ledger; seconds count from :data:`NOON_MS`."""

    def __init__(self, stack: LocalStack, topic: str) -> None:
        self.topic = topic
        self._kafka = {"bootstrap.servers": stack.bootstrap_servers}
        self.options = [
            *("--set", f"kafka.bootstrap.servers={stack.bootstrap_servers}"),
            *("--set", f"registry.url={stack.registry_url}", "--set", f"topic.name={topic}"),
        ]
        specs = wanted_topics(
            topic,
            events=f"{topic}.events",
            dead_letters=f"{topic}.dlq",
            latest=None,
            partitions=PARTITIONS,
            replication_factor=-1,
            retention_ms=604_800_000,
            config={"segment.bytes": 1024 * 1024},
        )
        ensure_topics(self._kafka, specs, create=True, tell=lambda _: None)
        text = read_schema_file(find_schema_file("feed_event"))
        registry = Registry({"url": stack.registry_url})
        self._encoder = EventEncoder(text, registry.register(subject_of(f"{topic}.events"), text))
        registry.close()

    def write(self, ticks: dict[str, Iterable[int]], events: Iterable[FeedEvent] = (), value: bytes = b"x") -> None:
        producer = Producer({**producer_properties(self._kafka), "transactional.id": self.topic})
        producer.init_transactions(20)
        producer.begin_transaction()
        for symbol, seconds in ticks.items():
            for second in seconds:
                partition = partition_of(symbol.encode(), PARTITIONS)
                producer.produce(self.topic, value, symbol.encode(), partition, timestamp=NOON_MS + second * 1000)
        for event in events:
            value = self._encoder.encode(event, "test")
            producer.produce(f"{self.topic}.events", value, event.about.encode(), timestamp=event.time)
        producer.commit_transaction(20)

    def cut(self, symbol: str, before: int) -> None:
        """Remove what its partition has before that offset."""
        gone = TopicPartition(self.topic, partition_of(symbol.encode(), PARTITIONS), before)
        admin = new_admin(admin_properties(self._kafka), unheard)
        admin.delete_records([gone])[gone].result(10)

    def gaps(self, *more: str) -> int:
        since, until = (datetime.fromtimestamp(NOON_MS / 1000 + s, UTC).isoformat() for s in (0, 3600))
        return exit_code_of(["gaps", *self.options, "--since", since, "--until", until, *more])


@pytest.fixture
def written(stack: LocalStack, topic_name: str) -> Written:
    return Written(stack, topic_name)


def gap(about: str, first: int, last: int, reason: str = "feed down") -> FeedEvent:
    times = NOON_MS + first * 1000, NOON_MS + last * 1000
    return FeedEvent(EventKind.GAP, about, times[1] + 1000, *times, periods=last - first + 1, reason=reason)


def test_ledger_and_topic_agree(written: Written, capsys: Capture) -> None:
    seconds = [*range(-20, 30), *range(40, 90)]
    takeover = FeedEvent(EventKind.TAKEOVER, "*", NOON_MS + 41_000, detail="topic idle 3.1 s")
    written.write(
        {"BTCUSD": seconds, "ETHUSD": [s for s in seconds if s != 50], "USDTUSD": seconds},
        [gap("*", 30, 39), gap("ETHUSD", 50, 50, "rejected"), takeover],
    )
    assert written.gaps() == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert "gap  *" in lines[0]
    assert "(10)  feed down  test" in lines[0]
    assert "takeover" in lines[1]
    assert "gap  ETHUSD" in lines[2]
    assert lines[4] == "ledger and topic agree (299 records read)"

    assert written.gaps("--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["agree"] is True
    assert [(each["kind"], each["about"], each["periods"]) for each in document["entries"]] == [
        ("gap", "*", 10),
        ("takeover", "*", 0),
        ("gap", "ETHUSD", 1),
    ]
    assert document["entries"][0]["first_missing"] == NOON_MS + 30_000


def test_every_way_to_disagree(written: Written, capsys: Capture) -> None:
    seconds = [*range(30), *range(40, 90)]
    written.write(
        {"BTCUSD": seconds, "ETHUSD": [s for s in seconds if s != 50]},
        [gap("*", 30, 35), gap("*", 33, 35), gap("BTCUSD", 60, 61)],
    )
    assert written.gaps("--json") == 2
    found = json.loads(capsys.readouterr().out)["disagreements"]
    assert [(d["about"], d["difference"], (d["first"] - NOON_MS) // 1000, d["periods"]) for d in found] == [
        ("*", "not in the ledger", 36, 4),
        ("*", "stands twice", 33, 3),
        ("BTCUSD", "not missing", 60, 2),
        ("ETHUSD", "not in the ledger", 50, 1),
    ]
    assert written.gaps() == 2
    assert "ledger and topic DISAGREE in 4 stretches:" in capsys.readouterr().out


def test_what_came_long_before_is_known(written: Written, capsys: Capture) -> None:
    """The last tick before the time asked for is hours old: what is missing since then is seen all the same."""
    written.write({"BTCUSD": [-20_000, 100], "ETHUSD": [-20_000, 100]})
    assert written.gaps("--json") == 2
    (found,) = json.loads(capsys.readouterr().out)["disagreements"]
    assert (found["first"], found["periods"]) == (NOON_MS, 100)


def test_nothing_there(written: Written, capsys: Capture) -> None:
    assert written.gaps() == 0
    assert "nothing to compare" in capsys.readouterr().out


def test_what_was_removed_is_no_gap_and_what_is_missing_behind_it_is(written: Written, capsys: Capture) -> None:
    """While the broker has the segments that were cut, it says of times before the cut that no record is as new."""
    large = bytes(50_000)  # 30 of them fill a segment
    written.write({"BTCUSD": range(30), "BNBUSD": range(30), "ADAUSD": range(10)}, value=large)
    written.write({"BTCUSD": range(30, 60), "BNBUSD": range(30, 60)}, value=large)
    seconds = [*range(60, 100), *range(110, 200), *range(206, 2500)]
    written.write({"BTCUSD": seconds, "BNBUSD": seconds}, [gap("*", 100, 109)])
    written.cut("BTCUSD", 45 + 1)  # its 45th second: the first transaction's end has an offset too
    written.cut("BNBUSD", 20)
    assert written.gaps("--json") == 2
    document = json.loads(capsys.readouterr().out)
    (found,) = document["disagreements"]
    assert (found["about"], found["first"], found["periods"]) == ("*", NOON_MS + 200_000, 6)
    assert document["topic"]["oldest"] == NOON_MS
    assert document["topic"]["whole_since"] == NOON_MS + 45_000
    written.gaps()
    assert ":00:45Z the topic has lost records" in capsys.readouterr().out


def test_no_such_topic(stack: LocalStack, topic_name: str, capsys: Capture) -> None:
    options = ("--set", f"kafka.bootstrap.servers={stack.bootstrap_servers}")
    registry = ("--set", f"registry.url={stack.registry_url}", "--set", f"topic.name={topic_name}")
    assert exit_code_of(["gaps", *options, *registry]) == 2
    assert "see topic.name" in capsys.readouterr().err


@pytest.mark.parametrize("since", ["yesterday", "24", "3 weeks"])
def test_times_that_are_none(since: str, capsys: Capture) -> None:
    assert exit_code_of(["gaps", "--since", since]) == 2
    assert "neither a time" in capsys.readouterr().err
