"""``record`` and ``replay``: the same records from a file as from the sockets, and never into a live topic."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from connector.edges.frame_file import FrameFile
from connector.local.exchange import ExchangeThread
from connector.local.stack import LocalStack
from tests.chaos.harness import ticks_of
from tests.chaos.replica import Replica
from tests.integration.bench import Bench, command, json_lines, newest
from tests.judge import Observed
from tests.readers import Tail

pytestmark = [pytest.mark.stack, pytest.mark.timeout(90)]


@dataclass(frozen=True, slots=True)
class Recorded:
    """A connector that writes live, and a file of what it was sent meanwhile."""

    exchange: ExchangeThread
    """Silent: who reads the live topic to its end wants it to have one."""
    bench: Bench
    live: Replica
    file: Path


@pytest.fixture(scope="module")
def recorded(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    folder = tmp_path_factory.mktemp("replay")
    with (
        ExchangeThread(symbols=20, rate_hz=5) as exchange,
        Bench(stack, folder, "test-replay-live", exchange, rate_hz=5) as bench,
    ):
        bench.register()
        live = bench.replica(more={"log": {"format": "json"}, "feed": {"rest_fill": False}})
        bench.wait_for_topic(live)
        file = folder / "frames.jsonl"
        done = command("record", str(file), "--config", str(bench.config("record")), "--seconds", "3")
        assert done.returncode == 0, done.stderr
        assert f"frames in {file}" in done.stderr
        exchange.stop_feeding()
        with Tail(stack.bootstrap_servers, bench.topic) as tail:
            tail.wait_until(newest(exchange), 10)
        yield Recorded(exchange, bench, live, file)


def lines_of(file: Path) -> Iterator[bytes]:
    """The messages in a recorded file, without the connector's own reader."""
    for line in file.read_text("utf-8").splitlines()[1:]:
        yield json.loads(line)["data"].encode()


Key = tuple[bytes | None, int]


def content(records: Iterable[Observed]) -> dict[Key, tuple[int, Mapping[str, Any]]]:
    """Partition and value by symbol and time; without when it was received, which is another time."""
    found: dict[Key, tuple[int, Mapping[str, Any]]] = {}
    for record in records:
        value = {name: each for name, each in record.value.items() if name != "received_time"}
        assert (record.key, record.timestamp_ms) not in found, "twice"
        found[record.key, record.timestamp_ms] = (record.partition, value)
    return found


def replay(recorded: Recorded, file: Path, topic: str, *more: str) -> tuple[int, str]:
    """Exit code and what it said."""
    config = recorded.bench.config(topic, {"topic": {"name": topic, "retention_ms": -1}})
    done = command("replay", str(file), "--config", str(config), "--speed", "max", *more)
    return done.returncode, done.stderr


def check_same_as_live(recorded: Recorded, topic: str) -> None:
    ticks = ticks_of(lines_of(recorded.file))
    wanted = {(symbol.encode(), time_ms) for symbol, time_ms in ticks}
    live = {key: each for key, each in content(recorded.bench.records()).items() if key in wanted}
    replayed = content(recorded.bench.records(topic))
    assert len(replayed) == len(wanted) >= 20 * 5
    assert replayed == live


def test_a_recording_comes_out_digit_for_digit(recorded: Recorded) -> None:
    topic = f"{recorded.bench.topic}-again"
    recorded.bench.register({"topic": {"name": topic}})
    code, said = replay(recorded, recorded.file, topic)
    assert code == 0, said
    assert "records a second" in said
    assert "Traceback" not in said
    check_same_as_live(recorded, topic)
    with FrameFile(recorded.file) as file:
        received_ms = {frame.received_at_ns // 1_000_000 for frame, _ in file.frames(0)}
    values = [record.value["received_time"] for record in recorded.bench.records(topic)]
    assert {round(value.timestamp() * 1000) for value in values} <= received_ms, "when it was received, not replayed"

    code, said = replay(recorded, recorded.file, topic)
    assert code == 0, said
    assert "0 records, 0 rejects, 0 duplicates" in said, "all of it is there already"
    assert "frames with nothing newer than the topic held" in said
    check_same_as_live(recorded, topic)

    earlier = recorded.file.with_name("earlier.txt")
    earlier.write_bytes(b"\n".join(line.replace(b'"E":17', b'"E":10') for line in lines_of(recorded.file)))
    code, said = replay(recorded, earlier, topic)
    assert code == 0, said
    late = re.search(r"0 records, (\d+) rejects \(\1 late\)", said)
    assert late, said
    letters = recorded.bench.letters(topic)
    assert len(letters) == int(late[1]) == len(ticks_of(lines_of(recorded.file)))
    check_same_as_live(recorded, topic)

    done = command("tail", "--config", str(recorded.bench.config("tail")), "--topic", f"{topic}.dlq", "--since", "60")
    assert done.returncode == 4
    assert f"topic {topic}.dlq: a record is no Avro" in done.stderr


def test_a_plain_file_with_one_message_a_line(recorded: Recorded, tmp_path: Path) -> None:
    topic = f"{recorded.bench.topic}-plain"
    recorded.bench.register({"topic": {"name": topic}})
    plain = tmp_path / "plain.txt"
    plain.write_bytes(b"\n".join([*lines_of(recorded.file), b"no message", b""]))
    code, said = replay(recorded, plain, topic)
    assert code == 0, said
    assert "1 rejects" in said
    check_same_as_live(recorded, topic)
    (letter,) = recorded.bench.letters(topic)
    assert letter.value == b"no message"
    assert letter.headers["connection"] == "replay"


def test_what_the_topic_would_not_keep_is_not_written(recorded: Recorded, tmp_path: Path) -> None:
    old = tmp_path / "old.txt"
    old.write_bytes(b"\n".join(line.replace(b'"E":17', b'"E":16') for line in lines_of(recorded.file)))
    for topic in (recorded.bench.topic, f"{recorded.bench.topic}-not-made-yet"):
        done = command("replay", str(old), "--config", str(recorded.bench.config("old", {"topic": {"name": topic}})))
        assert done.returncode == 2, done.stderr
        assert f"topic {topic} keeps records for 7 days of event time" in done.stderr
        assert "--set topic.retention_ms=-1" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_topic_that_is_being_written_is_left_alone(recorded: Recorded, tmp_path: Path) -> None:
    bench = recorded.bench
    recorded.exchange.start_feeding()
    from_the_future = tmp_path / "frames.txt"
    arrays = (json.loads(line) for line in lines_of(recorded.file))
    later = ([{**element, "E": element["E"] + 3_600_000} for element in array] for array in arrays)
    from_the_future.write_text("\n".join(map(json.dumps, later)), "utf-8")
    code, said = replay(recorded, from_the_future, bench.topic)
    assert code == 2, said
    assert f"topic {bench.topic} is being written" in said
    assert "Traceback" not in said
    with Tail(bench.stack.bootstrap_servers, bench.topic) as tail:
        tail.wait_for_records(20 * 5, 10)
    roles = [line["role"] for line in json_lines(recorded.live) if line["event"] == "role_changed"]
    assert roles == ["follower", "writer"], "nobody took the lock from it"
    assert not [line for line in json_lines(recorded.live) if line["event"] == "transaction_failed"]


def test_a_file_that_is_not_there(recorded: Recorded, tmp_path: Path) -> None:
    code, said = replay(recorded, tmp_path / "nothing", "any")
    assert (code, "No such file" in said, "Traceback" in said) == (2, True, False), said
