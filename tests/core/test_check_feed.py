"""The clock and the REST rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from connector.core.check_feed import judge_clock, judge_rest_rows
from connector.core.check_outcomes import Grade
from connector.core.normalize import Normalizer
from connector.core.schema import parse_schema

ROOT = Path(__file__).parents[2]
SCHEMA = parse_schema((ROOT / "schemas" / "asset_index.avsc").read_text(encoding="utf-8"), "asset_index.avsc")
ROWS = (ROOT / "tests" / "samples" / "asset_index.rest.jsonl").read_bytes().splitlines()[0]


@pytest.mark.parametrize(
    ("stream_ms", "rest_ms", "grade", "words"),
    [
        (-80, -500, Grade.OK, "0.1 s behind"),
        (2_500, None, Grade.WARNING, "2.5 s ahead of"),
        (-20_000, None, Grade.WARNING, "20 s behind"),
        (3_600_000, 3_600_000, Grade.PROBLEM, "3600 s ahead of this machine's clock: every tick would be refused"),
        (-3_600_000, None, Grade.PROBLEM, "feed.event_time_behind"),
        (3_600_000, 0, Grade.PROBLEM, "the stream is off"),
        (None, -100, Grade.OK, "behind"),
        (None, None, Grade.NOTE, "no event time came"),
    ],
)
def test_clock(stream_ms: int | None, rest_ms: int | None, grade: Grade, words: str) -> None:
    outcome = judge_clock(stream_ms, rest_ms, ahead_s=30.0, behind_s=600.0)
    assert outcome.grade is grade
    assert words in outcome.found


def test_rest_rows() -> None:
    normalizer = Normalizer(SCHEMA, ahead_ms=None, behind_ms=None)
    outcome, newest_ms = judge_rest_rows("u", ROWS, normalizer)
    assert outcome.grade is Grade.OK
    assert newest_ms is not None
    for body in (b"[]", b"<html>", b'{"code": -1121}', ROWS.replace(b'"index"', b'"idx"')):
        assert judge_rest_rows("u", body, normalizer)[0].grade is Grade.PROBLEM
    one_bad = ROWS.replace(b'"index":"', b'"index":"x', 1)
    assert judge_rest_rows("u", one_bad, normalizer)[0].grade is Grade.WARNING
