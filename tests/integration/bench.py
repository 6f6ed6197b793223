"""One topic of the real broker, the processes that write it, and what stands in it afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

from confluent_kafka import Message
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # public, yet not marked as exported

from connector.cli import exit_code_of
from connector.local.cache import cache_folder
from connector.local.exchange import ExchangeThread
from connector.local.ports import Ports
from connector.local.stack import LocalStack
from tests.chaos.replica import CONNECTOR, ROOT, Options, Replica, write_toml
from tests.judge import Judge, Observed, Sent, Verdict
from tests.readers import DeadLetter, read_dead_letters, read_events, read_messages, read_records

SCHEMA = ROOT / "schemas" / "asset_index.avsc"
PARTITIONS = 6
NOBODY = "127.0.0.1:1"
"""An address where nobody listens."""

T = TypeVar("T")


def until(condition: Callable[[], T], timeout_s: float, what: str | Callable[[], str]) -> T:
    """The first true value of a condition. Raises AssertionError, saying what did not come about."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {what if isinstance(what, str) else what()}")
        time.sleep(0.03)
    return value


class Bench:
    """A topic and its options, within ``with``: every process started here is gone at its end."""

    def __init__(
        self, stack: LocalStack, folder: Path, topic: str, exchange: ExchangeThread | None = None, *, rate_hz: float = 1
    ) -> None:
        """``rate_hz`` is the exchange's; the schema's cadence is made to match."""
        self.stack = stack
        self.folder = folder
        self.topic = topic
        self.exchange = exchange
        self.cadence_ms = round(1000 / rate_hz)
        self.schema = schema_at(SCHEMA, folder, self.cadence_ms)
        self._ports = Ports(cache_folder() / "ports")
        self._exits = ExitStack()

    def __enter__(self) -> Bench:
        self._exits.callback(self._ports.release)
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    # Options

    def options(self, more: Options | None = None) -> dict[str, dict[str, Any]]:
        """Everything that a process needs; ``more`` wins, table by table."""
        url = self.exchange.url if self.exchange is not None else f"ws://{NOBODY}"
        rest_url = self.exchange.rest_url if self.exchange is not None else f"http://{NOBODY}"
        options: dict[str, dict[str, Any]] = {
            "feed": {"url": url, "rest_url": rest_url},
            "schema": {"file": str(self.schema)},
            "topic": {"name": self.topic, "partitions": PARTITIONS},
            "kafka": {"bootstrap.servers": self.stack.bootstrap_servers},
            "registry": {"url": self.stack.registry_url},
            "takeover": {"after": 0.5},
            "http": {"port": self._ports.take()},
        }
        for table, values in (more or {}).items():
            options[table] = {**options.get(table, {}), **values}
        return options

    def config(self, name: str, more: Options | None = None) -> Path:
        """A file of options, with a journal of its own."""
        path = self.folder / f"{name}.toml"
        journal = {"path": str(self.folder / f"{name}.journal"), **(more or {}).get("journal", {})}
        write_toml(path, self.options({**(more or {}), "journal": journal}))
        return path

    # What happens before a start

    def register(self, more: Options | None = None) -> None:
        assert exit_code_of(["schema", "register", "--config", str(self.config("register", more))]) == 0

    def make_topic(self, name: str, partitions: int, **config: str) -> None:
        dotted = {key.replace("_", "."): value for key, value in config.items()}
        admin = AdminClient({"bootstrap.servers": self.stack.bootstrap_servers})
        admin.create_topics([NewTopic(name, partitions, 1, config=dotted)])[name].result(10)

    # Processes

    def replica(self, name: str = "one", more: Options | None = None) -> Replica:
        """A connector that runs, ready or not; it is not started again where it ends."""
        replica = Replica(name, self.folder / name, self.options(more), supervised=False)
        self._exits.callback(replica.close)
        replica.start()
        return replica

    def wait_for_topic(self, replica: Replica, timeout_s: float = 15.0) -> None:
        """Block until the connector has made the topic."""
        admin = AdminClient({"bootstrap.servers": self.stack.bootstrap_servers})
        until(lambda: self.topic in admin.list_topics(timeout=5).topics, timeout_s, replica.log)

    # What stands in the topics

    def records(self, topic: str = "") -> list[Observed]:
        return list(read_records(self.stack.bootstrap_servers, self.stack.registry_url, topic or self.topic))

    def messages(self, topic: str = "") -> list[Message]:
        return list(read_messages(self.stack.bootstrap_servers, topic or self.topic))

    def letters(self, topic: str = "") -> list[DeadLetter]:
        return read_dead_letters(self.stack.bootstrap_servers, f"{topic or self.topic}.dlq")

    def events(self) -> list[dict[str, Any]]:
        return read_events(self.stack.bootstrap_servers, self.stack.registry_url, f"{self.topic}.events")

    def judged(self, sent: Iterable[Sent], records: Iterable[Observed] | None = None) -> Verdict:
        judge = Judge(sent, [PARTITIONS])
        for record in self.records() if records is None else records:
            judge.take(record)
        return judge.verdict()


def schema_at(path: Path, folder: Path, cadence_ms: int) -> Path:
    """A copy of a schema with another cadence."""
    schema = json.loads(path.read_text("utf-8"))
    schema["feed"]["cadence_ms"] = cadence_ms
    copy = folder / path.name
    copy.write_text(json.dumps(schema, indent=1), "utf-8")
    return copy


def newest(exchange: ExchangeThread) -> dict[str, int]:
    """The newest event time by symbol that the exchange handed to anybody."""
    return {element.symbol: element.event_time_ms for element in exchange.truth.elements()}


def command(*arguments: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
    """One command of the connector, as an operator calls it, to its end."""
    return subprocess.run(
        arguments_of(arguments),
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def arguments_of(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, *CONNECTOR, *arguments]


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's, without options of the connector."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BKS_")}
    return {**kept, **(more or {})}


def json_lines(replica: Replica) -> list[dict[str, Any]]:
    """Its log; the options must say ``log.format = "json"``."""
    lines = replica.log_path.read_text("utf-8", "replace").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]
