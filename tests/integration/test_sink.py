"""Two sinks on one topic, in one process: who writes, who takes over, and what each journal is left with."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, yet not marked as exported
    AdminClient,
    NewPartitions,
)

from connector.core.encode import RecordEncoder
from connector.core.errors import RetryableError
from connector.core.happenings import (
    GapFound,
    Happening,
    RoleChanged,
    SocketOpened,
    TakingOver,
    TookOver,
    WriterWanted,
)
from connector.core.ledger_events import EventEncoder
from connector.core.normalize import Normalizer
from connector.core.takeover import ANSWERED_WITHIN_S, Request
from connector.core.values import Frame, Normalized, Origin
from connector.core.witness import ADVANCING, DOWN, SILENT
from connector.edges import kafka_sink
from connector.edges.journal import Journal
from connector.edges.kafka_records import SinkOptions
from connector.edges.kafka_sink import Guards, Prepared, Sink
from connector.edges.kafka_writer import Outgoing
from connector.edges.ledger import Ledger
from connector.edges.schema_files import find_schema_file, load_schema, read_schema_file
from connector.edges.sink_thread import Role
from connector.edges.topic_reader import TopicReader
from connector.edges.topics import ensure_topics, wanted_topics
from connector.local.stack import LocalStack

T = TypeVar("T")
SCHEMA = load_schema("asset_index")
SYMBOLS = tuple(f"A{number:02}USD" for number in range(20))
EVENT_SCHEMA_ID = 2
START_MS = 1_791_285_204_000


def frame(second: int, symbols: tuple[str, ...] = SYMBOLS) -> Frame:
    price = f"{second + 1}.00000001"
    values = dict.fromkeys("ibaBAqgQG", price)
    elements = [{"e": "assetIndexUpdate", "E": START_MS + second * 1000, "s": symbol, **values} for symbol in symbols]
    return Frame(json.dumps(elements).encode(), time.time_ns(), "ws-1", "!assetIndex@arr")


class Replica:
    """A journal, a sink and a ledger, told to take over after a second and a half."""

    def __init__(
        self,
        folder: Path,
        name: str,
        stack: LocalStack,
        topic: str,
        *,
        exactly_once: bool = True,
        latest: str | None = None,
        tombstone_after_ms: int | None = None,
        takeover_after_s: float = 1.5,
        max_records: int = 10_000,
        guards: Guards | None = None,
    ) -> None:
        self.told: list[Happening] = []
        self.aside: list[Outgoing] = []
        self.unacknowledged = 0
        self.feed = ADVANCING
        self.unbroken_since_ms: int | None = 0
        self.journal = Journal(
            folder / name, max_bytes=2**30, max_age_s=86_400, at_bound="drop-oldest", tell=self.told.append
        )
        self.journal.open()
        kafka = {"bootstrap.servers": stack.bootstrap_servers}

        def prepare() -> Prepared:
            wanted = wanted_topics(
                topic,
                events=f"{topic}.events",
                dead_letters=f"{topic}.dlq",
                latest=latest,
                partitions=3,
                replication_factor=1,
                retention_ms=-1,
                config={},
            )
            counts = ensure_topics(kafka, wanted, create=True, tell=self.told.append)
            ledger = read_schema_file(find_schema_file("feed_event"))
            latest_partitions = counts.get(latest) if latest else None
            return Prepared(counts[topic], counts[f"{topic}.events"], 1, EVENT_SCHEMA_ID, ledger, latest_partitions)

        self.sink = Sink(
            SinkOptions(
                kafka=kafka,
                topic=topic,
                dead_letter_topic=f"{topic}.dlq",
                events_topic=f"{topic}.events",
                latest_topic=latest,
                transactional_id=topic if exactly_once else None,
                replica=name,
                takeover_after_s=takeover_after_s,
                max_records=max_records,
                history_window_ms=600_000,
                tombstone_after_ms=tombstone_after_ms,
            ),
            normalizer=Normalizer(SCHEMA, ahead_ms=None, behind_ms=None),
            cadence_ms=SCHEMA.feed.cadence_ms,
            make_encoder=lambda schema_id: RecordEncoder(SCHEMA, schema_id),
            journal=self.journal,
            prepare=prepare,
            feed_state=lambda: self.feed,
            unbroken_since_ms=lambda: self.unbroken_since_ms,
            aside=self.put_aside,
            tell=self.tell,
            guards=guards,
        )
        ledger = read_schema_file(find_schema_file("feed_event"))
        self.ledger = Ledger(kafka, f"{topic}.events", name, writes=lambda: self.is_writer, tell=self.told.append)
        self.ledger.open(EventEncoder(ledger, EVENT_SCHEMA_ID))
        self.sink.start()

    def put_aside(self, outgoing: Iterable[Outgoing]) -> None:
        if self.unacknowledged:
            self.unacknowledged -= 1
            raise RetryableError("not acknowledged")
        letters = list(outgoing)
        self.ledger.deliver(letters)
        self.aside.extend(letters)

    def tell(self, happening: Happening) -> None:
        self.told.append(happening)
        self.ledger.tell(happening)

    @property
    def is_writer(self) -> bool:
        return self.sink.state().role is Role.WRITER

    def delivered(self) -> bool:
        assert self.sink.failure is None, self.sink.failure
        assert self.journal.settle(5)
        return self.sink.delivered() and self.journal.frames == 0

    def end(self) -> None:
        self.sink.stop()
        assert self.sink.join(15)
        self.ledger.close(5)
        self.journal.close(2)
        assert self.sink.failure is None, self.sink.failure


def rest_rows(second: float) -> Frame:
    prices = {field["rest"]: f"{second:.0f}.5" for field in json.loads(SCHEMA.text)["fields"] if field.get("rest")}
    rows = [{**prices, "symbol": symbol, "time": START_MS + round(second * 1000)} for symbol in SYMBOLS]
    return Frame(json.dumps(rows).encode(), time.time_ns(), "rest", "!assetIndex@arr", Origin.REST)


def wait_for(condition: Callable[[], bool], within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.02)


def keys_and_times(stack: LocalStack, topic: str) -> Counter[tuple[str, int]]:
    reader = TopicReader({"bootstrap.servers": stack.bootstrap_servers}, topic, lambda value: {"value": value})
    try:
        reader.start(0)
        found: Counter[tuple[str, int]] = Counter()
        while not reader.at_end:
            found.update((row.key, row.timestamp_ms) for row in reader.rows(0.1))
        return found
    finally:
        reader.close()


def expected(seconds: int) -> Counter[tuple[str, int]]:
    return Counter((symbol, START_MS + second * 1000) for second in range(seconds) for symbol in SYMBOLS)


@pytest.mark.parametrize("exactly_once", [True, False], ids=["exactly-once", "at-least-once"])
def test_one_writes_and_both_journals_are_emptied(
    exactly_once: bool, stack: LocalStack, topic_name: str, tmp_path: Path, running: ExitStack
) -> None:
    first = Replica(tmp_path, "first", stack, topic_name, exactly_once=exactly_once)
    running.callback(first.end)
    first.journal.put(frame(0))
    wait_for(first.delivered)
    second = Replica(tmp_path, "second", stack, topic_name, exactly_once=exactly_once)
    running.callback(second.end)
    for number in range(1, 30):
        for replica in (first, second):
            replica.journal.put(frame(number))
        time.sleep(0.05)
    wait_for(lambda: first.delivered() and second.delivered())
    assert keys_and_times(stack, topic_name) == expected(30)
    assert not any(isinstance(happening, TookOver) for happening in second.told)


def test_the_other_takes_over_what_the_first_did_not_write(
    stack: LocalStack, topic_name: str, tmp_path: Path, running: ExitStack
) -> None:
    first = Replica(tmp_path, "first", stack, topic_name, exactly_once=True)
    first.journal.put(frame(0))
    wait_for(lambda: first.is_writer)
    second = Replica(tmp_path, "second", stack, topic_name, exactly_once=True)
    running.callback(second.end)
    second.journal.put(frame(0))
    first.end()
    for number in range(1, 10):
        second.journal.put(frame(number))
    wait_for(second.delivered)
    assert second.is_writer
    assert keys_and_times(stack, topic_name) == expected(10)


def test_a_writer_that_stops_hands_over_to_one_that_has_what_follows(
    stack: LocalStack, topic_name: str, tmp_path: Path, running: ExitStack
) -> None:
    first = Replica(tmp_path, "first", stack, topic_name, exactly_once=True)
    first.journal.put(frame(0))
    wait_for(first.delivered)
    second = Replica(tmp_path, "second", stack, topic_name, exactly_once=True, takeover_after_s=60.0)
    running.callback(second.end)
    second.journal.put(frame(0))
    wait_for(second.delivered)
    first.end()
    assert WriterWanted("stopping", START_MS) in first.told
    second.journal.put(frame(1))
    wait_for(second.delivered)
    assert second.is_writer
    assert keys_and_times(stack, topic_name) == expected(2)


def test_one_that_lacks_ticks_is_answered_by_one_that_has_them(
    stack: LocalStack, topic_name: str, tmp_path: Path, running: ExitStack
) -> None:
    first = Replica(tmp_path, "first", stack, topic_name, exactly_once=True)
    first.journal.put(frame(0))
    wait_for(first.delivered)
    first.end()
    patient = Replica(tmp_path, "patient", stack, topic_name, exactly_once=True, takeover_after_s=60.0)
    running.callback(patient.end)
    patient.journal.put(frame(0))
    wait_for(lambda: patient.delivered() and patient.sink._rule.idle_s == 0.0)  # from now on it is patient
    for number in (1, 2):
        patient.journal.put(frame(number))
    lacking = Replica(tmp_path, "lacking", stack, topic_name, exactly_once=True)
    running.callback(lacking.end)
    lacking.journal.put(frame(2))
    wait_for(lambda: patient.delivered() and lacking.delivered())
    assert WriterWanted("lacks ticks", START_MS) in lacking.told
    assert TakingOver(START_MS) in patient.told
    assert patient.is_writer
    assert not lacking.is_writer
    assert keys_and_times(stack, topic_name) == expected(3)


def test_a_writer_whose_lock_was_taken_follows_and_writes_nothing_twice(
    stack: LocalStack, topic_name: str, tmp_path: Path, running: ExitStack
) -> None:
    first = Replica(tmp_path, "first", stack, topic_name, exactly_once=True)
    running.callback(first.end)
    first.journal.put(frame(0))
    wait_for(first.delivered)
    second = Replica(tmp_path, "second", stack, topic_name, exactly_once=True)
    running.callback(second.end)
    second.journal.put(frame(1))  # the first has not received it: the topic stands still for the second
    wait_for(lambda: second.is_writer)
    for number in range(1, 10):
        first.journal.put(frame(number))
        second.journal.put(frame(number))
        time.sleep(0.05)
    wait_for(lambda: first.delivered() and second.delivered())
    assert first.is_writer != second.is_writer
    assert keys_and_times(stack, topic_name) == expected(10)


def test_without_a_fence_a_writer_that_sees_another_one_stands_down(
    stack: LocalStack, topic_name: str, tmp_path: Path, running: ExitStack
) -> None:
    first = Replica(tmp_path, "first", stack, topic_name, exactly_once=False)
    running.callback(first.end)
    first.journal.put(frame(0))
    wait_for(first.delivered)
    second = Replica(tmp_path, "second", stack, topic_name, exactly_once=False)
    running.callback(second.end)
    second.journal.put(frame(1))
    wait_for(second.delivered)
    wait_for(lambda: RoleChanged("follower", "another replica writes") in first.told)
    for number in range(1, 10):
        first.journal.put(frame(number))
        second.journal.put(frame(number))
        time.sleep(0.05)
    wait_for(lambda: first.delivered() and second.delivered())
    assert set(keys_and_times(stack, topic_name)) == set(expected(10))


@pytest.mark.parametrize("unacknowledged", [0, 2])
def test_what_a_follower_alone_had_is_a_dead_letter_once_the_topic_has_passed_it(
    unacknowledged: int, stack: LocalStack, topic_name: str, tmp_path: Path, running: ExitStack
) -> None:
    first = Replica(tmp_path, "first", stack, topic_name, exactly_once=True)
    running.callback(first.end)
    first.journal.put(frame(0))
    wait_for(first.delivered)
    second = Replica(tmp_path, "second", stack, topic_name, exactly_once=True)
    running.callback(second.end)
    second.unacknowledged = unacknowledged
    second.journal.put(frame(1))  # the first never has it
    for number in (2, 3):
        first.journal.put(frame(number))
        second.journal.put(frame(number))
    wait_for(lambda: first.delivered() and second.delivered())
    letters = {dict(headers or [])["reason"]: key for _, _, key, _, _, headers in second.aside}
    assert letters == {b"late": SYMBOLS[-1].encode()}
    assert {json.loads(value or b"")["E"] for _, _, _, value, _, _ in second.aside} == {START_MS + 1000}
    assert len(second.aside) == len(SYMBOLS)
    assert first.aside == []


def test_what_the_topic_had_last_counts_however_long_ago(
    stack: LocalStack, topic_name: str, tmp_path: Path, running: ExitStack
) -> None:
    """Event times are of another month, the last commit is of now."""
    first = Replica(tmp_path, "first", stack, topic_name)
    for number in range(2):
        first.journal.put(frame(number))
    wait_for(first.delivered)
    first.end()
    second = Replica(tmp_path, "second", stack, topic_name)
    running.callback(second.end)
    wait_for(lambda: second.sink.state().role is Role.FOLLOWER)
    for number in (1, 5):
        second.journal.put(frame(number))
    wait_for(second.delivered)
    assert keys_and_times(stack, topic_name) == Counter(
        (symbol, START_MS + second * 1000) for second in (0, 1, 5) for symbol in SYMBOLS
    )
    gaps = [happening for happening in second.told if isinstance(happening, GapFound)]
    assert [(gap.first_missing_ms - START_MS, gap.periods) for gap in gaps] == [(2000, 3)]


def test_what_is_in_the_topic_is_not_written_again_after_a_start_from_an_old_journal(
    stack: LocalStack, topic_name: str, tmp_path: Path, running: ExitStack
) -> None:
    first = Replica(tmp_path, "first", stack, topic_name, exactly_once=True)
    for number in range(10):
        first.journal.put(frame(number))
    wait_for(first.delivered)
    first.end()
    second = Replica(tmp_path, "second", stack, topic_name, exactly_once=True)
    running.callback(second.end)
    for number in range(12):
        second.journal.put(frame(number))
    wait_for(second.delivered)
    assert keys_and_times(stack, topic_name) == expected(12)


def test_who_takes_over_reads_the_partitions_that_the_topic_got_meanwhile(
    stack: LocalStack, topic_name: str, tmp_path: Path, running: ExitStack
) -> None:
    first = Replica(tmp_path, "first", stack, topic_name)
    first.journal.put(frame(0))
    wait_for(first.delivered)
    second = Replica(tmp_path, "second", stack, topic_name, takeover_after_s=3.0)
    running.callback(second.end)
    second.journal.put(frame(0))
    wait_for(second.delivered)
    second.sink._partitions_at = time.monotonic() + 60  # it looks when its time has come
    admin = AdminClient({"bootstrap.servers": stack.bootstrap_servers})
    admin.create_partitions([NewPartitions(topic_name, 6)])[topic_name].result(10)
    first.sink._partitions_at = 0.0
    wait_for(lambda: RoleChanged("follower", "the topic has more partitions") in first.told)
    for number in (1, 2):
        for replica in (first, second):
            replica.journal.put(frame(number))
    wait_for(first.delivered)
    first.end()
    second.journal.put(frame(3))
    wait_for(second.delivered)
    assert keys_and_times(stack, topic_name) == expected(4)


def test_it_says_when_the_broker_answered_and_what_it_holds_back_on_purpose(
    stack: LocalStack, topic_name: str, tmp_path: Path, running: ExitStack
) -> None:
    started_ms = time.time_ns() // 1_000_000
    replica = Replica(tmp_path, "first", stack, topic_name)
    running.callback(replica.end)
    replica.journal.put(frame(0))
    wait_for(replica.delivered)
    state = replica.sink.state()
    assert (state.problem, state.held_back) == ("", "")
    for at_ms in (state.answered_at_ms, state.committed_at_ms):
        assert at_ms is not None
        assert started_ms < at_ms <= time.time_ns() // 1_000_000
    replica.journal.put(rest_rows(1))
    wait_for(lambda: replica.sink.state().held_back.startswith("rows from REST wait"))
    assert not replica.delivered()
    replica.journal.put(frame(2))
    wait_for(replica.delivered)
    assert replica.sink.state().held_back == "", "a tick behind them says that nobody else had one"


def test_a_writer_that_has_only_rows_from_rest_gives_way_to_one_that_has_ticks(
    stack: LocalStack, topic_name: str, tmp_path: Path, running: ExitStack
) -> None:
    """Also where that one came later than the writer's trouble."""
    first = Replica(tmp_path, "first", stack, topic_name, takeover_after_s=0.1)
    running.callback(first.end)
    first.feed = DOWN
    first.journal.put(frame(0))
    first.journal.put(rest_rows(1))
    wait_for(first.delivered)
    second = Replica(tmp_path, "second", stack, topic_name, takeover_after_s=60.0)
    running.callback(second.end)
    second.journal.put(frame(1))
    wait_for(lambda: second.delivered() and second.sink._rule.idle_s == 0.0)  # from now on it is patient
    second.ledger.tell(SocketOpened("ws-1", "wss://exchange"))
    wait_for(lambda: first.sink._rule.heard_others)
    first.feed = SILENT
    first.sink._request = Request()  # ten seconds went by
    for number in (2, 3, 4):
        second.journal.put(frame(number))
    first.journal.put(rest_rows(2))
    wait_for(second.delivered)
    assert second.is_writer


@pytest.fixture(params=[True, False], ids=["exactly-once", "at-least-once"])
def pair(
    stack: LocalStack, topic_name: str, tmp_path: Path, running: ExitStack, request: pytest.FixtureRequest
) -> tuple[Replica, Replica]:
    """A writer and a patient follower that has been heard, with the same two frames in the topic."""
    mode = request.param
    first = Replica(tmp_path, "first", stack, topic_name, exactly_once=mode, takeover_after_s=0.1)
    running.callback(first.end)
    first.journal.put(frame(0))
    wait_for(first.delivered)
    second = Replica(tmp_path, "second", stack, topic_name, exactly_once=mode, takeover_after_s=60.0)
    running.callback(second.end)
    for replica in (first, second):
        replica.journal.put(frame(1))
    wait_for(lambda: first.delivered() and second.delivered() and second.sink._rule.idle_s == 0.0)
    second.ledger.tell(SocketOpened("ws-1", "wss://exchange"))
    wait_for(lambda: first.sink._rule.heard_others)
    assert first.is_writer
    return first, second


def test_a_writer_asks_before_it_writes_behind_a_hole_that_another_may_fill(
    stack: LocalStack, topic_name: str, pair: tuple[Replica, Replica]
) -> None:
    """Its sockets were opened anew meanwhile; that the feed was down was never seen."""
    first, second = pair
    first.unbroken_since_ms = START_MS + 5_000
    for number in (2, 3, 4):
        second.journal.put(frame(number))
    for number in (5, 6):
        first.journal.put(frame(number))
        second.journal.put(frame(number))
    wait_for(lambda: first.delivered() and second.delivered())
    assert second.is_writer
    assert WriterWanted("lacks ticks", START_MS + 1_000) in first.told
    assert keys_and_times(stack, topic_name) == expected(7)
    assert not [each for each in first.told + second.told if isinstance(each, GapFound)]


def test_a_writer_gives_others_the_time_that_a_slow_broker_needs(
    stack: LocalStack, topic_name: str, pair: tuple[Replica, Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(answer: Callable[..., T], seconds: float) -> Callable[..., T]:
        def answered(*given: object) -> T:
            time.sleep(seconds)
            return answer(*given)

        return answered

    first, second = pair
    first.unbroken_since_ms = START_MS + 5_000
    monkeypatch.setattr(first.sink._follower, "end_offsets", slow(first.sink._follower.end_offsets, 0.5))
    monkeypatch.setattr(second.sink._guards, "open_writer", slow(second.sink._guards.open_writer, 2.5))
    for number in (2, 3, 4, 5):
        second.journal.put(frame(number))
    first.journal.put(frame(5))
    wait_for(lambda: first.delivered() and second.delivered())
    assert second.is_writer
    assert keys_and_times(stack, topic_name) == expected(6)
    assert not [each for each in first.told + second.told if isinstance(each, GapFound)]


def test_nobody_is_asked_for_while_no_broker_answers(
    pair: tuple[Replica, Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger would be given the same request all through an outage of the network."""
    first, _ = pair
    end_offsets, failures = first.sink._follower.end_offsets, [RetryableError("does not answer")] * 2

    def asked() -> dict[int, int]:
        if failures:
            raise failures.pop()
        return end_offsets()

    monkeypatch.setattr(first.sink._follower, "end_offsets", asked)
    first.feed = DOWN
    wait_for(lambda: WriterWanted("feed down", START_MS + 1_000) in first.told)
    assert not failures
    time.sleep(0.3)
    assert first.told.count(WriterWanted("feed down", START_MS + 1_000)) == 1


def test_a_frame_before_which_ticks_may_be_missing_is_normalized_once(
    pair: tuple[Replica, Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = pair
    first.unbroken_since_ms = None
    normalizer, normalized = first.sink._normalizer, Counter[bytes]()
    normalize = normalizer.normalize

    def counted(given: Frame) -> Normalized:
        normalized[given.data] += 1
        return normalize(given)

    monkeypatch.setattr(normalizer, "normalize", counted)
    frames = [frame(number) for number in range(2, 12)]
    for each in frames:
        first.journal.put(each)
    wait_for(first.delivered)
    assert normalized == Counter(each.data for each in frames)


@pytest.mark.parametrize("held", ["ticks behind a hole", "rows from REST"])
def test_one_that_stops_leaves_what_it_lacks_to_another_too(
    held: str, stack: LocalStack, topic_name: str, pair: tuple[Replica, Replica]
) -> None:
    first, second = pair
    first.unbroken_since_ms = None
    for number in (2, 3, 4, 5):
        second.journal.put(frame(number))
    first.journal.put(frame(5) if held == "ticks behind a hole" else rest_rows(4.003))
    wait_for(lambda: first.journal.newest_seq == 3)
    first.sink.stop()
    assert first.sink.join(15)
    wait_for(second.delivered)
    assert second.is_writer
    assert keys_and_times(stack, topic_name) == expected(6)


def test_two_that_lack_different_ticks_write_by_turns(
    stack: LocalStack, topic_name: str, pair: tuple[Replica, Replica]
) -> None:
    first, second = pair
    for replica, missing in ((first, (4, 5)), (second, (8, 9))):
        replica.unbroken_since_ms = None
        replica.sink._rule.after_s = 60.0
        for number in range(2, 12):
            if number not in missing:
                replica.journal.put(frame(number))
    wait_for(lambda: first.delivered() and second.delivered())
    assert keys_and_times(stack, topic_name) == expected(12)
    assert not [each for each in first.told + second.told if isinstance(each, GapFound)]


def test_a_symbol_far_ahead_does_not_hide_what_the_writer_asks_for(pair: tuple[Replica, Replica]) -> None:
    first, second = pair
    first.unbroken_since_ms = None
    ahead = json.loads(frame(2).data)
    ahead[0]["E"] += 20_000
    for replica in pair:
        replica.journal.put(Frame(json.dumps(ahead).encode(), time.time_ns(), "ws-1", "!assetIndex@arr"))
    wait_for(lambda: first.delivered() and second.delivered())
    for number in (3, 4, 5):
        second.journal.put(frame(number, SYMBOLS[1:]))
    first.journal.put(frame(5, SYMBOLS[1:]))
    wait_for(lambda: first.delivered() and second.delivered())
    assert second.is_writer


def test_where_nobody_has_what_is_missing_the_writer_goes_on(pair: tuple[Replica, Replica]) -> None:
    first, second = pair
    first.unbroken_since_ms = None
    put_at = time.monotonic()
    for replica in pair:
        replica.journal.put(frame(4))
    wait_for(lambda: first.sink.state().held_back.startswith("ticks are missing"))
    wait_for(lambda: first.delivered() and second.delivered())
    assert time.monotonic() - put_at < ANSWERED_WITHIN_S + 2
    assert first.is_writer
    assert [each.periods for each in first.told if isinstance(each, GapFound)] == [2]


def test_a_silence_of_the_exchange_keeps_nothing_waiting(pair: tuple[Replica, Replica]) -> None:
    first, second = pair
    first.unbroken_since_ms = START_MS + 1_000
    for replica in pair:
        replica.journal.put(frame(9))
    wait_for(lambda: first.delivered() and second.delivered())
    assert first.is_writer
    assert not [each for each in first.told if isinstance(each, WriterWanted)]
    assert [each.periods for each in first.told if isinstance(each, GapFound)] == [7]


def test_ticks_that_come_late_go_before_rows_that_were_asked_for_meanwhile(
    stack: LocalStack, topic_name: str, tmp_path: Path, running: ExitStack
) -> None:
    """As from a socket's buffer, after a stall on the way or when a process that was stopped goes on."""
    replica = Replica(tmp_path, "first", stack, topic_name, takeover_after_s=60.0)
    running.callback(replica.end)
    replica.sink._rule.after_s = 0.1
    replica.journal.put(frame(0))
    wait_for(replica.delivered)
    for number in (4, 5):
        replica.journal.put(rest_rows(number))
    wait_for(lambda: replica.sink.state().held_back.startswith("rows from REST wait"))
    for number in (1, 2, 3, 4):
        replica.journal.put(frame(number))
    replica.journal.put(frame(6))
    wait_for(replica.delivered)
    assert keys_and_times(stack, topic_name) == expected(7)
    assert not [each for each in replica.told if isinstance(each, GapFound)]
    reader = TopicReader({"bootstrap.servers": stack.bootstrap_servers}, f"{topic_name}.dlq", lambda value: {})
    running.callback(reader.close)
    reader.start(0)
    assert not list(reader.rows(0.5)), "none was late"


def test_rows_that_are_old_enough_go_behind_whatever_waits_in_the_journal(
    stack: LocalStack, topic_name: str, tmp_path: Path, running: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_sink, "FRAMES_A_STEP", 2)
    replica = Replica(tmp_path, "first", stack, topic_name)
    running.callback(replica.end)
    long_ago_ns = time.time_ns() - 60_000_000_000
    replica.journal.put(frame(0))
    replica.journal.put(Frame(rest_rows(4.003).data, long_ago_ns, "rest", "!assetIndex@arr", Origin.REST))
    for number in range(1, 5):
        replica.journal.put(frame(number))
    wait_for(replica.delivered)
    assert keys_and_times(stack, topic_name) == expected(5)


def test_a_symbol_that_only_a_follower_had_does_not_keep_its_journal_for_ever(
    stack: LocalStack, topic_name: str, tmp_path: Path, running: ExitStack
) -> None:
    first = Replica(tmp_path, "first", stack, topic_name)
    running.callback(first.end)
    first.journal.put(frame(0))
    wait_for(first.delivered)
    second = Replica(tmp_path, "second", stack, topic_name)
    running.callback(second.end)
    first.journal.put(frame(1))
    second.journal.put(frame(1, (*SYMBOLS, "ODDUSD")))
    for number in (2, 700):  # further apart than a tick may be late
        for replica in (first, second):
            replica.journal.put(frame(number))
    wait_for(lambda: first.delivered() and second.delivered())
    assert [key for _, _, key, _, _, _ in second.aside] == [b"ODDUSD"]
    assert not second.is_writer


def test_the_window_goes_back_from_the_newest_tick_not_from_the_last_commit(
    stack: LocalStack, topic_name: str, tmp_path: Path, running: ExitStack
) -> None:
    """Event times are of another month, and there are more records since than the last ones of each partition."""
    first = Replica(tmp_path, "first", stack, topic_name)
    first.journal.put(frame(0, (*SYMBOLS, "ODDUSD")))
    for number in range(1, 400):
        first.journal.put(frame(number))
    wait_for(first.delivered)
    first.end()
    second = Replica(tmp_path, "second", stack, topic_name)
    running.callback(second.end)
    wait_for(lambda: second.sink.state().role is Role.FOLLOWER)
    second.journal.put(frame(400))
    second.journal.put(frame(0, ("ODDUSD",)))  # as a socket that sends old frames brings it
    wait_for(second.delivered)
    assert keys_and_times(stack, topic_name)["ODDUSD", START_MS] == 1
