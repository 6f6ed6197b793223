"""The log's way to standard error: in order, and never waited for."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from connector.edges import log_writer
from connector.edges.log_writer import MOST_WAITING, LineWriter


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for each in ends:
        os.close(each)


def read_lines(descriptor: int, count: int) -> list[str]:
    data = b""
    while data.count(b"\n") < count:
        data += os.read(descriptor, 65_536)
    return data.decode().splitlines()


def test_lines_come_in_order(pipe: tuple[int, int]) -> None:
    lines = LineWriter(pipe[1])
    for number in range(100):
        lines.info(f"line {number}")
    assert lines.flush(5)
    assert read_lines(pipe[0], 100) == [f"line {number}" for number in range(100)]


@pytest.mark.parametrize("blocking", [True, False])
def test_a_pipe_that_nobody_reads_stops_nothing_and_costs_lines(pipe: tuple[int, int], blocking: bool) -> None:
    os.set_blocking(pipe[1], blocking)
    lines = LineWriter(pipe[1])
    text = "x" * 1000
    count = 2 * MOST_WAITING
    started_s = time.monotonic()
    for _ in range(count):
        lines.warning(text)
    assert time.monotonic() - started_s < 2
    assert not lines.flush(0.1)
    assert lines.take_lost() == 0, "nobody would read of it"

    read = bytearray()
    while not lines.flush(0.05):
        read += os.read(pipe[0], 65_536)
    os.set_blocking(pipe[0], False)
    with suppress(BlockingIOError):
        while True:
            read += os.read(pipe[0], 65_536)
    lost = lines.take_lost()
    assert lost > 0
    assert lines.take_lost() == 0
    assert len(read) == (count - lost) * (len(text) + 1)


def test_a_reader_that_is_gone_is_nobody_to_tell() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    lines = LineWriter(writing)
    lines.error("unheard")
    assert lines.flush(5)
    os.close(writing)


def test_what_is_no_unicode_is_escaped(pipe: tuple[int, int]) -> None:
    lines = LineWriter(pipe[1])
    lines.info("half \ud800")
    assert read_lines(pipe[0], 1) == ["half \\ud800"]


def test_no_thread_waits_where_nothing_is_written(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_writer, "_IDLE_S", 0.05)
    lines = LineWriter(pipe[1])
    for number in range(2):
        lines.info(f"line {number}")
        assert lines.flush(5)
        deadline = time.monotonic() + 5
        while lines._thread is not None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert read_lines(pipe[0], 2) == ["line 0", "line 1"]


def test_without_a_standard_error_no_other_file_is_written_to(tmp_path: Path) -> None:
    other = tmp_path / "other"
    program = (
        "import sys\n"
        "from connector.edges.telemetry import Telemetry\n"
        "from connector.core.happenings import SocketOpened\n"
        "telemetry = Telemetry()\n"
        f"other = open({str(other)!r}, 'w')\n"
        "assert other.fileno() == 2\n"
        "telemetry.tell(SocketOpened('ws-1', 'wss://host'))\n"
        "telemetry.flush()\n"
    )
    done = subprocess.run(["sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-c", program], check=False)
    assert done.returncode == 0
    assert other.read_text() == ""
