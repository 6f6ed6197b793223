"""SQL that makes a topic a table: Flink's statements, run by tests on the real thing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from connector.core.errors import ConfigurationError
from connector.core.sql_quoting import quoted_name, quoted_text
from connector.core.table import Column, ColumnKind, RecordTable


class FlinkKind(StrEnum):
    """What the table is for."""

    APPEND = "append"
    """Every record a row: interval joins, windows; and a view with the versions of each key."""
    VERSIONED = "versioned"
    """Each key's history: the right side of a temporal join."""
    LATEST = "latest"
    """The newest record of each key, of a compacted topic: look-ups. Its history is gone."""


IDLE_TIMEOUT_MS = 10_000
STEADY_IDLE_TIMEOUT_MS = 60_000
"""Event time waits so long for a topic whose records come at a cadence: its silence is an outage, and what comes after
it would be late for whoever did not wait."""


@dataclass(frozen=True, slots=True)
class TopicShape:
    """The topic as it is."""

    name: str
    partitions: int
    compacted: bool
    keeps_event_time: bool
    """Record timestamps are those that producers gave (``CreateTime``)."""


@dataclass(frozen=True, slots=True)
class FlinkOptions:
    """What is chosen for a table."""

    table: str
    kind: FlinkKind
    connection: Mapping[str, str] = field(default_factory=dict)
    """Connector options: addresses and credentials, or what stands for them."""
    watermark_delay_ms: int = 2_000
    idle_timeout_ms: int | None = None
    """Unset: what suits the topic."""
    bounded: bool = False
    """End at what the topic holds when the query starts, in place of waiting for more."""
    made_from: str = ""
    """Said in the first line: subject, version."""


def flink_statements(record: RecordTable, topic: TopicShape, options: FlinkOptions) -> tuple[str, ...]:
    """Runnable statements, without the semicolons.

    Raises ConfigurationError where the topic cannot be such a table.
    """
    _check(record, topic, options.kind)
    create = _create_table(record, topic, options)
    if options.kind is FlinkKind.APPEND and record.time is not None:
        return create, _versions_view(record, options)
    return (create,)


def as_script(statements: tuple[str, ...]) -> str:
    """As a file of SQL."""
    return "".join(f"{statement};\n\n" for statement in statements).removesuffix("\n")


def _check(record: RecordTable, topic: TopicShape, kind: FlinkKind) -> None:
    if kind is FlinkKind.LATEST and not topic.compacted:
        raise ConfigurationError(
            f"topic {topic.name}: is not compacted, so it is no table of the newest; use --kind versioned"
        )
    if kind is not FlinkKind.LATEST and topic.compacted:
        raise ConfigurationError(
            f"topic {topic.name}: is compacted, so the history that {kind.value} needs is gone; use --kind latest"
        )
    if kind is FlinkKind.VERSIONED and record.time is None:
        raise ConfigurationError(f"topic {topic.name}: no field is known to be the event time; name it with --time")


_TYPES = {
    ColumnKind.STRING: "STRING",
    ColumnKind.BOOLEAN: "BOOLEAN",
    ColumnKind.INT: "INT",
    ColumnKind.LONG: "BIGINT",
    ColumnKind.FLOAT: "FLOAT",
    ColumnKind.DOUBLE: "DOUBLE",
    ColumnKind.BYTES: "BYTES",
    # Flink's avro-confluent has no TIMESTAMP_LTZ, and TIMESTAMP is shifted by the session's zone when it is cast.
    ColumnKind.TIMESTAMP_MILLIS: "BIGINT",
    ColumnKind.DATE: "DATE",
}


def _create_table(record: RecordTable, topic: TopicShape, options: FlinkOptions) -> str:
    keyed = options.kind is not FlinkKind.APPEND
    lines = [_column_line(record.key, not_null=True)]
    lines += [_column_line(column, not_null=not column.nullable) for column in record.value_columns]
    if record.time is not None:
        ts = quoted_name(time_column(record))
        lines.append(
            f"{ts} AS TO_TIMESTAMP_LTZ({quoted_name(record.time.name)}, 3)"
            f" COMMENT '{record.time.name} as an instant, the same in every session time zone'"
        )
        if options.kind is not FlinkKind.LATEST:
            lines.append(f"WATERMARK FOR {ts} AS {ts} - {interval(options.watermark_delay_ms)}")
    if keyed:
        lines.append(f"PRIMARY KEY ({quoted_name(record.key.name)}) NOT ENFORCED")
    with_lines = [f"{quoted_text(key)} = {quoted_text(value)}" for key, value in _with(record, topic, options).items()]
    parts = [
        *_remarks(record, topic, options),
        f"CREATE TABLE {quoted_name(options.table)} (",
        ",\n".join(f"  {line}" for line in lines),
        f") COMMENT {quoted_text(record.doc)} WITH (",
        ",\n".join(f"  {line}" for line in with_lines),
        ")",
    ]
    return "\n".join(parts)


def _remarks(record: RecordTable, topic: TopicShape, options: FlinkOptions) -> list[str]:
    made_from = f"{options.made_from}, " if options.made_from else ""
    remarks = [f"-- Made from {made_from}topic {topic.name} with {topic.partitions} partitions."]
    remarks += [f"-- Field {bad.field} is no column here: {bad.problem}; {bad.remedy}." for bad in record.left_out]
    return remarks


def _column_line(column: Column, *, not_null: bool) -> str:
    sql_type = f"DECIMAL({column.precision}, {column.scale})" if column.precision else _TYPES[column.kind]
    constraint = " NOT NULL" if not_null else ""
    comment = f" COMMENT {quoted_text(column.doc)}" if column.doc else ""
    return f"{quoted_name(column.name)} {sql_type}{constraint}{comment}"


def _with(record: RecordTable, topic: TopicShape, options: FlinkOptions) -> dict[str, str]:
    append = options.kind is FlinkKind.APPEND
    found = {"connector": "kafka" if append else "upsert-kafka", "topic": topic.name, **options.connection}
    # Java's own default shows what aborted transactions left.
    found["properties.isolation.level"] = "read_committed"
    if append:
        # The default is the offsets of a consumer group, and fails without one.
        found["scan.startup.mode"] = "earliest-offset"
    found["key.format"] = "raw"
    if append:
        found["key.fields"] = record.key.name
    found["value.format"] = "avro-confluent"
    found["value.fields-include"] = "EXCEPT_KEY"
    if record.time is not None and options.kind is not FlinkKind.LATEST:
        # Without it a partition that gets no records holds event time back for ever.
        found["scan.watermark.idle-timeout"] = f"{options.idle_timeout_ms or _idle_timeout_ms(record)} ms"
    if options.bounded:
        found["scan.bounded.mode"] = "latest-offset"
    return found


def _idle_timeout_ms(record: RecordTable) -> int:
    return STEADY_IDLE_TIMEOUT_MS if record.steady else IDLE_TIMEOUT_MS


def _versions_view(record: RecordTable, options: FlinkOptions) -> str:
    """The newest row of each key at any time: what Flink takes as a versioned table."""
    names = [column.name for column in (record.key, *record.value_columns)] + [time_column(record)]
    columns = ", ".join(quoted_name(name) for name in names)
    ts, key = quoted_name(time_column(record)), quoted_name(record.key.name)
    return "\n".join(
        [
            "-- The versions of each key, for temporal joins.",
            f"CREATE VIEW {quoted_name(options.table + '_versions')} AS",
            f"SELECT {columns}",
            "FROM (",
            f"  SELECT *, ROW_NUMBER() OVER (PARTITION BY {key} ORDER BY {ts} DESC) AS `row_number`",
            f"  FROM {quoted_name(options.table)}",
            ")",
            "WHERE `row_number` = 1",
        ]
    )


def time_column(record: RecordTable) -> str:
    """Name of the computed column: ``ts``, or the first such name that the record does not have."""
    taken = {column.name for column in record.columns}
    name = "ts"
    while name in taken:
        name += "_"
    return name


def interval(delay_ms: int) -> str:
    """A literal of this length; the digits said, for Flink's default of two makes an error of 100 seconds."""
    seconds, millis = divmod(delay_ms, 1000)
    if not millis and seconds < 100:
        return f"INTERVAL '{seconds}' SECOND"
    return f"INTERVAL '{seconds}.{millis:03d}' SECOND({max(2, len(str(seconds)))}, 3)"
