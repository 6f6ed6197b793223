"""The rules of a join, on facts made wrong one at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from connector.core.joincheck import (
    Finding,
    JoinReport,
    KeyForm,
    PartitionFacts,
    SampledRecord,
    Severity,
    TopicFacts,
    ValueForm,
    check_join,
    framed_schema_id,
    key_form,
    key_text,
)
from connector.core.partitioner_guess import crc32_partition, murmur2_partition
from connector.core.table import BadType
from connector.local.market import symbol_names

HOUR_MS = 3_600_000
KEYS = [name.encode() for name in symbol_names(60)]
AVRO_KEY = b"\x00\x00\x00\x00\x07\x0cBTCUSD"


def facts(
    name: str = "ours",
    *,
    partitions: int = 6,
    keys: list[bytes] = KEYS,
    place: Callable[[bytes, int], int] = murmur2_partition,
) -> TopicFacts:
    records = tuple(
        SampledRecord(place(key, partitions), key, 1_000_000 + at, ValueForm.AVRO, 1_000_000 + at)
        for at in (0, 1000)
        for key in keys
    )
    return TopicFacts(
        name=name,
        partitions=tuple(PartitionFacts(number, 20, None) for number in range(partitions)),
        timestamp_type="CreateTime",
        cleanup_policy=frozenset({"delete"}),
        retention_ms=7 * 24 * HOUR_MS,
        records=records,
        bad_types=(),
        has_schema=True,
        schema_problem="",
        time_field="event_time",
        transactional=False,
        watched_s=5.0,
    )


def changed(topic: TopicFacts, change: Callable[[SampledRecord], SampledRecord], every: int = 1) -> TopicFacts:
    records = tuple(change(each) if number % every == 0 else each for number, each in enumerate(topic.records))
    return replace(topic, records=records)


def check(other: TopicFacts, ours: TopicFacts | None = None) -> JoinReport:
    return check_join(ours or facts(), other, window_ms=HOUR_MS)


def only(report: JoinReport) -> Finding:
    (finding,) = report.findings
    return finding


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    report = check(facts("other"))
    assert report == JoinReport((), ())
    assert not report.broken


@pytest.mark.parametrize(
    ("other", "code", "said"),
    [
        (facts("other", partitions=4), "partition-count", "ours has 6 partitions, other has 4"),
        (facts("other", place=crc32_partition), "partitioner", "CRC32"),
        (
            facts("other", place=lambda key, count: (murmur2_partition(key, count) + 1) % count),
            "partitioner",
            "neither murmur2",
        ),
        (replace(facts("other"), timestamp_type="LogAppendTime"), "timestamp-type", "LogAppendTime"),
        (replace(facts("other"), cleanup_policy=frozenset({"compact"})), "compacted", "history"),
        (replace(facts("other"), cleanup_policy=frozenset({"compact", "delete"})), "compacted", "compact,delete"),
        (replace(facts("other"), retention_ms=HOUR_MS - 1), "retention", "retention.ms is 3599999"),
        (
            replace(facts("other"), bad_types=(BadType("side", "Flink fails on an enum", "use string"),)),
            "type",
            "field side",
        ),
        (replace(facts("other"), schema_problem="other: its schema is not JSON"), "no-record", "not JSON: no table"),
        (
            replace(facts("other"), partitions=(*facts().partitions[:5], PartitionFacts(5, 20, 17))),
            "open-transaction",
            "partition 5 at offset 17",
        ),
        (
            changed(facts("other"), lambda each: replace(each, timestamp_ms=each.timestamp_ms + 2001), every=10),
            "timestamp-far",
            "12 of 120 records have a timestamp more than 2000 ms from event_time, at most +2001 ms",
        ),
        (
            changed(facts("other"), lambda each: replace(each, event_time_ms=each.timestamp_ms * 1000)),
            "timestamp-far",
            "microseconds",
        ),
        (changed(facts("other"), lambda each: replace(each, value=ValueForm.NOT_AVRO), 60), "not-avro", "2 of 120"),
        (
            changed(facts("other"), lambda each: replace(each, value=ValueForm.UNKNOWN_SCHEMA), 60),
            "unknown-schema",
            "2 of 120",
        ),
        (changed(facts("other"), lambda each: replace(each, key=None), 60), "key-bytes", "2 of 120 records have a key"),
        (
            facts("other", keys=[key[:-3] for key in KEYS]),
            "keys-never-match",
            "none of the 60 keys of other is among the 60 of ours, as A001",
        ),
        (facts("other", keys=[key.lower() for key in KEYS]), "keys-never-match", "in upper case"),
        (facts("other", keys=[key[:-3] for key in KEYS]), "keys-never-match", "with USD behind them"),
    ],
)
def test_each_error(other: TopicFacts, code: str, said: str) -> None:
    report = check(other)
    finding = only(report)
    assert (finding.code, finding.severity) == (code, Severity.ERROR)
    assert said in finding.found
    assert finding.remedy
    assert report.broken


@pytest.mark.parametrize(
    ("other", "code", "said"),
    [
        (replace(facts("other"), records=()), "no-records", "no committed records"),
        (replace(facts("other"), has_schema=False), "no-schema", "other-value"),
        (facts("other", keys=[*KEYS, b"DOGEUSD"]), "keys-never-match", "1 of the 61 keys of other are not"),
        (facts("other", keys=KEYS[:3]), "empty-partitions", "today's 3 keys leave partitions"),
    ],
)
def test_each_warning(other: TopicFacts, code: str, said: str) -> None:
    report = check(other)
    finding = only(report)
    assert (finding.code, finding.severity) == (code, Severity.WARNING)
    assert said in finding.found
    assert not report.broken


@pytest.mark.parametrize(
    ("wrap", "form"),
    [
        (lambda key: b'"' + key + b'"', KeyForm.QUOTED),
        (lambda key: b"\0\0\0\0\7" + bytes([len(key) * 2]) + key, KeyForm.AVRO),
    ],
)
def test_keys_that_mean_the_same_in_other_bytes_are_said_once(wrap: Callable[[bytes], bytes], form: KeyForm) -> None:
    finding = only(check(facts("other", keys=[wrap(key) for key in KEYS])))
    assert finding.code == "key-bytes"
    assert f"a key that is {form.value}" in finding.found


def test_keys_in_two_partitions_are_said_once() -> None:
    other = facts("other")
    other = changed(other, lambda each: replace(each, partition=(each.partition + 1) % 6), every=7)
    assert [finding.code for finding in check(other).findings] == ["keys-move"]


def test_both_placed_by_crc32_join_each_other_and_nothing_that_java_repartitioned() -> None:
    finding = only(check(facts("other", place=crc32_partition), facts(place=crc32_partition)))
    assert (finding.code, finding.severity) == ("partitioner", Severity.WARNING)


def test_errors_come_first() -> None:
    other = replace(facts("other", keys=KEYS[:3]), retention_ms=1)
    assert [finding.code for finding in check(other).findings] == ["retention", "empty-partitions"]


def test_what_readers_of_transactions_must_set() -> None:
    report = check(facts("other"), replace(facts(), transactional=True))
    assert not report.findings
    assert "read_committed' on the tables of ours" in report.requirements[0].setting
    assert report.requirements[0].reader == "Flink SQL"


@pytest.mark.parametrize(
    ("key", "form", "text"),
    [
        (None, KeyForm.NULL, None),
        (b"BTCUSD", KeyForm.PLAIN, "BTCUSD"),
        ("币安人生USD".encode(), KeyForm.PLAIN, "币安人生USD"),
        (b'"BTCUSD"', KeyForm.QUOTED, "BTCUSD"),
        (AVRO_KEY, KeyForm.AVRO, "BTCUSD"),
        (b"\x00\x00\x00\x00\x00\x00\x00\x2a", KeyForm.BINARY, None),
        (b"\xff\xfe", KeyForm.BINARY, None),
        (b"\x00\x00\x00\x2a", KeyForm.BINARY, None),
        (b"", KeyForm.PLAIN, ""),
    ],
)
def test_forms_of_keys(key: bytes | None, form: KeyForm, text: str | None) -> None:
    assert key_form(key) is form
    if key is not None:
        assert key_text(key) == text


def test_framing() -> None:
    assert framed_schema_id(b"\x00\x00\x00\x01\x02rest") == 258
    assert framed_schema_id(b'{"a":1}') is None
    assert framed_schema_id(b"\x00\x00") is None
