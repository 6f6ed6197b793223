"""Whether a join of two topics can work: what is known of both, to findings with what to do.

Every rule is a function from facts to findings; :data:`_RULES` and
:data:`_RULES_OF_BOTH` are the whole list.
"""

from __future__ import annotations

import json
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from connector.core.partitioner_guess import Partitioner, Placement, placement
from connector.core.table import BadType


class ValueForm(StrEnum):
    AVRO = "avro"
    """Framed, under a schema that the registry has."""
    TOMBSTONE = "tombstone"
    NOT_AVRO = "not avro"
    UNKNOWN_SCHEMA = "unknown schema"
    """Framed, but the registry has no such id, or the bytes are not of that schema."""


class KeyForm(StrEnum):
    PLAIN = "plain text"
    QUOTED = "quoted JSON"
    AVRO = "Avro-framed"
    NULL = "null"
    BINARY = "no text"


@dataclass(frozen=True, slots=True)
class SampledRecord:
    """One record, as far as the rules look at it."""

    partition: int
    key: bytes | None
    timestamp_ms: int
    value: ValueForm
    event_time_ms: int | None
    """Unset where the record has none, or no field is known to be it."""


@dataclass(frozen=True, slots=True)
class PartitionFacts:
    number: int
    records: int
    """Offsets between the first and the end, transaction markers among them."""
    stuck_at: int | None
    """The offset of an open transaction that did not end while it was watched."""


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """What was found out about a topic."""

    name: str
    partitions: tuple[PartitionFacts, ...]
    timestamp_type: str
    """``CreateTime`` or ``LogAppendTime``."""
    cleanup_policy: frozenset[str]
    retention_ms: int
    """-1: for ever."""
    records: tuple[SampledRecord, ...]
    """The newest of each partition, oldest first."""
    bad_types: tuple[BadType, ...]
    has_schema: bool
    schema_problem: str
    """Why its schema is no Avro record; empty where it is one, or there is none."""
    time_field: str | None
    transactional: bool
    watched_s: float
    """How long a transaction that was found open was waited for."""

    @property
    def count(self) -> int:
        return len(self.partitions)

    @property
    def keys(self) -> dict[bytes, int]:
        """Distinct keys, and in how many of the records."""
        return dict(Counter(record.key for record in self.records if record.key is not None))


class Severity(StrEnum):
    ERROR = "error"
    """The join gives no rows, wrong rows, or fails."""
    WARNING = "warning"
    """It gives fewer rows, or later, unless something is set."""


@dataclass(frozen=True, slots=True)
class Finding:
    severity: Severity
    code: str
    """The same for the same kind of finding, for machines."""
    topic: str
    """Empty where it is between the two."""
    found: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a kind of reader must set."""

    reader: str
    setting: str


@dataclass(frozen=True, slots=True)
class JoinReport:
    findings: tuple[Finding, ...]
    requirements: tuple[Requirement, ...]

    @property
    def broken(self) -> bool:
        return any(finding.severity is Severity.ERROR for finding in self.findings)


def check_join(ours: TopicFacts, other: TopicFacts, *, window_ms: int, tolerance_ms: int = 2_000) -> JoinReport:
    """All findings, errors first.

    ``window_ms``: how far back the join must find its partner. ``tolerance_ms``:
    how far a record's timestamp may be from its event time.
    """
    limits = Limits(window_ms, tolerance_ms)
    found = [finding for topic in (ours, other) for rule in _RULES for finding in rule(topic, limits)]
    found += [finding for rule in _RULES_OF_BOTH for finding in rule(ours, other)]
    found.sort(key=lambda finding: finding.severity is not Severity.ERROR)
    return JoinReport(tuple(found), requirements(ours, other))


@dataclass(frozen=True, slots=True)
class Limits:
    window_ms: int
    tolerance_ms: int


def requirements(*topics: TopicFacts) -> tuple[Requirement, ...]:
    """What readers must set to leave out what aborted transactions left; nothing where there are none."""
    names = ", ".join(dict.fromkeys(topic.name for topic in topics if topic.transactional))
    if not names:
        return ()
    return (
        Requirement("Flink SQL", f"'properties.isolation.level' = 'read_committed' on the tables of {names}"),
        Requirement("ksqlDB, Kafka Streams", "processing.guarantee=exactly_once_v2"),
        Requirement("other Java clients", "isolation.level=read_committed (their default shows aborted records)"),
        Requirement("librdkafka (Python, Go, .NET)", "nothing: read_committed is its default"),
    )


# Rules for one topic.


def _no_records(topic: TopicFacts, limits: Limits) -> Iterator[Finding]:
    if not topic.records:
        yield Finding(
            Severity.WARNING,
            "no-records",
            topic.name,
            "no committed records to look at: keys, partitioner and timestamps are not known",
            "run this again once there are some",
        )


def _null_keys(topic: TopicFacts, limits: Limits) -> Iterator[Finding]:
    forms = Counter(key_form(record.key) for record in topic.records)
    for form, (problem, remedy) in _KEY_PROBLEMS.items():
        if forms[form]:
            yield Finding(
                Severity.ERROR,
                "key-bytes",
                topic.name,
                f"{_share(forms[form], len(topic.records))} have a key that is {form.value}: {problem}",
                remedy,
            )


_KEY_PROBLEMS = {
    KeyForm.NULL: (
        "they are dropped by joins, and are in no partition for a reason",
        "produce with the join's key; in ksqlDB, PARTITION BY it first",
    ),
    KeyForm.QUOTED: (
        'the quotes belong to the bytes, so "BTCUSD" with them never equals BTCUSD without',
        "produce the key with a string serializer; in Flink until then, TRIM(BOTH '\"' FROM the key)",
    ),
    KeyForm.AVRO: (
        "its bytes begin with a schema id, so it never equals plain text, and moves when the id changes",
        "produce the key with a string serializer; in Flink until then, 'key.format' = 'avro-confluent'",
    ),
    KeyForm.BINARY: (
        "it is no text in UTF-8, so it equals no symbol",
        "produce the key as text; in ksqlDB until then, PARTITION BY CAST(the key AS VARCHAR)",
    ),
}


def _moving_keys(topic: TopicFacts, limits: Limits) -> Iterator[Finding]:
    moving = _placement(topic).moving
    if moving:
        yield Finding(
            Severity.ERROR,
            "keys-move",
            topic.name,
            f"{len(moving)} keys are in more than one partition, as {_shown(moving)}: "
            "partitions were added, or producers disagree on the partitioner",
            "copy the topic into one that has its final number of partitions from the start",
        )


def _timestamp_type(topic: TopicFacts, limits: Limits) -> Iterator[Finding]:
    if topic.timestamp_type != "CreateTime":
        yield Finding(
            Severity.ERROR,
            "timestamp-type",
            topic.name,
            f"message.timestamp.type is {topic.timestamp_type}: the broker overwrites event time with its own clock",
            "set message.timestamp.type=CreateTime; until then take time from a field, never from the record",
        )


def _far_timestamps(topic: TopicFacts, limits: Limits) -> Iterator[Finding]:
    off = [record.timestamp_ms - record.event_time_ms for record in topic.records if record.event_time_ms is not None]
    far = [difference for difference in off if abs(difference) > limits.tolerance_ms]
    if not far or topic.timestamp_type != "CreateTime":  # the broker's clock: said already
        return
    worst = max(far, key=abs)
    yield Finding(
        Severity.ERROR,
        "timestamp-far",
        topic.name,
        f"{_share(len(far), len(off))} have a timestamp more than {limits.tolerance_ms} ms from {topic.time_field}, "
        f"at most {worst:+d} ms{_unit_hint(topic)}",
        "produce with timestamp = event time; until then name the field in ksqlDB (TIMESTAMP=…), "
        "and keep retention longer than the difference",
    )


def _unit_hint(topic: TopicFacts) -> str:
    for record in reversed(topic.records):
        if record.event_time_ms and record.timestamp_ms > 0:
            ratio = record.event_time_ms / record.timestamp_ms
            for unit, factor in (("seconds", 1 / 1000), ("microseconds", 1000), ("nanoseconds", 1_000_000)):
                if factor * 0.9 < ratio < factor * 1.1:
                    return f"; {topic.time_field} looks like {unit}, not milliseconds"
            return ""
    return ""


def _empty_partitions(topic: TopicFacts, limits: Limits) -> Iterator[Finding]:
    filled = {record.partition for record in topic.records}
    empty = [partition.number for partition in topic.partitions if partition.number not in filled]
    if empty and topic.records:
        yield Finding(
            Severity.WARNING,
            "empty-partitions",
            topic.name,
            f"today's {len(topic.keys)} keys leave partitions {', '.join(map(str, empty))} of {topic.count} empty: "
            "event time stands still for readers that wait for them",
            "Flink: 'scan.watermark.idle-timeout' on the table (ddl flink sets it)",
        )


def _cleanup(topic: TopicFacts, limits: Limits) -> Iterator[Finding]:
    if "compact" in topic.cleanup_policy:
        yield Finding(
            Severity.ERROR,
            "compacted",
            topic.name,
            f"cleanup.policy is {','.join(sorted(topic.cleanup_policy))}: the history of each key goes, "
            "and with it the partners of temporal and interval joins",
            "join the topic that is not compacted; take this one for look-ups of the newest alone",
        )


def _retention(topic: TopicFacts, limits: Limits) -> Iterator[Finding]:
    if "delete" in topic.cleanup_policy and 0 <= topic.retention_ms < limits.window_ms:
        yield Finding(
            Severity.ERROR,
            "retention",
            topic.name,
            f"retention.ms is {topic.retention_ms}, the join looks back {limits.window_ms} ms: "
            "a job that starts again does not find the partners",
            f"set retention.ms to more than {limits.window_ms}, or say a shorter --window",
        )


def _not_avro(topic: TopicFacts, limits: Limits) -> Iterator[Finding]:
    forms = Counter(record.value for record in topic.records)
    if forms[ValueForm.NOT_AVRO]:
        yield Finding(
            Severity.ERROR,
            "not-avro",
            topic.name,
            f"{_share(forms[ValueForm.NOT_AVRO], len(topic.records))} have a value that is not framed Avro: "
            "one of them ends a Flink job",
            "produce them elsewhere, and start readers behind the last of them",
        )
    if forms[ValueForm.UNKNOWN_SCHEMA]:
        yield Finding(
            Severity.ERROR,
            "unknown-schema",
            topic.name,
            f"{_share(forms[ValueForm.UNKNOWN_SCHEMA], len(topic.records))} have a schema id that this registry does "
            "not know, or bytes that are not of that schema: one of them ends a Flink job",
            "read with the registry that they were written with",
        )


def _types(topic: TopicFacts, limits: Limits) -> Iterator[Finding]:
    for bad in topic.bad_types:
        yield Finding(Severity.ERROR, "type", topic.name, f"field {bad.field}: {bad.problem}", bad.remedy)


def _no_schema(topic: TopicFacts, limits: Limits) -> Iterator[Finding]:
    if not topic.has_schema:
        yield Finding(
            Severity.WARNING,
            "no-schema",
            topic.name,
            f"the registry has no subject {topic.name}-value: its types are not checked",
            "register the schema under the subject's usual name",
        )


def _no_record(topic: TopicFacts, limits: Limits) -> Iterator[Finding]:
    if topic.schema_problem:
        yield Finding(
            Severity.ERROR,
            "no-record",
            topic.name,
            f"{topic.schema_problem}: no table can be made of it",
            "produce Avro records; ksqlDB and Flink read other formats too, by tables that are written by hand",
        )


def _stuck(topic: TopicFacts, limits: Limits) -> Iterator[Finding]:
    stuck = [partition for partition in topic.partitions if partition.stuck_at is not None]
    if stuck:
        where = ", ".join(f"partition {partition.number} at offset {partition.stuck_at}" for partition in stuck)
        yield Finding(
            Severity.ERROR,
            "open-transaction",
            topic.name,
            f"a transaction has been open for {topic.watched_s:g} s and more ({where}): "
            "under read_committed nothing behind it is seen",
            "end or restart its producer; kafka-transactions.sh find-hanging shows it, abort ends it",
        )


_RULES: tuple[Callable[[TopicFacts, Limits], Iterator[Finding]], ...] = (
    _no_records,
    _null_keys,
    _moving_keys,
    _timestamp_type,
    _far_timestamps,
    _empty_partitions,
    _cleanup,
    _retention,
    _not_avro,
    _no_schema,
    _no_record,
    _types,
    _stuck,
)


# Rules for both together.


def _counts(ours: TopicFacts, other: TopicFacts) -> Iterator[Finding]:
    if ours.count != other.count:
        yield Finding(
            Severity.ERROR,
            "partition-count",
            "",
            f"{ours.name} has {ours.count} partitions, {other.name} has {other.count}: "
            "ksqlDB and Kafka Streams refuse the join (Flink sorts keys itself)",
            f"in ksqlDB: CREATE STREAM … WITH (PARTITIONS={ours.count}) AS SELECT * FROM … PARTITION BY the key",
        )


def _partitioners(ours: TopicFacts, other: TopicFacts) -> Iterator[Finding]:
    places = {topic.name: _placement(topic) for topic in (ours, other)}
    for name, place in places.items():
        if place.moving:  # said already, and it explains what follows
            return
        if place.partitioner is Partitioner.NEITHER:
            yield Finding(
                Severity.ERROR,
                "partitioner",
                name,
                f"neither murmur2 ({place.murmur2} of {place.keys} keys) nor CRC32 ({place.crc32}) explains where keys "
                "are: ksqlDB and Kafka Streams miss partners in silence",
                "produce with partitioner=murmur2_random (librdkafka) or Java's default",
            )
    kinds = {place.partitioner for place in places.values()}
    if Partitioner.NEITHER in kinds or Partitioner.CRC32 not in kinds:
        return
    name = next(name for name, place in places.items() if place.partitioner is Partitioner.CRC32)
    place = places[name]
    same = kinds == {Partitioner.CRC32}
    yield Finding(
        Severity.WARNING if same else Severity.ERROR,
        "partitioner",
        "" if same else name,
        f"keys are placed by CRC32, librdkafka's default, not by Java's murmur2 (which explains {place.murmur2} of "
        f"{place.keys} keys): "
        + ("repartitioned topics will differ" if same else "ksqlDB and Kafka Streams miss partners in silence"),
        "produce with partitioner=murmur2_random",
    )


def _matches(ours: TopicFacts, other: TopicFacts) -> Iterator[Finding]:
    mine = {text for key in ours.keys if (text := key_text(key)) is not None}
    theirs = {text for key in other.keys if (text := key_text(key)) is not None}
    alone = sorted(theirs - mine)
    if not mine or not theirs or not alone:
        return
    hint = _key_hint(mine, alone)
    none_match = len(alone) == len(theirs)
    yield Finding(
        Severity.ERROR if none_match else Severity.WARNING,
        "keys-never-match",
        "",
        f"{'none' if none_match else f'{len(alone)}'} of the {len(theirs)} keys of {other.name}"
        f"{' is' if none_match else ' are not'} among the {len(mine)} of {ours.name}, as {_shown(alone)}{hint}",
        "make the keys equal, byte for byte, where the join is to find partners",
    )


_RULES_OF_BOTH: tuple[Callable[[TopicFacts, TopicFacts], Iterator[Finding]], ...] = (_counts, _partitioners, _matches)


_BIGINT_BYTES = 8
"""A number in Java's own serializer; its first byte is zero too."""


def key_form(key: bytes | None) -> KeyForm:
    """What the bytes of a key are."""
    if key is None:
        return KeyForm.NULL
    if len(key) > 5 and key[0] == 0 and (len(key) != _BIGINT_BYTES or _avro_string(key[5:]) is not None):
        return KeyForm.AVRO
    text = _utf8(key)
    if text is None or not text.isprintable():
        return KeyForm.BINARY
    return KeyForm.QUOTED if len(text) > 1 and text[0] == text[-1] == '"' else KeyForm.PLAIN


def key_text(key: bytes) -> str | None:
    """The text that a key means, whatever is around it; None where it means none."""
    form = key_form(key)
    if form is KeyForm.QUOTED:
        try:
            return str(json.loads(key))
        except ValueError:
            return None
    if form is KeyForm.AVRO:
        return _avro_string(key[5:])
    return _utf8(key) if form is KeyForm.PLAIN else None


def framed_schema_id(value: bytes) -> int | None:
    """The schema id in Confluent's framing; None where it is not framed."""
    return int(struct.unpack(">I", value[1:5])[0]) if len(value) >= 5 and value[0] == 0 else None


def _avro_string(data: bytes) -> str | None:
    # One byte of length is enough for any key that is worth comparing: zigzag, below 64.
    length = data[0] >> 1
    return _utf8(data[1:]) if data[0] < 128 and len(data) == 1 + length else None


def _utf8(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _key_hint(mine: set[str], alone: list[str]) -> str:
    for what, change in (
        ("in upper case", str.upper),
        ("without blanks around them", str.strip),
        ("with USD behind them", lambda text: f"{text}USD"),
        ("in upper case with USD behind them", lambda text: f"{text.upper()}USD"),
        ("without their last T (USDT pairs)", lambda text: text.removesuffix("T")),
    ):
        if any(change(text) in mine for text in alone):
            return f"; {what}, some would be"
    return ""


def _placement(topic: TopicFacts) -> Placement:
    return placement(
        ((record.key, record.partition) for record in topic.records if record.key is not None), topic.count
    )


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole} records"


def _shown(keys: Iterable[bytes | str], most: int = 3) -> str:
    texts = [key.decode("utf-8", "backslashreplace") if isinstance(key, bytes) else key for key in keys]
    return ", ".join(texts[:most]) + (" …" if len(texts) > most else "")
