"""Schemas that are the same to a reader, and schemas that are not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from connector.core.check_outcomes import Grade
from connector.core.schema_judge import first_difference, judge_compatibility, judge_pinned, judge_registered

TEXT = (Path(__file__).parents[2] / "schemas" / "asset_index.avsc").read_text(encoding="utf-8")


def changed(change: Callable[[dict[str, Any]], object]) -> str:
    schema = json.loads(TEXT)
    change(schema)
    return json.dumps(schema)


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (lambda s: s.update(doc="other", feed={}), ""),
        (lambda s: s["fields"][2].update(doc="other", wire="z"), ""),
        (lambda s: s["fields"][2]["type"].update(scale=4), "field index_price: type: scale is 4, not 8"),
        (lambda s: s["fields"][2].update(name="price"), 'field index_price: name is "price", not "index_price"'),
        (lambda s: s.update(name="Other"), 'name is "Other", not "AssetIndex"'),
        (lambda s: s["fields"].pop(), "fields has 12 parts, not 13"),
    ],
)
def test_first_difference(change: Callable[[dict[str, Any]], object], difference: str) -> None:
    assert first_difference(json.loads(TEXT), json.loads(changed(change))) == difference


def test_pinned() -> None:
    assert judge_pinned("schema.id", 7, "s", TEXT, TEXT).grade is Grade.OK
    unknown = judge_pinned("schema.id", 7, "s", TEXT, None)
    assert "schema.id = 7: the registry has no schema of this id" in unknown.found
    other = judge_pinned("schema.id", 7, "s", TEXT, '"string"')
    assert other.grade is Grade.PROBLEM
    assert "is the id of another schema" in other.found


def test_registered() -> None:
    grades = [
        judge_registered("s", 1, 1, can_follow=False).grade,
        judge_registered("s", 1, 2, can_follow=False).grade,
        judge_registered("s", None, None, can_follow=False).grade,
        judge_registered("s", None, 2, can_follow=True).grade,
        judge_registered("s", None, 2, can_follow=False).grade,
    ]
    assert grades == [Grade.OK, Grade.NOTE, Grade.PROBLEM, Grade.PROBLEM, Grade.PROBLEM]


def test_compatibility() -> None:
    assert list(judge_compatibility("s", "FULL_TRANSITIVE")) == []
    (outcome,) = judge_compatibility("s", "NONE")
    assert outcome.grade is Grade.WARNING
