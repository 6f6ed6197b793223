"""One server as a child process, with the means to break it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path

from connector.core.errors import RetryableError

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0
_POLL_S = 0.05
_LOG_LINES_SHOWN = 15
_GUARD = Path(__file__).with_name("guard.py")


class Server(ABC):
    """A server process that can be stopped, killed, frozen and started again on the same data and ports.

    It never outlives this process. It is no member of this process's terminal
    group, so a Ctrl-C meant for us does not reach it. Calls are not
    synchronised: one thread at a time.
    """

    def __init__(self, name: str, log_path: Path) -> None:
        self.name = name
        self.log_path = log_path
        """What the server wrote, over all its starts."""
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline = -1

    @abstractmethod
    def _command(self) -> list[str]:
        """Program and arguments; called before each start, and may make what the start needs."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether the running server does its work."""

    @property
    def running(self) -> bool:
        """Whether the process exists, frozen or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The server's own pid. Raises RuntimeError where it does not run."""
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError(f"{self.name} is not running")
        return self._process.pid

    def start(self) -> None:
        """Start and wait until it answers; nothing where it runs already.

        Raises RetryableError, with the last lines of its log, where it ends
        instead or does not answer within ``READY_TIMEOUT_S``; it is then gone.
        """
        if not self.running:
            self.begin()
            self.wait_until_ready()

    def begin(self) -> None:
        """Start without waiting; for starting several at once."""
        self.kill()
        command = self._command()
        watched, self._lifeline = os.pipe()
        try:
            with self.log_path.open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(_GUARD), str(watched), *command],
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

    def wait_until_ready(self) -> None:
        """Wait until it answers. Raises as :meth:`start` does."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not self._answers():
            problem = self._why_not(deadline)
            if problem:
                self.kill()
                raise RetryableError(f"{self.name} {problem}. {self.last_log_lines()}")
            time.sleep(_POLL_S)

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Ask it to end and wait; killed where it has not ended by then. Works on a frozen one."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.send_signal(signal.SIGCONT)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout_s)
        self.kill()

    def kill(self) -> None:
        """``kill -9`` and wait until it is gone; nothing where it does not run."""
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

    def last_log_lines(self) -> str:
        """The end of the log, for a message."""
        lines = self.log_path.read_text("utf-8", "replace").splitlines()
        return "\n".join([f"The last lines of {self.log_path}:", *lines[-_LOG_LINES_SHOWN:]])

    def _why_not(self, deadline: float) -> str:
        if not self.running:
            return "ended while starting"
        return f"does not answer within {READY_TIMEOUT_S:g} s" if time.monotonic() > deadline else ""
