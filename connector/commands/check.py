"""``check``: whether ``run`` would work here. Looks at everything at once and changes nothing."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from connector.commands.sources import Sources, with_sources
from connector.core.check_outcomes import Grade, Outcome, note, problem, will_run
from connector.core.errors import ConfigurationError

if TYPE_CHECKING:
    from connector.config import Config, Loaded
    from connector.core.schema import StreamSchema
    from connector.edges.checks import Questions

EXIT_PROBLEMS = 2
_COLOURS = {Grade.OK: "green", Grade.NOTE: "cyan", Grade.WARNING: "yellow", Grade.PROBLEM: "bold red"}
_CORRECT = "correct it where it is given; every option: docs/options.md, or binance-kafka-source config docs options"


@click.command("check")
@with_sources
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def command(sources: Sources, as_json: bool) -> int:
    """Look at feed, clock, broker, topics, rights, registry, schemas, journal and port, and say all that is wrong.

    Nothing is written and no connector that runs is disturbed: transactions are tried with an id of their own.
    Takes 20 s at most. Exit code 0: `run` would work, perhaps with warnings; 2: it would not.
    """
    try:
        loaded = sources.load()
        outcomes = _look(loaded, sources.file)
    except ConfigurationError as error:
        outcomes = _not_valid(error)
    if as_json:
        click.echo(json.dumps(_document(outcomes), indent=2, ensure_ascii=False))
    elif sys.stdout.isatty():
        _show_table(outcomes)
    else:
        _show_lines(outcomes)
    return 0 if will_run(outcomes) else EXIT_PROBLEMS


def _look(loaded: Loaded, file: Path | None) -> Sequence[Outcome]:
    from connector.commands.check_settings import look_at_settings
    from connector.edges import event_loop
    from connector.edges.checks import look_at_everything
    from connector.edges.log_format import cleaner
    from connector.edges.schema_files import load_schema

    # What librdkafka complains about is among what was found.
    logging.getLogger("librdkafka").setLevel(logging.CRITICAL)
    schema = load_schema(loaded.config.schema.file)
    questions = questions_of(loaded.config, schema)
    outcomes = (*look_at_settings(loaded, file), *event_loop.run(look_at_everything(questions)))
    # What servers and libraries say is repeated here; they may say too much.
    clean = cleaner(loaded.config.secret_values())
    return [
        replace(each, subject=clean(each.subject), found=clean(each.found), remedy=clean(each.remedy))
        for each in outcomes
    ]


def questions_of(config: Config, schema: StreamSchema) -> Questions:
    """What to ask, for these options."""
    from connector.commands.schema import subjects_of
    from connector.edges.checks import Questions
    from connector.edges.checks_broker import BrokerQuestions
    from connector.edges.checks_registry import Pinned, RegistryQuestions
    from connector.edges.registry import subject_of
    from connector.runner import feed_options, topics_of

    pinned = {
        subject_of(topic): Pinned(option, id)
        for topic, option, id in (
            (config.topic.name, "schema.id", config.schema.id),
            (config.latest_topic, "schema.id", config.schema.id),
            (config.events_topic, "schema.events_id", config.schema.events_id),
        )
        if id is not None and topic is not None
    }
    return Questions(
        feed=feed_options(config),
        schema=schema,
        broker=BrokerQuestions(
            config.kafka,
            topics_of(config),
            create=config.topic.create,
            oldest_ms=round(config.journal.max_age * 1000),
            ahead_ms=round(config.feed.event_time_ahead * 1000),
            transactional_id=config.transactional_id if config.delivery == "exactly-once" else None,
        ),
        registry=RegistryQuestions(config.registry, subjects_of(config), pinned),
        journal=Path(config.journal.path),
        journal_max_bytes=config.journal.max_bytes,
        http_host=config.http.host,
        http_port=config.http.port,
    )


def _not_valid(error: ConfigurationError) -> list[Outcome]:
    found = [problem("configuration", "options", each, _CORRECT) for each in error.problems]
    return [*found, note("configuration", "the rest", "not looked at: the options must be valid first")]


def _document(outcomes: Sequence[Outcome]) -> dict[str, object]:
    return {"will_run": will_run(outcomes), "outcomes": [asdict(each) for each in outcomes]}


def _summary(outcomes: Sequence[Outcome]) -> str:
    problems = sum(each.grade is Grade.PROBLEM for each in outcomes)
    warnings = sum(each.grade is Grade.WARNING for each in outcomes)
    verdict = "run would work" if not problems else "run would not work"
    return f"{_many(problems, 'problem')}, {_many(warnings, 'warning')}: {verdict}"


def _many(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _show_lines(outcomes: Sequence[Outcome]) -> None:
    for each in outcomes:
        click.echo(f"{each.grade.value:<8} {each.area}: {each.subject}: {each.found}")
        if each.remedy:
            click.echo(f"         -> {each.remedy}")
    click.echo(_summary(outcomes))


def _show_table(outcomes: Sequence[Outcome]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True)
    table.add_column("area", no_wrap=True)
    table.add_column("of", overflow="fold", ratio=2)
    table.add_column("what was found, and what to do", overflow="fold", ratio=5)
    for each in outcomes:
        found = Text(each.found)
        if each.remedy:
            found.append(f"\n→ {each.remedy}", style="italic")
        table.add_row(Text(each.grade.value, style=_COLOURS[each.grade]), each.area, Text(each.subject), found)
    console = Console()
    console.print(table)
    console.print(Text(_summary(outcomes), style="bold"))
