"""The registry's edge on a real registry."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.schema_registry.error import SchemaRegistryError

from connector.core.errors import ConfigurationError
from connector.edges.registry import COMPATIBILITY, Registry, subject_of
from connector.local.stack import LocalStack

pytestmark = pytest.mark.stack

SCHEMA = (Path(__file__).parents[2] / "schemas" / "asset_index.avsc").read_text(encoding="utf-8")


def changed(**changes: Any) -> str:
    return json.dumps({**json.loads(SCHEMA), **changes})


def fields() -> list[dict[str, Any]]:
    return list(json.loads(SCHEMA)["fields"])


@pytest.fixture
def registry(stack: LocalStack) -> Iterator[Registry]:
    found = Registry({"url": stack.registry_url})
    yield found
    found.close()


@pytest.fixture
def subject(topic_name: str) -> str:
    return subject_of(topic_name)


def test_a_schema_that_is_not_registered(registry: Registry, subject: str) -> None:
    assert registry.latest(subject) is None
    with pytest.raises(ConfigurationError, match="not registered; run: binance-kafka-source schema register"):
        registry.lookup(subject, SCHEMA)


def test_registering_once_and_again(registry: Registry, subject: str) -> None:
    id = registry.register(subject, SCHEMA)
    assert registry.register(subject, SCHEMA) == id
    assert registry.lookup(subject, SCHEMA) == id
    assert registry.compatibility(subject) == COMPATIBILITY
    latest = registry.latest(subject)
    assert latest is not None
    assert (latest.id, latest.version) == (id, 1)
    assert json.loads(latest.text) == json.loads(SCHEMA), "attributes of ours are kept"


def test_documentation_and_attributes_of_ours_may_change(registry: Registry, subject: str) -> None:
    """A registry looks the whole text up, and would have everybody register again for a word in a ``doc``."""
    id = registry.register(subject, SCHEMA)
    other = fields()
    other[2] |= {"wire": "elsewhere", "doc": "said better"}
    text = changed(fields=other, quality={})
    with pytest.raises(SchemaRegistryError):
        registry._client.lookup_schema(subject, registry._avro(text))
    assert registry.find(subject, text) == id
    assert registry.lookup(subject, text) == id


def test_a_schema_that_readers_see_otherwise_is_another_one(registry: Registry, subject: str) -> None:
    registry.register(subject, SCHEMA)
    other = fields()
    other[2]["type"]["scale"] = 6
    with pytest.raises(ConfigurationError, match="not registered"):
        registry.lookup(subject, changed(fields=other))


def test_a_field_without_a_default_is_refused(registry: Registry, subject: str) -> None:
    registry.register(subject, SCHEMA)
    incompatible = changed(fields=[*fields(), {"name": "more", "type": "string"}])
    assert not registry.is_compatible(subject, incompatible)
    with pytest.raises(ConfigurationError, match="not compatible"):
        registry.register(subject, incompatible)


def test_a_decimal_of_another_scale_is_refused(registry: Registry, subject: str) -> None:
    """The registry itself takes it: to it a decimal is bytes, and readers would be off by powers of ten."""
    other = fields()
    other[2]["type"]["scale"] = 4
    registry.register(subject, changed(fields=other))
    assert registry._client.test_compatibility_all_versions(subject, registry._avro(SCHEMA))
    assert not registry.is_compatible(subject, SCHEMA)
    with pytest.raises(ConfigurationError, match="index_price: scale is 4, not 8"):
        registry.register(subject, SCHEMA)


def test_a_field_with_a_default_is_a_new_version(registry: Registry, subject: str) -> None:
    first = registry.register(subject, SCHEMA)
    compatible = changed(fields=[*fields(), {"name": "more", "type": "string", "default": ""}])
    assert registry.is_compatible(subject, compatible)
    assert registry.register(subject, compatible) != first
    assert registry.lookup(subject, SCHEMA) == first, "the schema of older replicas stays"


def test_no_registry_at_the_address(stack: LocalStack, subject: str) -> None:
    without_path = stack.registry_url.partition("/apis")[0]
    registry = Registry({"url": without_path})
    try:
        with pytest.raises(ConfigurationError, match="needs its whole path"):
            registry.lookup(subject, SCHEMA)
    finally:
        registry.close()
