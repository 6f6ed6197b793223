import inspect
import io
import json
import os
import re
import threading
import time
from contextlib import suppress
from dataclasses import fields, replace
from typing import Any, get_type_hints

import pytest
from prometheus_client import generate_latest

from connector.core import happenings
from connector.core.happenings import (
    BrokerMeasured,
    Committed,
    Followed,
    FrameReceived,
    GapFound,
    Happening,
    JournalDropped,
    KafkaMeasured,
    Rejected,
    SocketClosed,
    SocketOpened,
    Stopped,
    Waiting,
)
from connector.core.process_status import KafkaStatus
from connector.core.values import Reason, Reject
from connector.edges import telemetry as telemetry_module
from connector.edges.log_events import LINES
from connector.edges.log_writer import MOST_WAITING
from connector.edges.telemetry import Telemetry
from tests.core.test_process_status import NOW_MS, STATUS

REJECT = Reject(Reason.SCALE, "index_price", "more than 8 decimals", b'{"s":"BTCUSD"}', "BTCUSD", "!assetIndex@arr")
COMMITTED = Committed(
    frames=2,
    records=120,
    letters=3,
    events=1,
    duplicates=4,
    late=2,
    conflicts=1,
    duration_s=0.02,
    oldest_received_ns=1_000_000_000,
    committed_at_ns=1_300_000_000,
)
MEASURED = BrokerMeasured(
    1,
    connected=True,
    round_trip_s=0.01,
    send_wait_s=0.001,
    throttled_s=0.0,
    disconnects=2,
    retries=0,
    errors=0,
    timeouts=0,
)
_BY_TYPE: dict[Any, Any] = {
    str: "word",
    int: 7,
    float: 1.25,
    bool: True,
    Reject: REJECT,
    tuple[str, ...]: ("a", "b"),
    tuple[BrokerMeasured, ...]: (MEASURED,),
}


def kinds() -> list[type[Happening]]:
    return [
        each
        for _, each in inspect.getmembers(happenings, inspect.isclass)
        if issubclass(each, Happening) and each is not Happening
    ]


def sample(kind: type[Happening]) -> Happening:
    hints = get_type_hints(kind)
    return kind(**{field.name: _BY_TYPE[hints[field.name]] for field in fields(kind)})


class Bench:
    """A telemetry with a clock that the test moves, and what it logged."""

    def __init__(self, **options: Any) -> None:
        self.stream = io.StringIO()
        self.now_s = 1000.0
        self.telemetry = Telemetry(
            log_format="json",
            stream=self.stream,
            clock=lambda: NOW_MS / 1000,
            monotonic=lambda: self.now_s,
            **options,
        )

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    def value(self, name: str, **labels: str) -> float | None:
        return self.telemetry.metrics.registry.get_sample_value(f"binance_kafka_source_{name}", labels)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_every_happening_has_a_line() -> None:
    missing = [kind.__name__ for kind in kinds() if kind not in LINES]
    assert not missing, f"add a line to connector/edges/log_events.py for {missing}"


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_every_happening_is_counted_and_logged_as_its_line_says(kind: type[Happening], bench: Bench) -> None:
    line = LINES[kind]
    before = generate_latest(bench.telemetry.metrics.registry)
    bench.telemetry.tell(sample(kind))
    counted = generate_latest(bench.telemetry.metrics.registry) != before
    assert counted or line.event, "neither counted nor logged: nobody would see it"
    assert [each["event"] for each in bench.lines()] == ([line.event] if line.event else [])
    for logged in bench.lines():
        assert tuple(logged)[3:] == line.field_names()
        assert logged["level"] in line.level_words().split(" or ")


def test_names_are_stable_words_and_do_not_collide() -> None:
    events = [line.event for line in LINES.values() if line.event]
    assert len(set(events)) == len(events)
    for line in LINES.values():
        assert re.fullmatch(r"[a-z_]*", line.event)
        assert not {"time", "level", "event", "times"} & set(line.field_names())
        assert bool(line.event) == bool(line.meaning)


def test_nothing_is_logged_per_message(bench: Bench) -> None:
    bench.telemetry.tell(FrameReceived("ws-1", 15_000, 60))
    bench.telemetry.tell(COMMITTED)
    bench.telemetry.tell(Followed(60, NOW_MS))
    assert bench.lines() == []
    assert bench.value("frames_received_total", connection="ws-1") == 1
    assert bench.value("bytes_received_total", connection="ws-1") == 15_000
    assert bench.value("elements_received_total", connection="ws-1") == 60
    assert bench.value("records_written_total", topic="ticks") == 120
    assert bench.value("records_written_total", topic="dead_letters") == 3
    assert bench.value("records_written_total", topic="events") == 1
    assert bench.value("duplicates_total") == 4
    assert bench.value("receive_to_commit_seconds_sum") == pytest.approx(0.3)
    assert bench.value("commit_seconds_count") == 1
    assert bench.value("topic_event_time_seconds") == NOW_MS / 1000


def test_a_flood_of_rejects_is_summed_up(bench: Bench) -> None:
    for number in range(1000):
        bench.telemetry.tell(Rejected(replace(REJECT, detail=f"number {number}"), repeated=number % 2 == 1))
    bench.telemetry.tell(Rejected(replace(REJECT, field="bid_rate"), repeated=False))
    assert [(line["field"], line["detail"]) for line in bench.lines()] == [
        ("index_price", "number 0"),
        ("bid_rate", "more than 8 decimals"),
    ]
    assert bench.value("rejects_total", reason="scale") == 501
    assert bench.value("rejects_repeated_total", reason="scale") == 500
    bench.now_s += 61
    bench.telemetry.observe(STATUS)
    assert len(bench.lines()) == 3
    assert (bench.lines()[-1]["detail"], bench.lines()[-1]["times"]) == ("number 999", 999)
    bench.telemetry.observe(STATUS)
    assert len(bench.lines()) == 3


def test_what_was_held_back_is_logged_before_the_end(bench: Bench) -> None:
    for _ in range(3):
        bench.telemetry.tell(Waiting("broker", "refused", 1.0))
    bench.telemetry.sum_up(everything=True)
    assert [line.get("times") for line in bench.lines()] == [None, 2]


def test_the_level_follows_what_happened(bench: Bench) -> None:
    bench.telemetry.tell(SocketClosed("ws-1", "rotation", ""))
    bench.telemetry.tell(SocketClosed("ws-1", "lost", "reset by peer"))
    bench.telemetry.tell(Stopped(0, 0, "asked to stop"))
    bench.telemetry.tell(Stopped(3, 5, "asked to stop"))
    assert [line["level"] for line in bench.lines()] == ["info", "warning", "info", "error"]
    assert bench.value("reconnects_total", connection="ws-1", reason="lost") == 1


def test_the_status_becomes_gauges(bench: Bench) -> None:
    bench.telemetry.observe(replace(STATUS, feed_state="silent", journal_problem="full"))
    assert bench.value("role", role="writer") == 1
    assert bench.value("role", role="follower") == 0
    assert bench.value("feed_state", state="silent") == 1
    assert bench.value("feed_state", state="advancing") == 0
    assert bench.value("journal_frames") == 1
    assert bench.value("journal_troubled") == 1
    assert bench.value("topic_event_time_age_seconds") == pytest.approx(0.5)
    assert bench.value("feed_event_time_age_seconds") == pytest.approx(0.3)
    assert bench.value("ready") == 1
    bench.telemetry.observe(replace(STATUS, role="starting"))
    assert bench.value("ready") == 0


def test_before_the_first_tick_ages_grow_from_the_start() -> None:
    now_s = [5000.0]
    telemetry = Telemetry(stream=io.StringIO(), clock=lambda: now_s[0])
    telemetry.tell(Followed(0, -1))
    now_s[0] += 42
    value = telemetry.metrics.registry.get_sample_value
    assert value("binance_kafka_source_topic_event_time_age_seconds") == 42
    assert value("binance_kafka_source_topic_event_time_seconds") == 0


def test_an_event_time_ahead_of_our_clock_is_shown_with_its_sign(bench: Bench) -> None:
    bench.telemetry.observe(replace(STATUS, feed_event_time_ms=NOW_MS + 3_600_000, feed_ahead_ms=3_599_700))
    assert bench.value("feed_event_time_age_seconds") == pytest.approx(-3600)
    assert bench.value("feed_event_time_ahead_seconds") == pytest.approx(3599.7)


def test_the_age_of_the_brokers_last_answer(bench: Bench) -> None:
    bench.telemetry.observe(replace(STATUS, kafka=KafkaStatus("broker:9092")))
    assert bench.value("kafka_answer_age_seconds") == 3600, "since the start"
    bench.telemetry.observe(replace(STATUS, kafka=KafkaStatus("broker:9092", answered_at_ms=NOW_MS - 4_000)))
    assert bench.value("kafka_answer_age_seconds") == 4


def test_a_time_without_a_sample_is_not_shown(bench: Bench) -> None:
    labels = {"client": "writer", "broker": "1"}
    bench.telemetry.tell(KafkaMeasured("writer", (MEASURED,)))
    assert bench.value("kafka_round_trip_seconds", **labels) == 0.01
    bench.telemetry.tell(KafkaMeasured("writer", (replace(MEASURED, round_trip_s=None),)))
    assert bench.value("kafka_round_trip_seconds", **labels) is None
    assert bench.value("kafka_connected", **labels) == 1


def test_rates_are_of_the_last_minute(bench: Bench) -> None:
    for _ in range(120):
        bench.now_s += 1
        bench.telemetry.tell(FrameReceived("ws-1", 1_000, 60))
        bench.telemetry.tell(COMMITTED)
        bench.telemetry.observe(STATUS)
    rates = bench.telemetry.rates()
    assert (rates.frames, rates.bytes, rates.rejects) == (1.0, 1000.0, 0.0)
    assert (rates.ticks, rates.dead_letters) == (120.0, 3.0)
    for _ in range(61):
        bench.now_s += 1
        bench.telemetry.observe(STATUS)
    assert bench.telemetry.rates().frames == 0


def test_the_last_ones_are_kept_newest_first_and_bounded(bench: Bench) -> None:
    for number in range(30):
        bench.telemetry.tell(GapFound("*", number, number, 1, "not running"))
    gaps = bench.telemetry.recent(GapFound)
    assert [gap.fields["first_missing_ms"] for gap in gaps] == list(range(29, 19, -1))
    assert bench.telemetry.recent(Rejected) == ()
    (gathered,) = bench.telemetry.notable()
    assert (gathered.times, gathered.last.fields["first_missing_ms"]) == (30, 29)


def test_rejects_and_warnings_are_gathered_by_kind_with_their_onset(bench: Bench) -> None:
    for number in range(40):
        bench.telemetry.tell(Rejected(replace(REJECT, symbol=f"S{number % 2}"), repeated=number > 20))
        bench.telemetry.tell(SocketClosed("ws-1", "lost", f"after {number} s"))
    (rejects,) = bench.telemetry.rejects()
    assert (rejects.times, rejects.names, rejects.last.fields["reason"]) == (40, ("S0", "S1"), "scale")
    (refused,) = bench.telemetry.refused()
    assert (refused.field, refused.symbols, refused.since_ms, refused.times) == (
        "index_price",
        ("S0", "S1"),
        NOW_MS,
        40,
    )
    counts = {each.last.event: each.times for each in bench.telemetry.notable()}
    assert counts == {"rejected": 40, "connection_closed": 40}, "those that the log sums up count as well"
    bench.now_s += 100
    bench.telemetry.observe(STATUS)
    assert [each.times for each in bench.telemetry.notable()] == [40, 40], "its summary is none more"


def test_it_keeps_when_ticks_were_written_and_what_was_given_up(bench: Bench) -> None:
    bench.telemetry.tell(replace(COMMITTED, records=0))
    with_letters_alone = bench.telemetry.ticks_written_at_ms
    assert with_letters_alone is None, "dead letters are no ticks"
    bench.telemetry.tell(COMMITTED)
    written_at_ms = bench.telemetry.ticks_written_at_ms
    assert written_at_ms == NOW_MS
    bench.telemetry.tell(JournalDropped(5, 700, "drop-oldest"))
    assert bench.telemetry.dropped_frames == 5


def test_no_secret_is_logged_or_shown_wherever_it_turns_up() -> None:
    bench = Bench(secrets=["s3cr3t-w0rd"])
    for kind in kinds():
        hints = get_type_hints(kind)
        planted = {
            field.name: "https://user:pa55w0rd@host/ s3cr3t-w0rd"
            for field in fields(kind)
            if hints[field.name] is str and field.name not in _LABELS
        }
        bench.telemetry.tell(replace(sample(kind), **planted))
    reject = replace(
        REJECT, detail="s3cr3t-w0rd", data=b"https://user:pa55w0rd@host/ s3cr3t-w0rd", symbol="s3cr3t-w0rd"
    )
    bench.telemetry.tell(Rejected(reject, repeated=False))
    bench.now_s += 100
    bench.telemetry.observe(STATUS)
    shown = bench.stream.getvalue() + repr(bench.telemetry.notable()) + repr(bench.telemetry.recent(Rejected))
    assert "s3cr3t" not in shown
    assert "pa55w0rd" not in shown
    assert shown.count("********") > 10


_LABELS = {"connection", "reason", "state", "status", "policy", "role", "kind", "what", "client", "code"} | {
    "version",
    "replica",
    "topic",
}


def test_a_log_that_nobody_reads_any_more_stops_nothing() -> None:
    stream = io.StringIO()
    telemetry = Telemetry(stream=stream)
    stream.close()
    telemetry.tell(JournalDropped(1, 2, "drop-oldest"))


def test_many_threads_may_tell(bench: Bench) -> None:
    def tell_some() -> None:
        for _ in range(500):
            bench.telemetry.tell(FrameReceived("ws-1", 10, 1))
            bench.telemetry.tell(Rejected(REJECT, repeated=False))

    threads = [threading.Thread(target=tell_some) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bench.value("frames_received_total", connection="ws-1") == 2000
    assert len(bench.lines()) == 1


def test_labels_never_take_text_from_outside(bench: Bench) -> None:
    """Whatever comes in, the number of series is bounded by words of ours."""
    for number in range(50):
        bench.telemetry.tell(
            Rejected(replace(REJECT, field=f"f{number}", symbol=f"S{number}", detail=f"d{number}"), repeated=False)
        )
        bench.telemetry.tell(Waiting("broker", f"problem {number}", 1.0))
    page = generate_latest(bench.telemetry.metrics.registry).decode()
    assert "S49" not in page
    assert "problem 49" not in page


def test_a_log_that_nobody_reads_for_a_while_says_so_afterwards(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    monkeypatch.setattr(telemetry_module, "standard_error", lambda: writing)
    telemetry = Telemetry()
    for number in range(3 * MOST_WAITING):
        telemetry.tell(SocketOpened("ws-1", f"{number:0500}"))
    read = bytearray()
    deadline_s = time.monotonic() + 10
    while b"log_lines_lost" not in read and time.monotonic() < deadline_s:
        telemetry.observe(STATUS)
        with suppress(BlockingIOError):
            read += os.read(reading, 65_536)
    telemetry.flush()
    assert b" log_lines_lost " in read
    lost = telemetry.metrics.registry.get_sample_value("binance_kafka_source_log_lines_lost_total")
    assert lost is not None
    assert 0 < lost <= 2 * MOST_WAITING
    os.close(writing)
    os.close(reading)


def test_what_a_client_measured_is_shown_until_the_client_is_no_more(bench: Bench) -> None:
    second = replace(MEASURED, broker=2, connected=False)
    bench.telemetry.tell(KafkaMeasured("writer", (MEASURED, second), queued_records=5))
    bench.telemetry.tell(KafkaMeasured("writer", (MEASURED,), queued_records=3))
    labels = {"client": "writer", "broker": "1"}
    assert bench.value("kafka_round_trip_seconds", **labels) == 0.01
    assert bench.value("kafka_disconnects_total", **labels) == 4
    assert bench.value("kafka_connected", client="writer", broker="2") is None
    assert bench.value("kafka_queued_records", client="writer") == 3
    bench.telemetry.tell(KafkaMeasured("writer"))
    assert bench.value("kafka_connected", **labels) is None
    assert bench.value("kafka_queued_records", client="writer") == 0
    assert bench.value("kafka_disconnects_total", **labels) == 4


def test_only_the_follower_says_how_far_it_is_behind(bench: Bench) -> None:
    bench.telemetry.tell(KafkaMeasured("follower", behind=12, uncommitted=60))
    bench.telemetry.tell(KafkaMeasured("writer"))
    assert bench.value("kafka_follower_behind_records") == 12
    assert bench.value("kafka_uncommitted_records") == 60


def test_a_secret_that_comes_later_is_masked_from_then_on_and_the_old_one_still() -> None:
    bench = Bench(secrets=["first-secret"])
    bench.telemetry.mask(["second-secret"])
    bench.telemetry.tell(Waiting("broker", "first-secret and second-secret", 1.0))
    assert bench.lines()[0]["problem"] == "******** and ********"
