"""SIGTERM: what was accepted is delivered in time, and what could not be is named and kept."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from connector.local.exchange import ExchangeThread
from connector.local.stack import LocalStack
from tests.chaos.harness import journaled_frames, ticks_of
from tests.chaos.replica import Options, Replica
from tests.integration.bench import Bench, json_lines, newest
from tests.readers import Tail
from tests.truths import everything_sent

pytestmark = [pytest.mark.stack, pytest.mark.timeout(90)]

TIMEOUT_S = 3.0
END_S = 3.0
"""For what stands around the delivery: closing connections, the journal and the interpreter."""
OPTIONS: Options = {"log": {"format": "json"}, "shutdown": {"timeout": TIMEOUT_S}}


def running(bench: Bench) -> Replica:
    """A connector that writes."""
    bench.register()
    replica = bench.replica(more=OPTIONS)
    bench.wait_for_topic(replica)
    with Tail(bench.stack.bootstrap_servers, bench.topic) as tail:
        tail.wait_for_records(1, 20)
    return replica


def test_everything_accepted_is_delivered_under_load(stack: LocalStack, tmp_path: Path, topic_name: str) -> None:
    with (
        ExchangeThread(symbols=100, rate_hz=10) as exchange,
        Bench(stack, tmp_path, topic_name, exchange, rate_hz=10) as bench,
    ):
        replica = running(bench)
        time.sleep(1)
        asked_ms = time.time_ns() // 1_000_000
        assert replica.stop(TIMEOUT_S + END_S) == 0, replica.log()
        assert not journaled_frames(replica.journal_path)
        records = bench.records()
        last_ms = max(record.timestamp_ms for record in records)
        assert last_ms >= asked_ms - 200, "reading went on until it was asked to stop"
        sent = (tick for tick in everything_sent(exchange.truth) if tick.event_time_ms <= last_ms)
        verdict = bench.judged(sent, records)
        assert verdict.clean, verdict.report()
        (stopped,) = [line for line in json_lines(replica) if line["event"] == "stopped"]
        assert (stopped["exit_code"], stopped["undelivered_frames"]) == (0, 0)


def test_a_broker_that_does_not_answer(stack_to_break: LocalStack, tmp_path: Path, topic_name: str) -> None:
    with (
        ExchangeThread(symbols=20, rate_hz=5) as exchange,
        Bench(stack_to_break, tmp_path, topic_name, exchange, rate_hz=5) as bench,
    ):
        replica = running(bench)
        stack_to_break.kafka.freeze()
        try:
            time.sleep(1)
            exchange.stop_feeding()
            last = newest(exchange)
            time.sleep(0.2)
            asked_s = time.monotonic()
            assert replica.stop(TIMEOUT_S + END_S) == 3, replica.log()
            assert time.monotonic() - asked_s <= TIMEOUT_S + END_S
        finally:
            stack_to_break.kafka.thaw()
        (stopped,) = [line for line in json_lines(replica) if line["event"] == "stopped"]
        assert stopped["level"] == "error"
        kept = journaled_frames(replica.journal_path)
        assert stopped["undelivered_frames"] == len(kept) > 0
        assert "Traceback" not in replica.log(1000)

        before = {(record.key, record.timestamp_ms) for record in bench.records()}
        replica.start()
        with Tail(stack_to_break.bootstrap_servers, bench.topic) as tail:
            tail.wait_until(last, 25)
        assert replica.stop() == 0, replica.log()
        verdict = bench.judged(everything_sent(exchange.truth))
        assert verdict.clean, verdict.report()
        assert {(symbol.encode(), time_ms) for symbol, time_ms in ticks_of(kept)} - before, "it had something to do"
