"""A connector that runs on the real stack and the fake exchange, for whatever looks at its pages."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from connector.local.exchange import ExchangeThread
from connector.local.stack import LocalStack
from tests.chaos.replica import Replica
from tests.integration.bench import Bench


@pytest.fixture(scope="session")
def exchange() -> Iterator[ExchangeThread]:
    with ExchangeThread(symbols=60, rate_hz=5) as running:
        yield running


@pytest.fixture(scope="session")
def bench(stack: LocalStack, exchange: ExchangeThread, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    topic = f"binance.usdm.asset-index.{uuid.uuid4().hex[:6]}"
    with Bench(stack, tmp_path_factory.mktemp("running"), topic, exchange, rate_hz=5) as made:
        made.register()
        yield made


@pytest.fixture(scope="session")
def running(bench: Bench) -> Replica:
    """Ready, with ticks in the topic."""
    replica = bench.replica("one", {"kafka": {"client.id": "one", "statistics.interval.ms": 500}})
    replica.wait_until_ready(40)
    return replica
