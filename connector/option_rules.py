"""What must hold for the options beyond type and bounds, as far as it can be seen without connecting."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from connector.core.addresses import check_base_url, check_proxy, check_rest_url
from connector.core.admit import GONE_AFTER_MS
from connector.core.errors import ConfigurationError
from connector.core.secrets import without_userinfo

if TYPE_CHECKING:
    from connector.config import Config

KEPT_PROPERTIES: Mapping[str, str] = {
    "acks": "a record counts as written when all in-sync replicas have it",
    "request.required.acks": "a record counts as written when all in-sync replicas have it",
    "enable.idempotence": "without it a repeated request writes a record twice",
    "enable.gapless.guarantee": "at least once, nothing is written behind a record that was refused",
    "message.timeout.ms": "a record that is given up alone leaves a hole behind it",
    "delivery.timeout.ms": "a record that is given up alone leaves a hole behind it",
    "partitioner": "records go to the partition that Java's clients expect, which joins rest on",
    "isolation.level": "the topic is followed as committed, or aborted records would count as written",
    "enable.auto.commit": "there is no consumer group: the topic itself is the state",
    "auto.commit.enable": "there is no consumer group: the topic itself is the state",
    "enable.auto.offset.store": "there is no consumer group: the topic itself is the state",
    "auto.offset.reset": "where the topic is read from is worked out from what it holds",
    "enable.partition.eof": "it is how the end of the topic is seen",
    "allow.auto.create.topics": "a mistyped name would become a topic; topic.create makes them with the right settings",
}
"""librdkafka properties that the promises rest on, and why each is not the operator's to set."""

KEPT_TOPIC_CONFIG: Mapping[str, str] = {
    "message.timestamp.type": "the timestamp of a record is its event time (CreateTime)",
    "cleanup.policy": "a compacted topic has no history to join with; latest.enabled makes one beside it",
    "retention.ms": "set topic.retention_ms",
}

_OFF: Mapping[str, frozenset[str]] = {
    "enable.ssl.certificate.verification": frozenset({"false", "0", "no", "off", "f", "n"}),
    "ssl.endpoint.identification.algorithm": frozenset({"none", ""}),
}
"""Values that turn off a part of TLS verification."""

NOT_VERIFIED = "the identity of the brokers is not verified: anybody in between can read and change everything"
VERIFY = 'take it out, and name the authority with kafka."ssl.ca.location"'

_TOPIC_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_STREAM_IN_ADDRESS = re.compile(r"\w+://[^/@]+/(ws|stream|market|public|private)\b")
"""Whoever pastes an address as the exchange writes it has an ``@`` in it that parts no user from a host."""
_SYMBOL = re.compile(r"\w+")
_SERVER = re.compile(r"(\w+://)?(\[[0-9a-fA-F:]+\]|[^\s:,/\[\]@]+)(:(\d{1,5}))?")

_REGISTRY_ROUTE = re.compile(r"/(subjects|schemas/ids)(/.*)?$")
_FUNCTION = re.compile(r"[\w.]+:[\w.]+|[\w.-]+")

_Problems = Iterator[str]


def problems_of(config: Config, needs: Collection[str]) -> list[str]:
    """Every problem found; *needs* are the other sides (``kafka``, ``registry``) whose addresses must be given."""
    return [*(problem for rule in _RULES for problem in rule(config)), *_missing(config, needs)]


def unverified(kafka: Mapping[str, object]) -> Iterator[str]:
    """The properties that turn off a part of TLS verification."""
    return (name for name, off in _OFF.items() if str(kafka.get(name, "on")).strip().lower() in off)


def _addresses(config: Config) -> _Problems:
    for key, url, check in (
        ("feed.url", config.feed.url, check_base_url),
        ("feed.rest_url", config.feed.rest_url, check_rest_url),
        ("feed.proxy", config.feed.proxy, check_proxy),
    ):
        if "@" in url and check is not check_proxy and not _STREAM_IN_ADDRESS.match(url):
            yield f"{key}: user and password do not belong in this address"
            continue
        try:
            check(url)
        except ConfigurationError as error:
            yield from error.problems


def _symbols(config: Config) -> _Problems:
    for symbol in config.feed.symbols:
        if not _SYMBOL.fullmatch(symbol):
            yield f"feed.symbols: {symbol!r} is no symbol; they look like BTCUSD"


def _topics(config: Config) -> _Problems:
    for topic in config.topics:
        if not _TOPIC_NAME.fullmatch(topic) or topic in {".", ".."}:
            yield f"topic: {topic!r} is no topic name: letters, digits, '.', '_' and '-', at most 249"
    if len(set(config.topics)) < len(config.topics):
        yield f"topic: the topics must have different names, not {', '.join(config.topics)}"
    if config.topic.replication_factor == 0:
        yield "topic.replication_factor: at least 1, or -1 for the broker's default"
    if config.topic.retention_ms == 0:
        yield "topic.retention_ms: more than 0, or -1 for ever"
    for name, why in KEPT_TOPIC_CONFIG.items():
        if name in config.topic.config:
            yield f'topic.config."{name}": not to be set: {why}'


def _kafka(config: Config) -> _Problems:
    for name in config.kafka:
        if name in KEPT_PROPERTIES:
            yield f'kafka."{name}": not to be set: {KEPT_PROPERTIES[name]}'
        elif name.endswith("_cb") and name != "oauth_cb":
            yield f"kafka.{name}: a function cannot be configured"
    yield from _oauth(config.kafka)
    servers = str(config.kafka.get("bootstrap.servers", "")).split(",")
    for server in servers if servers != [""] else ():
        match = _SERVER.fullmatch(server.strip())
        if not match or int(match[4] or 1) not in range(1, 65_536):
            yield f'kafka."bootstrap.servers": {without_userinfo(server)!r} is no host:port'


def _oauth(kafka: Mapping[str, object]) -> _Problems:
    if "oauth_cb" not in kafka:
        return
    if not _FUNCTION.fullmatch(str(kafka["oauth_cb"])):
        yield "kafka.oauth_cb: expected module:function, or the name of an entry point of binance_kafka_source.oauth"
    mechanisms = [str(kafka.get(name, "")).upper() for name in ("sasl.mechanism", "sasl.mechanisms")]
    if "OAUTHBEARER" not in mechanisms:
        yield 'kafka.oauth_cb: without kafka."sasl.mechanism" = "OAUTHBEARER" nobody asks it for a token'
    if str(kafka.get("sasl.oauthbearer.method", "default")).lower() == "oidc":
        yield 'kafka.oauth_cb: with kafka."sasl.oauthbearer.method" = "oidc" librdkafka gets the tokens; take one out'


def _journal(config: Config) -> _Problems:
    path = config.journal.path
    if not path or path.endswith("/"):
        yield f"journal.path: expected the path of a file, not {path!r}"
    elif path.startswith("~"):
        yield f"journal.path: {path!r} would be a folder named ~; write the whole path"
    elif "\0" in path:
        yield "journal.path: no path has a NUL in it"


def _registry(config: Config) -> _Problems:
    for each in str(config.registry["url"]).split(",") if "url" in config.registry else ():
        parts = urlsplit(each.strip())
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            yield f"registry.url: expected http://host or https://host, not {without_userinfo(each)!r}"
        elif match := _REGISTRY_ROUTE.search(parts.path):
            yield (
                f"registry.url {without_userinfo(each)!r} contains {match[0]}, which the connector adds itself; "
                "write what stands before it"
            )
    timeout = config.registry.get("timeout", 10)
    if isinstance(timeout, bool | str) or not timeout > 0:
        yield "registry.timeout: expected a number of seconds, more than 0"


def _pinned(config: Config) -> _Problems:
    if (config.schema.id is None) != (config.schema.events_id is None):
        missing = "schema.id" if config.schema.id is None else "schema.events_id"
        yield (
            f"{missing}: pin schema.id and schema.events_id both or neither, so that a start needs no registry; "
            "`schema check` shows both ids"
        )


def _latest(config: Config) -> _Problems:
    if 0 < config.latest.tombstone_after < GONE_AFTER_MS / 1000:
        yield (
            f"latest.tombstone_after: at least {GONE_AFTER_MS // 1000} seconds, or 0 for never: a symbol that "
            "comes back sooner is late, not gone"
        )


_RULES: tuple[Callable[[Config], _Problems], ...] = (
    _addresses,
    _symbols,
    _topics,
    _latest,
    _kafka,
    _registry,
    _journal,
    _pinned,
)


def _missing(config: Config, needs: Collection[str]) -> _Problems:
    if "kafka" in needs and not config.kafka.get("bootstrap.servers"):
        hint = _instead("bootstrap.servers", config.kafka)
        yield f'kafka."bootstrap.servers": required: the brokers as host:port, parted by commas{hint}'
    pinned = config.schema.id is not None
    if "registry" in needs and "url" not in config.registry and not pinned:
        hint = _instead("url", config.registry)
        yield f"registry.url: required, unless schema.id and schema.events_id pin the ids{hint}"


def _instead(name: str, given: Collection[str]) -> str:
    """The property that was given and looks like *name*, in words."""
    near = difflib.get_close_matches(name, given, n=1)
    return f' (given is "{near[0]}": a slip?)' if near else ""
