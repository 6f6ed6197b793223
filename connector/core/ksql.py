"""ksqlDB's statements. They were checked against its documentation, not run: it cannot be had here."""

from __future__ import annotations

import re
from enum import StrEnum

from connector.core.errors import ConfigurationError
from connector.core.flink import TopicShape
from connector.core.sql_quoting import quoted_name, quoted_text
from connector.core.table import Column, ColumnKind, RecordTable

CHECKED_AGAINST = "ksqlDB 0.30.0 (its repository, August 2026)"


class KsqlKind(StrEnum):
    STREAM = "stream"
    """Every record an event."""
    TABLE = "table"
    """The newest of each key, of the topic with its history."""
    LATEST = "latest"
    """The same of the compacted companion: quicker to load."""


_TYPES = {
    ColumnKind.STRING: "VARCHAR",
    ColumnKind.BOOLEAN: "BOOLEAN",
    ColumnKind.INT: "INTEGER",
    ColumnKind.LONG: "BIGINT",
    ColumnKind.FLOAT: "DOUBLE",
    ColumnKind.DOUBLE: "DOUBLE",
    ColumnKind.BYTES: "BYTES",
    ColumnKind.TIMESTAMP_MILLIS: "TIMESTAMP",
    ColumnKind.DATE: "DATE",
}
_PLAIN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_RESERVED = frozenset(
    re.findall(
        r"\w+",
        """ADVANCE ALL ALTER AND ARRAY AS ASSERT AT BEGINNING BETWEEN BY CASE CAST CATALOG CHANGES COLUMN COLUMNS
        CONNECTOR CONNECTORS CREATE DATE DAY DAYS DECIMAL DEFINE DELETE DESCRIBE DISTINCT DROP ELSE EMIT END ESCAPE
        EXISTS EXPLAIN EXPORT EXTENDED FALSE FINAL FROM FULL FUNCTION FUNCTIONS GRACE GROUP HAVING HEADER HEADERS
        HOPPING HOUR HOURS IF IN INNER INSERT INTEGER INTERVAL INTO IS JOIN KEY LEFT LIKE LIMIT LIST LOAD MAP
        MATERIALIZED MILLISECOND MILLISECONDS MINUTE MINUTES MONTH MONTHS NAMESPACE NOT NULL ON OR OUTER PARTITION
        PARTITIONS PAUSE PERIOD PRIMARY PRINT PROPERTIES QUERIES QUERY RENAME REPLACE RESET RESUME RETENTION RIGHT
        RUN SAMPLE SCHEMA SCRIPT SECOND SECONDS SELECT SESSION SET SHOW SINK SIZE SOURCE STREAM STREAMS STRUCT
        TABLE TABLES TERMINATE THEN TIME TIMESTAMP TO TOPIC TOPICS TRUE TUMBLING TYPE TYPES UNDEFINE UNSET VALUES
        VARIABLES VIEW WHEN WHERE WINDOW WITH WITHIN YEAR YEARS ZONE""",
    )
)
"""Every word that its grammar keeps for itself, and some that it does not: to quote one too many does no harm."""

_SYSTEM_COLUMNS = frozenset({"ROWTIME", "ROWPARTITION", "ROWOFFSET", "WINDOWSTART", "WINDOWEND"})
_SOURCE_NAME = re.compile(r"[A-Za-z0-9_-]+")


def ksql_statements(
    record: RecordTable, topic: TopicShape, *, name: str, kind: KsqlKind, made_from: str = ""
) -> tuple[str, ...]:
    """Statements without the semicolons; the first two set what their queries need.

    Raises ConfigurationError where the topic cannot be read so.
    """
    if kind is KsqlKind.LATEST and not topic.compacted:
        raise ConfigurationError(f"topic {topic.name}: is not compacted; use --kind table")
    if kind is KsqlKind.STREAM and topic.compacted:
        raise ConfigurationError(f"topic {topic.name}: is compacted, its tombstones are no events; use --kind latest")
    _check_names(record, topic, name)
    created = "STREAM" if kind is KsqlKind.STREAM else "TABLE"
    key = "KEY" if kind is KsqlKind.STREAM else "PRIMARY KEY"
    columns = [f"  {ksql_name(record.key.name)} {_type(record.key)} {key}"]
    columns += [f"  {ksql_name(column.name)} {_type(column)}" for column in record.value_columns]
    properties = [
        f"  KAFKA_TOPIC = {quoted_text(topic.name)}",
        "  KEY_FORMAT = 'KAFKA'",
        "  VALUE_FORMAT = 'AVRO'",
        f"  PARTITIONS = {topic.partitions}",
    ]
    # A table reads a time column of a tombstone, finds none, and passes over the tombstone.
    if record.time is not None and kind is not KsqlKind.LATEST:
        properties.append(f"  TIMESTAMP = {quoted_text(ksql_name(record.time.name))}")
    create = "\n".join(
        [
            *(f"--   {column.name}: {' '.join(column.doc.split())}" for column in record.columns if column.doc),
            *(f"-- Field {bad.field} is no column here: {bad.problem}; {bad.remedy}." for bad in record.left_out),
            f"CREATE {created} {ksql_name(name)} (",
            ",\n".join(columns),
            ") WITH (",
            ",\n".join(properties),
            ")",
        ]
    )
    made = f"{made_from}, " if made_from else ""
    remarks = [
        f"-- Made from {made}topic {topic.name} with {topic.partitions} partitions.",
        f"-- Checked against the documentation and the grammar of {CHECKED_AGAINST}, not run.",
        "-- The topic is written in transactions. To leave out what was aborted, set in the server's properties:",
        "--   ksql.streams.processing.guarantee=exactly_once_v2",
        "--   ksql.streams.consumer.isolation.level=read_committed",
        "-- The second is for pull queries on streams, which are at_least_once whatever the first says. Of the first,",
        "-- the documentation says both that SET can choose it for a query, and that it cannot.",
        "-- Names are not quoted, so ksqlDB folds them to upper case, and finds the fields whatever their case.",
    ]
    return (
        "\n".join([*remarks, "SET 'processing.guarantee' = 'exactly_once_v2'"]),
        "SET 'auto.offset.reset' = 'earliest'",
        create,
    )


def ksql_name(name: str) -> str:
    """Unquoted where that is safe, so that queries need no quotes either; else quoted, in the case it folds to."""
    if _PLAIN_NAME.fullmatch(name) and name.upper() not in _RESERVED:
        return name
    return quoted_name(name.upper())


def _check_names(record: RecordTable, topic: TopicShape, name: str) -> None:
    if not _SOURCE_NAME.fullmatch(name):
        raise ConfigurationError(f"{name!r} is no name for a stream or table of ksqlDB: letters, digits, '_' and '-'")
    seen: dict[str, str] = {}
    for column in record.columns:
        if column.name.upper() in _SYSTEM_COLUMNS:
            raise ConfigurationError(
                f"topic {topic.name}: ksqlDB keeps the name {column.name!r} of a field for itself, quoted or not"
            )
        other = seen.setdefault(column.name.upper(), column.name)
        if other != column.name:
            raise ConfigurationError(
                f"topic {topic.name}: fields {other!r} and {column.name!r} differ by case alone; "
                "ksqlDB takes them for one"
            )


def _type(column: Column) -> str:
    return f"DECIMAL({column.precision}, {column.scale})" if column.precision else _TYPES[column.kind]
