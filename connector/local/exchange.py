"""A fake Binance USDⓈ-M exchange on loopback, and the judge of what it sent.

It pushes the asset index over WebSocket and answers for it over REST, as the real one does, limits
and traps included: data flows on the ``/market`` route alone, and unknown streams are acknowledged.
It shares no code with the connector. Everything it pushed is in ``exchange.truth``, and a test can
order every fault in :class:`~connector.local.fault_orders.FaultOrders`::

    async with FakeExchange(symbols=60, rate_hz=5, seed=1) as exchange:
        ...  # a client of exchange.url, exchange.rest_url
        await exchange.wait_for_subscribers(2)
        exchange.drop(0)
        exchange.bad_element({"i": "NaN"}, symbol="BTCUSD")
        sent = list(exchange.truth.elements())

``with ExchangeThread(…) as exchange`` is the same for code that is no coroutine.
``python -m connector.local.exchange`` runs one until Ctrl-C.

A path may carry a label in front, ``exchange.url + "/~a"``: faults then select by ``"~a"``.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from connector.local.exchange_connection import ConnectionInfo, Selector
from connector.local.exchange_requests import Rules
from connector.local.exchange_server import FakeExchange
from connector.local.exchange_thread import ExchangeThread
from connector.local.truth import FaultySend, SentElement, SentPeriod, Truth

__all__ = [
    "ConnectionInfo",
    "ExchangeThread",
    "FakeExchange",
    "FaultySend",
    "Rules",
    "Selector",
    "SentElement",
    "SentPeriod",
    "Truth",
]


@click.command()
@click.option("--symbols", default=60, show_default=True, help="How many symbols are pushed.")
@click.option("--rate", "rate_hz", default=1.0, show_default=True, help="Periods a second.")
@click.option("--port", default=0, show_default=True, help="Port on loopback; 0 takes a free one.")
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same values.")
@click.option("--periods", default=None, type=int, help="Stop pushing after so many; sockets stay open.")
@click.option("--truth", "truth_path", default=None, type=click.Path(path_type=Path), help="File for what was sent.")
def main(symbols: int, rate_hz: float, port: int, seed: int, periods: int | None, truth_path: Path | None) -> None:
    """Run a fake exchange until Ctrl-C; prints its WebSocket and its REST address first."""

    async def run() -> None:
        exchange = FakeExchange(
            symbols=symbols,
            rate_hz=rate_hz,
            seed=seed,
            port=port,
            periods=periods,
            truth_path=truth_path,
            keep_periods=1000,
        )
        async with exchange:
            click.echo(exchange.url)
            click.echo(exchange.rest_url)
            await asyncio.Event().wait()

    try:
        asyncio.run(run())
    except KeyboardInterrupt:
        click.echo("stopped", err=True)


if __name__ == "__main__":
    main()
