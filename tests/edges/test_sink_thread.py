"""How a sink's thread begins, goes on, and ends."""

from __future__ import annotations

import threading

from connector.core.errors import ConfigurationError, RetryableError
from connector.core.happenings import Happening, Waiting
from connector.edges.sink_thread import SinkState, SinkThread


class Scripted(SinkThread):
    """Starts after so many failures; each step delivers one of the frames that wait, or raises."""

    def __init__(self, *, failures: int = 0, frames: int = 0, fault: BaseException | None = None) -> None:
        self.told: list[Happening] = []
        super().__init__(self.told.append)
        self.failures = failures
        self.frames = frames
        self.fault = fault
        self.closed = 0
        self.stepped = threading.Event()

    def state(self) -> SinkState:
        return SinkState(self._role, -1, 0, self._waiting_for, problem=self._problem[0])

    def symbols(self) -> dict[str, int]:
        return {}

    def delivered(self) -> bool:
        return not self.frames

    def _start(self) -> None:
        if self.failures:
            self.failures -= 1
            raise RetryableError("nobody answers")

    def _step(self) -> None:
        self.stepped.set()
        if self.fault is not None:
            raise self.fault
        self.frames = max(0, self.frames - 1)

    def _close(self) -> None:
        self.closed += 1


def test_it_starts_when_it_can_and_tells_once_that_it_waits() -> None:
    sink = Scripted(failures=2)
    sink.start()
    assert sink.stepped.wait(5)
    sink.stop()
    assert sink.join(5)
    assert sink.told == [Waiting("start", "nobody answers", 0.2)]
    assert (sink.state().waiting, sink.state().problem) == ("", "nobody answers")
    assert sink.failure is None


def test_it_ends_when_all_is_delivered() -> None:
    sink = Scripted(frames=1000)
    sink.start()
    sink.stop()
    assert sink.join(5)
    assert sink.ended.is_set()
    assert (sink.frames, sink.closed) == (0, 1)


def test_one_that_gives_up_leaves_the_rest() -> None:
    sink = Scripted(frames=10**9)
    sink.start()
    sink.give_up()
    assert sink.join(5)
    assert sink.frames > 0
    assert sink.closed == 1


def test_stopped_before_it_could_start_it_ends() -> None:
    sink = Scripted(failures=10**9)
    sink.start()
    sink.stop()
    assert sink.join(5)
    assert not sink.stepped.is_set()
    assert sink.closed == 1


def test_what_cannot_be_waited_for_ends_it_and_is_kept() -> None:
    fault = ConfigurationError("the topic does not exist")
    sink = Scripted(fault=fault)
    sink.start()
    assert sink.ended.wait(5)
    assert sink.failure is fault
    assert sink.closed == 1
