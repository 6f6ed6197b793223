from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core.exchange_refusal import MAX_STAY_AWAY_S, refusal

NOW_MS = 1_790_000_000_000


def test_retry_after_in_seconds_is_honoured() -> None:
    answer = refusal(429, "20", b"", NOW_MS)
    assert (answer.retry_after_s, answer.concerns_all) == (20.0, True)


def test_of_two_retry_after_headers_the_longer_wait_is_honoured() -> None:
    assert refusal(429, "7, 20", b"", NOW_MS).retry_after_s == 20


@pytest.mark.parametrize("header", ["Wed, 21 Oct 99999999999 07:28:00 GMT", "1 Oct 2020 99999999999:1:1 GMT", "soon"])
def test_a_retry_after_that_is_no_time_is_none(header: str) -> None:
    assert refusal(429, header, b"", NOW_MS) == refusal(429, None, b"", NOW_MS)


def test_retry_after_as_a_date_is_honoured() -> None:
    header = formatdate(NOW_MS / 1000 + 90, usegmt=True)
    assert refusal(418, header, b"", NOW_MS).retry_after_s == pytest.approx(90, abs=1)


def test_a_ban_names_its_end_in_the_message() -> None:
    body = f'{{"code":-1003,"msg":"Way too many requests; IP(1.2.3.4) banned until {NOW_MS + 300_000}."}}'.encode()
    answer = refusal(418, None, body, NOW_MS)
    assert answer.retry_after_s == 300
    assert "banned until" in answer.detail


@pytest.mark.parametrize(("status", "at_least_s"), [(429, 10), (403, 60), (418, 120), (451, 600)])
def test_without_a_word_the_status_says_how_long(status: int, at_least_s: float) -> None:
    assert refusal(status, None, b"", NOW_MS).retry_after_s >= at_least_s


def test_a_geo_block_is_not_hammered_whatever_it_says() -> None:
    answer = refusal(451, "1", b"", NOW_MS)
    assert answer.retry_after_s == 600
    assert "feed.proxy" in answer.detail


@pytest.mark.parametrize("status", [400, 404, 500, 502, 503])
def test_other_refusals_concern_one_connection_and_leave_the_wait_to_the_back_off(status: int) -> None:
    answer = refusal(status, None, b"<html>no</html>", NOW_MS)
    assert (answer.retry_after_s, answer.concerns_all) == (0.0, False)
    assert answer.detail.startswith(f"{status}: ")


@given(st.integers(100, 599), st.none() | st.text(max_size=40), st.binary(max_size=400))
def test_whatever_the_answer_it_is_read_and_bounded(status: int, header: str | None, body: bytes) -> None:
    answer = refusal(status, header, body, NOW_MS)
    assert 0 <= answer.retry_after_s <= MAX_STAY_AWAY_S
    assert "\n" not in answer.detail
    assert len(answer.detail) < 700
