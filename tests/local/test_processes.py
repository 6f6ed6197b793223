"""A server process can be broken in every way we need, and never outlives us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from connector.core.errors import RetryableError
from connector.local import processes
from connector.local.processes import Server
from tests.local.sessions import all_gone, members

ANSWERING = "import time; print('ready', flush=True); time.sleep(60)"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + ANSWERING
SILENT = "import time; time.sleep(60)"
FAILING = "import sys; sys.exit('no such thing')"


class Script(Server):
    """A server in one line of Python; answers when it has written a line since its start."""

    def __init__(self, folder: Path, script: str) -> None:
        super().__init__("Script", folder / "script.log")
        self.script = script
        self.starts = 0

    def _command(self) -> list[str]:
        self.starts += 1
        return [sys.executable, "-c", self.script]

    def _answers(self) -> bool:
        return self.log_path.read_text().count("ready") >= self.starts


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Script]:
    server = Script(tmp_path, ANSWERING)
    yield server
    server.kill()


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_starts_and_stops(server: Script) -> None:
    server.start()
    pid = server.pid
    assert os.getsid(pid) == pid, "a Ctrl-C for us must not reach it"
    server.stop()
    assert not server.running
    assert all_gone([pid]), "its watcher stayed"


def test_starting_what_runs_changes_nothing(server: Script) -> None:
    server.start()
    pid = server.pid
    server.start()
    assert server.pid == pid


def test_has_no_pid_when_it_does_not_run(server: Script) -> None:
    with pytest.raises(RuntimeError, match="Script is not running"):
        _ = server.pid


def test_restarts_and_keeps_its_log(server: Script) -> None:
    server.start()
    first = server.pid
    server.restart()
    assert server.pid != first
    assert server.log_path.read_text() == "ready\nready\n"


def test_is_killed_and_started_again(server: Script) -> None:
    server.start()
    server.kill()
    assert not server.running
    server.start()
    assert server.running


def test_notices_that_somebody_else_killed_it(server: Script) -> None:
    server.start()
    os.kill(server.pid, signal.SIGKILL)
    server._process.wait(5)  # type: ignore[union-attr]
    assert not server.running
    server.start()
    assert server.running


def test_freezes_and_thaws(server: Script) -> None:
    server.start()
    server.freeze()
    os.waitid(os.P_PID, server.pid, os.WSTOPPED)
    assert state_of(server.pid) == "T"
    assert server.running
    server.thaw()
    os.waitid(os.P_PID, server.pid, os.WCONTINUED)
    assert state_of(server.pid) != "T"


def test_stops_when_frozen(server: Script) -> None:
    server.start()
    server.freeze()
    server.stop()
    assert not server.running


def test_is_killed_when_it_does_not_stop(tmp_path: Path) -> None:
    server = Script(tmp_path, DEAF)
    server.start()
    pid = server.pid
    server.stop(timeout_s=0.2)
    assert not server.running
    assert all_gone([pid])


def test_a_start_that_fails_tells_what_the_log_says(tmp_path: Path) -> None:
    server = Script(tmp_path, FAILING)
    with pytest.raises(RetryableError, match=r"Script ended while starting.*\n.*no such thing"):
        server.start()
    assert not server.running


def test_a_server_that_does_not_answer_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "READY_TIMEOUT_S", 0.3)
    server = Script(tmp_path, SILENT)
    with pytest.raises(RetryableError, match=r"does not answer within 0\.3 s"):
        server.start()
    assert not server.running


# Starts a server in a thread that ends, prints its pid, then ends as told.
OWNER = """
    import os, signal, sys, threading, time
    from pathlib import Path
    from tests.local.test_processes import ANSWERING, DEAF, Script

    server = Script(Path(sys.argv[1]), {script})
    starter = threading.Thread(target=server.start)
    starter.start()
    starter.join()
    time.sleep(0.2)
    assert server.running, "it ended with the thread that started it"
    {before}
    print(server.pid, flush=True)
    {end}
"""


@pytest.mark.parametrize(
    ("script", "before", "end"),
    [
        pytest.param("ANSWERING", "", "os.kill(os.getpid(), signal.SIGKILL)", id="kill -9"),
        pytest.param("ANSWERING", "", "os.kill(os.getpid(), signal.SIGTERM)", id="SIGTERM"),
        pytest.param("ANSWERING", "", "sys.exit('a bug')", id="returns without stopping it"),
        pytest.param("ANSWERING", "server.freeze()", "os.kill(os.getpid(), signal.SIGKILL)", id="server frozen"),
        pytest.param("DEAF", "", "os.kill(os.getpid(), signal.SIGKILL)", id="server ignores signals"),
    ],
)
def test_ends_with_its_owner(tmp_path: Path, script: str, before: str, end: str) -> None:
    program = textwrap.dedent(OWNER).format(script=script, before=before, end=end)
    owner = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True, timeout=30, check=False
    )
    assert owner.returncode != 0
    assert all_gone([int(owner.stdout)])


def test_one_server_does_not_hold_another_s_lifeline(tmp_path: Path) -> None:
    """Killed and started around each other, each ends alone."""
    first, second = (Script(tmp_path / name, ANSWERING) for name in ("first", "second"))
    for server in (first, second):
        server.log_path.parent.mkdir()
        server.start()
    first_pid, second_pid = first.pid, second.pid
    first.kill()
    assert all_gone([first_pid])
    assert second.running
    assert len(members(second_pid)) == 2  # itself and its watcher
    second.kill()
    assert all_gone([second_pid])
