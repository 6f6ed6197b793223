"""``join-check``: whether a join of the topic with another can work."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from connector.commands.sources import Sources, with_sources

if TYPE_CHECKING:
    from connector.core.joincheck import JoinReport

EXIT_BROKEN = 2


@click.command("join-check")
@with_sources
@click.option("--with", "other", required=True, metavar="TOPIC", help="The other side of the join.")
@click.option("--topic", help="This side; else the configured topic.")
@click.option("--time", "time_field", help="The other side's field with the event time; else as its schema says.")
@click.option(
    "--window",
    type=click.FloatRange(0),
    default=3600.0,
    show_default=True,
    help="Seconds: how far back the join must find its partner.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(0),
    default=2.0,
    show_default=True,
    help="Seconds: how far a record's timestamp may be from its event time.",
)
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def command(
    sources: Sources,
    other: str,
    topic: str | None,
    time_field: str | None,
    window: float,
    tolerance: float,
    as_json: bool,
) -> int:
    """What would make a join with another topic fail, or fail to find partners, and what to do.

    Looks at both topics' configuration, schemas and newest records; writes nothing. Exit code 2 where the join is
    broken; 0 where there is nothing, or warnings alone.
    """
    from connector.core.joincheck import check_join
    from connector.edges.registry import Registry
    from connector.edges.topic_facts import topic_facts

    config = sources.load().config
    with closing(Registry(config.registry)) as registry:
        ours = topic_facts(config.kafka, registry, topic or config.topic.name)
        theirs = topic_facts(config.kafka, registry, other, time_field=time_field)
    report = check_join(ours, theirs, window_ms=round(window * 1000), tolerance_ms=round(tolerance * 1000))
    if as_json:
        click.echo(json.dumps(asdict(report), indent=2, ensure_ascii=False))
    else:
        _show(report, ours.name, theirs.name)
    return EXIT_BROKEN if report.broken else 0


def _show(report: JoinReport, ours: str, other: str) -> None:
    if report.findings:
        _show_findings(report, f"{ours} with {other}")
    else:
        click.echo(f"{ours} with {other}: nothing stands in the way of a join")
    if report.requirements:
        click.echo("Written in transactions. To leave out what was aborted, set in")
        for each in report.requirements:
            click.echo(f"  {each.reader}: {each.setting}")


def _show_findings(report: JoinReport, title: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=box.SIMPLE, show_lines=True)
    for heading in ("", "topic", "found", "what to do"):
        table.add_column(heading, overflow="fold")
    for finding in report.findings:
        label = f"{finding.severity.value}\n{finding.code}"
        # As Text: keys and names are not ours, and may look like rich's markup.
        table.add_row(*map(Text, (label, finding.topic or "both", finding.found, finding.remedy)))
    Console().print(table)
