"""Topics as a broker may show them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from connector.core.check_outcomes import Grade, Outcome, will_run
from connector.core.check_topics import DAY_MS, Commands, Seen, Wanted, duration, judge_planned, judge_topic

COMMANDS = Commands("broker:9092", "User:connector")
RIGHTS = ("DESCRIBE", "DESCRIBE_CONFIGS", "READ", "WRITE")
WANTED = Wanted(
    "ticks", "records", None, compacted=False, oldest_ms=DAY_MS, rights=RIGHTS, ahead_ms=30_000, batch_bytes=1_000_000
)
CONFIG = {
    "cleanup.policy": "delete",
    "retention.ms": str(7 * DAY_MS),
    "min.insync.replicas": "2",
    "message.timestamp.type": "CreateTime",
    "message.timestamp.before.max.ms": str(2**63 - 1),
}
SEEN = Seen(6, 3, 3, 0, frozenset({*RIGHTS, "ALTER"}), CONFIG)


def judged(seen: Seen, wanted: Wanted = WANTED) -> list[Outcome]:
    return list(judge_topic(wanted, seen, COMMANDS))


def config(**changes: str) -> Seen:
    return replace(SEEN, config={**CONFIG, **{name.replace("_", "."): value for name, value in changes.items()}})


def test_all_well() -> None:
    (outcome,) = judged(SEEN)
    assert outcome.grade is Grade.OK
    assert outcome.found == "records, 6 partitions, 3 replicas, CreateTime, 7 days"


@pytest.mark.parametrize(
    ("seen", "grade", "found", "remedy"),
    [
        (config(message_timestamp_type="LogAppendTime"), Grade.PROBLEM, "LogAppendTime", "type=CreateTime"),
        (config(cleanup_policy="compact"), Grade.PROBLEM, "compact", "cleanup.policy=delete"),
        (config(cleanup_policy="compact,delete"), Grade.PROBLEM, "compact", "cleanup.policy=delete"),
        (
            config(retention_ms="3600000"),
            Grade.WARNING,
            "retention.ms is 1 h, less than a day",
            "retention.ms=604800000",
        ),
        (config(min_insync_replicas="4"), Grade.PROBLEM, "refuses every write", "min.insync.replicas=2"),
        (config(min_insync_replicas="3"), Grade.WARNING, "when one broker is down", "min.insync.replicas=2"),
        (config(min_insync_replicas="1"), Grade.WARNING, "lost with that broker", "min.insync.replicas=2"),
        (replace(SEEN, in_sync=1), Grade.PROBLEM, "refuses writes now", "under-min-isr"),
        (replace(SEEN, leaderless=2), Grade.PROBLEM, "2 partitions without a leader", "kafka-topics.sh"),
        (
            config(message_timestamp_after_max_ms="100"),
            Grade.WARNING,
            "event_time_ahead is 30 s",
            "after.max.ms=3600000",
        ),
        (
            config(max_message_bytes="2000"),
            Grade.WARNING,
            "batches of up to 1,000,000 bytes",
            "max.message.bytes=1048588",
        ),
        (config(retention_bytes="1000000"), Grade.WARNING, "less than a day of 60 symbols", "retention.bytes=-1"),
        (config(message_timestamp_before_max_ms="60000"), Grade.WARNING, "journal.max_age is 1 day", "86400000"),
    ],
)
def test_what_can_be_wrong(seen: Seen, grade: Grade, found: str, remedy: str) -> None:
    (outcome,) = judged(seen)
    assert (outcome.area, outcome.subject, outcome.grade) == ("topic", "ticks", grade)
    assert found in outcome.found
    assert remedy in outcome.remedy


def test_another_partition_count() -> None:
    (outcome,) = judged(SEEN, replace(WANTED, partitions=12))
    assert outcome.found == "has 6 partitions, topic.partitions says 12"
    assert "set topic.partitions = 6" in outcome.remedy
    (latest,) = judged(config(cleanup_policy="compact"), replace(WANTED, what="latest", partitions=12, compacted=True))
    assert latest.found == "has 6 partitions, the records' topic has 12"


@pytest.mark.parametrize(("what", "words"), [("ledger", "is forgotten"), ("dead letters", "is gone")])
def test_a_short_retention_beside_the_records(what: str, words: str) -> None:
    (outcome,) = judged(config(retention_ms="60000"), replace(WANTED, what=what))
    assert outcome.grade is Grade.WARNING
    assert "retention.ms is 1 min, less than a day" in outcome.found
    assert words in outcome.found
    assert "retention.ms=2592000000" in outcome.remedy


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({"retention.ms": "3600000"}, "set topic.retention_ms = 604800000"),
        ({"retention.bytes": "3600"}, 'set topic.config."retention.bytes" = -1'),
        ({"max.message.bytes": "2000"}, 'set topic.config."max.message.bytes" = 1048588'),
        ({"message.timestamp.before.max.ms": "10"}, 'set topic.config."message.timestamp.before.max.ms" = 86400000'),
    ],
)
def test_a_topic_that_is_yet_to_be_made(changes: dict[str, str], remedy: str) -> None:
    assert list(judge_planned(WANTED, 6, CONFIG)) == []
    (outcome,) = judge_planned(WANTED, 6, {**CONFIG, **changes})
    assert (outcome.grade, outcome.subject) == (Grade.WARNING, "ticks")
    assert remedy in outcome.remedy


def test_every_missing_right_is_named() -> None:
    outcomes = judged(replace(SEEN, rights=frozenset({"DESCRIBE", "DESCRIBE_CONFIGS"})))
    assert [each.found for each in outcomes if each.area == "rights"] == [
        "User:connector lacks the right READ on this topic",
        "User:connector lacks the right WRITE on this topic",
    ]
    assert outcomes[-1].remedy.endswith("--allow-principal User:connector --operation Write --topic ticks")
    assert not will_run(outcomes)


def test_a_broker_that_says_nothing_of_rights() -> None:
    assert [each.grade for each in judged(replace(SEEN, rights=None))] == [Grade.OK, Grade.NOTE]


def test_several_mistakes_are_all_told() -> None:
    seen = config(message_timestamp_type="LogAppendTime", retention_ms="1000", min_insync_replicas="9")
    assert len(judged(seen, replace(WANTED, partitions=1))) == 4


def test_a_configuration_that_may_not_be_read() -> None:
    seen = replace(SEEN, config={}, rights=frozenset(RIGHTS) - {"DESCRIBE_CONFIGS"})
    assert [(each.grade, each.area) for each in judged(seen)] == [
        (Grade.WARNING, "topic"),
        (Grade.PROBLEM, "rights"),
    ]


@pytest.mark.parametrize(
    ("ms", "words"), [(DAY_MS, "1 day"), (7 * DAY_MS, "7 days"), (5_400_000, "90 min"), (1500, "1500 ms")]
)
def test_duration(ms: int, words: str) -> None:
    assert duration(ms) == words
