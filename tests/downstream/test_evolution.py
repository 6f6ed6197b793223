"""Versions of the schema side by side: in the registry, in one topic, and in tables made from either."""

from __future__ import annotations

import json
from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest

from connector.core.errors import ConfigurationError
from connector.core.table import ColumnKind, read_table
from connector.edges.registry import COMPATIBILITY
from connector.local.flink import Flink, inserted
from tests.core.test_published import SCHEMAS, published
from tests.downstream.conftest import Generate
from tests.downstream.topics import Record, Topics, framed

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]

NAMES = sorted({path.name.split(".")[0] for path in (SCHEMAS / "published").glob("*.avsc")})
START_MS = 1_767_614_400_000


def next_version(text: str) -> str:
    """How a version may follow: one field more, with a default."""
    document = json.loads(text)
    document["fields"].append({"name": "added", "type": "string", "default": "none", "doc": "Came later."})
    return json.dumps(document)


def broken_version(text: str) -> str:
    """How none may: a field more, without one."""
    document = json.loads(text)
    document["fields"].append({"name": "added", "type": "string"})
    return json.dumps(document)


@pytest.mark.parametrize("name", NAMES)
def test_every_version_may_follow_every_other(topics: Topics, topic_name: str, name: str) -> None:
    """In both orders, on the registry itself; and a made-up next one, so that there is always a pair."""
    texts = [path.read_text("utf-8") for path in published(name)]
    texts.append(next_version(texts[-1]))
    for number, (first, second) in enumerate(permutations(texts, 2)):
        topic = f"{topic_name}-{number}"
        topics.register(topic, first)
        assert topics.registry.compatibility(f"{topic}-value") == COMPATIBILITY
        topics.register(topic, second)
        assert len(topics.registry.versions(f"{topic}-value")) == 2
    with pytest.raises(ConfigurationError, match="not compatible"):
        topics.register(f"{topic_name}-0", broken_version(texts[0]))


def test_one_topic_with_two_versions_is_read_by_the_tables_of_both(
    flink: Flink, generate: Generate, topics: Topics, topic_name: str
) -> None:
    first = published("asset_index")[-1].read_text("utf-8")
    second = next_version(first)
    topics.create(topic_name, 2, retention_ms="-1")
    first_id = topics.register(topic_name, first)
    table_of_first = generate(topic_name, "--table", "of_first", "--bounded")
    second_id = topics.register(topic_name, second)
    table_of_second = generate(topic_name, "--table", "of_second", "--bounded")

    def record(number: int, schema_id: int, text: str, **more: Any) -> Record:
        prices = {
            column.name: Decimal(f"{number}.{len(column.name):08d}")
            for column in read_table([first], topic_name).columns
            if column.kind is ColumnKind.DECIMAL
        }
        time_ms = START_MS + 1000 * number
        fields = {"symbol": "BTCUSD", "event_time": time_ms, **prices, "received_time": time_ms, "origin": "websocket"}
        return Record(b"BTCUSD", framed(schema_id, text, {**fields, **more}), time_ms, number % 2)

    topics.produce(
        topic_name,
        [
            record(1, first_id, first),
            record(2, second_id, second, added="more"),
            record(3, first_id, first),
            record(4, second_id, second, added="and more"),
        ],
    )
    opened = flink.session()
    opened.execute(*table_of_first, *table_of_second)
    by_first = inserted(opened.query("SELECT event_time, index_price, origin FROM of_first"))
    by_second = inserted(opened.query("SELECT event_time, index_price, origin, added FROM of_second"))
    expected = [(str(START_MS + 1000 * n), f"{n}.{len('index_price'):08d}", "websocket") for n in (1, 2, 3, 4)]
    assert sorted(by_first) == expected
    added = (None, "more", None, "and more")
    assert sorted(by_second) == [(*row, more) for row, more in zip(expected, added, strict=True)]
