"""Topics on a real broker."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, yet not marked as exported
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from connector.core.errors import ConfigurationError, RetryableError
from connector.core.happenings import Happening
from connector.edges.topics import DEFAULT_PARTITIONS, TopicSpec, ensure_topics, wanted_topics
from connector.local.broker import SASL_PASSWORD, SASL_USER
from connector.local.stack import LocalStack

pytestmark = pytest.mark.stack


def wanted(
    topic: str, *, partitions: int | None = None, latest: bool = False, config: Mapping[str, Any] | None = None
) -> tuple[TopicSpec, ...]:
    return wanted_topics(
        topic,
        events=f"{topic}.events",
        dead_letters=f"{topic}.dlq",
        latest=f"{topic}.latest" if latest else None,
        partitions=partitions,
        replication_factor=-1,
        retention_ms=604_800_000,
        config=config or {},
    )


def silent(_: Happening) -> None:
    """Nobody listens."""


def ensure(
    properties: Mapping[str, Any], specs: tuple[TopicSpec, ...], *, create: bool = True, timeout_s: float = 10.0
) -> dict[str, int]:
    return ensure_topics(properties, specs, create=create, tell=silent, timeout_s=timeout_s)


@pytest.fixture
def properties(stack: LocalStack) -> dict[str, str]:
    return {"bootstrap.servers": stack.bootstrap_servers}


@pytest.fixture
def admin(stack: LocalStack) -> AdminClient:
    return AdminClient({"bootstrap.servers": stack.bootstrap_servers})


def make(admin: AdminClient, topic: str, partitions: int, **config: str) -> None:
    dotted = {name.replace("_", "."): value for name, value in config.items()}
    admin.create_topics([NewTopic(topic, partitions, 1, config=dotted)])[topic].result(10)


def config_of(admin: AdminClient, topic: str) -> dict[str, str]:
    ((_, future),) = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]).items()
    return {name: entry.value for name, entry in future.result(10).items()}


def test_missing_topics_are_made_with_explicit_settings(
    properties: dict[str, str], admin: AdminClient, topic_name: str
) -> None:
    counts = ensure(properties, wanted(topic_name, latest=True, config={"min.insync.replicas": 1}))

    assert counts == {
        topic_name: DEFAULT_PARTITIONS,
        f"{topic_name}.events": 1,
        f"{topic_name}.dlq": 1,
        f"{topic_name}.latest": DEFAULT_PARTITIONS,
    }
    records, ledger = config_of(admin, topic_name), config_of(admin, f"{topic_name}.events")
    assert records["cleanup.policy"] == "delete"
    assert records["retention.ms"] == "604800000"
    assert records["message.timestamp.type"] == "CreateTime"
    assert int(ledger["retention.ms"]) > int(records["retention.ms"])
    latest = config_of(admin, f"{topic_name}.latest")
    assert latest["cleanup.policy"] == "compact"
    assert int(latest["segment.ms"]) <= 3_600_000, "what is not compacted yet must be read by whoever starts"


def test_topics_that_are_there_are_taken_as_they_are(
    properties: dict[str, str], admin: AdminClient, topic_name: str
) -> None:
    make(admin, topic_name, 12)
    counts = ensure(properties, wanted(topic_name, latest=True))
    assert counts[topic_name] == 12
    assert counts[f"{topic_name}.latest"] == 12, "joins of both need the same count"
    assert ensure(properties, wanted(topic_name, partitions=12, latest=True), create=False) == counts


def test_another_partition_count_than_configured(
    properties: dict[str, str], admin: AdminClient, topic_name: str
) -> None:
    make(admin, topic_name, 3)
    with pytest.raises(ConfigurationError, match=r"has 3 partitions, topic\.partitions says 12") as caught:
        ensure(properties, wanted(topic_name, partitions=12))
    assert len(caught.value.problems) == 1


def test_a_topic_that_overwrites_event_time(properties: dict[str, str], admin: AdminClient, topic_name: str) -> None:
    make(admin, topic_name, 6, message_timestamp_type="LogAppendTime")
    with pytest.raises(ConfigurationError, match=r"message\.timestamp\.type is LogAppendTime, it must be CreateTime"):
        ensure(properties, wanted(topic_name))


def test_a_missing_topic_that_is_not_to_be_created(properties: dict[str, str], topic_name: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ensure(properties, wanted(topic_name), create=False)
    assert len(caught.value.problems) == 3, "every missing topic is named at once"
    assert f"--create --topic {topic_name} --partitions 6 " in caught.value.problems[0]
    assert properties["bootstrap.servers"] in caught.value.problems[0]


def test_every_problem_is_reported_at_once(properties: dict[str, str], admin: AdminClient, topic_name: str) -> None:
    make(admin, topic_name, 3, message_timestamp_type="LogAppendTime")
    with pytest.raises(ConfigurationError) as caught:
        ensure(properties, wanted(topic_name, partitions=6), create=False)
    assert len(caught.value.problems) == 4


def test_a_topic_configuration_that_the_broker_does_not_know(properties: dict[str, str], topic_name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"refuses it: Unknown topic config name: retention\.mss"):
        ensure(properties, wanted(topic_name, config={"retention.mss": 1}))


def test_replicas_that_start_together_agree(properties: dict[str, str], topic_name: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        counts = list(pool.map(lambda _: ensure(properties, wanted(topic_name)), range(4)))
    assert counts == [counts[0]] * 4


def test_a_broker_that_is_down_may_come_back() -> None:
    started_s = time.monotonic()
    with pytest.raises(RetryableError, match="Connection refused"):
        ensure({"bootstrap.servers": "127.0.0.1:1"}, wanted("any"), timeout_s=1.0)
    assert time.monotonic() - started_s < 4.0


def test_an_unknown_property() -> None:
    with pytest.raises(ConfigurationError, match=r'No such configuration property: "no\.such"'):
        ensure({"bootstrap.servers": "127.0.0.1:1", "no.such": 5}, wanted("any"))


def sasl(stack: LocalStack, password: str) -> dict[str, str]:
    return {
        "bootstrap.servers": stack.sasl_bootstrap_servers,
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": SASL_USER,
        "sasl.password": password,
    }


def test_a_wrong_password_is_told_from_a_broker_that_is_down(stack: LocalStack, topic_name: str) -> None:
    started_s = time.monotonic()
    with pytest.raises(ConfigurationError, match="Authentication failed") as caught:
        ensure(sasl(stack, "no-such-password"), wanted(topic_name), timeout_s=20.0)
    assert time.monotonic() - started_s < 10.0, "not the whole time limit"
    assert "no-such-password" not in str(caught.value)


def test_a_right_password(stack: LocalStack, topic_name: str) -> None:
    assert ensure(sasl(stack, SASL_PASSWORD), wanted(topic_name))[topic_name] == DEFAULT_PARTITIONS


def test_a_missing_right_is_named(topic_name: str) -> None:
    rules = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }
    with (
        LocalStack(registry=False, sasl=True, properties=rules) as guarded,
        pytest.raises(ConfigurationError, match="the right DESCRIBE on this topic is missing") as caught,
    ):
        ensure(sasl(guarded, SASL_PASSWORD), wanted(topic_name))
    assert len(caught.value.problems) == 3
