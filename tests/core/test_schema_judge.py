"""Schemas that are the same to a reader, and schemas that are not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from connector.core.check_outcomes import Grade
from connector.core.schema_judge import (
    first_difference,
    first_misreading,
    judge_compatibility,
    judge_pinned,
    judge_registered,
    parsed,
)

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
        (lambda s: s["fields"].pop(), "it lacks origin"),
        (lambda s: s["fields"].append({"name": "more", "type": "string"}), "it also has more"),
    ],
)
def test_first_difference(change: Callable[[dict[str, Any]], object], difference: str) -> None:
    assert first_difference(json.loads(TEXT), json.loads(changed(change))) == difference


@pytest.mark.parametrize(
    ("change", "misreading"),
    [
        (lambda s: s["fields"][2]["type"].update(scale=4), "field index_price: scale is 4, not 8"),
        (lambda s: s["fields"][2]["type"].pop("scale"), "field index_price: scale is 0, not 8"),
        (lambda s: s["fields"][2].update(type=["null", {**s["fields"][2]["type"], "scale": 6}]), "scale is 6, not 8"),
        (lambda s: s["fields"][1]["type"].update(logicalType="timestamp-micros"), "field event_time: logicalType is"),
        (lambda s: s["fields"][2].update(type="bytes"), "field index_price: logicalType is null"),
    ],
)
def test_values_that_would_be_misread(change: Callable[[dict[str, Any]], object], misreading: str) -> None:
    assert misreading in first_misreading(json.loads(TEXT), json.loads(changed(change)))


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s["fields"].pop(),
        lambda s: s["fields"][2].update(type=["null", s["fields"][2]["type"]]),
        lambda s: s["fields"][2]["type"].update(precision=20),
        lambda s: s["fields"].append({"name": "more", "type": "string", "default": ""}),
    ],
)
def test_values_that_are_read_as_they_were_written(change: Callable[[dict[str, Any]], object]) -> None:
    assert first_misreading(json.loads(TEXT), json.loads(changed(change))) == ""


@pytest.mark.parametrize("text", ['"string"', '["null", "string"]', 'syntax = "proto3";'])
def test_another_kind_of_schema(text: str) -> None:
    assert first_misreading(json.loads(TEXT), parsed(text)) == ""
    assert first_difference(json.loads(TEXT), parsed(text)) != ""


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


def test_what_is_otherwise_in_the_registered_one_is_told() -> None:
    found = judge_registered("s", None, 2, can_follow=False, difference="it lacks origin").found
    assert "newest id 2: it lacks origin" in found


def test_compatibility() -> None:
    assert list(judge_compatibility("s", "FULL_TRANSITIVE")) == []
    (outcome,) = judge_compatibility("s", "NONE")
    assert outcome.grade is Grade.WARNING
