from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core.errors import ConfigurationError
from connector.core.rotation import Rotation, parse_time_of_day

MIDNIGHT_S = 1_790_035_200.0
assert MIDNIGHT_S % 86_400 == 0


def test_by_age_the_first_round_is_spread() -> None:
    rotation = Rotation(after_s=900.0, at_s=None, connections=3)
    assert [rotation.due_in_s(number, first=True, now_epoch_s=0.0) for number in range(3)] == [900, 600, 300]
    assert [rotation.due_in_s(number, first=False, now_epoch_s=0.0) for number in range(3)] == [900] * 3


def test_by_time_of_day() -> None:
    rotation = Rotation(after_s=900.0, at_s=parse_time_of_day("03:30"), connections=2)
    for first in (True, False):
        assert rotation.due_in_s(0, first=first, now_epoch_s=MIDNIGHT_S) == 3.5 * 3600
        assert rotation.due_in_s(1, first=first, now_epoch_s=MIDNIGHT_S) == 3.5 * 3600 + 60


def test_after_the_time_of_day_the_next_is_half_a_day_later() -> None:
    rotation = Rotation(after_s=900.0, at_s=parse_time_of_day("00:00"), connections=1)
    assert rotation.due_in_s(0, first=False, now_epoch_s=MIDNIGHT_S) == 43_200
    assert rotation.due_in_s(0, first=False, now_epoch_s=MIDNIGHT_S + 1) == 43_199


@given(st.integers(0, 86_399), st.floats(0, 4e9), st.integers(0, 3))
def test_no_connection_reaches_the_exchanges_24_hours(at_s: int, now_epoch_s: float, connection: int) -> None:
    rotation = Rotation(after_s=84_600.0, at_s=at_s, connections=4)
    assert 0 < rotation.due_in_s(connection, first=False, now_epoch_s=now_epoch_s) <= 43_200


def test_time_of_day_is_parsed() -> None:
    assert parse_time_of_day("") is None
    assert parse_time_of_day("23:59") == 86_340


@pytest.mark.parametrize("text", ["24:00", "3:30", "03:60", "03:30:00", "noon", "٠٣:٣٠"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="HH:MM"):
        parse_time_of_day(text)
