"""Published versions of the schemas, and the bytes that were written under them: both stay as they are."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import pytest

from connector.core.encode import RecordEncoder
from connector.core.ledger_events import EventEncoder, EventKind, FeedEvent
from connector.core.normalize import Normalizer
from connector.core.schema import parse_schema
from connector.core.schema_judge import first_difference
from connector.core.values import Frame, Origin
from connector.edges.schema_files import bundled_names, find_schema_file

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"
GOLDEN = Path(__file__).parent / "golden"

AssetIndexRecord = dict[str, Any]


def published(name: str) -> list[Path]:
    """The versions of one schema, oldest first."""
    found = (SCHEMAS / "published").glob(f"{name}.*.avsc")
    return sorted(found, key=lambda path: int(path.name.split(".")[1]))


def golden(name: str) -> list[dict[str, Any]]:
    """What was sent, its record as JSON, and the bytes of it, in hexadecimal digits."""
    found: list[dict[str, Any]] = json.loads((GOLDEN / f"{name}.json").read_text("utf-8"))
    return found


@pytest.mark.parametrize("name", bundled_names())
def test_todays_schema_is_the_newest_that_was_published(name: str) -> None:
    """To change what a reader sees, publish it: copy it to ``schemas/published/<name>.<next number>.avsc``.

    Documentation and attributes of ours may change: records are the same, and nobody has to register again.
    """
    versions = published(name)
    assert [int(path.name.split(".")[1]) for path in versions] == list(range(1, len(versions) + 1))
    newest, today = versions[-1].read_text("utf-8"), find_schema_file(name).read_text("utf-8")
    assert first_difference(json.loads(today), json.loads(newest)) == ""


@pytest.mark.parametrize("path", published("asset_index"), ids=lambda path: path.stem)
def test_what_was_written_is_still_read_and_written_alike(path: Path) -> None:
    schema = parse_schema(path.read_text("utf-8"), path.name)
    normalizer = Normalizer(schema, ahead_ms=None, behind_ms=None)
    encoder = RecordEncoder(schema, schema_id=7)
    for each in golden(path.stem):
        frame = Frame(each["frame"].encode(), 0, "ws-1", "!assetIndex@arr")
        (tick,) = normalizer.normalize(frame).ticks
        encoded = encoder.encode(tick, each["received_time"], Origin(each["origin"]))
        assert encoded.hex() == each["bytes"]
        assert encoder.content_of(encoded) == tick.content
        assert plain(decoded(encoded, schema.parsed)) == each["record"]


@pytest.mark.parametrize("path", published("asset_index"), ids=lambda path: path.stem)
def test_every_version_is_read_with_every_other_one(path: Path) -> None:
    """By Avro's own resolution: a field that the writer did not have is its default."""
    writer = parse_schema(path.read_text("utf-8"), path.name)
    for other in published("asset_index"):
        reader = parse_schema(other.read_text("utf-8"), other.name)
        for each in golden(path.stem):
            found = plain(decoded(bytes.fromhex(each["bytes"]), writer.parsed, reader.parsed))
            assert all(found[name] == value for name, value in each["record"].items() if name in found)


@pytest.mark.parametrize("path", published("feed_event"), ids=lambda path: path.stem)
def test_an_entry_of_the_ledger(path: Path) -> None:
    text = path.read_text("utf-8")
    encoder = EventEncoder(text, schema_id=7)
    for each in golden(path.stem):
        fields = dict(each["event"])
        event = FeedEvent(**{**fields, "kind": EventKind(fields["kind"])})
        assert encoder.encode(event, each["replica"]).hex() == each["bytes"]
        read = plain(decoded(bytes.fromhex(each["bytes"]), fastavro.parse_schema(json.loads(text))))
        assert read == {**read, **fields, "replica": each["replica"]}


def decoded(framed: bytes, writer: Any, reader: Any = None) -> AssetIndexRecord:
    assert framed[:5] == b"\0\0\0\0\7"
    buffer = BytesIO(framed[5:])
    record = fastavro.schemaless_reader(buffer, writer, reader)
    assert not buffer.read()
    assert isinstance(record, dict)
    return record


def plain(record: AssetIndexRecord) -> dict[str, Any]:
    """As JSON has it: decimals as text in all their digits, times in milliseconds."""
    return {
        name: round(value.timestamp() * 1000)
        if hasattr(value, "timestamp")
        else format(value, "f")
        if hasattr(value, "as_tuple")
        else value
        for name, value in record.items()
    }
