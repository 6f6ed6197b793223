"""One connector process as an operator runs it, and the supervisor who starts it again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import connector.local

ROOT = Path(__file__).parents[2]
GUARD = Path(connector.local.__file__).with_name("guard.py")
CONNECTOR = ("-m", "connector")
STARTED_AGAIN_AFTER_S = 0.3

Options = Mapping[str, Mapping[str, Any]]
"""Configuration by table and key."""


@dataclass(frozen=True, slots=True)
class Run:
    """One life of the process, by this machine's clock in milliseconds; ``None`` while it lives."""

    started_ms: int
    ended_ms: int | None = None
    exit_code: int | None = None
    """Negative: ended by that signal."""


class Replica:
    """Started and ended by its methods; ``supervised`` starts it again whenever it ended unasked.

    ``entry`` is what Python runs: the product, or a build of it with a part left out.
    Never outlives this process.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        options: Options,
        *,
        supervised: bool = True,
        entry: Sequence[str] = CONNECTOR,
    ) -> None:
        self.name = name
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.config_path = folder / "connector.toml"
        self.log_path = folder / "connector.log"
        self.journal_path = folder / "connector.journal"
        for left in folder.glob("connector.*"):
            left.unlink()  # of an earlier run that was told to keep its files here
        self.supervised = supervised
        self.runs: list[Run] = []
        self.on_death: Callable[[Replica], None] = lambda _: None
        """Called when the process has ended, before another is started."""
        self.port: int = options["http"]["port"]
        self._entry = tuple(entry)
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline = -1
        self._wanted = threading.Event()
        self._over = threading.Event()
        self._lock = threading.RLock()
        self._supervisor = threading.Thread(target=self._supervise, name=f"supervisor-{name}", daemon=True)
        write_toml(
            self.config_path, {**options, "journal": {**options.get("journal", {}), "path": str(self.journal_path)}}
        )

    # Life

    def start(self) -> None:
        if not self._supervisor.is_alive():
            self._supervisor.start()
        with self._lock:
            self._wanted.set()
            if self._process is None:
                self._spawn()

    def kill(self) -> None:
        """``kill -9``, and wait until it is gone; a supervised one comes back."""
        with self._lock:
            if self._process is not None:
                self._process.kill()
                self._process.wait()
                self._collect()

    def stop(self, timeout_s: float = 30.0) -> int:
        """SIGTERM; the exit code. Killed, and AssertionError with the end of its log, where it does not end in time."""
        with self._lock:
            self._wanted.clear()
            process = self._process
            if process is None:
                return self.runs[-1].exit_code or 0
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGCONT)
            try:
                process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(
                    f"{self.name} does not end on SIGTERM within {timeout_s:g} s\n{self.log()}"
                ) from None
            self._collect()
            return self.runs[-1].exit_code or 0

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """The end, however it stands."""
        self._wanted.clear()
        self._over.set()
        self.kill()
        if self._supervisor.is_alive():
            self._supervisor.join(10)

    @property
    def running(self) -> bool:
        with self._lock:
            return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        with self._lock:
            assert self._process is not None, f"{self.name} is not running"
            return self._process.pid

    def wait_until_started_again(self, timeout_s: float) -> None:
        """Block until a process runs. Raises TimeoutError."""
        deadline = time.monotonic() + timeout_s
        while not self.running:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} does not run\n{self.log()}")
            time.sleep(0.02)

    # What it says

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of one of its pages; status 0 where nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=2) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.read().decode()
        except OSError:
            return 0, ""

    def wait_until_ready(self, timeout_s: float) -> None:
        """Block until ``/readyz`` says 200. Raises TimeoutError with what it says instead."""
        deadline = time.monotonic() + timeout_s
        while (answer := self.get("/readyz"))[0] != 200:
            ends = {run.exit_code for run in self.runs}
            assert ends <= {None, 0, -signal.SIGKILL}, f"{self.name} ended by itself: {self.runs}\n{self.log()}"
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} is not ready in {timeout_s:g} s: {answer}\n{self.log()}")
            time.sleep(0.05)

    def metrics(self) -> dict[str, float]:
        """Its samples by name with labels, as they stand in the page."""
        _, page = self.get("/metrics")
        samples = (line.rpartition(" ") for line in page.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in samples}

    def log(self, lines: int = 40) -> str:
        """The end of what it wrote, over all its runs."""
        if not self.log_path.exists():
            return f"{self.log_path}: nothing written"
        written = self.log_path.read_text("utf-8", "replace").splitlines()
        return "\n".join([f"The end of {self.log_path}:", *written[-lines:]])

    def rss_bytes(self) -> int:
        """Resident memory of the process."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    # Inside

    def _spawn(self) -> None:
        watched, self._lifeline = os.pipe()
        command = [sys.executable, *self._entry, "run", "--config", str(self.config_path)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("BKS_")}
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(GUARD), str(watched), *command],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[watched],
                start_new_session=True,
            )
        os.close(watched)
        self.runs.append(Run(_now_ms()))

    def _collect(self) -> None:
        """Note the end of the process; under the lock."""
        if self._process is None:
            return
        self.runs[-1] = Run(self.runs[-1].started_ms, _now_ms(), self._process.wait())
        self._process = None
        os.close(self._lifeline)
        self.on_death(self)

    def _signal(self, number: int) -> None:
        with self._lock:
            if self._process is not None:
                self._process.send_signal(number)

    def _supervise(self) -> None:
        while not self._over.wait(0.05):
            with self._lock:
                if self._process is not None and self._process.poll() is not None:
                    self._collect()
                if self._process is not None or not self._wanted.is_set() or not self.supervised:
                    continue
                due_ms = (self.runs[-1].ended_ms or 0) + STARTED_AGAIN_AFTER_S * 1000
                if _now_ms() >= due_ms:
                    self._spawn()


def write_toml(path: Path, options: Options | Mapping[str, Any]) -> None:
    """Tables one deep; text, numbers, truth values and lists of text."""
    lines = [f"{name} = {json.dumps(value)}" for name, value in options.items() if not isinstance(value, Mapping)]
    for table, values in options.items():
        if isinstance(values, Mapping):
            lines.append(f"[{table}]")
            lines += [f"{json.dumps(name)} = {json.dumps(value)}" for name, value in values.items()]
    path.write_text("\n".join(lines) + "\n", "utf-8")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
