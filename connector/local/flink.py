"""Flink SQL in a process of its own: real tables and joins, from Python packages and pinned jars.

The child is :mod:`connector.local.flink_server`. It is asked over a pipe, one
JSON line a request, and answers with lines of rows, every value as text.
It ends when its input ends, so it never outlives this process.
"""

from __future__ import annotations

import json
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from connector.core.errors import RetryableError
from connector.local.jars import jars

START_TIMEOUT_S = 60.0
STATEMENT_TIMEOUT_S = 90.0
_FOR_EVER_S = threading.TIMEOUT_MAX
_LOG_LINES_SHOWN = 25


class FlinkError(RetryableError):
    """A statement that Flink refused or a job that failed; the message is Flink's own, its causes included."""


@dataclass(frozen=True, slots=True)
class FlinkRow:
    """One row of a result."""

    kind: str
    """``+I`` insert, ``-U`` and ``+U`` an update's two halves, ``-D`` delete."""
    values: tuple[str | None, ...]
    """Decimals in all their digits, instants as ``2026-01-02T03:04:05.678Z``."""


class Flink:
    """One JVM with any number of sessions, within ``with``.

    Raises RetryableError where the process does not come up or dies. May be
    used from several threads: statements run side by side.
    """

    def __init__(self, *, heap: str = "768m") -> None:
        self._heap = heap
        self._folder = Path()
        self._process: subprocess.Popen[str] | None = None
        self._answers: dict[int, queue.SimpleQueue[dict[str, Any]]] = {}
        self._lock = threading.Lock()
        self._count = 0

    def __enter__(self) -> Self:
        paths = [str(path) for path in jars("flink")]
        self._folder = Path(tempfile.mkdtemp(prefix="binance-kafka-source-flink-"))
        try:
            with (self._folder / "flink.log").open("wb") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "connector.local.flink_server", str(self._folder), self._heap, *paths],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    start_new_session=True,
                )
            threading.Thread(target=self._receive, args=(self._process,), name="flink", daemon=True).start()
            list(self._ask({"do": "hello"}, START_TIMEOUT_S))
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()

    @property
    def pid(self) -> int:
        """Of the child. Raises RuntimeError where it does not run."""
        if self._process is None:
            raise RuntimeError("Flink is used before it was entered")
        return self._process.pid

    def session(self, *, time_zone: str = "UTC", parallelism: int = 1) -> FlinkSession:
        """A catalog of tables of its own, and a time zone."""
        with self._lock:
            self._count += 1
            name = str(self._count)
        list(self._ask({"do": "open", "session": name, "zone": time_zone, "parallelism": parallelism}, 30.0))
        return FlinkSession(self, name)

    def _ask(self, request: dict[str, Any], timeout_s: float) -> Iterator[FlinkRow]:
        process = self._process
        if process is None or process.stdin is None:
            raise RuntimeError("Flink is used before it was entered")
        answers: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        with self._lock:
            self._count += 1
            number = self._count
            self._answers[number] = answers
            try:
                request["id"] = number
                process.stdin.write(json.dumps(request) + "\n")
                process.stdin.flush()
            except OSError as error:
                raise RetryableError(f"Flink is gone. {self._last_log_lines()}") from error
        try:
            while True:
                try:
                    answer = answers.get(timeout=timeout_s)
                except queue.Empty:
                    raise RetryableError(f"Flink says nothing for {timeout_s:g} s. {self._last_log_lines()}") from None
                if "row" in answer:
                    yield FlinkRow(answer["kind"], tuple(answer["row"]))
                elif "failed" in answer:
                    raise FlinkError(answer["failed"])
                elif "gone" in answer:
                    raise RetryableError(f"Flink's process ended. {self._last_log_lines()}")
                else:
                    return
        finally:
            with self._lock:
                del self._answers[number]

    def _receive(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            answer = json.loads(line)
            with self._lock:
                asked = self._answers.get(answer["id"])
            if asked is not None:
                asked.put(answer)
        with self._lock:
            for waiting in self._answers.values():
                waiting.put({"gone": True})

    def _last_log_lines(self) -> str:
        path = self._folder / "flink.log"
        lines = path.read_text("utf-8", "replace").splitlines() if path.is_file() else []
        return "\n".join([f"The last lines of {path}:", *lines[-_LOG_LINES_SHOWN:]])

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
            self._process = None
        shutil.rmtree(self._folder, ignore_errors=True)


class FlinkSession:
    """Tables and queries of one session."""

    def __init__(self, flink: Flink, name: str) -> None:
        self._flink = flink
        self._name = name

    def execute(self, *statements: str) -> None:
        """Run statements whose rows nobody wants. Raises FlinkError."""
        for statement in statements:
            self.query(statement)

    def query(
        self, statement: str, *, rows: int | None = None, timeout_s: float = STATEMENT_TIMEOUT_S
    ) -> list[FlinkRow]:
        """All rows of a statement that ends by itself, or the first *rows* of one that does not.

        Raises FlinkError, and RetryableError where nothing comes for *timeout_s*.
        """
        return list(self.stream(statement, rows=rows, timeout_s=timeout_s))

    def stream(
        self, statement: str, *, rows: int | None = None, timeout_s: float = STATEMENT_TIMEOUT_S
    ) -> Iterator[FlinkRow]:
        """The same, as they come."""
        request = {"do": "execute", "session": self._name, "statement": statement, "rows": rows}
        return self._flink._ask(request, timeout_s)

    def start(self, statement: str) -> RunningQuery:
        """Let a query run until it is stopped."""
        return RunningQuery(self._flink, {"do": "execute", "session": self._name, "statement": statement, "rows": None})


class RunningQuery:
    """A query that does not end by itself; its rows are kept."""

    def __init__(self, flink: Flink, request: dict[str, Any]) -> None:
        self._flink = flink
        self._request = request
        self._rows: list[FlinkRow] = []
        self._failure: RetryableError | None = None
        self._thread = threading.Thread(target=self._run, name="flink-query", daemon=True)
        self._thread.start()

    @property
    def rows(self) -> list[FlinkRow]:
        """Those that have come. Raises FlinkError where the query failed, RetryableError where Flink is gone."""
        if self._failure is not None:
            raise self._failure
        return list(self._rows)

    def wait_for(self, count: int, timeout_s: float) -> list[FlinkRow]:
        """The rows, once there are so many, or after *timeout_s*. Raises as :attr:`rows` does."""
        deadline = time.monotonic() + timeout_s
        while len(self.rows) < count and time.monotonic() < deadline:
            time.sleep(0.05)
        return self.rows

    def stop(self) -> list[FlinkRow]:
        """End it; the rows. Raises as :attr:`rows` does."""
        list(self._flink._ask({"do": "cancel", "of": self._request["id"]}, 30.0))
        self._thread.join(30.0)
        return self.rows

    def _run(self) -> None:
        try:
            for row in self._flink._ask(self._request, _FOR_EVER_S):
                self._rows.append(row)
        except RetryableError as failure:
            self._failure = failure


def inserted(rows: Sequence[FlinkRow]) -> list[tuple[str | None, ...]]:
    """The values of rows that are all inserts. Raises ValueError where one is not."""
    others = {row.kind for row in rows} - {"+I"}
    if others:
        raise ValueError(f"rows of kind {', '.join(sorted(others))} among what should be inserts")
    return [row.values for row in rows]


def final_state(rows: Sequence[FlinkRow]) -> list[tuple[str | None, ...]]:
    """What is left when every change was applied."""
    left: dict[tuple[str | None, ...], int] = {}
    for row in rows:
        left[row.values] = left.get(row.values, 0) + (1 if row.kind in {"+I", "+U"} else -1)
    return [values for values, count in left.items() for _ in range(count)]
