"""``run``: the connector itself."""

from __future__ import annotations

import click

from connector.commands.sources import Sources, with_sources


@click.command("run")
@with_sources
@click.option("--log-format", type=click.Choice(["text", "json"]), help="Stands for --set log.format=…")
def command(sources: Sources, log_format: str | None) -> int:
    """Receive the stream and write it to the topic, until SIGTERM or Ctrl-C."""
    loaded = sources.load(*([f"log.format={log_format}"] if log_format else []))
    from connector.runner import run

    return run(loaded.config)
