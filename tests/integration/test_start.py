"""Starting where something is wrong: one clear message and an exit code, or a wait that is told; never a traceback."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from connector.local.broker import SASL_USER
from connector.local.exchange import ExchangeThread
from connector.local.stack import LocalStack
from tests.chaos.replica import Options, Replica
from tests.integration.bench import NOBODY, PARTITIONS, Bench, command, json_lines, newest, until
from tests.readers import Tail
from tests.truths import everything_sent

pytestmark = [pytest.mark.stack, pytest.mark.timeout(90)]

CONFIGURATION = 2
UNDELIVERED = 3
SHUTDOWN_S = 3.0
JSON: Options = {"log": {"format": "json"}, "shutdown": {"timeout": SHUTDOWN_S}}


@pytest.fixture(scope="module")
def exchange() -> Iterator[ExchangeThread]:
    with ExchangeThread(symbols=5, rate_hz=5) as running:
        yield running


@pytest.fixture
def bench(stack: LocalStack, tmp_path: Path, topic_name: str, exchange: ExchangeThread) -> Iterator[Bench]:
    with Bench(stack, tmp_path, topic_name, exchange, rate_hz=5) as ready:
        yield ready


@pytest.fixture
def bench_to_break(
    stack_to_break: LocalStack, tmp_path: Path, topic_name: str, exchange: ExchangeThread
) -> Iterator[Bench]:
    with Bench(stack_to_break, tmp_path, topic_name, exchange, rate_hz=5) as ready:
        ready.register()
        yield ready


# What is wrong for good: exit code 2


def wrong_password(bench: Bench) -> Options:
    return {
        "kafka": {
            "bootstrap.servers": bench.stack.sasl_bootstrap_servers,
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username": SASL_USER,
            "sasl.password": "no-such-password",
        }
    }


def topic_missing(bench: Bench) -> Options:
    return {"topic": {"create": False}}


def other_partition_count(bench: Bench) -> Options:
    bench.make_topic(bench.topic, 3)
    return {}


def log_append_time(bench: Bench) -> Options:
    bench.make_topic(bench.topic, PARTITIONS, message_timestamp_type="LogAppendTime")
    return {}


def not_registered(bench: Bench) -> Options:
    return {"topic": {"name": f"{bench.topic}-other"}}


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (wrong_password, ["the broker does not accept these credentials", "kafka.sasl.password"]),
        (topic_missing, ["is not there, and topic.create is off", "kafka-topics.sh", "--create --topic"]),
        (other_partition_count, [f"has 3 partitions, topic.partitions says {PARTITIONS}"]),
        (log_append_time, ["message.timestamp.type is LogAppendTime, it must be CreateTime", "kafka-configs.sh"]),
        (not_registered, ["not registered; run: binance-kafka-source schema register"]),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_what_only_a_person_can_mend(fault: Callable[[Bench], Options], said: list[str], bench: Bench) -> None:
    bench.register()
    options = fault(bench)
    started_s = time.monotonic()
    done = command("run", "--config", str(bench.config("faulty", options)))
    assert done.returncode == CONFIGURATION, done.stderr
    assert time.monotonic() - started_s < 15
    *_, message = message_lines(done.stderr)
    for words in said:
        assert words in done.stderr, message
    assert "Traceback" not in done.stderr
    assert "no-such-password" not in done.stderr
    assert not done.stdout


def message_lines(stderr: str) -> list[str]:
    """From the line on that says how the command ended."""
    lines = stderr.rstrip().splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith("binance-kafka-source: "))
    return lines[begin:]


# What may come up: told, and waited for


TELLING = {"waiting", "kafka_complained"}


def wait_until_told(replica: Replica, what: str) -> dict[str, Any]:
    def found() -> dict[str, Any] | None:
        assert replica.running, replica.log()
        return next((line for line in json_lines(replica) if line["event"] in TELLING and what in str(line)), None)

    told = until(found, 15, replica.log)
    assert told is not None
    return told


def wait_until_fed(replica: Replica) -> None:
    """Block until its feed advances, whatever else it waits for."""
    until(lambda: any(line["event"] == "feed_changed" for line in json_lines(replica)), 10, replica.log)


def check_goes_on(bench: Bench, exchange: ExchangeThread, replica: Replica, waited_until_ms: int | None = None) -> None:
    """It writes, and all that came while it waited is there too."""
    replica.wait_until_ready(20)
    with Tail(bench.stack.bootstrap_servers, bench.topic) as tail:
        until(lambda: tail.newest_ms().keys() >= newest(exchange).keys(), 15, replica.log)
    assert replica.stop() == 0, replica.log()
    assert "Traceback" not in replica.log(1000)
    records = bench.records()
    first_ms = min(record.timestamp_ms for record in records)
    assert waited_until_ms is None or first_ms < waited_until_ms, "what was received while it waited is in the topic"
    last = {(record.key or b"").decode(): record.timestamp_ms for record in records}
    sent = (
        tick for tick in everything_sent(exchange.truth) if first_ms <= tick.event_time_ms <= last.get(tick.symbol, 0)
    )
    verdict = bench.judged(sent, records)
    assert verdict.clean, verdict.report()


def test_the_registry_is_down_at_the_start(bench_to_break: Bench, exchange: ExchangeThread) -> None:
    registry = bench_to_break.stack.registry
    registry.kill()
    try:
        replica = bench_to_break.replica(more=JSON)
        told = wait_until_told(replica, bench_to_break.stack.registry_url)
        assert told["level"] == "warning"
        status, reason = replica.get("/readyz")
        assert status == 503
        assert "registry" in reason
        assert replica.get("/livez")[0] == 200
        wait_until_fed(replica)
        up_from_ms = time.time_ns() // 1_000_000
    finally:
        registry.start()
    check_goes_on(bench_to_break, exchange, replica, up_from_ms)


def test_the_broker_is_down_at_the_start(bench_to_break: Bench, exchange: ExchangeThread) -> None:
    broker = bench_to_break.stack.kafka
    broker.kill()
    try:
        replica = bench_to_break.replica(more=JSON)
        told = wait_until_told(replica, "Connection refused")
        assert told["level"] == "warning"
        assert replica.get("/readyz")[0] == 503
        assert replica.get("/livez")[0] == 200
        wait_until_fed(replica)
        up_from_ms = time.time_ns() // 1_000_000
    finally:
        broker.start()
    check_goes_on(bench_to_break, exchange, replica, up_from_ms)


def test_pinned_ids_need_no_registry(
    bench: Bench, exchange: ExchangeThread, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    bench.register()
    records_id, events_id = (int(line.rpartition(" ")[2]) for line in capsys.readouterr().out.splitlines())
    pinned: Options = {"schema": {"id": records_id, "events_id": events_id}, "registry": {"url": f"http://{NOBODY}"}}
    replica = bench.replica(more={**JSON, **pinned})
    check_goes_on(bench, exchange, replica)
    assert not [line for line in json_lines(replica) if "registry" in str(line)]
    assert bench.events(), "the ledger's entries are decoded with the registry's schema"


@pytest.mark.parametrize(
    "away",
    [{"registry": {"url": f"http://{NOBODY}"}}, {"kafka": {"bootstrap.servers": NOBODY}}],
    ids=["registry", "broker"],
)
def test_sigterm_while_it_waits(away: Options, bench: Bench) -> None:
    bench.register()
    replica = bench.replica(more={**JSON, **away})
    wait_until_told(replica, NOBODY)
    wait_until_fed(replica)
    asked_s = time.monotonic()
    code = replica.stop(SHUTDOWN_S + 3)
    assert time.monotonic() - asked_s < SHUTDOWN_S + 2, replica.log()
    assert code == UNDELIVERED, "the feed is up, and what it brought is only in the journal"
    (stopped,) = [line for line in json_lines(replica) if line["event"] == "stopped"]
    assert stopped["undelivered_frames"] > 0
    assert "Traceback" not in replica.log(1000)


def test_sigterm_while_it_waits_with_nothing_accepted(stack: LocalStack, tmp_path: Path, topic_name: str) -> None:
    with Bench(stack, tmp_path, topic_name) as bench:
        replica = bench.replica(
            more={**JSON, "kafka": {"bootstrap.servers": NOBODY}, "registry": {"url": f"http://{NOBODY}"}}
        )
        wait_until_told(replica, NOBODY)
        assert replica.stop(SHUTDOWN_S + 3) == 0, replica.log()
