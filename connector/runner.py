"""Start, stop and the order of both. The way of a tick starts in ``edges/feed.py`` and ends in ``edges/kafka_sink.py``.

:meth:`Connector.run` owns the process; :meth:`Connector.open` and :meth:`Connector.serve` are the same for a program
that has an event loop and signals of its own (:mod:`connector.embedding`).

Everything that receives starts before anything that asks the registry or the
broker, so that what comes meanwhile is in the journal. Everything that
receives stops first, so that what was accepted can be delivered.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal, TextIO

from connector.config import Config
from connector.core.admit import GONE_AFTER_MS
from connector.core.encode import RecordEncoder
from connector.core.happenings import Happening, NotVerified, Started, Stopped, Tell
from connector.core.ledger_events import EventEncoder
from connector.core.process_status import KafkaStatus, RestStatus, SocketStatus, Status
from connector.core.quality import SymbolSets
from connector.core.schema import StreamSchema
from connector.core.secrets import without_userinfo
from connector.core.tick_sink import TickSink
from connector.core.values import Frame
from connector.core.witness import ADVANCING, DOWN
from connector.edges import event_loop
from connector.edges.credentials import Credentials
from connector.edges.feed import Feed
from connector.edges.feed_options import FeedOptions
from connector.edges.http import HttpServer
from connector.edges.journal import Journal
from connector.edges.journal_file import Connect, connect
from connector.edges.kafka_clients import try_out
from connector.edges.kafka_records import SinkOptions
from connector.edges.kafka_sink import Guards, Prepared, Sink
from connector.edges.ledger import Ledger
from connector.edges.plugged_sink import PluggedSink
from connector.edges.registry import Registry, subject_of
from connector.edges.rest import RestFill
from connector.edges.schema_files import find_schema_file, load_schema, read_schema_file
from connector.edges.sink_thread import Role
from connector.edges.telemetry import Telemetry
from connector.edges.topics import TopicSpec, ensure_topics, wanted_topics
from connector.edges.watched_normalizer import WatchedNormalizer
from connector.option_rules import NOT_VERIFIED, VERIFY, unverified

VERSION = version("binance-kafka-source")
EXIT_CLEAN = 0
EXIT_UNDELIVERED = 3
HEARTBEAT_S = 1.0
LEDGER_CLOSE_S = 2.0
JOURNAL_CLOSE_S = 2.0
REST_AFTER_S = 3.0
THREAD_TURN_S = 0.02
"""For so long a thread that computes keeps the interpreter while others wait for it; in Python it is 5 ms. Longer turns
cost less, 0.3 µs a record in a backlog. Only there a thread computes for so long: live, it is done in one or two.
"""

Source = Callable[["Connector", asyncio.Event], Coroutine[None, None, None]]
"""Brings frames to :meth:`Connector.accept` until the event is set or there are no more."""


@dataclass(frozen=True, slots=True)
class Host:
    """What a program that the connector runs in may have otherwise."""

    sink: TickSink | None = None
    """In the place of Kafka and the registry."""
    pages: bool = True
    """Whether ``http.host`` and ``http.port`` are served."""
    log: TextIO | None = None
    """Where the log goes; None: standard error."""


def run(config: Config) -> int:
    """Run until SIGTERM or SIGINT; the exit code. Raises what the sink raised."""
    return Connector(config).run(live)


class Connector:
    """One process, one stream: its parts, built from the configuration, and their order of start and stop."""

    def __init__(
        self,
        config: Config,
        *,
        historical: bool = False,
        also: Tell | None = None,
        guards: Guards | None = None,
        open_journal: Connect = connect,
        host: Host = Host(),
    ) -> None:
        """``historical``: frames of any age are taken (a replay). ``also`` is told what happens, on any thread.

        ``guards`` and ``open_journal`` are for tests that show what each guard is for.
        """
        self.config = config
        self._also = also
        self.schema = load_schema(config.schema.file)
        self.replica = str(config.kafka.get("client.id", socket.gethostname()))
        self.telemetry = Telemetry(
            log_format=config.log.format,
            log_level=config.log.level,
            secrets=config.secret_values(),
            stream=host.log,
        )
        window = (None, None) if historical else event_time_window_ms(config)
        self.normalizer = WatchedNormalizer(self.schema, ahead_ms=window[0], behind_ms=window[1], tell=self.tell)
        self._symbol_sets = SymbolSets()
        self.journal = Journal(
            Path(config.journal.path),
            max_bytes=config.journal.max_bytes,
            max_age_s=config.journal.max_age,
            at_bound=config.journal.at_bound,
            tell=self.tell,
            connect=open_journal,
        )
        self.ledger = Ledger(config.kafka, config.events_topic, self.replica, writes=self.is_writer, tell=self.tell)
        self._host = host
        self._servers = "" if host.sink is not None else _servers(config)
        self.sink = self._plugged(host.sink) if host.sink is not None else self._kafka(historical, guards)
        self._http = HttpServer(config.http.host, config.http.port, self.telemetry, self.status)
        self.credentials = Credentials(
            config.kafka,
            config.registry,
            mask=self.telemetry.mask,
            log_in=self._log_in,
            try_out=try_out,
            start_over=self._start_over,
            tell=self.tell,
        )
        self.feed: Feed | None = None
        self.rest: RestFill | None = None
        self._started_at_ms = self._heartbeat_at_ms = _now_ms()

    def _kafka(self, historical: bool, guards: Guards | None) -> Sink:
        return Sink(
            sink_options(self.config, self.replica, whole_history=historical),
            normalizer=self.normalizer,
            cadence_ms=self.schema.feed.cadence_ms,
            make_encoder=lambda schema_id: RecordEncoder(self.schema, schema_id),
            journal=self.journal,
            prepare=self._prepare,
            feed_state=lambda: ADVANCING if historical else self.feed_state(),
            unbroken_since_ms=lambda: 0 if historical else self._unbroken_since_ms(),
            aside=self.ledger.deliver,
            tell=self.tell,
            guards=guards,
        )

    def _plugged(self, sink: TickSink) -> PluggedSink:
        return PluggedSink(
            sink,
            schema=self.schema,
            normalizer=self.normalizer,
            journal=self.journal,
            window_ms=history_window_ms(self.config),
            max_records=self.config.transaction.max_records,
            tell=self.tell,
        )

    def tell(self, happening: Happening) -> None:
        """To the log, the metrics and the ledger."""
        self.telemetry.tell(happening)
        if self._host.sink is None:
            self.ledger.tell(happening)
        if self._also is not None:
            self._also(happening)

    def accept(self, frame: Frame) -> None:
        """Take a frame: it is in the journal before anything else sees it."""
        self.journal.put(frame)

    def is_writer(self) -> bool:
        return self.sink.state().role is Role.WRITER

    def feed_state(self) -> str:
        """How the feed is as a whole, in the words of :mod:`connector.core.witness`."""
        return self.feed.state().state if self.feed is not None else DOWN

    def _unbroken_since_ms(self) -> int | None:
        return self.feed.state().unbroken_since_ms if self.feed is not None else None

    def status(self) -> Status:
        """How it is doing now. May be called from any thread."""
        feed = self.feed.state() if self.feed is not None else None
        rest = self.rest.state() if self.rest is not None else None
        sink = self.sink.state()
        monotonic, now_ms = time.monotonic(), _now_ms()

        def wall_ms(at_s: float | None) -> int | None:
            return None if at_s is None else now_ms + round((at_s - monotonic) * 1000)

        return Status(
            now_ms=now_ms,
            started_at_ms=self._started_at_ms,
            version=VERSION,
            replica=self.replica,
            topic=self.config.topic.name,
            role=sink.role.value,
            waiting=sink.waiting,
            feed_state=feed.state if feed is not None else DOWN,
            feed_event_time_ms=feed.newest_event_time_ms if feed is not None else None,
            sockets=tuple(
                SocketStatus(
                    each.connection,
                    each.state,
                    round((monotonic - each.since) * 1000),
                    each.frames,
                    each.newest_event_time_ms,
                    each.last_end,
                    wall_ms(each.next_attempt_at),
                    each.url,
                    each.streams,
                )
                for each in (feed.sockets if feed is not None else ())
            ),
            topic_event_time_ms=sink.newest_event_time_ms if sink.newest_event_time_ms >= 0 else None,
            journal_frames=self.journal.frames,
            journal_bytes=self.journal.size_bytes,
            journal_max_bytes=self.config.journal.max_bytes,
            journal_problem=self.journal.problem,
            symbols=tuple(sorted(self.sink.symbols().items())),
            heartbeat_at_ms=self._heartbeat_at_ms,
            ended=("the sink",) if self.sink.ended.is_set() else (),
            feed_advanced_at_ms=wall_ms(feed.advanced_at_monotonic) if feed is not None else None,
            feed_ahead_ms=feed.ahead_ms if feed is not None else None,
            rest=RestStatus(
                rest.state,
                round((monotonic - rest.since) * 1000),
                rest.frames,
                wall_ms(rest.brought_at),
                rest.last_end,
                wall_ms(rest.next_attempt_at),
                rest.url,
            )
            if rest is not None
            else None,
            kafka=KafkaStatus(
                self._servers,
                sink.answered_at_ms,
                sink.committed_at_ms,
                sink.problem,
                sink.problem_at_ms,
                sink.held_back,
            ),
            refused=self.telemetry.refused(),
            ticks_written_at_ms=self.telemetry.ticks_written_at_ms,
            dropped_frames=self.telemetry.dropped_frames,
        )

    def should_fill(self) -> bool:
        """Whether the REST interface is to be asked: by the writer alone, and not for the exchange's short pauses."""
        feed = self.feed.state() if self.feed is not None else None
        return feed is not None and feed.state != ADVANCING and self.is_writer() and feed.silent_s > REST_AFTER_S

    def compare_symbols(self, in_rest: frozenset[str]) -> bool:
        """Hold what REST lists against what the topic has lately got; whether it is to be asked again before long."""
        newest = self.sink.symbols()
        if not newest or self.feed_state() != ADVANCING:
            return True
        since_ms = max(newest.values()) - GONE_AFTER_MS
        in_stream = {symbol for symbol, at_ms in newest.items() if at_ms > since_ms}
        chosen = set(self.config.feed.symbols) or in_rest | in_stream
        for happening in self._symbol_sets.compare(in_rest & chosen, in_stream & chosen):
            self.tell(happening)
        return self._symbol_sets.is_unsure

    def run(self, source: Source) -> int:
        """Take frames from *source* until it ends or a signal comes, deliver them, and return the exit code.

        The process is taken to be the connector's own.
        """
        gc.freeze()  # modules and parts stay: the garbage collector need not go through them again and again
        sys.setswitchinterval(THREAD_TURN_S)
        try:
            self.open()
            reason = event_loop.run(self._receive_until_signalled(source))
            return self._stop(reason)
        finally:
            self.close()

    def open(self) -> None:
        """Everything but what receives. Raises ConfigurationError; :meth:`close` must follow in any case."""
        self.journal.open()
        if self._host.pages:
            self._http.start()
        self.tell(Started(VERSION, self.replica, self.config.topic.name))
        for name in unverified(self.config.kafka):
            self.tell(NotVerified(f"kafka.{name}", NOT_VERIFIED, VERIFY))
        self.sink.start()
        self.credentials.start()

    def _log_in(self, username: str, password: str) -> None:
        if isinstance(self.sink, Sink):
            self.sink.log_in(username, password)
            self.ledger.log_in(username, password)

    def _start_over(self) -> None:
        if isinstance(self.sink, Sink):
            self.sink.start_over()
            self.ledger.start_over()

    async def serve(self, source: Source, asked: asyncio.Event) -> int:
        """After :meth:`open`, in whatever event loop runs: take frames from *source* until it ends or *asked* is set,
        deliver them, close, and return the exit code.

        No signal is touched and the loop is never blocked. Cancelled, it delivers and closes all the same, within
        ``shutdown.timeout``, before it is done.
        """
        reason = "failed"
        try:
            reason = await self._receive(source, asked)
        except asyncio.CancelledError:
            reason = "cancelled"
            raise
        finally:
            ending = asyncio.create_task(asyncio.to_thread(self._stop_and_close, reason))
            exit_code = await _to_its_end(ending)
        return exit_code

    def _stop_and_close(self, reason: str) -> int:
        try:
            return self._stop(reason)
        finally:
            self.sink.give_up()
            self.close()

    def close(self) -> None:
        self.credentials.stop()
        self._http.stop()
        self.journal.close(JOURNAL_CLOSE_S)
        self.telemetry.flush()

    async def _receive_until_signalled(self, source: Source) -> str:
        asked = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, asked.set)
        return await self._receive(source, asked)

    async def _receive(self, source: Source, asked: asyncio.Event) -> str:
        """Until the source ends, somebody asks for it, or something fails: which of them."""
        tasks = {
            asyncio.create_task(source(self, asked)): "the source ended",
            asyncio.create_task(asked.wait()): "asked to stop",
            asyncio.create_task(self._sink_ended()): "the sink ended",
            asyncio.create_task(self._heartbeat()): "the heartbeat ended",
        }
        done = set[asyncio.Task[Literal[True] | None]]()
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            others = [task for task in tasks if task not in done]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
        for task in done:
            task.result()  # raises what ended it
        return ", ".join(tasks[task] for task in done)

    async def _sink_ended(self) -> None:
        while not self.sink.ended.is_set():  # noqa: ASYNC110 - an event of threads
            await asyncio.sleep(0.1)

    async def _heartbeat(self) -> None:
        """The journal's witness: this process lives, and its feed is in that state."""
        while True:
            self._heartbeat_at_ms = now_ms = _now_ms()
            if self.feed is not None:
                self.journal.note(self.feed.state().state, now_ms)
            self.telemetry.observe(self.status())
            self.ledger.serve()
            await asyncio.sleep(HEARTBEAT_S)

    def _stop(self, reason: str) -> int:
        deadline = time.monotonic() + self.config.shutdown.timeout
        self.journal.settle(max(0.0, deadline - time.monotonic()))
        self.sink.stop()
        self.sink.join(max(0.0, deadline - time.monotonic()))
        self.ledger.close(min(LEDGER_CLOSE_S, max(0.1, deadline - time.monotonic())))
        if self.sink.failure is not None:
            raise self.sink.failure
        undelivered = 0 if self.sink.delivered() else max(1, self.journal.frames)
        exit_code = EXIT_UNDELIVERED if undelivered else EXIT_CLEAN
        self.tell(Stopped(exit_code, undelivered, reason))
        self.telemetry.sum_up(everything=True)
        return exit_code

    def _prepare(self) -> Prepared:
        """Ids from the registry, or pinned; topics made or checked. On the sink's thread."""
        config = self.config
        event_text = read_schema_file(find_schema_file("feed_event"))
        schema_id, event_schema_id = schema_ids(config, self.schema, event_text)
        counts = ensure_topics(config.kafka, topics_of(config), create=config.topic.create, tell=self.tell)
        self.ledger.open(EventEncoder(event_text, event_schema_id))
        return Prepared(
            counts[config.topic.name],
            counts[config.events_topic],
            schema_id,
            event_schema_id,
            event_text,
            counts.get(config.latest_topic) if config.latest_topic else None,
        )


async def live(connector: Connector, asked: asyncio.Event) -> None:
    """The source of ``run``: sockets, and REST where they are silent."""
    options = feed_options(connector.config)
    schema = connector.schema
    feed = Feed(options, schema, connector.normalizer, deliver=connector.accept, tell=connector.tell)
    connector.feed = feed
    receiving = [feed.run()]
    if options.rest_fill and schema.feed.rest is not None:
        connector.rest = RestFill(
            options,
            schema,
            deliver=connector.accept,
            tell=connector.tell,
            should_fill=connector.should_fill,
            compare=connector.compare_symbols,
        )
        receiving.append(connector.rest.run())
    await asyncio.gather(*receiving)


def _servers(config: Config) -> str:
    given = str(config.kafka.get("bootstrap.servers", "")).split(",")
    return ", ".join(without_userinfo(server.strip()) for server in given)


def feed_options(config: Config) -> FeedOptions:
    """``[feed]`` as the feed takes it: the same names."""
    given = config.feed
    same = {name: getattr(given, name) for name in given.__struct_fields__}
    # The exchange's symbols are in capitals; its stream names are not, so that somebody will write what works there.
    return FeedOptions(**{**same, "symbols": tuple(symbol.upper() for symbol in given.symbols)})


def sink_options(config: Config, replica: str, *, whole_history: bool = False) -> SinkOptions:
    return SinkOptions(
        kafka=config.kafka,
        topic=config.topic.name,
        dead_letter_topic=config.dead_letter_topic,
        events_topic=config.events_topic,
        latest_topic=config.latest_topic,
        transactional_id=config.transactional_id if config.delivery == "exactly-once" else None,
        replica=replica,
        takeover_after_s=config.takeover.after,
        max_records=config.transaction.max_records,
        history_window_ms=history_window_ms(config),
        whole_history=whole_history,
        tombstone_after_ms=round(config.latest.tombstone_after * 1000) or None if config.latest.enabled else None,
    )


def history_window_ms(config: Config) -> int:
    """How far back a tick can be told from a late one: as far as one is taken at all."""
    return round(config.feed.event_time_behind * 1000)


def schema_ids(config: Config, schema: StreamSchema, event_text: str) -> tuple[int, int]:
    """Of the records and of the ledger's entries. With both pinned no registry is asked."""
    if config.schema.id is not None and config.schema.events_id is not None:
        return config.schema.id, config.schema.events_id
    registry = Registry(config.registry)
    try:
        return (
            registry.lookup(subject_of(config.topic.name), schema.text),
            registry.lookup(subject_of(config.events_topic), event_text),
        )
    finally:
        registry.close()


def topics_of(config: Config) -> tuple[TopicSpec, ...]:
    """The topics as configured."""
    topic = config.topic
    return wanted_topics(
        topic.name,
        events=config.events_topic,
        dead_letters=config.dead_letter_topic,
        latest=config.latest_topic,
        partitions=topic.partitions,
        replication_factor=topic.replication_factor,
        retention_ms=topic.retention_ms,
        config=topic.config,
    )


def event_time_window_ms(config: Config) -> tuple[int, int]:
    return round(config.feed.event_time_ahead * 1000), round(config.feed.event_time_behind * 1000)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


async def _to_its_end(task: asyncio.Task[int]) -> int:
    """The result of a task that must not be cancelled. Where whoever waits for it is, that is raised afterwards."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    result = task.result()
    if cancelled is not None:
        raise cancelled
    return result
