"""The options: the one typed table.

A new option is one line here. ``config show`` prints what is in force, and
``docs/options.md`` is generated from this table. What must hold beyond type
and bounds is in :mod:`connector.option_rules`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from connector.core.errors import ConfigurationError
from connector.core.secrets import MASK, masked, secrets_in
from connector.option_rules import problems_of
from connector.option_sources import Setting, build_properties, quoted, read
from connector.option_types import Option, Properties, Table, option, options_of


class FeedOptions(Table, frozen=True):
    """Where the ticks come from, and when a connection is no longer trusted."""

    url: Annotated[str, option("Base address of the exchange's streams; the routes are added.")] = (
        "wss://fstream.binance.com"
    )
    rest_url: Annotated[str, option("Base address of the exchange's REST interface.")] = "https://fapi.binance.com"
    symbols: Annotated[tuple[str, ...], option("Symbols to receive; none means all.")] = ()
    connections: Annotated[int, option("Sockets kept open; the first arrival of a tick wins.", ge=1, le=8)] = 2
    max_frame_bytes: Annotated[int, option("Largest message taken.", unit="bytes", ge=1024)] = 4 * 1024 * 1024
    event_time_ahead: Annotated[
        float, option("How far an event time may be ahead of its arrival.", unit="seconds", gt=0)
    ] = 30.0
    event_time_behind: Annotated[
        float, option("How far an event time may be behind its arrival.", unit="seconds", gt=0, le=86_400)
    ] = 600.0
    first_tick_timeout: Annotated[
        float, option("A socket without a first tick for this long is replaced.", unit="seconds", gt=0)
    ] = 10.0
    trailing_timeout: Annotated[
        float, option("A socket that trails its sibling by this much is replaced.", unit="seconds", gt=0)
    ] = 3.0
    silence_timeout: Annotated[
        float,
        option("Where no socket advances for this long, they are replaced one at a time.", unit="seconds", gt=0),
    ] = 15.0
    rotate_after: Annotated[
        float,
        option("Age at which a socket is replaced; the exchange ends it at 24 h.", unit="seconds", gt=0, le=86_100),
    ] = 84_600.0
    rotate_at: Annotated[
        str,
        option(
            "Time of day (UTC) to replace sockets; empty: by age.",
            form="HH:MM",
            pattern=r"^(([01]\d|2[0-3]):[0-5]\d)?$",
        ),
    ] = ""
    hold: Annotated[
        float,
        option("How long a frame that skips a period waits for a sibling that is behind.", unit="seconds", ge=0, le=10),
    ] = 0.5
    rest_fill: Annotated[bool, option("Ask the REST interface for periods that no socket brought.")] = True
    proxy: Annotated[str, option("Proxy for the feed, as http://host:port; empty: none.")] = ""


_SchemaId = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]


class SchemaOptions(Table, frozen=True):
    """The Avro schema that declares the stream."""

    file: Annotated[str, option("Name of a schema that comes with the package, or path of a schema file.")] = (
        "asset_index"
    )
    id: Annotated[_SchemaId | None, option("Id of the records' schema in the registry, pinned.")] = None
    events_id: Annotated[
        _SchemaId | None, option("Id of the ledger's schema, pinned; with both, a start needs no registry.")
    ] = None


class TopicOptions(Table, frozen=True):
    """The topics written to."""

    name: Annotated[str, option("Topic of the records.")] = "binance.usdm.asset-index"
    create: Annotated[bool, option("Create the topics that are missing.")] = True
    partitions: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=10_000)] | None,
        option("Partitions. Unset: 6 when created, as found when present. Set: must be what is found."),
    ] = None
    replication_factor: Annotated[int, option("Replicas of topics created here; -1: the broker's default.", ge=-1)] = -1
    retention_ms: Annotated[
        int, option("How long topics created here keep records; -1: for ever.", unit="milliseconds", ge=-1)
    ] = 604_800_000
    config: Annotated[Properties, option("More configuration for the topic created here.")] = msgspec.field(
        default_factory=Properties
    )
    dlq: Annotated[str, option("Topic of what could not become a record; empty: the topic's name and .dlq.")] = ""
    events: Annotated[str, option("Topic of the ledger; empty: the topic's name and .events.")] = ""


class LatestOptions(Table, frozen=True):
    """A compacted topic with the newest record of each symbol."""

    enabled: Annotated[bool, option("Write the newest record of each symbol to <topic.name>.latest.")] = False
    tombstone_after: Annotated[
        float,
        option(
            "A symbol without a tick for this long, while others have them, gets a tombstone there; at least 60, "
            "or 0: never.",
            unit="seconds",
            ge=0,
        ),
    ] = 86_400.0


class JournalOptions(Table, frozen=True):
    """Frames kept on disk until the topic holds them."""

    path: Annotated[str, option("File of the journal; on a local disk.")] = "binance-kafka-source.journal"
    max_bytes: Annotated[int, option("Largest size of the frames kept.", unit="bytes", ge=1024 * 1024)] = 1024**3
    max_age: Annotated[float, option("Longest time a frame is kept.", unit="seconds", gt=0)] = 86_400.0
    at_bound: Annotated[
        Literal["drop-oldest", "drop-newest"], option("Which frames are given up at a bound; it is always told.")
    ] = "drop-oldest"


class TakeoverOptions(Table, frozen=True):
    """When a replica that holds more than the topic becomes the writer."""

    after: Annotated[
        float, option("How long the topic may stand still while this replica holds more.", unit="seconds", gt=0)
    ] = 3.0


class TransactionOptions(Table, frozen=True):
    """How much one transaction takes."""

    max_records: Annotated[int, option("Most records in one transaction.", ge=1)] = 10_000


class HttpOptions(Table, frozen=True):
    """Metrics, health and status pages; read-only."""

    host: Annotated[str, option("Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, option("Port to listen on; 0: a free one.", ge=0, le=65_535)] = 9400


class LogOptions(Table, frozen=True):
    """The log, on standard error."""

    format: Annotated[Literal["text", "json"], option("Lines for people or for machines.")] = "text"
    level: Annotated[Literal["debug", "info", "warning", "error"], option("Lowest level written.")] = "info"


class ShutdownOptions(Table, frozen=True):
    """The end of the process."""

    timeout: Annotated[
        float, option("Longest time to deliver what was accepted once asked to stop.", unit="seconds", gt=0)
    ] = 10.0


class Config(Table, frozen=True):
    """Everything that is configured."""

    delivery: Annotated[
        Literal["exactly-once", "at-least-once"], option("Whether records are written in transactions.")
    ] = "exactly-once"
    feed: FeedOptions = FeedOptions()
    schema: SchemaOptions = SchemaOptions()
    topic: TopicOptions = TopicOptions()
    latest: LatestOptions = LatestOptions()
    kafka: Annotated[
        Properties,
        option(
            'Any librdkafka property, "bootstrap.servers" above all. oauth_cb names a function of yours that makes '
            "tokens: module:function, or an entry point (see security.md)."
        ),
    ] = msgspec.field(default_factory=Properties)
    registry: Annotated[
        Properties, option("Any property of the registry client, url above all; timeout is in seconds, 10 by default.")
    ] = msgspec.field(default_factory=Properties)
    journal: JournalOptions = JournalOptions()
    takeover: TakeoverOptions = TakeoverOptions()
    transaction: TransactionOptions = TransactionOptions()
    http: HttpOptions = HttpOptions()
    log: LogOptions = LogOptions()
    shutdown: ShutdownOptions = ShutdownOptions()

    def secret_values(self) -> list[str]:
        """The texts that no output may show; those of today, where a file has changed."""
        return [
            *self.kafka.secret_values(),
            *self.registry.secret_values(),
            *secrets_in("", self.feed.proxy),
        ]

    @property
    def transactional_id(self) -> str:
        """The lock of the topic: every replica has the same."""
        return str(self.kafka.get("transactional.id", self.topic.name))

    @property
    def dead_letter_topic(self) -> str:
        return self.topic.dlq or f"{self.topic.name}.dlq"

    @property
    def events_topic(self) -> str:
        return self.topic.events or f"{self.topic.name}.events"

    @property
    def latest_topic(self) -> str | None:
        """Unset where it is not enabled."""
        return f"{self.topic.name}.latest" if self.latest.enabled else None

    @property
    def topics(self) -> tuple[str, ...]:
        """Every topic that is written to."""
        latest = (self.latest_topic,) if self.latest_topic else ()
        return (self.topic.name, self.events_topic, self.dead_letter_topic, *latest)


OPTIONS: tuple[Option, ...] = options_of(Config)

KAFKA_AND_REGISTRY = frozenset({"kafka", "registry"})


@dataclass(frozen=True, slots=True)
class Shown:
    """One value in force, fit to be shown."""

    key: str
    value: object
    source: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """The options in force, and where each came from."""

    config: Config
    settings: Mapping[tuple[str, ...], Setting]
    """Those that are no defaults, by path."""

    def secret_values(self) -> list[str]:
        """The texts that no output may show, as they were read and as they are."""
        read = [
            Properties({path[-1]: str(each.value)}, secret=[path[-1]])
            for path, each in self.settings.items()
            if each.from_file
        ]
        return [*(secret for each in read for secret in each.secret_values()), *self.config.secret_values()]

    def shown(self) -> Iterator[Shown]:
        """Every option and property in force, secrets masked, in the order of the table."""
        for each in OPTIONS:
            paths = [path for path in self.settings if path[: len(each.path)] == each.path]
            if not paths and not each.passes_through:
                yield Shown(each.key, each.default, "default")
            for path in paths:
                setting = self.settings[path]
                name = path[-1] if each.passes_through else ""
                value = MASK if setting.from_file else masked(name, setting.value)
                yield Shown(quoted(each, path), value, setting.source)


def load_config(
    path: Path | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Iterable[str] = (),
    *,
    needs: Collection[str] = KAFKA_AND_REGISTRY,
) -> Loaded:
    """The options from the TOML file at *path*, the environment and ``a.b=value`` overrides; the later one wins.

    *needs* are the other sides that the caller will talk to (``kafka``, ``registry``): their addresses must be given.

    Raises :class:`~connector.core.errors.ConfigurationError` with every problem found.
    """
    settings, problems = read(OPTIONS, path, environ or {}, overrides)
    config = _build(Config, (), settings)
    problems.extend(problems_of(config, needs))
    if problems:
        raise ConfigurationError(*problems)
    return Loaded(config, settings)


def _build(table: type[Any], above: tuple[str, ...], settings: Mapping[tuple[str, ...], Setting]) -> Any:
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(table):
        path = (*above, field.name)
        default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
        inside = [setting for key, setting in settings.items() if key[: len(path)] == path]
        if isinstance(default, Table):
            values[field.name] = _build(type(default), path, settings)
        elif isinstance(default, Properties):
            values[field.name] = build_properties(inside)
        elif inside:
            values[field.name] = inside[0].value
    return table(**values)
