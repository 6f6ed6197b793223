"""One Flink for all of this folder, and the topics that its tests read."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from click.testing import CliRunner

from connector.cli import cli
from connector.local.flink import Flink
from connector.local.stack import LocalStack
from tests.downstream.topics import AssetIndexTopic, BalanceTopic, Topics, every, some_balances

Generate = Callable[..., list[str]]


@pytest.fixture(scope="session")
def flink() -> Iterator[Flink]:
    """One JVM: it takes most of the time that a query here takes."""
    with Flink() as running:
        yield running


@pytest.fixture(scope="session")
def topics(stack: LocalStack) -> Iterator[Topics]:
    made = Topics(stack)
    yield made
    made.registry.close()


@pytest.fixture(scope="session")
def generate(stack: LocalStack) -> Generate:
    """Statements as the command ``ddl flink`` prints them, addresses filled in."""

    def run(topic: str, *arguments: str, **settings: str) -> list[str]:
        given = {
            "kafka.bootstrap.servers": stack.bootstrap_servers,
            "registry.url": stack.registry_url,
            "topic.name": topic,
            **settings,
        }
        options = [part for key, value in given.items() for part in ("--set", f"{key}={value}")]
        result = CliRunner().invoke(cli, ["ddl", "flink", "--inline", *options, *arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return [statement.strip() for statement in result.stdout.split(";\n") if statement.strip()]

    return run


@dataclass(frozen=True, slots=True)
class Case:
    """The asset index, its compacted companion, and balances to value with it."""

    index: AssetIndexTopic
    latest: str
    balances: BalanceTopic
    start_ms: int
    periods: int

    @property
    def end_ms(self) -> int:
        return self.start_ms + self.periods * 1000


def make_case(topics: Topics, *, symbols: int, partitions: int, periods: int) -> Case:
    """Written a minute ago, by their timestamps."""
    start_ms = (int(time.time()) - 90) * 1000
    name = f"join-{uuid.uuid4().hex[:8]}"
    index = AssetIndexTopic(topics, name, partitions=partitions, symbols=symbols, as_the_connector=True)
    topics.register(f"{name}.latest", topics.registry.versions(f"{name}-value")[-1].text)
    balances = BalanceTopic(topics, f"{name}.balances", partitions=partitions)
    case = Case(index, f"{name}.latest", balances, start_ms, periods)
    index.write(every(start_ms, 1000, periods), also=case.latest)
    # From before the first price to the last one: some of them have no price yet.
    balances.write(some_balances(index.symbols, every(start_ms - 900, 71, periods * 14)))
    return case


@pytest.fixture(scope="session")
def large(topics: Topics) -> Case:
    return make_case(topics, symbols=60, partitions=6, periods=20)


@pytest.fixture(scope="session")
def small(topics: Topics) -> Case:
    """A partition without records: it would hold event time back."""
    case = make_case(topics, symbols=5, partitions=4, periods=12)
    filled = {record.partition for record in (case.balances.record(each) for each in case.balances.balances)}
    assert len(filled) == 3, "this case is about an empty partition"
    return case
