"""``ddl``: statements that make the topic a table elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from connector.commands.sources import Sources, with_sources

if TYPE_CHECKING:
    from connector.config import Config
    from connector.core.flink import TopicShape
    from connector.core.table import RecordTable

_Command = TypeVar("_Command", bound=Callable[..., Any])


@click.group("ddl")
def command() -> None:
    """SQL that makes the topic a table in Flink or ksqlDB, from the registered schema and the topic as it is."""


def _about(command: _Command) -> _Command:
    """The options that say which topic, and what its fields are."""
    for add in reversed(
        (
            click.option("--topic", help="Any topic with Avro records; else the configured one."),
            click.option("--table", help="Name of the table; else made from the topic's."),
            click.option("--key", "key_field", help="Field that the record's key repeats; else as the schema says."),
            click.option("--time", "time_field", help="Field with the event time; else as the schema says."),
        )
    ):
        command = add(command)
    return command


@command.command()
@with_sources
@click.option(
    "--kind",
    type=click.Choice(["append", "versioned", "latest"]),
    default="append",
    show_default=True,
    help="Every record a row; each key's history, for temporal joins; the newest of each key, for look-ups.",
)
@_about
@click.option("--watermark-delay", type=click.FloatRange(0), default=2.0, show_default=True, help="Seconds.")
@click.option(
    "--idle-timeout",
    type=click.FloatRange(0, min_open=True),
    help="Seconds after which a partition without records holds event time back no longer.  [default: 60 where "
    "records come at a cadence, else 10]",
)
@click.option("--bounded", is_flag=True, help="End at what the topic holds when a query starts.")
@click.option(
    "--inline", is_flag=True, help="Fill in addresses and credentials in place of ${…}, which envsubst fills."
)
def flink(
    sources: Sources,
    kind: str,
    topic: str | None,
    table: str | None,
    key_field: str | None,
    time_field: str | None,
    watermark_delay: float,
    idle_timeout: float | None,
    bounded: bool,
    inline: bool,
) -> None:
    """CREATE TABLE for Flink SQL; exact decimals, committed records only. Run by our tests on Flink 2.3."""
    from connector.core.flink import FlinkKind, FlinkOptions, as_script, flink_statements
    from connector.core.flink_connection import flink_connection

    config = sources.load().config
    subject = _look_up(config, _topic(config, topic, latest=kind == "latest"), key_field, time_field)
    options = FlinkOptions(
        table=table or subject.table_name,
        kind=FlinkKind(kind),
        connection=flink_connection(config.kafka, config.registry, inline=inline),
        watermark_delay_ms=round(watermark_delay * 1000),
        idle_timeout_ms=max(1, round(idle_timeout * 1000)) if idle_timeout is not None else None,
        bounded=bounded,
        made_from=subject.made_from,
    )
    click.echo(as_script(flink_statements(subject.record, subject.shape, options)), nl=False)


@command.command()
@with_sources
@click.option(
    "--kind",
    type=click.Choice(["stream", "table", "latest"]),
    default="stream",
    show_default=True,
    help="Every record an event; the newest of each key; the same of the compacted companion.",
)
@_about
def ksqldb(
    sources: Sources, kind: str, topic: str | None, table: str | None, key_field: str | None, time_field: str | None
) -> None:
    """CREATE STREAM or TABLE for ksqlDB. Checked against its documentation, not run."""
    from connector.core.flink import as_script
    from connector.core.ksql import KsqlKind, ksql_statements

    config = sources.load().config
    subject = _look_up(config, _topic(config, topic, latest=kind == "latest"), key_field, time_field)
    statements = ksql_statements(
        subject.record,
        subject.shape,
        name=table or subject.table_name,
        kind=KsqlKind(kind),
        made_from=subject.made_from,
    )
    click.echo(as_script(statements), nl=False)


@dataclass(frozen=True, slots=True)
class _Subject:
    record: RecordTable
    shape: TopicShape
    made_from: str

    @property
    def table_name(self) -> str:
        """``binance.usdm.asset-index`` makes ``asset_index``, its companion ``asset_index_latest``."""
        name = self.shape.name
        last = name.removesuffix(".latest").rpartition(".")[2].replace("-", "_")
        return f"{last}_latest" if name.endswith(".latest") else last


def _topic(config: Config, given: str | None, *, latest: bool) -> str:
    return given or (f"{config.topic.name}.latest" if latest else config.topic.name)


def _look_up(config: Config, topic: str, key_field: str | None, time_field: str | None) -> _Subject:
    from connector.core.errors import ConfigurationError
    from connector.core.table import read_table
    from connector.edges.registry import Registry, subject_of
    from connector.edges.topic_facts import topic_shape

    subject = subject_of(topic)
    with closing(Registry(config.registry)) as registry:
        versions = registry.versions(subject)
    if not versions:
        raise ConfigurationError(f"subject {subject}: is not registered; for our own, run schema register")
    record = read_table([each.text for each in versions], subject, key_field=key_field, time_field=time_field)
    newest = versions[-1]
    return _Subject(
        record, topic_shape(config.kafka, topic), f"subject {subject} version {newest.version} (id {newest.id})"
    )
