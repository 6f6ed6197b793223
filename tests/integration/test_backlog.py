"""A backlog is written by the broker's acknowledgements, without being read back; and what may happen in the middle."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path

import pytest
from confluent_kafka import Message, Producer

from connector.core.happenings import Followed, RoleChanged, Tell, TransactionFailed
from connector.edges.kafka_follower import Follower
from connector.edges.kafka_records import SinkOptions
from connector.edges.kafka_sink import Guards
from connector.edges.kafka_writer import Outgoing, Records, TransactionalWriter, WriteError, Writer, Written
from connector.local.stack import LocalStack
from tests.integration.test_sink import START_MS, SYMBOLS, Replica, expected, frame, keys_and_times, wait_for
from tests.integration.writer_around import WriterAround

FRAMES = 200
A_BATCH = 5
BOTH = pytest.mark.parametrize("exactly_once", [True, False], ids=["exactly-once", "at-least-once"])


class Interrupted(WriterAround):
    """A writer, and what is to happen behind its fifteenth batch."""

    def __init__(self, writer: Writer, happens: Callable[[], None]) -> None:
        super().__init__(writer)
        self._happens = happens
        self._batches = 0

    def write(self, records: Iterable[Records], others: Iterable[Outgoing]) -> Written:
        written = self._writer.write(records, others)
        self._batches += 1
        if self._batches == 15:
            self._happens()
        return written


class InTheMiddle(Guards):
    """It happens once, to the first writer."""

    def __init__(self, happens: Callable[[], None]) -> None:
        self._happens: Callable[[], None] | None = happens

    def open_writer(self, options: SinkOptions, tell: Tell) -> Writer:
        writer, happens = super().open_writer(options, tell), self._happens
        self._happens = None
        return writer if happens is None else Interrupted(writer, happens)


@pytest.fixture
def read_back(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Partition and offset of every record that a follower was given to read."""
    found: list[tuple[int, int]] = []
    take = Follower._take

    def taken(follower: Follower, messages: list[Message]) -> bool:
        of_topic = [each for each in messages if each.error() is None and each.topic() == follower._topic]
        found.extend((each.partition() or 0, each.offset() or 0) for each in of_topic)
        return take(follower, messages)

    monkeypatch.setattr(Follower, "_take", taken)
    return found


def filled(
    folder: Path, stack: LocalStack, topic: str, guards: Guards | None = None, *, exactly_once: bool = True
) -> Replica:
    """A replica whose journal holds the backlog before it can write."""
    a_batch = A_BATCH * len(SYMBOLS)
    replica = Replica(folder, "first", stack, topic, exactly_once=exactly_once, max_records=a_batch, guards=guards)
    for number in range(FRAMES):
        replica.journal.put(frame(number))
    return replica


def roles(replica: Replica) -> list[str]:
    return [each.reason for each in replica.told if isinstance(each, RoleChanged)]


@BOTH
def test_a_backlog_is_not_read_back_and_the_journal_is_emptied_all_the_same(
    exactly_once: bool,
    stack: LocalStack,
    topic_name: str,
    tmp_path: Path,
    running: ExitStack,
    read_back: list[tuple[int, int]],
) -> None:
    replica = filled(tmp_path, stack, topic_name, exactly_once=exactly_once)
    running.callback(replica.end)
    wait_for(replica.delivered)
    assert keys_and_times(stack, topic_name) == expected(FRAMES)
    assert roles(replica) == ["started", "took over"]
    assert sum(each.records for each in replica.told if isinstance(each, Followed)) == FRAMES * len(SYMBOLS)
    assert len(read_back) < FRAMES * len(SYMBOLS) / 2
    already = len(read_back)
    for number in range(FRAMES, FRAMES + 3):
        replica.journal.put(frame(number))
        wait_for(replica.delivered)
    assert len(read_back) == already + 3 * len(SYMBOLS), "a live frame is read back, and nothing of before"
    assert len(set(read_back)) == len(read_back)
    assert roles(replica) == ["started", "took over"]


@BOTH
def test_one_who_writes_between_two_batches_is_heard(
    exactly_once: bool, stack: LocalStack, topic_name: str, tmp_path: Path, running: ExitStack
) -> None:
    def stranger_writes() -> None:
        producer = Producer({"bootstrap.servers": stack.bootstrap_servers})
        producer.produce(topic_name, b"", "STRANGEUSD", 1, timestamp=START_MS)
        assert producer.flush(10) == 0

    replica = filled(tmp_path, stack, topic_name, InTheMiddle(stranger_writes), exactly_once=exactly_once)
    running.callback(replica.end)
    wait_for(replica.delivered)
    assert roles(replica) == ["started", "took over", "another replica writes", "took over"]
    written = keys_and_times(stack, topic_name)
    assert written.pop(("STRANGEUSD", START_MS)) == 1
    assert written == expected(FRAMES)
    assert replica.sink.symbols()["STRANGEUSD"] == START_MS


def test_who_is_fenced_in_the_middle_writes_nothing_twice_and_leaves_nothing_out(
    stack: LocalStack, topic_name: str, tmp_path: Path, running: ExitStack
) -> None:
    def another_takes_the_lock() -> None:
        properties = {"bootstrap.servers": stack.bootstrap_servers}
        TransactionalWriter(properties, topic_name, lambda _: None).close()

    replica = filled(tmp_path, stack, topic_name, InTheMiddle(another_takes_the_lock))
    running.callback(replica.end)
    wait_for(replica.delivered)
    assert roles(replica) == ["started", "took over", "fenced", "took over"]
    assert keys_and_times(stack, topic_name) == expected(FRAMES)


@BOTH
def test_a_batch_that_is_written_although_nobody_said_so_is_read(
    exactly_once: bool, stack: LocalStack, topic_name: str, tmp_path: Path, running: ExitStack
) -> None:
    def no_answer_comes() -> None:
        raise WriteError("the broker does not answer", fenced=False)

    replica = filled(tmp_path, stack, topic_name, InTheMiddle(no_answer_comes), exactly_once=exactly_once)
    running.callback(replica.end)
    wait_for(replica.delivered)
    assert any(isinstance(each, TransactionFailed) for each in replica.told)
    assert roles(replica) == ["started", "took over", "a transaction failed", "took over"]
    assert keys_and_times(stack, topic_name) == expected(FRAMES)


@BOTH
def test_who_dies_in_the_middle_goes_on_where_the_topic_ends(
    exactly_once: bool, stack: LocalStack, topic_name: str, tmp_path: Path, running: ExitStack
) -> None:
    first = filled(tmp_path, stack, topic_name, InTheMiddle(lambda: first.sink.give_up()), exactly_once=exactly_once)
    assert first.sink.join(20)
    assert first.sink.failure is None
    first.ledger.close(5)
    first.journal.close(2)
    assert len(keys_and_times(stack, topic_name)) < FRAMES * len(SYMBOLS)
    again = Replica(tmp_path, "first", stack, topic_name, exactly_once=exactly_once)
    running.callback(again.end)
    wait_for(again.delivered)
    assert keys_and_times(stack, topic_name) == expected(FRAMES)
