"""What a schema file declares, and how its mistakes are told: with file and field."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from connector.core.errors import ConfigurationError, SchemaFileError
from connector.core.schema import Kind, RestSpec, parse_schema

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "schemas" / "asset_index.avsc").read_text(encoding="utf-8")
OTHERS = sorted((ROOT / "tests" / "samples" / "other_streams").glob("*.avsc"))


def changed(change: Callable[[dict[str, Any]], object]) -> str:
    document = json.loads(TEXT)
    change(document)
    return json.dumps(document)


def field_of(document: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(field for field in document["fields"] if field["name"] == name)
    return found


def in_field(field: str, /, **attributes: Any) -> Callable[[dict[str, Any]], object]:
    return lambda document: field_of(document, field).update(attributes)


def without(name: str, attribute: str) -> Callable[[dict[str, Any]], object]:
    return lambda document: field_of(document, name).pop(attribute)


def in_feed(**attributes: Any) -> Callable[[dict[str, Any]], object]:
    return lambda document: document["feed"].update(attributes)


def in_quality(**attributes: Any) -> Callable[[dict[str, Any]], object]:
    return lambda document: document["quality"].update(attributes)


def decimal(precision: Any, scale: Any) -> dict[str, Any]:
    return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}


def test_the_asset_index() -> None:
    schema = parse_schema(TEXT, "asset_index.avsc")
    assert (schema.file, schema.name, schema.fullname) == (
        "asset_index.avsc",
        "AssetIndex",
        "binance.usdm.AssetIndex",
    )
    assert [spec.name for spec in schema.content_fields] == [
        "symbol", "event_time", "index_price", "bid_buffer", "ask_buffer", "bid_rate", "ask_rate",
        "auto_exchange_bid_buffer", "auto_exchange_ask_buffer", "auto_exchange_bid_rate", "auto_exchange_ask_rate",
    ]  # fmt: skip
    assert [spec.filled_by for spec in schema.filled_fields] == ["received_time", "origin"]
    price = schema.field("index_price")
    assert (price.wire, price.rest, price.kind, price.precision, price.scale) == ("i", "index", Kind.DECIMAL, 18, 8)
    assert not price.nullable
    assert price.doc.startswith("Index price")
    assert schema.feed.cadence_ms == 1000
    assert schema.feed.rest == RestSpec("/fapi/v1/assetIndex", 10)


def test_stream_names() -> None:
    feed = parse_schema(TEXT, "f").feed
    assert feed.stream_names([]) == ("!assetIndex@arr",)
    assert feed.stream_names(["BTCUSD", "UUSD"]) == ("btcusd@assetIndex", "uusd@assetIndex")


def test_a_stream_that_the_exchange_does_not_have() -> None:
    def no_stream_of_all(document: dict[str, Any]) -> None:
        del document["feed"]["all_stream"]

    with pytest.raises(ConfigurationError, match=r"name the symbols"):
        parse_schema(changed(no_stream_of_all), "f").feed.stream_names([])
    with pytest.raises(ConfigurationError, match=r"leave feed.symbols empty"):
        parse_schema(changed(in_feed(symbol_stream="")), "f").feed.stream_names(["BTCUSD"])


def test_the_text_to_register_keeps_everything_and_no_space() -> None:
    text = parse_schema(TEXT, "f").text
    assert json.loads(text) == json.loads(TEXT)
    assert len(text) < len(TEXT)
    assert "USDⓈ-M" in text


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: path.stem)
def test_other_streams(path: Path) -> None:
    schema = parse_schema(path.read_text(encoding="utf-8"), path.name)
    assert schema.field("symbol").kind is Kind.STRING


def test_kinds() -> None:
    document = copy.deepcopy(json.loads(TEXT))
    types: dict[str, Any] = {
        "boolean": Kind.BOOLEAN, "int": Kind.INT, "long": Kind.LONG, "double": Kind.OTHER, "bytes": Kind.OTHER,
    }  # fmt: skip
    odd = [
        ({"type": "string", "avro.java.string": "String"}, Kind.STRING, None),
        ({"type": "long", "logicalType": "timestamp-micros"}, Kind.OTHER, None),
        (decimal(18, 8) | {"type": "fixed", "name": "F", "size": 8}, Kind.OTHER, None),
        ({"type": "array", "items": "long"}, Kind.OTHER, None),
        (["null", "long"], Kind.LONG, 0),
        (["string", "null"], Kind.STRING, 1),
        (["null", "double"], Kind.OTHER, 0),
        (["null", "long", "string"], Kind.OTHER, 0),
        (["long", "string"], Kind.OTHER, None),
    ]  # fmt: skip
    every = [(name, kind, None) for name, kind in types.items()] + odd
    for number, (avro_type, _, _) in enumerate(every):
        extra = {"name": f"x{number}", "type": avro_type, "wire": f"w{number}", "rest": f"w{number}"}
        document["fields"].insert(2 + number, extra)
    schema = parse_schema(json.dumps(document), "f")
    for number, (_, kind, null_branch) in enumerate(every):
        spec = schema.field(f"x{number}")
        assert (spec.kind, spec.null_branch) == (kind, null_branch), spec


MISTAKES: list[tuple[Callable[[dict[str, Any]], object], str | None, str]] = [
    (lambda d: d.update(type="enum"), None, "is not an Avro record"),
    (lambda d: d.pop("name"), None, 'has no "name"'),
    (lambda d: d.update(fields=[]), None, 'has no "fields"'),
    (lambda d: d["fields"].insert(1, "symbol"), None, "number 2 is not an object"),
    (lambda d: d["fields"].insert(1, {"type": "long"}), None, 'number 2 is not an object with a "name"'),
    (lambda d: d.update(name="not a name"), None, "'not a name' is not a name in Avro"),
    (in_field("bid_rate", name="bid-rate"), "bid-rate", "is not a name in Avro"),
    (lambda d: d.update(namespace=7), None, "7 is not a name in Avro"),
    (without("bid_rate", "type"), "bid_rate", 'has no "type"'),
    (in_field("bid_rate", type="decimal"), "bid_rate", "unknown type 'decimal'"),
    (in_field("bid_rate", type={"type": "array"}), "bid_rate", "is not valid Avro"),
    (in_field("bid_rate", type={"logicalType": "decimal", "precision": 3}), "bid_rate", "is not valid Avro"),
    (in_field("bid_rate", type=5), "bid_rate", "is not valid Avro"),
    (in_field("bid_rate", type=decimal(18, 19)), "bid_rate", "the scale 19 is greater than the precision 18"),
    (in_field("bid_rate", type=["null", decimal(18, 19)]), "bid_rate", "the scale 19 is greater"),
    (in_field("bid_rate", type=decimal(0, 0)), "bid_rate", "precision of at least 1"),
    (in_field("bid_rate", type=decimal(None, 0)), "bid_rate", "precision of at least 1"),
    (in_field("bid_rate", type=decimal(18, -1)), "bid_rate", "scale of a decimal must be 0 or more"),
    (lambda d: d["fields"].insert(2, dict(d["fields"][2])), "index_price", "is there twice"),
    (without("bid_rate", "wire"), "bid_rate", 'says neither "wire"'),
    (in_field("bid_rate", wire="o..p"), "bid_rate", "names with dots between"),
    (in_field("bid_rate", wire=7), "bid_rate", "names with dots between"),
    (in_field("bid_rate", wire="i"), "bid_rate", "'i' is already taken by field 'index_price'"),
    (in_field("bid_rate", wire="i.x"), "bid_rate", "'i.x' is already taken by field 'index_price'"),
    (in_field("bid_rate", wire="e"), "bid_rate", "'e' is already taken by the event type"),
    (in_field("bid_rate", rest="index"), "bid_rate", "'index' is already taken by field 'index_price'"),
    (without("bid_rate", "rest"), "bid_rate", 'has no "rest" name'),
    (in_field("bid_rate", wires="B"), "bid_rate", "unknown attribute 'wires': is 'wire' meant?"),
    (in_field("origin", wire="z"), "origin", 'says both "wire" and "filled_by"'),
    (in_field("origin", filled_by="orign"), "origin", "'orign': is 'origin' meant?"),
    (in_field("origin", type="long"), "origin", 'needs the type "string"'),
    (in_field("received_time", type="long"), "received_time", "timestamp-millis"),
    (lambda d: d["fields"].append(field_of(d, "origin") | {"name": "x"}), "x", "fills 'origin' already"),
    (lambda d: d["fields"].insert(0, d["fields"].pop()), "symbol", "those must come last"),
    (lambda d: d.pop("feed"), None, 'has no "feed" object'),
    (in_feed(rout="market"), None, "unknown key 'rout': is 'route' meant?"),
    (lambda d: d["feed"].pop("event_type"), None, "'event_type' is missing"),
    (in_feed(event_type=""), None, "'event_type' is empty"),
    (in_feed(cadence_ms=0), None, "must be positive, not 0"),
    (in_feed(cadence_ms=1.5), None, "'cadence_ms' must be an integer, not 1.5"),
    (in_feed(cadence_ms=True), None, "'cadence_ms' must be an integer, not True"),
    (in_feed(all_stream="", symbol_stream=""), None, 'one of "all_stream" and "symbol_stream"'),
    (in_feed(symbol_stream="btcusd@assetIndex"), None, "must have {symbol}"),
    (in_feed(rest={"path": "/x"}), None, "'weight' is missing"),
    (in_feed(rest={"path": "x", "weight": 1}), None, "must begin with a slash"),
    (in_feed(rest={"path": "/x", "weight": 1, "wait": 1}), None, "unknown key 'wait': is 'weight' meant?"),
    (in_feed(key_field="symbols"), None, "'key_field' is 'symbols': is 'symbol' meant?"),
    (in_feed(key_field="origin"), None, "'key_field' is 'origin'"),
    (in_feed(key_field="index_price"), "index_price", "is the 'key_field' and needs the type \"string\""),
    (in_feed(time_field="symbol"), "symbol", "is the 'time_field' and needs the type"),
    (lambda d: d.update(quality=7), None, '"quality" must be an object'),
    (lambda d: d["quality"].pop("tolerance"), None, "'tolerance' is missing"),
    (in_quality(frozen_ms=1), None, "unknown key 'frozen_ms'"),
    (in_quality(stream_frozen_ms=0), None, "'stream_frozen_ms' must be positive, not 0"),
    (in_quality(ascending=["bid_rat"]), None, "\"ascending\" names 'bid_rat': is 'bid_rate' meant?"),
    (in_quality(ascending=["symbol"]), None, "\"ascending\" names 'symbol'"),
    (in_field("bid_rate", type=decimal(18, 6)), None, "names fields of different scales"),
    (in_quality(tolerance="0.000000001"), None, '"tolerance" must be a decimal of at most 8 decimals'),
    (in_quality(tolerance="-0.00000001"), None, '"tolerance" must be a decimal'),
    (in_quality(tolerance="NaN"), None, '"tolerance" must be a decimal'),
    (in_quality(tolerance="much"), None, '"tolerance" must be a decimal'),
]  # fmt: skip


@pytest.mark.parametrize(("change", "field", "problem"), MISTAKES, ids=[problem for _, _, problem in MISTAKES])
def test_a_mistake_is_told_with_file_and_field(
    change: Callable[[dict[str, Any]], object], field: str | None, problem: str
) -> None:
    with pytest.raises(SchemaFileError) as caught:
        parse_schema(changed(change), "asset_index.avsc")
    assert (caught.value.file, caught.value.field) == ("asset_index.avsc", field)
    assert problem in str(caught.value)
    assert str(caught.value).startswith(f"asset_index.avsc: field {field!r}: " if field else "asset_index.avsc: ")


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '"x"', "[" * 100_000])
def test_what_is_no_schema_at_all(text: str) -> None:
    with pytest.raises(SchemaFileError):
        parse_schema(text, "f.avsc")


def test_what_is_true_of_good_data() -> None:
    quality = parse_schema(TEXT, "f").quality
    assert quality is not None
    assert quality.ascending == (
        "bid_rate", "auto_exchange_bid_rate", "index_price", "auto_exchange_ask_rate", "ask_rate"
    )  # fmt: skip
    assert (quality.tolerance, quality.symbol_frozen_ms, quality.stream_frozen_ms) == (2, 300_000, 15_000)
    assert parse_schema(changed(lambda document: document.pop("quality")), "f").quality is None


def test_the_authors_own_attributes_are_let_be() -> None:
    schema = parse_schema(changed(in_field("bid_rate", unit="USD")), "f")
    assert '"unit":"USD"' in schema.text
