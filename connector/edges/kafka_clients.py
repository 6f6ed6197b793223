"""What every Kafka client of this process shares: properties, partitions, and how its errors are read."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from connector.core.errors import ConfigurationError, ConnectorError, RetryableError
from connector.core.happenings import KafkaComplained, Tell
from connector.edges.oauth import tokens_of

LIBRDKAFKA_LOG = logging.getLogger("librdkafka")
# What matters of it is told by Complaints. Without a handler Python itself prints every line of it, several a second
# while a broker is away.
LIBRDKAFKA_LOG.addHandler(logging.NullHandler())

Properties = Mapping[str, Any]

_SHARED: Properties = {
    "socket.keepalive.enable": True,
    "reconnect.backoff.max.ms": 1000,
    "topic.metadata.refresh.interval.ms": 30_000,
    "statistics.interval.ms": 15_000,  # for those that take them
}

_PRODUCER: Properties = {
    **_SHARED,
    "enable.idempotence": True,
    "acks": "all",
    "allow.auto.create.topics": False,
    "queue.buffering.max.kbytes": 65_536,
    "queue.buffering.max.messages": 200_000,
    "delivery.report.only.error": True,
}

_CONSUMER: Properties = {
    **_SHARED,
    "enable.auto.commit": False,
    "enable.partition.eof": True,
    "auto.offset.reset": "earliest",
    "allow.auto.create.topics": False,
    "queued.max.messages.kbytes": 4096,
    "fetch.error.backoff.ms": 100,
}

_PRODUCER_ONLY = frozenset(
    {
        "transactional.id",
        "transaction.timeout.ms",
        "delivery.timeout.ms",
        "compression.codec",
        "compression.type",
        "compression.level",
        "retries",
        "message.send.max.retries",
        "max.in.flight",
        "max.in.flight.requests.per.connection",
    }
)
_PRODUCER_ONLY_PREFIXES = ("queue.buffering.", "linger.", "batch.", "message.timeout", "sticky.", "request.timeout")
_CONSUMER_ONLY_PREFIXES = ("fetch.", "queued.", "session.", "heartbeat.", "group.", "max.poll.", "check.crcs")


def producer_properties(given: Properties) -> dict[str, Any]:
    """For a producer, without a ``transactional.id``: who writes in transactions says so itself."""
    not_here = {"transactional.id", "transaction.timeout.ms"}
    kept = {k: v for k, v in given.items() if not k.startswith(_CONSUMER_ONLY_PREFIXES) and k not in not_here}
    return {**_PRODUCER, **kept}


def consumer_properties(given: Properties, *, committed_only: bool = True) -> dict[str, Any]:
    """For a consumer that is assigned its partitions: it joins no group and commits nothing."""
    kept = {k: v for k, v in given.items() if k not in _PRODUCER_ONLY and not k.startswith(_PRODUCER_ONLY_PREFIXES)}
    isolation = "read_committed" if committed_only else "read_uncommitted"
    return {**_CONSUMER, "group.id": "binance-kafka-source-unused", **kept, "isolation.level": isolation}


def admin_properties(given: Properties) -> dict[str, Any]:
    kept = consumer_properties(given)
    return {k: v for k, v in kept.items() if k in given or k in _SHARED}


_DENIED = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    }
)
_AUTHENTICATION = frozenset({KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED})


def translated(error: KafkaError | KafkaException, doing: str) -> ConnectorError:
    """Our error for one of librdkafka's, where something was asked of the broker."""
    kafka_error = error.args[0] if isinstance(error, KafkaException) else error
    if kafka_error.code() in _AUTHENTICATION:
        return ConfigurationError(
            f"{doing}: the broker does not accept these credentials ({kafka_error.str()}); "
            "see kafka.sasl.mechanism, and kafka.sasl.username and kafka.sasl.password (or what makes the token)"
        )
    if kafka_error.code() in _DENIED:
        return ConfigurationError(f"{doing}: the broker denies it to this principal ({kafka_error.str()})")
    if kafka_error.code() == KafkaError._INVALID_ARG:
        return ConfigurationError(f"{doing}: {kafka_error.str()}{_dotted(kafka_error.str())}; see the [kafka] table")
    return RetryableError(f"{doing}: {kafka_error.str()} ({kafka_error.name()})")


OnError = Callable[[KafkaError], None]


def _dotted(said: str) -> str:
    """The likely name, where one was written with underscores or dashes."""
    name = said.partition('No such configuration property: "')[2].rstrip('"')
    dotted = name.replace("_", ".").replace("-", ".")
    return f'; librdkafka writes names with dots: did you mean "{dotted}"?' if dotted != name else ""


def new_producer(properties: Properties, complaints: OnError, **more: Any) -> Producer:
    """Raises as :func:`_with_callbacks`, and :class:`ConfigurationError` where librdkafka does not take the properties.

    So do the two below.
    """
    try:
        return Producer(_with_callbacks(properties, complaints, **more))
    except KafkaException as error:
        raise translated(error, "making a producer") from error


def new_consumer(properties: Properties, complaints: OnError, **more: Any) -> Consumer:
    try:
        return Consumer(_with_callbacks(properties, complaints, **more))
    except KafkaException as error:
        raise translated(error, "making a consumer") from error


def new_admin(properties: Properties, complaints: OnError) -> AdminClient:
    try:
        return AdminClient(_with_callbacks(properties, complaints))
    except KafkaException as error:
        raise translated(error, "making an admin client") from error


def try_out(properties: Properties) -> None:
    """Raise what making the clients of a connector with these properties raises. Connects to nobody for long."""
    new_producer(producer_properties(properties), unheard, stats_cb=unheard)
    new_consumer(consumer_properties(properties), unheard, stats_cb=unheard).close()


def unheard(_: object) -> None:
    """For clients whose complaints show in the answers, or in their absence."""


def _with_callbacks(properties: Properties, complaints: OnError, **more: Any) -> dict[str, Any]:
    """With functions in place of the name under ``oauth_cb``, and statistics only for who takes them.

    Raises :class:`ConfigurationError` where nothing of that name makes tokens, and :class:`RetryableError` where it
    fails now: a client would wait 10 s for its first token and say no word of what is wrong.
    """
    config = {**properties, "logger": LIBRDKAFKA_LOG, "error_cb": complaints, **more}
    if "stats_cb" not in config:
        # librdkafka keeps every report, 7 KB each, until somebody takes it.
        config["statistics.interval.ms"] = 0
    if "oauth_cb" not in config:
        return config
    tokens = tokens_of(str(config["oauth_cb"]))
    tokens.token(str(config.get("sasl.oauthbearer.config", "")))

    def oauth_cb(text: str) -> Any:
        try:
            return tokens.token(text)
        except ConnectorError as error:
            # librdkafka tries again in 10 s, and knows only that it failed.
            complaints(KafkaError(KafkaError._AUTHENTICATION, str(error)))
            raise

    return {**config, "oauth_cb": oauth_cb}


class Complaints:
    """librdkafka's error callback: tells, and keeps a refusal of credentials for whoever waits for the broker."""

    def __init__(self, client: str, tell: Tell) -> None:
        self._client = client
        self._tell = tell
        self.refused: KafkaError | None = None

    def __call__(self, error: KafkaError) -> None:
        if error.code() in _AUTHENTICATION:
            self.refused = error
        self._tell(KafkaComplained(self._client, error.name(), error.str()))
