"""``python -m tests.ops.screenshot``: the picture of the status page in ``docs``, of a connector that runs."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from connector.local.exchange import ExchangeThread
from connector.local.stack import LocalStack
from tests.chaos.replica import ROOT
from tests.integration.bench import Bench
from tests.ops.browser import browser

PICTURE = ROOT / "docs" / "status-page.png"
TOPIC = "binance.usdm.asset-index"
RUNS_S = 40


def main() -> None:
    """Everything as in the demo, and two small faults, so that there is something to see."""
    with (
        tempfile.TemporaryDirectory(prefix="binance-kafka-source-") as name,
        LocalStack() as stack,
        ExchangeThread(symbols=60, rate_hz=1) as exchange,
        Bench(stack, Path(name), TOPIC, exchange) as bench,
    ):
        bench.register()
        replica = bench.replica("one", {"kafka": {"client.id": "connector-0"}})
        replica.wait_until_ready(60)
        time.sleep(RUNS_S / 2)
        exchange.bad_element({"i": "n/a"})
        exchange.close(code=1001)
        time.sleep(RUNS_S / 2)
        with browser(Path(name)) as tab:
            tab.open(f"http://127.0.0.1:{replica.port}/", height=1000)
            tab.screenshot(PICTURE)
    print(PICTURE)


if __name__ == "__main__":
    main()
