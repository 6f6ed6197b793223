"""``check`` of the broker: reached, topics, rights, transactions. It writes nothing and makes no topic.

Of transactions it tries everything but a record, under a ``transactional.id``
of its own: initialising the live one would fence the connector that writes.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, yet not marked as exported
    ConfigResource,
    NewTopic,
    ResourceType,
    TopicDescription,
)

from connector.core.check_outcomes import Outcome, good, note, problem
from connector.core.check_topics import Commands, Seen, Wanted, judge_planned, judge_replication, judge_topic
from connector.core.errors import ConfigurationError, ConnectorError
from connector.core.happenings import Happening, KafkaComplained
from connector.core.secrets import without_userinfo
from connector.edges.kafka_clients import Properties, admin_properties, new_admin, translated, try_out
from connector.edges.kafka_writer import TransactionalWriter
from connector.edges.topics import DEFAULT_PARTITIONS, TopicSpec

_Value = TypeVar("_Value")

_KINDS = ("records", "ledger", "dead letters", "latest")
"""What the topics hold, in the order of :func:`connector.edges.topics.wanted_topics`."""

_BATCH_BYTES = 1_000_000
"""librdkafka's defaults."""

_AUTHENTICATION_FAILURES = 2
"""A broker that goes down in the middle of a login looks like one refusal."""


@dataclass(frozen=True, slots=True)
class BrokerQuestions:
    """What ``check`` asks the broker about."""

    properties: Properties
    topics: tuple[TopicSpec, ...]
    """In the order of :func:`~connector.edges.topics.wanted_topics`."""
    create: bool
    """Whether ``run`` would make those that are missing."""
    oldest_ms: int
    """How old a record may be when it is written."""
    transactional_id: str | None
    """The live one; unset where there are no transactions."""
    ahead_ms: int = 0
    """How far in the future the time of a record may be."""
    timeout_s: float = 6.0
    """Of each step."""


def look_at_broker(questions: BrokerQuestions) -> Iterator[Outcome]:
    """The broker, then topics and rights. Nothing is raised."""
    properties = questions.properties
    servers = without_userinfo(str(properties.get("bootstrap.servers", "")))
    try:
        try_out(properties)
        admin = _Admin(properties, questions.timeout_s)
    except ConnectorError as error:
        yield problem("broker", servers, str(error), "see the [kafka] table, and librdkafka's own list of properties")
        return
    try:
        nodes = len(admin.wait(admin.client.describe_cluster(request_timeout=questions.timeout_s)).nodes)
        yield good("broker", servers, f"answers; {nodes} broker{'s' if nodes > 1 else ''}")
        yield from _look_at_topics(admin, questions, Commands(servers, principal_of(properties)))
    except _NoAnswerError as error:
        yield problem("broker", servers, str(error), error.remedy)


def look_at_transactions(questions: BrokerQuestions) -> Iterator[Outcome]:
    """Whether this principal may use transactions, under an id beside the live one. Nothing is raised."""
    if questions.transactional_id is None:
        yield note("transactions", "delivery", 'not used: delivery = "at-least-once"')
        return
    own_id = f"{questions.transactional_id}-check"
    properties = {**questions.properties, "transactional.id": own_id}
    servers = without_userinfo(str(properties.get("bootstrap.servers", "")))
    heard = _Heard()
    try:
        writer = TransactionalWriter(properties, own_id, heard, init_timeout_s=questions.timeout_s)
    except KafkaException as error:
        yield problem("transactions", own_id, str(translated(error, "Kafka client")), "see the [kafka] table")
        return
    except ConfigurationError as error:
        grant = Commands(servers, principal_of(properties)).grant(
            "WRITE", f"--transactional-id {questions.transactional_id} --transactional-id {own_id}"
        )
        yield problem(
            "transactions",
            own_id,
            f"{error}; the live id, {questions.transactional_id}, needs the same right, and is not tried",
            f'{grant}; where the cluster has no transactions: delivery = "at-least-once"',
        )
        return
    except ConnectorError as error:
        yield problem(
            "transactions",
            own_id,
            str(error),
            "see that the brokers are well, and that transaction.timeout.ms is not above the brokers' "
            'transaction.max.timeout.ms; where the cluster has no transactions: delivery = "at-least-once"',
        )
        return
    try:
        writer.write((), ())
    except ConnectorError as error:
        yield problem("transactions", own_id, f"an empty transaction fails: {error}", "see the brokers' log")
    else:
        yield good("transactions", own_id, "allowed (tried with an id of its own, never the live one)")
    finally:
        writer.close()


def principal_of(properties: Properties) -> str:
    """Who we are to the broker, as its rights name it."""
    return (
        f"User:{properties['sasl.username']}" if "sasl.username" in properties else "User:<the connector's principal>"
    )


# Topics


def _look_at_topics(admin: _Admin, questions: BrokerQuestions, commands: Commands) -> Iterator[Outcome]:
    names = [spec.name for spec in questions.topics]
    described, denied = admin.topics(names)
    records_name = names[0]
    records = described.get(records_name)
    records_count = len(records.partitions) if records is not None else _planned(questions.topics[0])
    readable = [name for name, topic in described.items() if _may(topic, "DESCRIBE_CONFIGS")]
    configs = admin.configs(readable)
    missing: list[TopicSpec] = []
    for spec, what in zip(questions.topics, _KINDS, strict=False):
        wanted = _wanted(spec, what, records_count, questions)
        topic = described.get(spec.name)
        if topic is not None:
            yield from judge_topic(wanted, _seen(topic, configs.get(spec.name, {})), commands)
        elif spec.name in denied:
            rights = (*wanted.rights, "CREATE") if questions.create else wanted.rights
            needs = " and ".join(wanted.rights) + (" (and CREATE, where it is not there)" if questions.create else "")
            found = f"{commands.principal} may not see this topic, or it is not there: at least DESCRIBE is missing"
            grants = commands.grant("ALL", f"--topic {spec.name}").replace("--operation All", _operations(rights))
            yield problem("rights", spec.name, f"{found}; the connector needs {needs}", grants)
        else:
            missing.append(spec)
    yield from _look_at_missing(admin, missing, records_count, questions, commands)


def _operations(rights: Iterable[str]) -> str:
    return " ".join(f"--operation {''.join(word.capitalize() for word in right.split('_'))}" for right in rights)


def _planned(spec: TopicSpec) -> int:
    count = spec.partitions_when_created
    return count if isinstance(count, int) else DEFAULT_PARTITIONS


def _wanted(spec: TopicSpec, what: str, records_count: int, questions: BrokerQuestions) -> Wanted:
    partitions = spec.partitions if isinstance(spec.partitions_when_created, int) else records_count
    rights = ("DESCRIBE", "DESCRIBE_CONFIGS", *spec.rights)
    compacted = spec.required.get("cleanup.policy") == "compact"
    sizes = (
        questions.properties.get("batch.size", _BATCH_BYTES),
        questions.properties.get("message.max.bytes", _BATCH_BYTES),
    )
    return Wanted(
        spec.name,
        what,
        partitions,
        compacted,
        questions.oldest_ms,
        rights,
        ahead_ms=questions.ahead_ms,
        batch_bytes=min(int(size) for size in sizes),
    )


def _seen(topic: TopicDescription, config: Mapping[str, str]) -> Seen:
    return Seen(
        partitions=len(topic.partitions),
        replicas=min(len(each.replicas) for each in topic.partitions),
        in_sync=min(len(each.isr) for each in topic.partitions),
        leaderless=sum(each.leader is None or each.leader.id < 0 for each in topic.partitions),
        rights=_rights(topic),
        config=config,
    )


def _rights(topic: TopicDescription) -> frozenset[str] | None:
    operations: Sequence[Enum] | None = topic.authorized_operations  # the library's own hint forgets None
    return None if operations is None else frozenset(operation.name for operation in operations)


def _may(topic: TopicDescription, right: str) -> bool:
    rights = _rights(topic)
    return rights is None or right in rights


def _look_at_missing(
    admin: _Admin, specs: list[TopicSpec], records_count: int, questions: BrokerQuestions, commands: Commands
) -> Iterator[Outcome]:
    for spec in specs:
        if spec.required.get("cleanup.policy") != "compact" and spec is questions.topics[0]:
            wanted = _wanted(spec, "records", records_count, questions)
            yield from judge_planned(wanted, records_count, spec.config)
            least = spec.config.get("min.insync.replicas", "")
            if least.isascii() and least.isdigit() and spec.replication_factor > 0:
                remedy = 'see topic.replication_factor and topic.config."min.insync.replicas"'
                yield from judge_replication(spec.name, spec.replication_factor, int(least), remedy)
    planned = {
        spec.name: records_count if isinstance(spec.partitions_when_created, str) else _planned(spec) for spec in specs
    }
    if not questions.create:
        for spec in specs:
            config = "".join(f" --config {key}={value}" for key, value in spec.config.items())
            yield problem(
                "topic",
                spec.name,
                "is not there, and topic.create is off",
                f"set topic.create = true, or: kafka-topics.sh --bootstrap-server {commands.servers} --create "
                f"--topic {spec.name} --partitions {planned[spec.name]}{config}",
            )
        return
    refusals = admin.try_to_create(specs, planned)
    for spec in specs:
        refused = refusals.get(spec.name)
        if refused is None:
            partitions = planned[spec.name]
            found = f"is not there; run will create it with {partitions} partition{'s' if partitions > 1 else ''}"
            yield note("topic", spec.name, found)
        elif refused.code() in _DENIED:
            yield problem(
                "rights",
                spec.name,
                f"is not there, and {commands.principal} may not create it",
                f"{commands.grant('CREATE', f'--topic {spec.name}')} (or create the topic, and set "
                "topic.create = false)",
            )
        else:
            yield problem(
                "topic",
                spec.name,
                f"is not there, and the broker refuses to create it: {refused.str()}",
                "see topic.partitions, topic.replication_factor and topic.config",
            )


# The broker's answers

_NOT_THERE = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC})
_DENIED = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED})
_AUTHENTICATION = frozenset({KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED})

_REACH = (
    'see kafka."bootstrap.servers" (host:port), that the brokers run and this machine may connect to them, and that '
    'kafka."security.protocol" is what this port of theirs speaks'
)
_REMEDIES = {
    "_AUTHENTICATION": 'see kafka."sasl.mechanism", kafka."sasl.username" and kafka."sasl.password"',
    "SASL_AUTHENTICATION_FAILED": 'see kafka."sasl.mechanism", kafka."sasl.username" and kafka."sasl.password"',
    "_SSL": 'see kafka."ssl.ca.location" (the authority that signed the brokers\' certificates), and that '
    'kafka."security.protocol" is SSL or SASL_SSL where the port speaks TLS',
    "_RESOLVE": 'see kafka."bootstrap.servers": a name in it is not known to this machine\'s DNS',
}
"""By librdkafka's name of what it complained about."""


class _NoAnswerError(ConnectorError):
    """A step got no answer that could be used."""

    def __init__(self, found: str, remedy: str) -> None:
        self.remedy = remedy
        super().__init__(found)


class _Heard:
    """Listens to librdkafka's complaints; the most telling is kept."""

    def __init__(self) -> None:
        self.name = ""
        self.words = ""
        self.refusals = 0

    def __call__(self, happening: Happening) -> None:
        if isinstance(happening, KafkaComplained):
            self._hear(happening.code, happening.problem)

    def on_error(self, error: KafkaError) -> None:
        """librdkafka's callback."""
        self._hear(error.name(), error.str())
        if error.code() in _AUTHENTICATION:
            self.refusals += 1

    def _hear(self, name: str, words: str) -> None:
        # That all are down says less than why.
        if name != "_ALL_BROKERS_DOWN" and not (self.name in _REMEDIES and name not in _REMEDIES):
            self.name, self.words = name, words


class _Admin:
    """librdkafka's admin client with bounded waits."""

    def __init__(self, properties: Properties, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._heard = _Heard()
        self.client = new_admin(admin_properties(properties), self._heard.on_error)

    def topics(self, names: list[str]) -> tuple[dict[str, TopicDescription], set[str]]:
        """Those that are there, by name; and those that may not be seen."""
        futures = self.client.describe_topics(
            TopicCollection(names), include_authorized_operations=True, request_timeout=self._timeout_s
        )
        found: dict[str, TopicDescription] = {}
        denied: set[str] = set()
        for name, future in futures.items():
            answer = self._answer(future, _NOT_THERE | _DENIED)
            if not isinstance(answer, KafkaError):
                found[name] = answer
            elif answer.code() in _DENIED:
                denied.add(name)
        return found, denied

    def configs(self, names: list[str]) -> dict[str, dict[str, str]]:
        """The configuration in force, by topic; of those that it may be read of."""
        if not names:
            return {}
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        futures = self.client.describe_configs(resources, request_timeout=self._timeout_s)
        answers = {resource.name: self._answer(future, _NOT_THERE | _DENIED) for resource, future in futures.items()}
        return {
            name: {key: str(entry.value) for key, entry in entries.items()}
            for name, entries in answers.items()
            if not isinstance(entries, KafkaError)
        }

    def try_to_create(self, specs: list[TopicSpec], planned: Mapping[str, int]) -> dict[str, KafkaError]:
        """Ask the broker whether it would, without doing it. Its refusals by topic."""
        if not specs:
            return {}
        topics = [
            NewTopic(spec.name, planned[spec.name], spec.replication_factor, config=dict(spec.config)) for spec in specs
        ]
        futures = self.client.create_topics(topics, validate_only=True, request_timeout=self._timeout_s)
        answers = {name: self._answer(future, None) for name, future in futures.items()}
        return {
            name: answer
            for name, answer in answers.items()
            if isinstance(answer, KafkaError) and answer.code() != KafkaError.TOPIC_ALREADY_EXISTS
        }

    def wait(self, future: Future[_Value]) -> _Value:
        """Raises :class:`_NoAnswerError` for whatever comes but the answer."""
        answer = self._answer(future, frozenset())
        assert not isinstance(answer, KafkaError), "none is taken for an answer"
        return answer

    def _answer(self, future: Future[_Value], taken: frozenset[int] | None) -> _Value | KafkaError:
        """The answer, or a refusal among *taken* (unset: any that the broker itself gives)."""
        deadline_s = time.monotonic() + self._timeout_s + 1.0
        while not future.done() and time.monotonic() < deadline_s:
            self.client.poll(0.05)
            if self._heard.refusals >= _AUTHENTICATION_FAILURES:
                raise self._no_answer()
        if not future.done():
            raise self._no_answer()
        failure = future.exception()
        if failure is None:
            return future.result()
        if not isinstance(failure, KafkaException):
            raise failure
        error: KafkaError = failure.args[0]
        is_the_brokers = error.code() >= 0
        if error.code() in taken if taken is not None else is_the_brokers:
            return error
        if is_the_brokers:
            raise _NoAnswerError(f"{error.str()} ({error.name()})", _REACH) from failure
        raise self._no_answer() from failure

    def _no_answer(self) -> _NoAnswerError:
        why = self._heard.words or f"no answer within {self._timeout_s:g} s"
        return _NoAnswerError(why, _REMEDIES.get(self._heard.name, _REACH))
