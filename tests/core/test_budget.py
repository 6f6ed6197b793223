from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from connector.core.budget import WeightBudget

MINUTE_S = 1_790_000_040.0
assert MINUTE_S % 60 == 0


def test_nothing_known_is_nothing_used() -> None:
    assert WeightBudget(1200).pause_s(10, MINUTE_S + 5) == 0


def test_what_is_left_is_spread_over_what_is_left_of_the_minute() -> None:
    budget = WeightBudget(1200)
    budget.told(600, MINUTE_S + 30)
    assert budget.pause_s(10, MINUTE_S + 30) == 0.5
    budget.told(1190, MINUTE_S + 30)
    assert budget.pause_s(10, MINUTE_S + 30) == 30


def test_beyond_the_limit_the_next_minute_is_waited_for() -> None:
    budget = WeightBudget(1200)
    budget.told(1195, MINUTE_S + 20)
    assert budget.pause_s(10, MINUTE_S + 20) == 40
    assert budget.pause_s(10, MINUTE_S + 60) == 0


@given(st.integers(0, 2400), st.floats(0, 59))
def test_the_limit_is_never_passed_by_us(used: int, second: float) -> None:
    budget, now_s = WeightBudget(1200), MINUTE_S + second
    budget.told(used, now_s)
    while True:
        now_s += max(1.0, budget.pause_s(10, now_s))
        if now_s >= MINUTE_S + 60:
            break
        used += 10
        budget.told(used, now_s)
        assert used <= 1200
