"""Records: the bytes that fastavro and Confluent's serializer would write, and the way back to the content."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, topic_subject_name_strategy
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from hypothesis import given
from hypothesis import strategies as st

from connector.core import decimals, encode
from connector.core.encode import RecordEncoder, content_writers
from connector.core.errors import SchemaFileError
from connector.core.schema import Kind, StreamSchema, parse_schema
from connector.core.values import Origin, Tick

ROOT = Path(__file__).parent.parent.parent
OTHERS = ROOT / "tests" / "samples" / "other_streams"


def load(path: Path) -> StreamSchema:
    return parse_schema(path.read_text(encoding="utf-8"), path.name)


SCHEMA = load(ROOT / "schemas" / "asset_index.avsc")
ENCODER = RecordEncoder(SCHEMA, 7)
WITH_OTHER_ID = RecordEncoder(SCHEMA, 0x01020304)
ENCODERS = [ENCODER, *(RecordEncoder(load(path), 7) for path in sorted(OTHERS.glob("*.avsc")))]
WRITERS = content_writers(SCHEMA)
DECIMALS = [spec.name for spec in SCHEMA.fields if spec.kind is Kind.DECIMAL]
UNSCALED = st.integers(-(10**18) + 1, 10**18 - 1) | st.sampled_from(
    [0, 1, -1, 127, 128, -128, -129, 10**18 - 1, -(10**18) + 1]
)
TIMES_MS = st.integers(0, 9_999_999_999_999)


@st.composite
def records(draw: st.DrawFn) -> dict[str, Any]:
    several = draw(st.lists(UNSCALED, min_size=len(DECIMALS), max_size=len(DECIMALS)))
    values: dict[str, Any] = {name: Decimal(f"{value}E-8") for name, value in zip(DECIMALS, several, strict=True)}
    values["symbol"] = draw(st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), min_size=1, max_size=12))
    values["event_time"] = draw(TIMES_MS)
    values["received_time"] = draw(TIMES_MS)
    values["origin"] = draw(st.sampled_from(Origin)).value
    return {spec.name: values[spec.name] for spec in SCHEMA.fields}


def tick_of(record: dict[str, Any]) -> Tick:
    texts = {name: f"{value:f}" if isinstance(value, Decimal) else value for name, value in record.items()}
    pairs = zip(SCHEMA.content_fields, WRITERS, strict=True)
    content = b"".join(write(texts[spec.name]) for spec, write in pairs)
    return Tick(record["symbol"], record["event_time"], content, 0)


@pytest.fixture(scope="module")
def registry() -> SchemaRegistryClient:
    client = SchemaRegistryClient.new_client({"url": "mock://encode"})
    client.register_schema("t-value", Schema(SCHEMA.text, "AVRO"))
    return client


@given(records())
def test_the_bytes_are_those_of_fastavro(record: dict[str, Any]) -> None:
    buffer = BytesIO()
    fastavro.schemaless_writer(buffer, SCHEMA.parsed, record)
    value = ENCODER.encode(tick_of(record), record["received_time"], Origin(record["origin"]))
    assert value == b"\x00\x00\x00\x00\x07" + buffer.getvalue()


@given(record=records())
def test_the_bytes_are_those_of_confluents_serializer(registry: SchemaRegistryClient, record: dict[str, Any]) -> None:
    options = {
        "auto.register.schemas": False,
        "use.latest.version": True,
        "subject.name.strategy": topic_subject_name_strategy,
    }
    context = SerializationContext("t", MessageField.VALUE)
    expected = AvroSerializer(registry, conf=options)(record, context)
    schema_id = registry.get_latest_version("t-value").schema_id
    assert schema_id is not None
    value = ENCODER.encode(tick_of(record), record["received_time"], Origin(record["origin"]))
    assert value[:5] == b"\x00" + (7).to_bytes(4, "big")
    assert expected[:5] == b"\x00" + schema_id.to_bytes(4, "big")
    assert value[5:] == expected[5:]
    read = AvroDeserializer(registry)(expected[:5] + value[5:], context)
    assert {name: read[name] for name in DECIMALS} == {name: record[name] for name in DECIMALS}


@given(st.lists(records(), min_size=1, max_size=2))
def test_the_content_is_found_again(several: list[dict[str, Any]]) -> None:
    for record in several:
        tick = tick_of(record)
        value = ENCODER.encode(tick, record["received_time"], Origin(record["origin"]))
        assert ENCODER.content_of(value) == tick.content
        for other in (value[:-1], value + b"\x00", value[:5], b"", b"\x00", value[1:], b"\x01" + value[1:]):
            assert ENCODER.content_of(other) is None
        assert WITH_OTHER_ID.content_of(value) is None


@given(st.binary(max_size=200))
def test_content_of_any_bytes_is_none_or_a_part_of_them(data: bytes) -> None:
    for encoder in ENCODERS:
        content = encoder.content_of(b"\x00\x00\x00\x00\x07" + data)
        assert content is None or data.startswith(content)


def test_the_schema_id_stands_big_endian_after_the_magic_byte() -> None:
    value = WITH_OTHER_ID.encode(Tick("BTCUSD", 1, b"content", 0), 1, Origin.REST)
    assert value.startswith(b"\x00\x01\x02\x03\x04content")


def test_the_tail_follows_the_frame() -> None:
    encoder = RecordEncoder(SCHEMA, 7)
    tick = Tick("BTCUSD", 1, b"content", 0)
    ends = [
        encoder.encode(tick, received_ms, origin).removeprefix(b"\x00\x00\x00\x00\x07content")
        for received_ms, origin in (
            (1, Origin.WEBSOCKET),
            (2, Origin.WEBSOCKET),
            (2, Origin.REST),
            (1, Origin.WEBSOCKET),
        )
    ]
    assert ends == [b"\x02\x12websocket", b"\x04\x12websocket", b"\x04\x08rest", b"\x02\x12websocket"]


def everything() -> StreamSchema:
    """One field of every kind, nullable and not, and of types for which there is no fast writer."""
    plain: list[Any] = [
        "string", "boolean", "int", "long", "double", "bytes",
        {"type": "long", "logicalType": "timestamp-millis"},
        {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 0},
        {"type": "bytes", "logicalType": "decimal", "precision": 200, "scale": 100},
        {"type": "array", "items": "long"},
    ]  # fmt: skip
    types = plain + [["null", avro_type] for avro_type in plain] + [[avro_type, "null"] for avro_type in plain]
    document = json.loads((OTHERS / "mark_price.avsc").read_text())
    document["fields"][2:-2] = [
        {"name": f"x{number}", "type": avro_type, "wire": f"x{number}"} for number, avro_type in enumerate(types)
    ]
    return parse_schema(json.dumps(document), "everything.avsc")


def test_every_kind_passes_the_comparison_with_fastavro() -> None:
    RecordEncoder(everything(), 1)


def test_types_without_a_fast_writer_are_written_by_fastavro() -> None:
    schema = everything()
    values: dict[str, Any] = {
        "x4": 1.5, "x5": b"\x00\xff", "x9": [1, 2, 3], "x14": None, "x15": b"x", "x19": [], "x24": 2.5, "x25": None,
    }  # fmt: skip
    for spec, write in zip(schema.content_fields, content_writers(schema), strict=True):
        if spec.name in values:
            assert spec.kind is Kind.OTHER
            buffer = BytesIO()
            fastavro.schemaless_writer(buffer, fastavro.parse_schema(spec.avro_type), values[spec.name])
            assert write(values[spec.name]) == buffer.getvalue()


@pytest.mark.parametrize("kind", [Kind.STRING, Kind.LONG, Kind.DECIMAL])
def test_a_writer_that_differs_from_fastavro_is_found_at_start(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    def off_by_one(spec: Any) -> Callable[[Any], bytes]:
        write = right(spec)
        return lambda value: write(value) + b"\x00"

    right = encode._FAST_WRITERS[kind]
    monkeypatch.setitem(encode._FAST_WRITERS, kind, off_by_one)
    with pytest.raises(SchemaFileError, match=r"the fast encoder and fastavro write .* differently") as caught:
        RecordEncoder(SCHEMA, 1)
    assert SCHEMA.field(caught.value.field or "").kind is kind


def test_a_column_that_differs_from_fastavro_is_found_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    read = decimals._read_integers
    monkeypatch.setattr(decimals, "_read_integers", lambda text: [value ^ 1 for value in read(text)])
    with pytest.raises(SchemaFileError, match=r"field 'index_price'"):
        RecordEncoder(SCHEMA, 1)
