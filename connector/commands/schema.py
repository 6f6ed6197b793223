"""``schema``: the Avro schemas of the topics, here and in the registry."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

import click

from connector.commands.parameters import length_of_time
from connector.commands.sources import Sources, with_sources

if TYPE_CHECKING:
    from connector.config import Config
    from connector.edges.registry import Registry

_REGISTRY = frozenset({"registry"})
ASKED_AGAIN_AFTER_S = 1.0


@click.group("schema")
def command() -> None:
    """The schemas, here and in the registry."""


@command.command()
@with_sources
def show(sources: Sources) -> None:
    """Print the records' schema as it would be registered."""
    from connector.edges.schema_files import load_schema

    schema = load_schema(sources.load(needs=()).config.schema.file)
    click.echo(json.dumps(json.loads(schema.text), indent=2, ensure_ascii=False))


@command.command()
@with_sources
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def check(sources: Sources, as_json: bool) -> int:
    """Compare the schemas with what the registry has. Exit code 2 where `run` would not do."""
    config = sources.load(needs=_REGISTRY).config
    with _registry(config) as registry:
        found = [_checked(registry, subject, text) for subject, text in subjects_of(config).items()]
    if as_json:
        click.echo(json.dumps([asdict(each) for each in found], indent=2))
    else:
        for each in found:
            click.echo(f"{each.subject}: {each.state}; compatibility {each.compatibility}")
    return 0 if all(each.id is not None for each in found) else 2


@command.command()
@with_sources
@click.option(
    "--wait",
    "wait_s",
    type=float,
    callback=length_of_time,
    default=0.0,
    help="Seconds to wait for a registry that does not answer.",
)
def register(sources: Sources, wait_s: float) -> None:
    """Register the schemas, held to FULL_TRANSITIVE. What is registered already keeps its id."""
    config = sources.load(needs=_REGISTRY).config
    with _registry(config) as registry:
        for subject, text in subjects_of(config).items():
            id = _patiently(partial(registry.register, subject, text), time.monotonic() + wait_s)
            click.echo(f"{subject}: id {id}")


def _patiently(ask: Callable[[], int], deadline: float) -> int:
    """What *ask* returns; again each second while nobody answers, until the deadline (monotonic)."""
    from connector.core.errors import RetryableError

    while True:
        try:
            return ask()
        except RetryableError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(ASKED_AGAIN_AFTER_S)


def subjects_of(config: Config) -> dict[str, str]:
    """The text of the schema that each subject needs."""
    from connector.edges.registry import subject_of
    from connector.edges.schema_files import find_schema_file, load_schema, read_schema_file

    records = load_schema(config.schema.file).text
    events = read_schema_file(find_schema_file("feed_event"))
    found = {subject_of(config.topic.name): records, subject_of(config.events_topic): events}
    if config.latest_topic is not None:
        found[subject_of(config.latest_topic)] = records
    return found


@dataclass(frozen=True, slots=True)
class Checked:
    """What the registry has of one subject."""

    subject: str
    id: int | None
    """Of this very schema; unset where it is not registered."""
    state: str
    compatibility: str


def _checked(registry: Registry, subject: str, text: str) -> Checked:
    compatibility = registry.compatibility(subject)
    id = registry.find(subject, text)
    if id is not None:
        return Checked(subject, id, f"registered, id {id}", compatibility)
    latest = registry.latest(subject)
    if latest is None:
        return Checked(subject, None, "not registered; run schema register", compatibility)
    can_follow = registry.is_compatible(subject, text)
    state = "compatible; run schema register" if can_follow else "NOT compatible: it cannot be registered here"
    return Checked(subject, None, f"differs from version {latest.version}, {state}", compatibility)


@contextmanager
def _registry(config: Config) -> Iterator[Registry]:
    from connector.edges.registry import Registry

    registry = Registry(config.registry)
    try:
        yield registry
    finally:
        registry.close()
