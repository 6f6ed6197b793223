"""The demo as its user starts it: alone, to the end, and leaving nothing behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from connector.local.market import symbol_names
from tests.chaos.replica import ROOT
from tests.integration.bench import PARTITIONS, arguments_of, environment, until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]

ENDS_WITHIN_S = 5.0


class Demo:
    """The command as a process; every process that it starts has its folder in the environment."""

    def __init__(self, folder: Path, *options: str, under: Sequence[str] = ()) -> None:
        self.folder = folder
        self.output = folder / "output.txt"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [*under, *arguments_of(["demo", "--symbols", "12", "--rate", "5", *options])],
                cwd=ROOT,
                env=environment({"TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def text(self) -> str:
        return self.output.read_text("utf-8", "replace")

    def ends(self, timeout_s: float) -> int:
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the demo does not end in {timeout_s:g} s:\n{self.text()}") from None

    def left_behind(self) -> Sequence[str]:
        """Command lines of living processes that it or its children started."""
        mark = f"TMPDIR={self.folder}".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if mark in path.read_bytes().split(b"\0"):
                    found.append((path.parent / "cmdline").read_text().replace("\0", " "))
            except OSError:
                continue  # ended while we looked
        return [command for command in found if command]

    def check_nothing_is_left(self) -> None:
        until(lambda: not self.left_behind(), 5, lambda: f"still there: {self.left_behind()}")
        assert [path.name for path in self.folder.iterdir()] == [self.output.name]


def test_the_demo_shows_the_topic_and_leaves_nothing_behind(tmp_path: Path) -> None:
    demo = Demo(tmp_path, "--seconds", "15")
    until(lambda: len(demo.left_behind()) >= 4, 30, demo.text)  # itself, the connector, broker and registry
    assert demo.ends(60) == 0, demo.text()
    shown = demo.text()
    assert "Traceback" not in shown
    for symbol in symbol_names(12):
        assert symbol in shown
    assert f"{PARTITIONS} partitions · 12 symbols" in shown
    assert "received → visible under read_committed: median" in shown
    assert "12 symbols read back; stopping" in shown
    demo.check_nothing_is_left()


def test_the_demo_ends_by_ctrl_c(tmp_path: Path) -> None:
    demo = Demo(tmp_path)
    until(lambda: "connector, as: binance-kafka-source run" in demo.text(), 60, demo.text)
    asked_s = time.monotonic()
    demo.process.send_signal(signal.SIGINT)
    assert demo.ends(15) == 0, demo.text()
    assert time.monotonic() - asked_s <= ENDS_WITHIN_S, demo.text()
    assert "Traceback" not in demo.text()
    demo.check_nothing_is_left()


def test_nothing_outlives_a_demo_that_is_killed(tmp_path: Path) -> None:
    demo = Demo(tmp_path)
    until(lambda: "connector, as: binance-kafka-source run" in demo.text(), 60, demo.text)
    assert any(" run " in command for command in demo.left_behind())
    demo.process.kill()
    demo.process.wait()
    until(lambda: not demo.left_behind(), 5, lambda: f"still there: {demo.left_behind()}")


def test_the_demo_ends_with_who_started_it(tmp_path: Path) -> None:
    starter = "import subprocess, sys; subprocess.Popen(sys.argv[1:]).wait()"
    demo = Demo(tmp_path, under=(sys.executable, "-c", starter))
    until(lambda: "connector, as: binance-kafka-source run" in demo.text(), 60, demo.text)
    demo.process.kill()
    demo.process.wait()
    until(lambda: not demo.left_behind(), 10, lambda: f"still there: {demo.left_behind()}")
    demo.check_nothing_is_left()
