"""``tail``: the topic as a live table, or as lines for a pipe."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

from connector.commands.parameters import length_of_time
from connector.commands.sources import Sources, with_sources

if TYPE_CHECKING:
    from connector.edges.topic_reader import Row, TopicReader

DRAWN_EVERY_S = 0.5


@click.command("tail")
@with_sources
@click.option("--topic", help="Another topic than topic.name.")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON a record; decimals as text.")
@click.option(
    "--since",
    "since_s",
    type=float,
    callback=length_of_time,
    default=5.0,
    show_default=True,
    help="Start so many seconds back.",
)
@click.option("--seconds", type=float, callback=length_of_time, help="End after so long; without it: Ctrl-C.")
def command(sources: Sources, topic: str | None, as_json: bool, since_s: float, seconds: float | None) -> None:
    """Show what the topic holds, read back from it as any consumer would read it."""
    config = sources.load().config
    from connector.edges.schema_files import load_schema
    from connector.edges.topic_reader import TopicReader, registry_decoder

    name = topic or config.topic.name
    reader = TopicReader(config.kafka, name, registry_decoder(config.registry, name))
    reader.start(time.time_ns() // 1_000_000 - round(since_s * 1000))
    deadline = time.monotonic() + seconds if seconds is not None else float("inf")
    try:
        if as_json:
            for row in _rows_until(reader, deadline):
                click.echo(json.dumps(_line(row), ensure_ascii=False))
        else:
            _show(reader, load_schema(config.schema.file), name, deadline)
    except KeyboardInterrupt:
        pass
    finally:
        reader.close()


def _rows_until(reader: TopicReader, deadline: float) -> Iterator[Row]:
    while time.monotonic() < deadline:
        yield from reader.rows(0.2)


def _line(row: Row) -> dict[str, Any]:
    value = None if row.value is None else {name: _plain(each) for name, each in row.value.items()}
    return {"partition": row.partition, "offset": row.offset, "key": row.key, "time": row.timestamp_ms, "value": value}


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        return round(value.timestamp() * 1000)
    return value


def _show(reader: TopicReader, schema: Any, topic: str, deadline: float) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from connector.commands.tick_table import TickTable

    table = TickTable(schema)
    console = Console(width=None if sys.stdout.isatty() else 120)
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        while time.monotonic() < deadline:
            was_at_end = reader.at_end
            table.add(reader.rows(DRAWN_EVERY_S), live=was_at_end)
            above = Text(f"{topic} · {reader.partitions} partitions · {table.records:,} records read")
            rows = max(5, console.size.height - 5) if console.is_terminal else 1_000
            live.update(
                table.render(time.time_ns() // 1_000_000, width=console.width, most_rows=rows, above=above),
                refresh=True,
            )
