"""Values that are not as good data is: told, in the ledger, and in the topic as they came."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from connector.local.exchange import ExchangeThread
from connector.local.stack import LocalStack
from tests.integration.bench import Bench, until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]

RATE = Decimal("999999.5")


def test_rates_out_of_order(stack: LocalStack, tmp_path: Path, topic_name: str) -> None:
    with (
        ExchangeThread(symbols=5, rate_hz=5) as exchange,
        Bench(stack, tmp_path, topic_name, exchange, rate_hz=5) as bench,
    ):
        bench.register()
        replica = bench.replica("one", {"kafka": {"client.id": "one"}})
        replica.wait_until_ready(40)
        exchange.bad_element({"B": str(RATE)}, symbol="BTCUSD", periods=20)
        counted = 'binance_kafka_source_quality_findings_total{finding="disordered"}'
        until(lambda: replica.metrics().get(counted), 20, replica.log)
        assert replica.stop() == 0

        found = [each for each in bench.events() if each["kind"] == "quality_found"]
        assert [(each["about"], each["reason"], each["replica"]) for each in found] == [("BTCUSD", "disordered", "one")]
        assert "bid_rate 999999.50000000 is greater than auto_exchange_bid_rate" in found[0]["detail"]
        assert "quality_found" in replica.log()
        assert {each.key for each in bench.records() if each.value["bid_rate"] == RATE} == {b"BTCUSD"}
        assert bench.letters() == []
