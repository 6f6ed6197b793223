"""The compacted companion on a real broker: the same records, tombstones for symbols that have gone, and what a new
writer makes of what it finds there."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, yet not marked as exported
    AdminClient,
    NewPartitions,
)

from connector.config import load_config
from connector.core.happenings import PartitionsGrown, TombstoneWritten
from connector.edges import kafka_sink
from connector.edges.topic_reader import Row, TopicReader
from connector.local.stack import LocalStack
from connector.runner import sink_options
from tests.integration.test_sink import START_MS, SYMBOLS, Replica, expected, frame, keys_and_times, wait_for

GONE, OTHERS = SYMBOLS[0], SYMBOLS[1:]
HOUR_MS = 3_600_000


def rows_of(stack: LocalStack, topic: str) -> list[Row]:
    """All of it, each partition in its order; values as bytes."""
    reader = TopicReader({"bootstrap.servers": stack.bootstrap_servers}, topic, lambda value: {"value": value})
    try:
        reader.start(0)
        rows: list[Row] = []
        while not reader.at_end:
            rows += reader.rows(0.1)
        return rows
    finally:
        reader.close()


def of_gone(stack: LocalStack, topic: str) -> list[tuple[int, bool]]:
    """Its records: the second, and whether it is a tombstone."""
    rows = [row for row in rows_of(stack, topic) if row.key == GONE]
    assert len({row.partition for row in rows}) == 1
    return [((row.timestamp_ms - START_MS) // 1000, row.value is None) for row in rows]


def reads(replica: Replica) -> bool:
    """Whether it is still at reading the compacted topic."""
    return replica.sink._latest.is_open


def tombstones(replica: Replica) -> list[str]:
    return [each.symbol for each in replica.told if isinstance(each, TombstoneWritten)]


def test_it_gets_each_record_in_the_same_partition(stack: LocalStack, topic_name: str, tmp_path: Path) -> None:
    latest = f"{topic_name}.latest"
    only = Replica(tmp_path, "only", stack, topic_name, latest=latest)
    for number in range(5):
        only.journal.put(frame(number))
    wait_for(only.delivered)
    only.end()
    assert keys_and_times(stack, latest) == keys_and_times(stack, topic_name) == expected(5)
    in_latest, in_topic = ({row.key: row.partition for row in rows_of(stack, topic)} for topic in (latest, topic_name))
    assert in_latest == in_topic


def test_a_symbol_that_went_before_a_restart_gets_one_tombstone_and_its_return_is_a_value(
    stack: LocalStack, topic_name: str, tmp_path: Path, running: ExitStack
) -> None:
    """The second life finds it only in the compacted topic: in the topic it is older than the history's window."""
    latest = f"{topic_name}.latest"

    def life(name: str) -> Replica:
        return Replica(tmp_path, name, stack, topic_name, latest=latest, tombstone_after_ms=HOUR_MS)

    first = life("first")
    first.journal.put(frame(0))
    for second in (*range(1, 10), *range(1700, 1800)):
        first.journal.put(frame(second, OTHERS))
    wait_for(first.delivered)
    first.end()
    assert of_gone(stack, latest) == [(0, False)]
    assert tombstones(first) == []

    second_life = life("second")
    for second in range(3540, 3640):
        second_life.journal.put(frame(second, OTHERS))
    wait_for(second_life.delivered)
    wait_for(lambda: bool(tombstones(second_life)) or not reads(second_life))
    second = 3640
    second_life.journal.put(frame(second, OTHERS))
    wait_for(second_life.delivered)
    second_life.end()
    assert tombstones(second_life) == [GONE]
    (value, tombstone) = of_gone(stack, latest)
    assert value == (0, False)
    assert tombstone[0] >= 3600
    assert tombstone[1]

    third = life("third")
    running.callback(third.end)
    for later in (second + 100, second + 200):
        third.journal.put(frame(later, OTHERS))
        wait_for(third.delivered)
        wait_for(lambda: not reads(third))
    assert tombstones(third) == [], "it has one"

    third.journal.put(frame(second + 201))
    wait_for(third.delivered)
    assert of_gone(stack, latest) == [value, tombstone, (second + 201, False)]
    assert [entry for entry in of_gone(stack, topic_name) if entry[1]] == [], "the topic itself gets no tombstone"


def test_when_the_topic_gets_more_partitions_the_compacted_one_keeps_its_keys_where_they_are(
    stack: LocalStack, topic_name: str, tmp_path: Path, running: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_sink, "PARTITIONS_CHECKED_EVERY_S", 0.5)
    latest = f"{topic_name}.latest"
    only = Replica(tmp_path, "only", stack, topic_name, latest=latest)
    running.callback(only.end)
    only.journal.put(frame(0))
    wait_for(only.delivered)
    before = {row.key: row.partition for row in rows_of(stack, latest)}
    admin = AdminClient({"bootstrap.servers": stack.bootstrap_servers})
    admin.create_partitions([NewPartitions(topic_name, 12)])[topic_name].result(10)
    wait_for(lambda: any(isinstance(each, PartitionsGrown) for each in only.told))
    only.journal.put(frame(1))
    wait_for(only.delivered)
    assert {(row.key, row.partition) for row in rows_of(stack, latest)} == set(before.items())
    assert keys_and_times(stack, latest) == keys_and_times(stack, topic_name) == expected(2)
    assert len({row.partition for row in rows_of(stack, topic_name)}) > 3, "there the keys have moved"


@pytest.mark.parametrize(
    ("overrides", "after_ms"),
    [
        ([], None),
        (["latest.enabled=true"], 86_400_000),
        (["latest.enabled=true", "latest.tombstone_after=3600"], 3_600_000),
        (["latest.enabled=true", "latest.tombstone_after=0"], None),
        (["latest.tombstone_after=3600"], None),
    ],
)
def test_tombstones_as_configured(overrides: list[str], after_ms: int | None) -> None:
    assert sink_options(load_config(overrides=overrides, needs=()).config, "one").tombstone_after_ms == after_ms
