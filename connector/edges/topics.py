"""The topics: made where they are missing, held to what is configured where they are there."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, yet not marked as exported
    ConfigResource,
    NewTopic,
    ResourceType,
)

from connector.core.errors import ConfigurationError, RetryableError
from connector.core.happenings import Tell
from connector.edges.kafka_clients import Complaints, Properties, admin_properties, new_admin, translated

DEFAULT_PARTITIONS = 6
"""Few enough for the few dozen symbols of the asset index to reach every partition, and divisible."""

_DAY_MS = 86_400_000
_ASIDE_RETENTION_MS = 30 * _DAY_MS
"""Of the ledger and the dead letters: they are small, and read long after the fact."""
_COMPACTED_SEGMENT_MS = 3_600_000
"""The segment that is written is never compacted. By the broker's default that is a week of records, which whoever
starts a look-up would have to read."""


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic as it is wanted."""

    name: str
    partitions: int | None
    """What a topic that is there must have; ``None``: any number."""
    partitions_when_created: int | str
    """A number, or the name of another topic of the same call to have as many as."""
    replication_factor: int
    """Of a topic made here; -1 is the broker's default."""
    config: Mapping[str, str]
    """Of a topic made here."""
    required: Mapping[str, str] = field(default_factory=dict)
    """What the configuration of a topic that is there must say."""
    rights: tuple[str, ...] = ("WRITE",)
    """What this principal must be allowed on it."""


def wanted_topics(
    topic: str,
    *,
    events: str,
    dead_letters: str,
    latest: str | None,
    partitions: int | None,
    replication_factor: int,
    retention_ms: int,
    config: Mapping[str, str | int | float | bool],
) -> tuple[TopicSpec, ...]:
    """The topics of one stream; *latest* only where it is enabled. *config* is for the records' topic alone.

    Event time is the timestamp of a record, so every topic keeps the time it is given (``CreateTime``).
    """
    kept_time = {"message.timestamp.type": "CreateTime"}
    aside_ms = -1 if retention_ms == -1 else max(retention_ms, _ASIDE_RETENTION_MS)
    given = {name: _config_text(value) for name, value in config.items()}
    deleted = {"cleanup.policy": "delete", **kept_time}
    records = {**deleted, "retention.ms": str(retention_ms), **given}
    aside = {**deleted, "retention.ms": str(aside_ms)}
    specs = [
        TopicSpec(
            topic,
            partitions,
            partitions or DEFAULT_PARTITIONS,
            replication_factor,
            records,
            kept_time,
            ("READ", "WRITE"),
        ),
        TopicSpec(events, None, 1, replication_factor, aside, kept_time, rights=("READ", "WRITE")),
        TopicSpec(dead_letters, None, 1, replication_factor, aside, kept_time),
    ]
    if latest is not None:
        compacted = {"cleanup.policy": "compact", **kept_time}
        short = {**compacted, "segment.ms": str(_COMPACTED_SEGMENT_MS)}
        specs.append(TopicSpec(latest, None, topic, replication_factor, short, compacted, ("READ", "WRITE")))
    return tuple(specs)


def ensure_topics(
    properties: Properties, wanted: tuple[TopicSpec, ...], *, create: bool, tell: Tell, timeout_s: float = 10.0
) -> dict[str, int]:
    """How many partitions each wanted topic has, by name. Those that are missing are made where *create* says so.

    Every step is given *timeout_s*. Raises :class:`ConfigurationError` with every problem found (a topic that is
    missing and not to be created, another partition count or configuration, a right or a credential that is refused)
    and :class:`RetryableError` where the broker does not answer.
    """
    admin = Admin(properties, tell, timeout_s)
    counts = admin.partition_counts([spec.name for spec in wanted], _needed(wanted))
    missing = [spec for spec in wanted if spec.name not in counts]
    present = [spec for spec in wanted if spec.name in counts]
    problems = [*_wrong_counts(present, counts), *_wrong_configs(admin, present)]
    if missing and not create:
        problems.extend(_to_be_made(spec, counts, properties) for spec in missing)
    if problems:
        raise ConfigurationError(*problems)
    if missing:
        counts.update(admin.create(missing, counts))
        # Somebody else may have made them at the same time, otherwise.
        if problems := [*_wrong_counts(missing, counts), *_wrong_configs(admin, missing)]:
            raise ConfigurationError(*problems)
        admin.partition_counts([spec.name for spec in missing], _needed(missing))
    return {spec.name: counts[spec.name] for spec in wanted}


def _needed(specs: Iterable[TopicSpec]) -> dict[str, tuple[str, ...]]:
    return {spec.name: spec.rights for spec in specs}


def _wrong_counts(specs: Iterable[TopicSpec], counts: Mapping[str, int]) -> Iterator[str]:
    for spec in specs:
        if spec.partitions not in {None, counts[spec.name]}:
            yield (
                f"topic {spec.name}: has {counts[spec.name]} partitions, topic.partitions says {spec.partitions}; "
                "unset topic.partitions to take it as it is (more partitions move keys: joins break)"
            )


def _wrong_configs(admin: Admin, specs: Iterable[TopicSpec]) -> Iterator[str]:
    required = {spec.name: spec.required for spec in specs if spec.required}
    for name, config in admin.configs(list(required)).items():
        for key, value in required[name].items():
            if value not in config.get(key, "").split(","):
                yield (
                    f"topic {name}: {key} is {config.get(key) or 'not told'}, it must be {value}; change it with "
                    f"kafka-configs.sh --alter --topic {name} --add-config {key}={value}"
                )


def _to_be_made(spec: TopicSpec, counts: Mapping[str, int], properties: Properties) -> str:
    config = "".join(f" --config {key}={value}" for key, value in spec.config.items())
    replicas = f" --replication-factor {spec.replication_factor}" if spec.replication_factor > 0 else ""
    return (
        f"topic {spec.name}: is not there, and topic.create is off; create it with "
        f"kafka-topics.sh --bootstrap-server {properties.get('bootstrap.servers', '')} --create --topic {spec.name} "
        f"--partitions {_count_for(spec, counts)}{replicas}{config}"
    )


def _count_for(spec: TopicSpec, counts: Mapping[str, int]) -> int:
    wanted = spec.partitions_when_created
    return counts.get(wanted, DEFAULT_PARTITIONS) if isinstance(wanted, str) else wanted


def _config_text(value: str | int | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


_Value = TypeVar("_Value")

_NOT_THERE = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC})
_DENIED = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED})
_REFUSED = frozenset(
    {
        KafkaError.INVALID_CONFIG,
        KafkaError.INVALID_PARTITIONS,
        KafkaError.INVALID_REPLICATION_FACTOR,
        KafkaError.INVALID_REQUEST,
        KafkaError.POLICY_VIOLATION,
        KafkaError.TOPIC_EXCEPTION,
    }
)
"""Codes by which a broker refuses a topic as it is asked for."""

_AUTHENTICATION_FAILURES = 2
"""A broker that goes down in the middle of a login looks like one refusal; a wrong password is refused every time."""


class _Heard:
    """librdkafka's error callback: tells, and keeps what a wait must know. The client holds it, it not the client."""

    def __init__(self, tell: Tell) -> None:
        self._complaints = Complaints("admin", tell)
        self._refusals = 0
        self.last = "no answer"

    def __call__(self, error: KafkaError) -> None:
        self._complaints(error)
        if self._complaints.refused is error:
            self._refusals += 1
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # says less than the complaint before it
            self.last = error.str()

    @property
    def refusal(self) -> KafkaError | None:
        """The refusal of our credentials, once it is sure to be one."""
        return self._complaints.refused if self._refusals >= _AUTHENTICATION_FAILURES else None


class Admin:
    """librdkafka's admin client with bounded waits and our errors."""

    def __init__(self, properties: Properties, tell: Tell, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._servers = properties.get("bootstrap.servers", "")
        self._heard = _Heard(tell)
        self._client = new_admin(admin_properties(properties), self._heard)

    def partition_counts(
        self, names: list[str], needed: Mapping[str, tuple[str, ...]] | None = None, *, led: bool = False
    ) -> dict[str, int]:
        """By name, of the topics that are there (``led``: with a leader for each partition).

        Raises :class:`ConfigurationError` where one of the rights *needed* on them is missing: a client without them
        would wait, or fail, without telling which."""
        futures = self._client.describe_topics(
            TopicCollection(names), include_authorized_operations=needed is not None, request_timeout=self._timeout_s
        )
        rights = {name: " and ".join(each) for name, each in (needed or {}).items()}
        described = self._answers(futures, "DESCRIBE", none_for=_NOT_THERE, rights=rights)
        there = {
            name: topic
            for name, topic in described.items()
            if topic is not None and not (led and any(partition.leader is None for partition in topic.partitions))
        }
        problems = [
            f"topic {name}: the right {right} on this topic is missing"
            for name, topic in there.items()
            for right in (needed or {}).get(name, ())
            # The library's own hint forgets None: a broker that does not say.
            if topic.authorized_operations is not None
            and right not in {each.name for each in topic.authorized_operations}
        ]
        if problems:
            raise ConfigurationError(*problems)
        return {name: len(topic.partitions) for name, topic in there.items()}

    def configs(self, names: list[str]) -> dict[str, dict[str, str]]:
        """The configuration in force, by topic."""
        if not names:
            return {}
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        futures = self._client.describe_configs(resources, request_timeout=self._timeout_s)
        by_name = {resource.name: future for resource, future in futures.items()}
        answers = self._answers(by_name, "DESCRIBE_CONFIGS")
        return {
            name: {key: str(entry.value) for key, entry in entries.items()}
            for name, entries in answers.items()
            if entries is not None
        }

    def create(self, specs: list[TopicSpec], counts: Mapping[str, int]) -> dict[str, int]:
        """Make topics. Returns their partition counts, once the broker shows them with leaders.

        Those that are to have as many partitions as another are made last: somebody else may be making that one now.
        """
        made: dict[str, int] = {}
        for wave in (
            [spec for spec in specs if isinstance(spec.partitions_when_created, int)],
            [spec for spec in specs if isinstance(spec.partitions_when_created, str)],
        ):
            known = {**counts, **made}
            topics = [
                NewTopic(spec.name, _count_for(spec, known), spec.replication_factor, config=dict(spec.config))
                for spec in wave
            ]
            if topics:
                futures = self._client.create_topics(
                    topics, operation_timeout=self._timeout_s, request_timeout=self._timeout_s
                )
                self._answers(futures, "CREATE", none_for=frozenset({KafkaError.TOPIC_ALREADY_EXISTS}))
                made.update(self._shown([topic.topic for topic in topics]))
        return made

    def _shown(self, names: list[str]) -> dict[str, int]:
        """Counts of topics just made: the controller knows them a little before the broker that is asked."""
        deadline_s = time.monotonic() + self._timeout_s
        while True:
            counts = self.partition_counts(names, led=True)
            if len(counts) == len(names):
                return counts
            if time.monotonic() > deadline_s:
                absent = ", ".join(sorted(set(names) - set(counts)))
                raise RetryableError(f"topics were created and are not shown yet: {absent}")
            time.sleep(0.1)

    def _answers(
        self,
        futures: Mapping[str, Future[_Value]],
        right: str,
        *,
        none_for: frozenset[int] = frozenset(),
        rights: Mapping[str, str] | None = None,
    ) -> dict[str, _Value | None]:
        """The results by topic; ``None`` for the error codes *none_for*. *right* is what the request needs, *rights*
        what else is needed of a topic, and shows itself by the same refusal."""
        for future in futures.values():
            self._wait(future)
        answers: dict[str, _Value | None] = {}
        problems: list[str] = []
        for name, future in futures.items():
            failure = future.exception()
            if failure is None:
                answers[name] = future.result()
                continue
            if not isinstance(failure, KafkaException):
                raise failure
            error: KafkaError = failure.args[0]
            if error.code() in none_for:
                answers[name] = None
            elif error.code() in _DENIED:
                also = f"; needed are {rights[name]}, which bring it" if rights and name in rights else ""
                problems.append(f"topic {name}: the right {right} on this topic is missing ({error.str()}){also}")
            elif error.code() in _REFUSED:
                problems.append(f"topic {name}: the broker refuses it: {error.str()}")
            elif error.code() == KafkaError._TIMED_OUT:
                raise self._no_answer() from failure
            else:
                raise translated(failure, f"{right} topic {name}") from failure
        if problems:
            raise ConfigurationError(*problems)
        return answers

    def _wait(self, future: Future[Any]) -> None:
        deadline_s = time.monotonic() + self._timeout_s + 1.0
        while not future.done():
            self._client.poll(0.05)
            if self._heard.refusal is not None:
                raise translated(self._heard.refusal, "broker")
            if time.monotonic() > deadline_s:
                raise self._no_answer()

    def _no_answer(self) -> RetryableError:
        return RetryableError(
            f"no answer from the brokers at {self._servers} in {self._timeout_s:g} s: {self._heard.last}"
        )
