from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core.backoff import AttemptGate, Backoff


def _backoff(random: float = 0.0, **changes: float) -> Backoff:
    options = {"first_s": 1.0, "cap_s": 8.0, "reset_after_s": 10.0} | changes
    return Backoff(**options, random=lambda: random)


def test_delays_double_up_to_the_cap() -> None:
    backoff = _backoff(random=1.0)
    assert [backoff.failed() for _ in range(6)] == [1, 2, 4, 8, 8, 8]


def test_half_of_a_delay_is_left_to_chance() -> None:
    assert _backoff(random=0.0).failed() == 0.5
    assert _backoff(random=0.5).failed() == 0.75


def test_a_single_sign_of_life_does_not_start_over() -> None:
    backoff = _backoff(random=1.0)
    for now_s in range(5):
        backoff.failed()
        backoff.progress(float(now_s * 100))
    assert backoff.failed() == 8
    assert not backoff.is_fresh


def test_lasting_progress_starts_over() -> None:
    backoff = _backoff(random=1.0)
    for _ in range(4):
        backoff.failed()
    for now_s in range(11):
        assert not backoff.is_fresh
        backoff.progress(100.0 + now_s)
    assert backoff.is_fresh
    assert backoff.failed() == 1


def test_a_failure_interrupts_progress() -> None:
    backoff = _backoff(random=1.0)
    backoff.failed()
    backoff.progress(0.0)
    backoff.progress(9.0)
    backoff.failed()
    backoff.progress(11.0)
    assert backoff.failed() == 4


@given(st.lists(st.floats(0, 0.999), min_size=1, max_size=50))
def test_no_delay_is_longer_than_the_cap_or_shorter_than_half_the_first(chances: list[float]) -> None:
    drawn = iter(chances)
    backoff = Backoff(first_s=0.25, cap_s=20.0, reset_after_s=10.0, random=lambda: next(drawn))
    for _ in chances:
        assert 0.125 <= backoff.failed() <= 20.0


def test_the_gate_lets_through_as_many_as_it_says() -> None:
    gate = AttemptGate(attempts=3, window_s=300.0)
    for now_s in (0.0, 1.0, 2.0):
        assert gate.wait_s(now_s) == 0
        gate.take(now_s)
    assert gate.wait_s(2.0) == 298.0
    assert gate.wait_s(300.0) == 0


def test_the_gate_leaves_some_to_others() -> None:
    gate = AttemptGate(attempts=3, window_s=300.0)
    gate.take(0.0)
    gate.take(10.0)
    assert gate.wait_s(20.0, leave=1) == 280.0
    assert gate.wait_s(20.0) == 0


def test_leaving_more_than_there_is_still_lets_one_through() -> None:
    gate = AttemptGate(attempts=1, window_s=300.0)
    assert gate.wait_s(0.0, leave=5) == 0
    gate.take(0.0)
    assert gate.wait_s(1.0, leave=5) == 299.0


def test_a_closed_gate_stays_closed_until_the_later_end() -> None:
    gate = AttemptGate(attempts=3, window_s=300.0)
    gate.close_until(50.0)
    gate.close_until(20.0)
    assert gate.wait_s(0.0) == 50.0
    assert gate.wait_s(50.0) == 0


@given(st.lists(st.floats(0, 30), max_size=60), st.integers(1, 8))
def test_no_window_ever_has_more_attempts_than_allowed(pauses_s: list[float], attempts: int) -> None:
    gate = AttemptGate(attempts=attempts, window_s=60.0)
    now_s, taken = 0.0, []
    for pause_s in pauses_s:
        now_s += pause_s
        now_s += gate.wait_s(now_s)
        assert gate.wait_s(now_s) == pytest.approx(0, abs=1e-6)
        gate.take(now_s)
        taken.append(now_s)
    for start_s in taken:
        assert sum(start_s <= each < start_s + 60.0 - 1e-6 for each in taken) <= attempts
