"""Columns of any Avro record, and the types that readers get wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from connector.core.errors import ConfigurationError
from connector.core.table import ColumnKind, bad_types, read_table
from connector.edges.schema_files import load_schema

MILLIS = {"type": "long", "logicalType": "timestamp-millis"}


def record(*fields: tuple[str, Any], **attributes: Any) -> str:
    named = [{"name": name, "type": avro_type} for name, avro_type in fields]
    return json.dumps({"type": "record", "name": "R", "fields": named, **attributes})


def decimal(precision: int, scale: int) -> dict[str, Any]:
    return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}


def test_the_asset_index_says_its_key_and_time_itself() -> None:
    table = read_table([load_schema("asset_index").text], "t-value")
    assert table.key.name == "symbol"
    assert table.time is not None
    assert table.time.name == "event_time"
    assert not table.left_out
    prices = [column for column in table.columns if column.kind is ColumnKind.DECIMAL]
    assert [(column.precision, column.scale) for column in prices] == [(18, 8)] * 9
    assert not any(column.nullable for column in table.columns)


def test_the_only_timestamp_of_another_record_is_its_time() -> None:
    table = read_table([record(("k", "string"), ("at", MILLIS))], "t-value", key_field="k")
    assert table.time is not None
    assert table.time.name == "at"


def test_of_two_timestamps_none_is_guessed() -> None:
    text = record(("k", "string"), ("made", MILLIS), ("sent", MILLIS))
    assert read_table([text], "t-value", key_field="k").time is None
    chosen = read_table([text], "t-value", key_field="k", time_field="sent").time
    assert chosen is not None
    assert chosen.name == "sent"


def test_a_field_that_some_version_lacks_is_nullable() -> None:
    first = record(("k", "string"))
    second = record(("k", "string"), ("more", "long"))
    newest = {column.name: column.nullable for column in read_table([first, second], "t", key_field="k").columns}
    assert newest == {"k": False, "more": True}


@pytest.mark.parametrize(
    ("avro_type", "problem"),
    [
        ({"type": "enum", "name": "E", "symbols": ["A"]}, "enum"),
        ({"type": "fixed", "name": "F", "size": 8}, "fixed"),
        ({"type": "fixed", "name": "F", "size": 8, "logicalType": "decimal", "precision": 18, "scale": 8}, "fixed"),
        ({"type": "long", "logicalType": "timestamp-micros"}, "thousand times"),
        ({"type": "long", "logicalType": "local-timestamp-millis"}, "no zone"),
        ({"type": "long", "logicalType": "time-micros"}, "wrong"),
        (["null", "string", "long"], "union"),
        ({"type": "array", "items": "long"}, "made of parts"),
        ({"type": "record", "name": "Inner", "fields": []}, "made of parts"),
        (decimal(40, 8), "40 digits"),
        (["null", {"type": "enum", "name": "E", "symbols": ["A"]}], "enum"),
    ],
)
def test_what_readers_get_wrong_is_no_column(avro_type: Any, problem: str) -> None:
    text = record(("k", "string"), ("field", avro_type))
    (bad,) = bad_types([text], "t-value")
    assert bad.field == "field"
    assert problem in bad.problem
    assert read_table([text], "t-value", key_field="k").left_out == (bad,)


def test_a_scale_that_changed_between_versions() -> None:
    versions = [record(("price", decimal(18, 8))), record(("price", decimal(18, 6)))]
    (bad,) = bad_types(versions, "t-value")
    assert bad.field == "price"
    assert "6 and 8" in bad.problem
    assert not bad_types([versions[0], versions[0]], "t-value")


@pytest.mark.parametrize(
    ("text", "options", "problem"),
    [
        ('"string"', {}, "no Avro record"),
        ("{", {}, "not JSON"),
        (record(("k", "string")), {}, "no field is told to be the key"),
        (record(("k", "string")), {"key_field": "nowhere"}, "no field 'nowhere'"),
        (record(("k", "long")), {"key_field": "k"}, "must be string"),
        (record(("k", "string"), ("t", "long")), {"key_field": "k", "time_field": "t"}, "must be timestamp-millis"),
        (
            record(("k", "string"), ("t", {"type": "long", "logicalType": "timestamp-micros"})),
            {"key_field": "k", "time_field": "t"},
            "thousand times",
        ),
    ],
)
def test_what_no_table_can_be_made_of(text: str, options: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        read_table([text], "t-value", **options)
