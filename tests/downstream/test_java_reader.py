"""A reader in Java that is neither ours nor Flink's gets equal values."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from connector.core.partitioner_guess import murmur2_partition
from connector.local.stack import LocalStack
from tests.downstream.conftest import Case
from tests.downstream.topics import ROOT

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]


def test_apicurios_own_deserializer_gets_equal_values(stack: LocalStack, large: Case) -> None:
    registry = stack.registry_url.replace("/apis/ccompat/v7", "/apis/registry/v3")
    done = subprocess.run(
        [sys.executable, "-m", "tests.downstream.java_reader", stack.bootstrap_servers, registry, large.index.name],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(records) == len(large.index.prices)
    expected = {(price.symbol, str(price.event_time_ms)): price.values for price in large.index.prices}
    for record in records:
        value = record["value"]
        sent = expected.pop((record["key"], value["event_time"]))
        assert {name: value[name] for name in sent} == sent
        assert record["timestamp"] == int(value["event_time"])
        assert record["partition"] == murmur2_partition(record["key"].encode(), large.index.partitions)
        assert value["origin"] == "websocket"
    assert not expected
