"""What every sink is, wherever it writes: one thread behind the journal, which ends once all that came is delivered."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum

from connector.core.errors import RetryableError
from connector.core.happenings import Tell, Waiting

IDLE_S = 0.05
FRAMES_A_STEP = 512
BYTES_A_STEP = 4 * 1024 * 1024
HISTORY_TRIMMED_EVERY_S = 10.0
WAITING_TOLD_EVERY_S = 30.0
FIRST_RETRY_AFTER_S = 0.2
LONGEST_RETRY_AFTER_S = 10.0


class Role(StrEnum):
    STARTING = "starting"
    FOLLOWER = "follower"
    WRITER = "writer"


@dataclass(frozen=True, slots=True)
class SinkState:
    """Fit to be read from any thread."""

    role: Role
    newest_event_time_ms: int
    """What the topic is known to hold; -1: nothing."""
    written_through: int
    """Journal sequence up to which every frame is in the topic, a duplicate, or refused."""
    waiting: str
    """What is being waited for; empty in normal running."""
    answered_at_ms: int | None = None
    """When a broker last answered; None before the first time, and where there is none."""
    committed_at_ms: int | None = None
    """When the last transaction of this process ended well."""
    problem: str = ""
    """The last error; empty where there was none."""
    problem_at_ms: int | None = None
    held_back: str = ""
    """Why frames wait on purpose; empty where they do not."""


class SinkThread(ABC):
    """Begins, goes on step by step, and ends. The public methods may be called from any thread."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._role = Role.STARTING
        self._stop = threading.Event()
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sink", daemon=True)
        self._waiting_for = ""
        self._waiting_told_at_s = float("-inf")
        self._problem: tuple[str, int | None] = ("", None)
        self.failure: BaseException | None = None
        self.ended = threading.Event()

    def start(self) -> None:
        """To be called before frames are put into the journal."""
        self._thread.start()

    def stop(self) -> None:
        """Go on until everything accepted is delivered, then end; :meth:`join` bounds it."""
        self._stop.set()

    def give_up(self) -> None:
        """End with what is under way; the rest waits in the journal."""
        self._stop.set()
        self._given_up.set()

    def join(self, timeout_s: float) -> bool:
        """Whether the thread ended in time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @abstractmethod
    def state(self) -> SinkState:
        """How it is doing now."""

    @abstractmethod
    def symbols(self) -> dict[str, int]:
        """Newest event time by symbol, as it was seen to be written."""

    @abstractmethod
    def delivered(self) -> bool:
        """Whether all that was accepted was seen to be written."""

    # For the thread

    @abstractmethod
    def _start(self) -> None:
        """Take up what is written already. Called anew after each :class:`RetryableError`."""

    @abstractmethod
    def _step(self) -> None:
        """Go on a little; wait for :data:`IDLE_S` or so where there is nothing to do."""

    @abstractmethod
    def _close(self) -> None:
        """In any case, at the end."""

    def _run(self) -> None:
        try:
            try:
                if self._started():
                    while not self._finished():
                        self._step()
            finally:
                self._close()
        except BaseException as error:  # the runner ends the process with it
            self.failure = error
        finally:
            self.ended.set()

    def _started(self) -> bool:
        """False where it was stopped before it could."""
        pause_s = FIRST_RETRY_AFTER_S
        while not self._stop.is_set():
            try:
                self._start()
            except RetryableError as error:
                pause_s = self._pause("start", error, pause_s, until=self._stop)
            else:
                self._waiting_for = ""
                return True
        return False

    def _finished(self) -> bool:
        return self._given_up.is_set() or (self._stop.is_set() and self.delivered())

    def _pause(self, what: str, error: RetryableError, pause_s: float, *, until: threading.Event) -> float:
        """Wait; how long to wait the next time."""
        self._tell_waiting(what, error, pause_s)
        until.wait(pause_s)
        return min(2 * pause_s, LONGEST_RETRY_AFTER_S)

    def _tell_waiting(self, what: str, error: RetryableError, next_attempt_s: float) -> None:
        """Told when it begins and every half minute."""
        now = time.monotonic()
        if not self._waiting_for or now - self._waiting_told_at_s > WAITING_TOLD_EVERY_S:
            self._waiting_told_at_s = now
            self._tell(Waiting(what, str(error), next_attempt_s))
        self._waiting_for = str(error)
        self._problem = (str(error), time.time_ns() // 1_000_000)
