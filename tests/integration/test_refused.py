"""A broker that refuses one record of a write, and takes it later: nothing is lost, nothing goes before its time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from connector.core.happenings import GapFound, Tell, TransactionFailed
from connector.core.values import Frame
from connector.edges.kafka_records import SinkOptions
from connector.edges.kafka_sink import Guards
from connector.edges.kafka_writer import Outgoing, Records, Writer, Written
from connector.edges.topic_reader import TopicReader
from connector.local.stack import LocalStack
from tests.edges.test_kafka_writer import made_for_small_records
from tests.integration.test_sink import START_MS, SYMBOLS, Replica, expected, frame, keys_and_times, wait_for
from tests.integration.writer_around import WriterAround

BOTH = pytest.mark.parametrize("exactly_once", [True, False], ids=["exactly-once", "at-least-once"])
TOO_LARGE = b"v" * 5000
REFUSED = (SYMBOLS[7].encode(), START_MS + 2000)


class Spoiling(WriterAround):
    """A writer that makes a record too large for its topic."""

    def __init__(self, writer: Writer, is_spoilt: Callable[[str, bytes | None, int], bool]) -> None:
        super().__init__(writer)
        self._is_spoilt = is_spoilt

    def write(self, records: Iterable[Records], others: Iterable[Outgoing]) -> Written:
        spoilt = [
            replace(
                each,
                values=[
                    TOO_LARGE if self._is_spoilt(each.topic, key, time_ms) else value
                    for key, value, time_ms in zip(each.keys, each.values, each.timestamps_ms, strict=True)
                ],
            )
            for each in records
        ]
        spoilt_others = [
            (topic, partition, key, TOO_LARGE if self._is_spoilt(topic, key, time_ms) else value, time_ms, headers)
            for topic, partition, key, value, time_ms, headers in others
        ]
        return self._writer.write(spoilt, spoilt_others)


class Refusing(Guards):
    """The first writer's record is refused; the second one's is not. Each record has a request of its own."""

    def __init__(self, topic: str, is_meant: Callable[[bytes | None, int], bool]) -> None:
        self._topic = topic
        self._is_meant = is_meant
        self._opened = 0

    def open_writer(self, options: SinkOptions, tell: Tell) -> Writer:
        self._opened += 1
        writer = super().open_writer(replace(options, kafka={**options.kafka, "batch.num.messages": 1}), tell)
        if self._opened > 1:
            return writer
        return Spoiling(writer, lambda topic, key, time_ms: topic == self._topic and self._is_meant(key, time_ms))


def rows(stack: LocalStack, topic: str) -> list[str]:
    """The keys of all that stands in a topic."""
    reader = TopicReader({"bootstrap.servers": stack.bootstrap_servers}, topic, lambda _: {})
    try:
        reader.start(0)
        found: list[str] = []
        while not reader.at_end:
            found += [row.key for row in reader.rows(0.1)]
        return found
    finally:
        reader.close()


def with_a_bad_tick(second: int, symbol: str) -> Frame:
    elements = json.loads(frame(second).data)
    next(each for each in elements if each["s"] == symbol)["i"] = "NaN"
    return Frame(json.dumps(elements).encode(), time.time_ns(), "ws-1", "!assetIndex@arr")


def started(folder: Path, stack: LocalStack, topic: str, running: ExitStack, guards: Guards, mode: bool) -> Replica:
    """A replica over a topic that holds a second of ticks."""
    first = Replica(folder, "first", stack, topic, exactly_once=mode)
    first.journal.put(frame(0))
    wait_for(first.delivered)
    first.end()
    replica = Replica(folder, "first", stack, topic, exactly_once=mode, guards=guards)
    running.callback(replica.end)
    return replica


def was_refused(replica: Replica) -> bool:
    return any(isinstance(each, TransactionFailed) and "too large" in each.problem for each in replica.told)


@BOTH
def test_a_tick_that_is_refused_is_written_later_and_what_follows_it_too(
    exactly_once: bool, stack: LocalStack, topic_name: str, tmp_path: Path, running: ExitStack
) -> None:
    """Its symbol's next ticks stand behind it, and those of others are in the topic already, at least once."""
    made_for_small_records(stack, topic_name)
    guards = Refusing(topic_name, lambda key, time_ms: (key, time_ms) == REFUSED)
    replica = started(tmp_path, stack, topic_name, running, guards, exactly_once)
    for number in range(1, 5):
        replica.journal.put(frame(number))
    wait_for(replica.delivered)
    assert was_refused(replica)
    assert keys_and_times(stack, topic_name) == expected(5)
    assert rows(stack, f"{topic_name}.dlq") == []
    assert not [each for each in replica.told if isinstance(each, GapFound)]


def test_at_least_once_a_refused_tick_that_later_ones_have_passed_is_a_dead_letter(
    stack: LocalStack, topic_name: str, tmp_path: Path, running: ExitStack
) -> None:
    """Brokers take what stands behind a new producer's first request, if that is refused while others are under way."""
    made_for_small_records(stack, topic_name)
    meant = (SYMBOLS[7].encode(), START_MS + 1000)
    first_of_its_partition = Refusing(topic_name, lambda key, time_ms: (key, time_ms) == meant)
    replica = Replica(tmp_path, "first", stack, topic_name, exactly_once=False, guards=first_of_its_partition)
    running.callback(replica.end)
    for number in range(1, 5):
        replica.journal.put(frame(number, (SYMBOLS[7],)))
    wait_for(replica.delivered)
    assert was_refused(replica)
    letters = [START_MS + 1000 for key in rows(stack, f"{topic_name}.dlq") if key == SYMBOLS[7]]
    written = [time_ms for _, time_ms in keys_and_times(stack, topic_name)]
    assert sorted(written + letters) == [START_MS + second * 1000 for second in range(1, 5)]


@BOTH
def test_a_dead_letter_that_is_refused_is_written_later(
    exactly_once: bool, stack: LocalStack, topic_name: str, tmp_path: Path, running: ExitStack
) -> None:
    """Its frame's other ticks are not in the topic before, or nothing would come back to it."""
    made_for_small_records(stack, f"{topic_name}.dlq")
    guards = Refusing(f"{topic_name}.dlq", lambda key, time_ms: True)
    replica = started(tmp_path, stack, topic_name, running, guards, exactly_once)
    replica.journal.put(frame(1))
    replica.journal.put(with_a_bad_tick(2, SYMBOLS[3]))
    replica.journal.put(frame(3))
    wait_for(replica.delivered)
    assert was_refused(replica)
    assert rows(stack, f"{topic_name}.dlq") == [SYMBOLS[3]]
    assert len(keys_and_times(stack, topic_name)) == 4 * len(SYMBOLS) - 1


@BOTH
def test_a_gap_that_is_refused_is_in_the_ledger_later(
    exactly_once: bool, stack: LocalStack, topic_name: str, tmp_path: Path, running: ExitStack
) -> None:
    made_for_small_records(stack, f"{topic_name}.events")
    guards = Refusing(f"{topic_name}.events", lambda key, time_ms: time_ms == START_MS + 7_000)
    replica = started(tmp_path, stack, topic_name, running, guards, exactly_once)
    for number in (1, 7, 8):
        replica.journal.put(frame(number))
    wait_for(replica.delivered)
    assert was_refused(replica)
    assert [each.periods for each in replica.told if isinstance(each, GapFound)] == [5]
