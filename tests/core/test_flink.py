"""The text of generated statements. That they run, and what they read, tests/downstream shows."""

from __future__ import annotations

import json

import pytest

from connector.core.errors import ConfigurationError
from connector.core.flink import FlinkKind, FlinkOptions, TopicShape, as_script, flink_statements, interval
from connector.core.flink_connection import flink_connection
from connector.core.ksql import KsqlKind, ksql_name, ksql_statements
from connector.core.table import RecordTable, read_table

SCHEMA = json.dumps(
    {
        "type": "record",
        "name": "Price",
        "doc": "The venue's price.",
        "feed": {"key_field": "symbol", "time_field": "event_time"},
        "fields": [
            {"name": "symbol", "type": "string", "doc": "What."},
            {"name": "event_time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            {
                "name": "price",
                "type": {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 8},
                "doc": "US dollars,\n  exact.",
            },
            {"name": "note", "type": ["null", "string"], "default": None},
            {"name": "size", "type": "long"},
            {"name": "side", "type": {"type": "enum", "name": "Side", "symbols": ["BUY"]}},
        ],
    }
)
TOPIC = TopicShape("venue.price", 6, compacted=False, keeps_event_time=True)
LATEST = TopicShape("venue.price.latest", 6, compacted=True, keeps_event_time=True)
PLACEHOLDERS = flink_connection({"bootstrap.servers": "b:9092"}, {"url": "http://r"}, inline=False)


@pytest.fixture
def record() -> RecordTable:
    return read_table([SCHEMA], "venue.price-value")


def flink(record: RecordTable, kind: FlinkKind, topic: TopicShape = TOPIC) -> str:
    return as_script(flink_statements(record, topic, FlinkOptions("price", kind, PLACEHOLDERS, made_from="subject s")))


def test_flink_append(record: RecordTable) -> None:
    assert flink(record, FlinkKind.APPEND) == (
        """\
-- Made from subject s, topic venue.price with 6 partitions.
-- Field side is no column here: Flink fails on an enum; use string.
CREATE TABLE `price` (
  `symbol` STRING NOT NULL COMMENT 'What.',
  `event_time` BIGINT NOT NULL,
  `price` DECIMAL(18, 8) NOT NULL COMMENT 'US dollars, exact.',
  `note` STRING,
  `size` BIGINT NOT NULL,
  `ts` AS TO_TIMESTAMP_LTZ(`event_time`, 3) COMMENT 'event_time as an instant, the same in every session time zone',
  WATERMARK FOR `ts` AS `ts` - INTERVAL '2' SECOND
) COMMENT 'The venue''s price.' WITH (
  'connector' = 'kafka',
  'topic' = 'venue.price',
  'properties.bootstrap.servers' = '${KAFKA_BOOTSTRAP_SERVERS}',
  'value.avro-confluent.url' = '${SCHEMA_REGISTRY_URL}',
  'properties.isolation.level' = 'read_committed',
  'scan.startup.mode' = 'earliest-offset',
  'key.format' = 'raw',
  'key.fields' = 'symbol',
  'value.format' = 'avro-confluent',
  'value.fields-include' = 'EXCEPT_KEY',
  'scan.watermark.idle-timeout' = '10000 ms'
);

-- The versions of each key, for temporal joins.
CREATE VIEW `price_versions` AS
SELECT `symbol`, `event_time`, `price`, `note`, `size`, `ts`
FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY `symbol` ORDER BY `ts` DESC) AS `row_number`
  FROM `price`
)
WHERE `row_number` = 1;
"""
    )


def test_flink_versioned_and_latest_differ_where_they_must(record: RecordTable) -> None:
    versioned, latest = flink(record, FlinkKind.VERSIONED), flink(record, FlinkKind.LATEST, LATEST)
    for text in (versioned, latest):
        assert "'connector' = 'upsert-kafka'" in text
        assert "PRIMARY KEY (`symbol`) NOT ENFORCED" in text
        assert "'properties.isolation.level' = 'read_committed'" in text
        assert "scan.startup.mode" not in text, "upsert-kafka always begins at the beginning, and refuses to be told"
        assert "key.fields" not in text
    assert "WATERMARK FOR" in versioned
    assert "WATERMARK FOR" not in latest, "so that nobody makes a temporal join with what has no history"


def test_flink_chosen_delays_and_an_end(record: RecordTable) -> None:
    options = FlinkOptions("p", FlinkKind.VERSIONED, {}, watermark_delay_ms=500, idle_timeout_ms=1500, bounded=True)
    (text,) = flink_statements(record, TOPIC, options)
    assert "`ts` - INTERVAL '0.500' SECOND(2, 3)" in text
    assert "'scan.watermark.idle-timeout' = '1500 ms'" in text
    assert "'scan.bounded.mode' = 'latest-offset'" in text


def test_intervals() -> None:
    assert interval(2_000) == "INTERVAL '2' SECOND"
    assert interval(120_000) == "INTERVAL '120.000' SECOND(3, 3)"


def test_a_record_that_has_a_ts_keeps_it() -> None:
    text = SCHEMA.replace('"note"', '"ts"')
    (statement, _) = flink_statements(read_table([text], "s"), TOPIC, FlinkOptions("price", FlinkKind.APPEND))
    assert "  `ts` STRING,\n" in statement
    assert "`ts_` AS TO_TIMESTAMP_LTZ" in statement


@pytest.mark.parametrize("kind", [FlinkKind.APPEND, FlinkKind.VERSIONED])
def test_no_history_from_a_compacted_topic(record: RecordTable, kind: FlinkKind) -> None:
    with pytest.raises(ConfigurationError, match="history"):
        flink(record, kind, LATEST)


def test_no_latest_from_a_topic_that_is_not_compacted(record: RecordTable) -> None:
    with pytest.raises(ConfigurationError, match="not compacted"):
        flink(record, FlinkKind.LATEST, TOPIC)


def test_a_versioned_table_needs_a_time() -> None:
    text = json.dumps({"type": "record", "name": "R", "fields": [{"name": "k", "type": "string"}]})
    with pytest.raises(ConfigurationError, match="--time"):
        flink(read_table([text], "s", key_field="k"), FlinkKind.VERSIONED)


def test_addresses_and_credentials_are_filled_in_on_demand() -> None:
    kafka = {
        "bootstrap.servers": "broker:9093",
        "security.protocol": "sasl_ssl",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "me",
        "sasl.password": 'quo"te\\',
        "ssl.ca.location": "/etc/ca.pem",
    }
    registry = {"url": "https://r/path", "basic.auth.user.info": "u:p"}
    assert flink_connection(kafka, registry, inline=True) == {
        "properties.bootstrap.servers": "broker:9093",
        "properties.security.protocol": "SASL_SSL",
        "properties.sasl.mechanism": "PLAIN",
        "properties.sasl.jaas.config": (
            "org.apache.flink.kafka.shaded.org.apache.kafka.common.security.plain.PlainLoginModule required"
            ' username="me" password="quo\\"te\\\\";'
        ),
        "properties.ssl.truststore.type": "PEM",
        "properties.ssl.truststore.location": "/etc/ca.pem",
        "value.avro-confluent.url": "https://r/path",
        "value.avro-confluent.basic-auth.credentials-source": "USER_INFO",
        "value.avro-confluent.basic-auth.user-info": "u:p",
    }
    shown = "\n".join(flink_connection(kafka, registry, inline=False).values())
    for secret in ("quo", "u:p", "broker:9093", "https://r/path"):
        assert secret not in shown
    assert 'username="${KAFKA_USERNAME}" password="${KAFKA_PASSWORD}"' in shown


def test_a_login_without_a_translation() -> None:
    with pytest.raises(ConfigurationError, match=r"sasl\.mechanism GSSAPI"):
        flink_connection({"security.protocol": "SASL_SSL", "sasl.mechanism": "GSSAPI"}, {}, inline=True)


def test_ksqldb_stream(record: RecordTable) -> None:
    statements = ksql_statements(record, TOPIC, name="price", kind=KsqlKind.STREAM, made_from="subject s")
    assert as_script(statements) == (
        """\
-- Made from subject s, topic venue.price with 6 partitions.
-- Checked against the documentation and the grammar of ksqlDB 0.30.0 (its repository, August 2026), not run.
-- The topic is written in transactions. To leave out what was aborted, set in the server's properties:
--   ksql.streams.processing.guarantee=exactly_once_v2
--   ksql.streams.consumer.isolation.level=read_committed
-- The second is for pull queries on streams, which are at_least_once whatever the first says. Of the first,
-- the documentation says both that SET can choose it for a query, and that it cannot.
-- Names are not quoted, so ksqlDB folds them to upper case, and finds the fields whatever their case.
SET 'processing.guarantee' = 'exactly_once_v2';

SET 'auto.offset.reset' = 'earliest';

--   symbol: What.
--   price: US dollars, exact.
-- Field side is no column here: Flink fails on an enum; use string.
CREATE STREAM price (
  symbol VARCHAR KEY,
  event_time TIMESTAMP,
  price DECIMAL(18, 8),
  note VARCHAR,
  `SIZE` BIGINT
) WITH (
  KAFKA_TOPIC = 'venue.price',
  KEY_FORMAT = 'KAFKA',
  VALUE_FORMAT = 'AVRO',
  PARTITIONS = 6,
  TIMESTAMP = 'event_time'
);
"""
    )


def test_ksqldb_tables(record: RecordTable) -> None:
    table = ksql_statements(record, TOPIC, name="price", kind=KsqlKind.TABLE)[-1]
    latest = ksql_statements(record, LATEST, name="price_latest", kind=KsqlKind.LATEST)[-1]
    assert "CREATE TABLE price (\n  symbol VARCHAR PRIMARY KEY," in table
    assert "CREATE TABLE price_latest (" in latest
    assert "KAFKA_TOPIC = 'venue.price.latest'" in latest
    assert "TIMESTAMP = 'event_time'" in table
    assert "TIMESTAMP =" not in latest, "ksqlDB would pass over its tombstones"
    with pytest.raises(ConfigurationError, match="not compacted"):
        ksql_statements(record, TOPIC, name="p", kind=KsqlKind.LATEST)
    with pytest.raises(ConfigurationError, match="tombstones"):
        ksql_statements(record, LATEST, name="p", kind=KsqlKind.STREAM)


def test_ksqldb_takes_names_that_differ_by_case_for_one() -> None:
    text = SCHEMA.replace('"note"', '"PRICE"')
    with pytest.raises(ConfigurationError, match="'price' and 'PRICE' differ by case alone"):
        ksql_statements(read_table([text], "s"), TOPIC, name="p", kind=KsqlKind.STREAM)


@pytest.mark.parametrize("name", ["rowtime", "RowOffset", "windowstart"])
def test_ksqldb_keeps_some_names_for_itself(name: str) -> None:
    text = SCHEMA.replace('"note"', f'"{name}"')
    with pytest.raises(ConfigurationError, match=f"ksqlDB keeps the name '{name}'"):
        ksql_statements(read_table([text], "s"), TOPIC, name="p", kind=KsqlKind.STREAM)


def test_ksqldb_refuses_other_characters_in_the_name_of_a_table(record: RecordTable) -> None:
    with pytest.raises(ConfigurationError, match=r"'a\.b' is no name"):
        ksql_statements(record, TOPIC, name="a.b", kind=KsqlKind.STREAM)


def test_ksqldb_names() -> None:
    for reserved in ("days", "hours", "milliseconds", "connectors", "size", "from"):
        assert ksql_name(reserved) == f"`{reserved.upper()}`"
    assert ksql_name("asset_index") == "asset_index"
    assert ksql_name("timestamp") == "`TIMESTAMP`"
    assert ksql_name("asset-index") == "`ASSET-INDEX`"


def test_event_time_waits_longer_for_a_topic_whose_silence_is_an_outage(record: RecordTable) -> None:
    steady = read_table([SCHEMA.replace('"feed": {', '"feed": {"cadence_ms": 1000, ')], "s")
    options = FlinkOptions("p", FlinkKind.APPEND)
    assert "'scan.watermark.idle-timeout' = '60000 ms'" in flink_statements(steady, TOPIC, options)[0]
    assert "'scan.watermark.idle-timeout' = '10000 ms'" in flink_statements(record, TOPIC, options)[0]
