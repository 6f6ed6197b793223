"""One server as a child process, with the means to break it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from connector.core.errors import RetryableError

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0
_POLL_S = 0.05
_LOG_LINES_SHOWN = 15
_GUARD = Path(__file__).with_name("guard.py")


class Server:
    """A server process that can be stopped, killed, frozen and started again on the same data and ports.

    It never outlives this process. It is no member of this process's terminal
    group, so a Ctrl-C meant for us does not reach it. Calls are not
    synchronised: one thread at a time.
    """

    def __init__(self, name: str, command: Sequence[str | Path], log_path: Path, is_ready: Callable[[], bool]) -> None:
        self.name = name
        self.log_path = log_path
        """What the server wrote, over all its starts."""
        self._command = [str(part) for part in command]
        self._is_ready = is_ready
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline = -1

    @property
    def running(self) -> bool:
        """Whether the process exists, frozen or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The server's own pid. Raises RuntimeError where it does not run."""
        if self._process is None or not self.running:
            raise RuntimeError(f"{self.name} is not running")
        return self._process.pid

    def start(self) -> None:
        """Start and wait until it answers; nothing where it runs already.

        Raises RetryableError, with the last lines of its log, where it ends
        instead or does not answer within ``READY_TIMEOUT_S``; it is then stopped.
        """
        if self.running:
            return
        self._prepare()
        self._spawn()
        deadline = time.monotonic() + READY_TIMEOUT_S
        try:
            while not self._is_ready():
                if not self.running:
                    raise RetryableError(f"{self.name} ended while starting.\n{self._last_log_lines()}")
                if time.monotonic() > deadline:
                    raise RetryableError(
                        f"{self.name} does not answer within {READY_TIMEOUT_S:g} s.\n{self._last_log_lines()}"
                    )
                time.sleep(_POLL_S)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Ask it to end and wait; killed where it has not ended in ``STOP_TIMEOUT_S``. Works on a frozen one."""
        if self.running:
            os.kill(self.pid, signal.SIGTERM)
            os.kill(self.pid, signal.SIGCONT)
            self._wait(STOP_TIMEOUT_S)
        self.kill()

    def kill(self) -> None:
        """``kill -9`` and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            os.close(self._lifeline)

    def freeze(self) -> None:
        """Stop the process where it stands: its sockets stay open and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen process go on."""
        os.kill(self.pid, signal.SIGCONT)

    def restart(self) -> None:
        """Stop and start, on the same data and ports."""
        self.stop()
        self.start()

    def _prepare(self) -> None:
        """What must be there before the process is started."""

    def _spawn(self) -> None:
        watched, self._lifeline = os.pipe()
        try:
            with self.log_path.open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(_GUARD), str(watched), *self._command],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=[watched],
                    start_new_session=True,
                )
        except OSError:
            os.close(self._lifeline)
            raise
        finally:
            os.close(watched)

    def _wait(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while self.running and time.monotonic() < deadline:
            time.sleep(_POLL_S)

    def _last_log_lines(self) -> str:
        lines = self.log_path.read_text("utf-8", "replace").splitlines()
        return "\n".join([f"The last lines of {self.log_path}:", *lines[-_LOG_LINES_SHOWN:]])
