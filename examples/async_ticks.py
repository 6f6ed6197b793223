"""Ticks as an async iterator: neither Kafka nor a journal.

    python examples/async_ticks.py connector.toml 100

values a balance of one unit of each asset at its bid rate, as a multi-assets-mode account is valued, from the first
so many ticks; and says what could not become a tick.
"""

from __future__ import annotations

import asyncio
import sys
from decimal import Decimal
from pathlib import Path

from connector.embedding import TickStream, load_config


async def main(config_file: Path, ticks: int) -> None:
    config = load_config(config_file, needs=()).config
    rates: dict[str, Decimal] = {}
    seen = 0
    async with TickStream(config) as stream:
        # `async for tick in stream` is shorter, where rejects and gaps do not matter.
        async for delivery in stream.deliveries():
            for tick in delivery.ticks:
                rates[tick.symbol] = tick.fields["bid_rate"]  # a Decimal with all its digits
            for reject in delivery.rejects:
                print(f"refused: {reject.symbol} {reject.reason}: {reject.detail}")
            for event in delivery.events:
                print(f"{event.kind}: {event.about} {event.reason}")
            seen += len(delivery.ticks)
            if seen >= ticks:
                break
    print(f"{len(rates)} assets, one of each: {sum(rates.values())} US dollars")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
