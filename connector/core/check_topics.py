"""Whether a topic as the broker shows it can take what the connector writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from connector.core.check_outcomes import Outcome, good, note, problem, warning

DAY_MS = 86_400_000
_DAYS_BYTES = 540_000_000
"""Of 60 symbols at 1 Hz, not compressed (docs/operations.md, Capacity and cost)."""
_NEVER_MS = 2**62
"""Time limits at or above this are the broker's way to say none."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of one topic."""

    name: str
    what: str
    """What it holds: ``records``, ``ledger``, ``dead letters``, ``latest``."""
    partitions: int | None
    """As configured; unset: any number."""
    compacted: bool
    oldest_ms: int
    """How old a record may be when it is written."""
    rights: tuple[str, ...]
    """In the broker's words, as ``DESCRIBE_CONFIGS``."""
    ahead_ms: int = 0
    """How far in the future the time of a record may be."""
    batch_bytes: int = 0
    """The largest batch that is sent."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One topic as the broker shows it."""

    partitions: int
    replicas: int
    """Of the partition with the fewest."""
    in_sync: int
    """Of the partition with the fewest."""
    leaderless: int
    """Partitions without a leader."""
    rights: frozenset[str] | None
    """Of this principal; unset where the broker does not say."""
    config: Mapping[str, str] = field(default_factory=dict)
    """Empty where it may not be read."""


@dataclass(frozen=True, slots=True)
class Commands:
    """The commands that a remedy names, for this broker and this principal."""

    servers: str
    principal: str

    def configure(self, topic: str, change: str) -> str:
        return (
            f"kafka-configs.sh --bootstrap-server {self.servers} --alter --entity-type topics --entity-name {topic} "
            f"--add-config {change}"
        )

    def grant(self, right: str, resource: str) -> str:
        """*resource* as the tool's own option, as ``--topic x``."""
        operation = "".join(word.capitalize() for word in right.split("_"))
        return (
            f"kafka-acls.sh --bootstrap-server {self.servers} --add --allow-principal {self.principal} "
            f"--operation {operation} {resource}"
        )


class _Options:
    """As :class:`Commands`, of a topic that is made from the options."""

    def configure(self, topic: str, change: str) -> str:
        name, _, value = change.partition("=")
        return f"set topic.retention_ms = {value}" if name == "retention.ms" else f'set topic.config."{name}" = {value}'


class _Configures(Protocol):
    def configure(self, topic: str, change: str) -> str:
        """How *change*, as ``name=value``, is made to the configuration of *topic*."""


def judge_topic(wanted: Wanted, seen: Seen, commands: Commands) -> Iterator[Outcome]:
    """Everything that is wrong with the topic, and with the rights on it; one good outcome where nothing is."""
    found = [
        *_partitions(wanted, seen),
        *_replicas(wanted, seen, commands),
        *_times(wanted, seen, commands),
        *_sizes(wanted, seen, commands),
        *_kept(wanted, seen, commands),
    ]
    yield from found or [good("topic", wanted.name, _in_short(wanted, seen))]
    yield from _rights(wanted, seen, commands)


def judge_planned(wanted: Wanted, partitions: int, config: Mapping[str, str]) -> Iterator[Outcome]:
    """What is wrong with the configuration that a topic is yet to be made with. Of its replicas only the broker knows:
    see :func:`judge_replication`."""
    planned = Seen(partitions, replicas=1, in_sync=1, leaderless=0, rights=None, config=config)
    for judge in (_times, _sizes, _kept):
        yield from judge(wanted, planned, _Options())


def judge_replication(topic: str, replicas: int, least: int, remedy: str) -> Iterator[Outcome]:
    """*least* is ``min.insync.replicas``."""
    if least > replicas:
        yield problem(
            "topic",
            topic,
            f"min.insync.replicas is {least}, and there are {replicas} replicas: the broker refuses every write",
            remedy,
        )
    elif least == replicas > 1:
        yield warning(
            "topic",
            topic,
            f"min.insync.replicas is {least}, as many as there are replicas: writing stops when one broker is down",
            remedy,
        )
    elif least == 1 and replicas > 1:
        yield warning(
            "topic",
            topic,
            f"min.insync.replicas is 1 of {replicas} replicas: a record counts as written when one broker has it, "
            "and is lost with that broker",
            remedy,
        )


def _partitions(wanted: Wanted, seen: Seen) -> Iterator[Outcome]:
    if wanted.partitions not in {None, seen.partitions}:
        why = "topic.partitions says" if wanted.what == "records" else "the records' topic has"
        remedy = (
            f"set topic.partitions = {seen.partitions} (or leave it out) to take the topic as it is; do not add "
            "partitions to a topic that is read: keys move to others, and joins break"
            if wanted.what == "records"
            else "make the topic anew with the same number: joins of both need it"
        )
        yield problem(
            "topic", wanted.name, f"has {_count(seen.partitions, 'partition')}, {why} {wanted.partitions}", remedy
        )
    if seen.leaderless:
        yield problem(
            "topic",
            wanted.name,
            f"{_count(seen.leaderless, 'partition')} without a leader: nothing can be written there",
            "see which brokers are down: kafka-topics.sh --describe --unavailable-partitions",
        )


def _replicas(wanted: Wanted, seen: Seen, commands: Commands) -> Iterator[Outcome]:
    least = _number(seen.config.get("min.insync.replicas"), 1)
    found = list(
        judge_replication(
            wanted.name,
            seen.replicas,
            least,
            commands.configure(wanted.name, f"min.insync.replicas={max(1, seen.replicas - 1)}"),
        )
    )
    if not found and seen.in_sync < least and not seen.leaderless:
        found.append(
            problem(
                "topic",
                wanted.name,
                f"only {_count(seen.in_sync, 'replica')} in sync, min.insync.replicas is {least}: the broker refuses "
                "writes now",
                "see which brokers are down: kafka-topics.sh --describe --under-min-isr-partitions",
            )
        )
    yield from found


def _times(wanted: Wanted, seen: Seen, commands: _Configures) -> Iterator[Outcome]:
    kind = seen.config.get("message.timestamp.type")
    if kind not in {None, "CreateTime"}:
        yield problem(
            "topic",
            wanted.name,
            f"message.timestamp.type is {kind}: the broker overwrites the event time of every record with its own",
            commands.configure(wanted.name, "message.timestamp.type=CreateTime"),
        )
    limit_ms = _number(seen.config.get("message.timestamp.before.max.ms"), _NEVER_MS)
    if limit_ms < wanted.oldest_ms:
        yield warning(
            "topic",
            wanted.name,
            f"message.timestamp.before.max.ms is {duration(limit_ms)}: the broker refuses records that waited longer "
            f"in the journal (journal.max_age is {duration(wanted.oldest_ms)})",
            commands.configure(wanted.name, f"message.timestamp.before.max.ms={wanted.oldest_ms}"),
        )

    limit_ms = _number(seen.config.get("message.timestamp.after.max.ms"), _NEVER_MS)
    if limit_ms < wanted.ahead_ms:
        yield warning(
            "topic",
            wanted.name,
            f"message.timestamp.after.max.ms is {duration(limit_ms)}: the broker refuses records whose time is further "
            f"ahead of its clock, and takes down their whole transaction (feed.event_time_ahead is "
            f"{duration(wanted.ahead_ms)})",
            commands.configure(wanted.name, f"message.timestamp.after.max.ms={max(wanted.ahead_ms, 3_600_000)}"),
        )


def _sizes(wanted: Wanted, seen: Seen, commands: _Configures) -> Iterator[Outcome]:
    limit = _number(seen.config.get("max.message.bytes"), wanted.batch_bytes)
    if limit < wanted.batch_bytes:
        yield warning(
            "topic",
            wanted.name,
            f"max.message.bytes is {limit:,}, and after an outage batches of up to {wanted.batch_bytes:,} bytes are "
            'sent (kafka."batch.size"): the broker would refuse them, again and again',
            commands.configure(wanted.name, "max.message.bytes=1048588") + f', or set kafka."batch.size" = {limit}',
        )


def _kept(wanted: Wanted, seen: Seen, commands: _Configures) -> Iterator[Outcome]:
    policies = seen.config.get("cleanup.policy", "").split(",")
    if policies == [""]:
        return
    if wanted.compacted:
        if "compact" not in policies:
            yield problem(
                "topic",
                wanted.name,
                f"cleanup.policy is {','.join(policies)}: without compact the newest record of a quiet symbol is lost",
                commands.configure(wanted.name, "cleanup.policy=compact"),
            )
        return
    if "compact" in policies:
        yield problem(
            "topic",
            wanted.name,
            f"cleanup.policy is {','.join(policies)}: compaction removes all but the newest record of each key, so "
            "that there is no history to join with, and what is missing cannot be told from what was removed",
            commands.configure(wanted.name, "cleanup.policy=delete"),
        )
        return
    yield from _kept_time(wanted, seen, commands)
    if wanted.what == "records":
        yield from _kept_bytes(wanted, seen, commands)


_KEPT_DAYS = {"records": 7, "ledger": 30, "dead letters": 30}
_TOO_SHORT = {
    "records": "a reader that is down over night, and a replica that comes back with a journal, find records gone",
    "ledger": "what is missing from the records is forgotten before anybody asks",
    "dead letters": "what was refused is gone before anybody looks",
}
"""By what the topic holds."""


def _kept_time(wanted: Wanted, seen: Seen, commands: _Configures) -> Iterator[Outcome]:
    retention_ms = _number(seen.config.get("retention.ms"), -1)
    if 0 <= retention_ms < DAY_MS:
        yield warning(
            "topic",
            wanted.name,
            f"retention.ms is {duration(retention_ms)}, less than a day: {_TOO_SHORT[wanted.what]}",
            commands.configure(wanted.name, f"retention.ms={_KEPT_DAYS[wanted.what] * DAY_MS}"),
        )


def _kept_bytes(wanted: Wanted, seen: Seen, commands: _Configures) -> Iterator[Outcome]:
    limit = _number(seen.config.get("retention.bytes"), -1)
    if 0 <= limit * seen.partitions < _DAYS_BYTES:
        yield warning(
            "topic",
            wanted.name,
            f"retention.bytes is {limit:,} for each of {_count(seen.partitions, 'partition')}: less than a day of 60 "
            f"symbols takes (some {_DAYS_BYTES // 1_000_000} MB), whatever retention.ms says",
            commands.configure(wanted.name, "retention.bytes=-1") + " (retention.ms then decides alone)",
        )


def _rights(wanted: Wanted, seen: Seen, commands: Commands) -> Iterator[Outcome]:
    if seen.rights is None:
        yield note("rights", wanted.name, "the broker does not say which rights this principal has")
        return
    for right in wanted.rights:
        if right not in seen.rights:
            yield missing_right(right, wanted.name, commands)


def missing_right(right: str, topic: str, commands: Commands) -> Outcome:
    return problem(
        "rights",
        topic,
        f"{commands.principal} lacks the right {right} on this topic",
        commands.grant(right, f"--topic {topic}"),
    )


def _in_short(wanted: Wanted, seen: Seen) -> str:
    parts = [wanted.what, _count(seen.partitions, "partition"), _count(seen.replicas, "replica")]
    if seen.config:
        parts.append(seen.config.get("message.timestamp.type", ""))
        kept_ms = _number(seen.config.get("retention.ms"), -1)
        parts.append("compacted" if wanted.compacted else "kept for ever" if kept_ms < 0 else f"{duration(kept_ms)}")
    return ", ".join(part for part in parts if part)


def duration(ms: int) -> str:
    """In the largest unit that leaves a whole number: ``90 min``, ``7 days``."""
    for size_ms, unit in ((DAY_MS, "day"), (3_600_000, "h"), (60_000, "min"), (1000, "s")):
        if ms >= size_ms and ms % size_ms == 0:
            many = "s" if unit == "day" and ms != size_ms else ""
            return f"{ms // size_ms} {unit}{many}"
    return f"{ms} ms"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _number(text: str | None, unless_told: int) -> int:
    try:
        return int(text or "")
    except ValueError:
        return unless_told
