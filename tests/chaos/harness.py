"""A scene: fake exchange, topic, connector replicas each behind its own proxy, and a reader along the way.

::

    with Scene(stack, folder) as scene:
        one, two = scene.replica("one"), scene.replica("two")
        ...                           # faults
        outcome = scene.finish()      # the feed ends, everything is delivered and read back
    outcome.assert_nothing_lost()
"""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connector.edges.topics import DEFAULT_PARTITIONS
from connector.local.cache import cache_folder
from connector.local.exchange import ExchangeThread
from connector.local.ports import Ports
from connector.local.stack import LocalStack
from tests.chaos.proxy import Proxy
from tests.chaos.replica import CONNECTOR, ROOT, Options, Replica, Run, write_toml
from tests.judge import Judge, Verdict
from tests.ledger import Disagreement, Gap, disagreements, gaps, kinds
from tests.readers import DeadLetter, Lateness, Tail, read_dead_letters, read_events, read_records
from tests.truths import everything_sent

SCHEMA = ROOT / "schemas" / "asset_index.avsc"
Tick = tuple[str, int]
"""Symbol and event time."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that a case is judged by."""

    verdict: Verdict
    lateness: Lateness
    events: Sequence[Mapping[str, Any]]
    letters: Sequence[DeadLetter]
    disagreements: Sequence[Disagreement]
    """Between ledger and topic."""
    accepted_lost: Sequence[Tick]
    """In a journal when its process died, and neither in the topic nor, as late, in the dead-letter topic."""
    runs: Mapping[str, Sequence[Run]]
    journaled: Mapping[str, int]
    """Frames left in each journal at the end."""

    @property
    def gaps(self) -> list[Gap]:
        return gaps(self.events)

    @property
    def takeovers(self) -> int:
        return kinds(self.events)["takeover"]

    @property
    def reasons(self) -> set[str]:
        """Of the dead letters."""
        return {letter.headers["reason"] for letter in self.letters}

    def missing(self) -> list[Tick]:
        return [(symbol, time_ms) for symbol, times in self.verdict.missing.items() for time_ms in times]

    def assert_intact(self) -> None:
        """No duplicate, nothing altered, order kept, every accepted tick accounted for, no silent gap, no crash."""
        ends = {run.exit_code for runs in self.runs.values() for run in runs}
        assert ends <= {0, -signal.SIGKILL}, f"a process ended by itself: {self.runs}"
        assert not self.verdict.faults, self.verdict.report()
        assert not self.accepted_lost, f"{len(self.accepted_lost)} accepted ticks lost: {self.accepted_lost[:5]}"
        assert not self.disagreements, f"ledger and topic: {self.disagreements[:5]}\n{self.verdict.report()}"

    def assert_nothing_lost(self, late_max_s: float | None = None) -> None:
        """Intact, and every tick that the exchange handed to any socket is in the topic."""
        self.assert_intact()
        assert self.verdict.lost == 0, self.verdict.report()
        assert not self.gaps, self.gaps
        if late_max_s is not None:
            assert self.lateness.max_s <= late_max_s, self.lateness

    def assert_missing_only_at_deaths(self, before_s: float = 0.5, after_s: float = 0.5) -> None:
        """What is missing was on its way to a process in the moment of its death."""
        deaths = [run.ended_ms for runs in self.runs.values() for run in runs if run.ended_ms is not None]
        astray = [
            (symbol, time_ms)
            for symbol, time_ms in self.missing()
            if not any(death - before_s * 1000 <= time_ms <= death + after_s * 1000 for death in deaths)
        ]
        assert not astray, f"{len(astray)} missing ticks, away from deaths at {deaths}: {astray[:5]}"


class Scene:
    """See the module. One topic; the schema's cadence is the rate's."""

    def __init__(
        self,
        stack: LocalStack,
        folder: Path,
        *,
        rate_hz: float = 5,
        symbols: int = 60,
        seed: int = 1,
        truth_path: Path | None = None,
    ) -> None:
        self.stack = stack
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.topic = f"chaos-{uuid.uuid4().hex[:10]}"
        self.partitions = [DEFAULT_PARTITIONS]
        """Every count that the topic has had."""
        self.cadence_ms = round(1000 / rate_hz)
        self.exchange = ExchangeThread(symbols=symbols, rate_hz=rate_hz, seed=seed, truth_path=truth_path)
        self.replicas: dict[str, Replica] = {}
        self.proxies: dict[str, Proxy] = {}
        self.tail = Tail(stack.bootstrap_servers, self.topic)
        self._ports = Ports(cache_folder() / "ports")
        self._exits = ExitStack()
        self._accepted: set[Tick] = set()
        self._accepted_lock = threading.Lock()

    def __enter__(self) -> Scene:
        with ExitStack() as exits:
            exits.callback(self._ports.release)
            exits.enter_context(self.exchange)
            self._write_schema()
            self._register()
            self._exits = exits.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def replica(
        self,
        name: str,
        *,
        options: Options | None = None,
        supervised: bool = True,
        entry: Sequence[str] = CONNECTOR,
        wait: bool = True,
    ) -> Replica:
        """Start one, behind a proxy of its own; ``options`` win over the scene's, table by table."""
        proxy = self._exits.enter_context(Proxy(self._ports.take(), _port(self.stack.bootstrap_servers)))
        replica = Replica(
            name, self.folder / name, self._options(name, proxy, options or {}), supervised=supervised, entry=entry
        )
        replica.on_death = self._keep_accepted
        self.proxies[name] = proxy
        self.replicas[name] = replica
        self._exits.callback(replica.close)
        replica.start()
        if wait:
            replica.wait_until_ready(30)
        if len(self.replicas) == 1 and wait:
            self._exits.enter_context(self.tail)
            self.tail.wait_for_records(1, 30)
            self.tail.measure()
        return replica

    def writer(self, timeout_s: float = 10.0) -> Replica:
        """The replica that commits transactions now: the first whose next EndTxn comes by."""
        before = {name: proxy.committed for name, proxy in self.proxies.items()}
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for name, proxy in self.proxies.items():
                if proxy.committed > before[name]:
                    return self.replicas[name]
            time.sleep(0.01)
        raise TimeoutError(f"no replica commits\n{self.logs()}")

    def other(self, replica: Replica) -> Replica:
        """The second of two."""
        (found,) = (each for each in self.replicas.values() if each is not replica)
        return found

    def run_on(self, seconds: float, *, within_s: float = 15) -> None:
        """Let it run; then require that records still come, or come again ``within_s``."""
        time.sleep(seconds)
        try:
            self.tail.wait_for_records(1, within_s)
        except TimeoutError as nothing:
            raise AssertionError(f"{nothing}\n{self.logs()}") from nothing

    def finish(self, *, timeout_s: float = 40.0, exit_code: int = 0, apart_from: Collection[str] = ()) -> Outcome:
        """End the feed, wait until its last tick is visible, stop every replica, and read everything back.

        ``apart_from``: symbols that were made to vanish; the ledger's word on their gaps is not asked.
        """
        self.exchange.stop_feeding()
        newest: dict[str, int] = {}
        for element in self.exchange.truth.elements():
            if element.symbol not in apart_from:
                newest[element.symbol] = element.event_time_ms
        try:
            self.tail.wait_until(newest, timeout_s)
        except TimeoutError as behind:
            raise AssertionError(f"{behind}\n{self.logs()}") from behind
        lateness = self.tail.lateness()
        time.sleep(1.0)  # followers trim a moment later
        for name, replica in self.replicas.items():
            if not replica.running and not replica.supervised:
                continue  # killed for good by the case
            ended_with = replica.stop()
            assert ended_with == exit_code, f"{name} ended with {ended_with}\n{replica.log()}"
        return self._outcome(lateness, apart_from)

    def logs(self) -> str:
        return "\n".join(replica.log() for replica in self.replicas.values())

    # Inside

    def _outcome(self, lateness: Lateness, apart_from: Collection[str]) -> Outcome:
        bootstrap, registry_url = self.stack.bootstrap_servers, self.stack.registry_url
        judge = Judge(everything_sent(self.exchange.truth), self.partitions)
        for record in read_records(bootstrap, registry_url, self.topic):
            judge.take(record)
        verdict = judge.verdict(lateness.max_s)
        events = read_events(bootstrap, registry_url, f"{self.topic}.events")
        letters = read_dead_letters(bootstrap, f"{self.topic}.dlq")
        too_late = ticks_of(letter.value for letter in letters if letter.headers["reason"] == "late")
        with self._accepted_lock:
            accepted_lost = sorted(_not_in(self._accepted - too_late, judge.observed))
        return Outcome(
            verdict=verdict,
            lateness=lateness,
            events=events,
            letters=letters,
            disagreements=disagreements(events, judge.observed, self.cadence_ms, apart_from=apart_from),
            accepted_lost=accepted_lost,
            journaled={name: len(journaled_frames(replica.journal_path)) for name, replica in self.replicas.items()},
            runs={name: tuple(replica.runs) for name, replica in self.replicas.items()},
        )

    def _keep_accepted(self, replica: Replica) -> None:
        ticks = ticks_of(journaled_frames(replica.journal_path))
        with self._accepted_lock:
            self._accepted |= ticks

    def _write_schema(self) -> None:
        schema = json.loads(SCHEMA.read_text("utf-8"))
        schema["feed"]["cadence_ms"] = self.cadence_ms
        self.schema_path = self.folder / "asset_index.avsc"
        self.schema_path.write_text(json.dumps(schema, indent=1), "utf-8")

    def _options(self, name: str, proxy: Proxy, more: Options) -> Options:
        options: dict[str, dict[str, Any]] = {
            "feed": {"url": f"{self.exchange.url}/~{name}", "rest_url": self.exchange.rest_url},
            "schema": {"file": str(self.schema_path)},
            "topic": {"name": self.topic},  # as many partitions as by default when created, as found afterwards
            "kafka": {"bootstrap.servers": proxy.bootstrap_servers, "client.id": name},
            "registry": {"url": self.stack.registry_url},
            "http": {"port": self._ports.take()},
        }
        for table, values in more.items():
            options[table] = {**options.get(table, {}), **values}
        return options

    def _register(self) -> None:
        path = self.folder / "register.toml"
        write_toml(
            path,
            {
                "schema": {"file": str(self.schema_path)},
                "topic": {"name": self.topic},
                "kafka": {"bootstrap.servers": self.stack.bootstrap_servers},
                "registry": {"url": self.stack.registry_url},
            },
        )
        command = [sys.executable, *CONNECTOR, "schema", "register", "--config", str(path)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"schema register: {done.returncode}\n{done.stdout}{done.stderr}"


def journaled_frames(path: Path) -> list[bytes]:
    """The stream's frames in a journal whose process is gone, by a look at a copy of the file."""
    with tempfile.TemporaryDirectory(prefix="journal-") as folder:
        for each in (path, path.with_name(path.name + "-wal")):
            if each.exists():
                shutil.copy(each, folder)
        copy = sqlite3.connect(Path(folder) / path.name)
        try:
            return [data for (data,) in copy.execute("SELECT data FROM frames WHERE origin = 'websocket'")]
        except sqlite3.DatabaseError:  # killed before its first frame, or made unusable by the test
            return []
        finally:
            copy.close()


def ticks_of(payloads: Iterable[bytes]) -> set[Tick]:
    """Symbol and event time of every element in raw or combined, single or array messages."""
    ticks: set[Tick] = set()
    for payload in payloads:
        message = json.loads(payload)
        data = message["data"] if isinstance(message, dict) and "data" in message else message
        for element in data if isinstance(data, list) else [data]:
            ticks.add((element["s"], element["E"]))
    return ticks


def _not_in(ticks: Iterable[Tick], observed: Mapping[str, Iterable[int]]) -> Iterator[Tick]:
    by_symbol: dict[str, set[int]] = {}
    for symbol, time_ms in ticks:
        by_symbol.setdefault(symbol, set()).add(time_ms)
    for symbol, times in by_symbol.items():
        yield from ((symbol, time_ms) for time_ms in times.difference(observed.get(symbol, ())))


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])
