"""``join-demo``: the demo, and a real Flink that joins the topic with balances; ``make join``."""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from connector.commands.parameters import length_of_time
from connector.core.errors import ConfigurationError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from connector.config import Config
    from connector.local.flink import FlinkRow, RunningQuery
    from connector.local.stack import LocalStack

TOPIC = "binance.usdm.asset-index"
BALANCES = "example.balances"
ROWS_SHOWN = 15
DRAWN_EVERY_S = 0.5
READY_TIMEOUT_S = 60.0
QUERY = """\
SELECT b.event_time, b.account, b.symbol, b.balance,
       CASE WHEN b.balance < 0 THEN a.ask_rate ELSE a.bid_rate END AS rate,
       CASE WHEN b.balance < 0 THEN b.balance * a.ask_rate ELSE b.balance * a.bid_rate END AS usd
FROM balances AS b
JOIN asset_index FOR SYSTEM_TIME AS OF b.ts AS a ON a.symbol = b.symbol"""


@click.command("join-demo")
@click.option(
    "--seconds", type=float, callback=length_of_time, help="End so long after the first row; without it: Ctrl-C."
)
@click.option("--symbols", type=click.IntRange(min=1), default=10, show_default=True)
def command(seconds: float | None, symbols: int) -> None:
    """Start the demo's parts and a Flink here, join the topic with balances, and show the joined rows as they come."""
    from rich.console import Console

    try:
        import jpype  # noqa: F401

        import connector.local.stack  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"this needs the extras 'local' and 'join' ({error.name} is missing): "
            "pip install 'binance-kafka-source[local,join]'"
        ) from error
    console = Console(width=None if sys.stdout.isatty() else 120)
    with ExitStack() as running:
        query = _start(console, running, symbols)
        _show(console, query, seconds)


def _start(console: Console, running: ExitStack, symbols: int) -> RunningQuery:
    from connector.commands.demo import _connector, _run
    from connector.config import load_config
    from connector.local.balances import ChangingBalances
    from connector.local.exchange_thread import ExchangeThread
    from connector.local.flink import Flink
    from connector.local.market import symbol_names
    from connector.local.stack import LocalStack

    stack = running.enter_context(LocalStack())
    exchange = running.enter_context(ExchangeThread(symbols=symbols, rate_hz=1))
    folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="binance-kafka-source-join-")))
    config_file = folder / "connector.toml"
    config_file.write_text(
        f'[feed]\nurl = "{exchange.url}"\nrest_url = "{exchange.rest_url}"\n'
        f'[topic]\nname = "{TOPIC}"\n'
        f'[kafka]\n"bootstrap.servers" = "{stack.bootstrap_servers}"\n'
        f'[registry]\nurl = "{stack.registry_url}"\n'
        f'[journal]\npath = "{folder / "journal"}"\n'
        "[http]\nport = 0\n"
    )
    config = load_config(config_file).config
    _run(["schema", "register", "--config", str(config_file)])
    running.enter_context(_connector(config_file, folder / "connector.log"))
    console.print(f"[dim]broker, registry, a fake exchange and the connector run; topic {TOPIC}[/dim]")
    schema_id, partitions = _make_balances(stack, config)
    running.enter_context(ChangingBalances(stack.bootstrap_servers, BALANCES, schema_id, symbol_names(symbols)))
    console.print(f"[dim]balances change; topic {BALANCES}, {partitions} partitions[/dim]")
    session = running.enter_context(Flink()).session()
    console.print("[dim]Flink runs; these statements are ours, from ddl flink:[/dim]")
    for statement in _statements(config):
        session.execute(statement)
        console.print(statement.partition(" (\n")[0].splitlines()[-1], style="cyan", markup=False)
    console.print(QUERY, style="cyan", markup=False)
    return session.start(QUERY)


def _make_balances(stack: LocalStack, config: Config) -> tuple[int, int]:
    """The other topic, with as many partitions as ours: the id of its schema, and their number."""
    from connector.edges.registry import Registry, subject_of
    from connector.edges.topics import TopicSpec, ensure_topics
    from connector.local.balances import balance_schema

    partitions = _when_there(config)
    spec = TopicSpec(BALANCES, None, partitions, -1, {"message.timestamp.type": "CreateTime"})
    ensure_topics(config.kafka, (spec,), create=True, tell=lambda _: None)
    with closing(Registry(config.registry)) as registry:
        return registry.register(subject_of(BALANCES), balance_schema()), partitions


def _when_there(config: Config) -> int:
    """Partitions of our topic, once the connector has made it."""
    from connector.edges.topic_facts import topic_shape

    deadline = time.monotonic() + READY_TIMEOUT_S
    while True:
        try:
            return topic_shape(config.kafka, TOPIC).partitions
        except ConfigurationError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)


def _statements(config: Config) -> list[str]:
    from connector.core.flink import FlinkKind, FlinkOptions, flink_statements
    from connector.core.flink_connection import flink_connection
    from connector.core.table import read_table
    from connector.edges.registry import Registry, subject_of
    from connector.edges.topic_facts import topic_shape

    connection = flink_connection(config.kafka, config.registry, inline=True)
    found: list[str] = []
    with closing(Registry(config.registry)) as registry:
        for topic, table, kind in (
            (TOPIC, "asset_index", FlinkKind.VERSIONED),
            (BALANCES, "balances", FlinkKind.APPEND),
        ):
            subject = subject_of(topic)
            texts = [version.text for version in registry.versions(subject)]
            record = read_table(texts, subject, key_field="symbol")
            # Shorter than is good for a real feed, so that rows are seen soon.
            options = FlinkOptions(table, kind, connection, watermark_delay_ms=1_000, idle_timeout_ms=3_000)
            found.append(flink_statements(record, topic_shape(config.kafka, topic), options)[0])
    return found


def _show(console: Console, query: RunningQuery, seconds: float | None) -> None:
    from rich.live import Live

    if not query.wait_for(1, READY_TIMEOUT_S):
        raise ConfigurationError(f"no joined row within {READY_TIMEOUT_S:g} s")
    deadline = time.monotonic() + seconds if seconds is not None else float("inf")
    try:
        with Live(console=console, auto_refresh=False) as live:
            while True:
                last = time.monotonic() + DRAWN_EVERY_S >= deadline
                if console.is_terminal or last:
                    live.update(_table(query.rows), refresh=True)
                if last:
                    return
                time.sleep(DRAWN_EVERY_S)
    except KeyboardInterrupt:
        console.print(f"{len(query.rows):,} joined rows; stopping")


def _table(rows: list[FlinkRow]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=f"{len(rows):,} joined rows, the newest last", title_justify="left", box=box.SIMPLE)
    for heading in ("time", "account", "symbol"):
        table.add_column(heading)
    for heading in ("balance", "rate at that time", "US dollars, exact"):
        table.add_column(heading, justify="right")
    for row in rows[-ROWS_SHOWN:]:
        time_ms, *others = (str(value) for value in row.values)
        at = time.strftime("%H:%M:%S", time.gmtime(int(time_ms) // 1000)) + f".{int(time_ms) % 1000:03d}"
        table.add_row(at, *others)
    return table
