"""``config``: the options in force, and their reference page."""

from __future__ import annotations

import json

import click

from connector.commands.sources import Sources, with_sources


@click.group("config")
def command() -> None:
    """The options."""


@command.command()
@with_sources
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def show(sources: Sources, as_json: bool) -> None:
    """What is in force, and where each value came from; secrets are masked."""
    shown = list(sources.load(needs=()).shown())
    if as_json:
        entries = [{"key": each.key, "value": each.value, "source": each.source} for each in shown]
        click.echo(json.dumps(entries, indent=2, ensure_ascii=False))
        return
    lines = [(f"{each.key} = {json.dumps(each.value, ensure_ascii=False)}", each.source) for each in shown]
    width = min(70, max(len(line) for line, _ in lines))
    for line, source in lines:
        click.echo(f"{line.ljust(width)}  # {source}")


@command.command(hidden=True)
@click.argument("page", type=click.Choice(["options", "metrics"]), default="options")
def docs(page: str) -> None:
    """Write a reference page of docs/ to standard output."""
    if page == "options":
        from connector.commands.options_page import options_page

        click.echo(options_page(), nl=False)
    else:
        from connector.commands.metrics_page import metrics_page

        click.echo(metrics_page(), nl=False)
