"""The connector inside another program: a small, stable interface. ``docs/embedding.md`` explains it by examples.

:class:`Source`
    All of the connector within an event loop that runs already: to Kafka as configured, or to a :class:`TickSink`.
:class:`TickStream`
    Ticks as an async iterator: neither journal nor Kafka.

Neither touches signals, the main thread, or anybody's logging. What cannot work raises :class:`ConfigurationError`.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self, TextIO

from prometheus_client import CollectorRegistry

from connector.config import Config, load_config
from connector.core.admit import History
from connector.core.encode import RecordEncoder
from connector.core.errors import ConfigurationError, ConnectorError, FatalError, RetryableError
from connector.core.happenings import Happening, JournalDropped, Tell
from connector.core.ledger_events import EventKind, FeedEvent
from connector.core.pipeline import Batch, Pipeline
from connector.core.process_status import Status, why_not_ready
from connector.core.tick_sink import DecodedTick, Delivery, TickSink, delivery_of
from connector.core.values import Frame, Reject
from connector.core.witness import Witness
from connector.edges.feed import Feed
from connector.edges.schema_files import load_schema
from connector.edges.watched_normalizer import WatchedNormalizer
from connector.runner import HEARTBEAT_S, Connector, Host, event_time_window_ms, feed_options, history_window_ms, live

__all__ = [
    "Config",
    "ConfigurationError",
    "ConnectorError",
    "DecodedTick",
    "Delivery",
    "EventKind",
    "FatalError",
    "FeedEvent",
    "Happening",
    "Reject",
    "RetryableError",
    "Source",
    "Status",
    "TickSink",
    "TickStream",
    "load_config",
    "why_not_ready",
]

FRAMES_AT_ONCE = 32
"""Of those that wait: some milliseconds of the event loop."""


class Source:
    """The connector, between :meth:`start` and :meth:`stop`, or for as long as an ``async with`` lasts.

    Everything that blocks has threads of its own; the event loop is only used to receive. Several may run in one
    process, each with a journal of its own. An instance is started once.
    """

    def __init__(
        self,
        config: Config,
        *,
        sink: TickSink | None = None,
        tell: Tell | None = None,
        log: TextIO | None = None,
        pages: bool = False,
    ) -> None:
        """``sink`` takes the place of Kafka and the registry. ``tell`` is called with each happening, on any thread,
        and must return at once. ``log``: where the log goes; None: standard error. ``pages``: whether ``http.host``
        and ``http.port`` are served.
        """
        self._connector = Connector(config, also=tell, host=Host(sink=sink, pages=pages, log=log))
        self._asked = asyncio.Event()
        self._serving: asyncio.Task[int] | None = None

    async def start(self) -> None:
        """Return when it receives. Raises ConfigurationError where it cannot: a journal in use, a port taken."""
        try:
            await asyncio.to_thread(self._connector.open)
        except BaseException:
            await asyncio.to_thread(self._connector.close)
            raise
        self._serving = asyncio.create_task(self._connector.serve(live, self._asked), name="binance-kafka-source")

    async def wait(self) -> int:
        """Until it ends, by :meth:`stop` or by itself: the exit code, as of the command. Raises what ended it."""
        if self._serving is None:
            raise RuntimeError("start() first")
        return await asyncio.shield(self._serving)

    async def stop(self) -> int:
        """Receive no more, deliver what was accepted within ``shutdown.timeout``, and end.

        Returns 0, or 3 where something is left: it is in the journal, and the next start delivers it.
        """
        self._asked.set()
        return await self.wait()

    def status(self) -> Status:
        """How it is doing now, from any thread. :func:`why_not_ready` takes it."""
        return self._connector.status()

    @property
    def metrics(self) -> CollectorRegistry:
        """To be shown beside one's own, by ``prometheus_client``."""
        return self._connector.telemetry.metrics.registry

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


class TickStream:
    """Ticks of the exchange as they come, within an ``async with``::

        async with TickStream(config) as ticks:
            async for tick in ticks:
                tick.symbol, tick.fields["index_price"]

    Several sockets, first arrival wins; each (symbol, event time) once and in order, as in the topic. What was
    missed is an event of :meth:`deliveries`. There is no journal: a tick that nobody takes ends with the process.
    """

    def __init__(self, config: Config, *, tell: Tell | None = None, most_waiting: int = 1000) -> None:
        """Of ``config`` only ``feed`` and ``schema`` count. ``most_waiting``: frames kept for a slow consumer; beyond
        them the oldest are dropped, which is told and leaves a ``gap`` event.
        """
        self._tell = tell or (lambda _: None)
        self._most_waiting = most_waiting
        self._schema = schema = load_schema(config.schema.file)
        ahead_ms, behind_ms = event_time_window_ms(config)
        normalizer = WatchedNormalizer(schema, ahead_ms=ahead_ms, behind_ms=behind_ms, tell=self._tell)
        self._witness = Witness()
        history = History(schema.feed.cadence_ms, history_window_ms(config))
        self._pipeline = Pipeline(normalizer, RecordEncoder(schema, 0), history, self._witness.between)
        self._history = history
        self._feed = Feed(feed_options(config), schema, normalizer, deliver=self._accept, tell=self._tell)
        self._frames: deque[Frame] = deque()
        self._arrived = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def deliveries(self) -> AsyncIterator[Delivery]:
        """Ticks with the rejects and events beside them, as :class:`Delivery` has them. Raises what ended the feed."""
        while True:
            await self._next_frame()
            batch = Batch()
            for _ in range(min(len(self._frames), FRAMES_AT_ONCE)):
                self._pipeline.add(self._frames.popleft(), batch)
            self._history.forget_old_periods()
            for happening in batch.told:
                self._tell(happening)
            if not batch.empty:
                yield delivery_of(batch, self._schema)

    async def __aiter__(self) -> AsyncIterator[DecodedTick]:
        async for delivery in self.deliveries():
            for tick in delivery.ticks:
                yield tick

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._feed.run()), asyncio.create_task(self._witnessed())]
        for task in self._tasks:
            task.add_done_callback(lambda _: self._arrived.set())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, frame: Frame) -> None:
        if len(self._frames) >= self._most_waiting:
            dropped = self._frames.popleft()
            at_ms = dropped.received_at_ns // 1_000_000
            self._witness.gave_up(at_ms, at_ms)
            self._tell(JournalDropped(1, len(dropped.data), "drop-oldest"))
        self._frames.append(frame)
        self._arrived.set()

    async def _next_frame(self) -> None:
        await asyncio.sleep(0)  # for whoever else runs in the loop
        while not self._frames:
            for task in self._tasks:
                if task.done():
                    task.result()
            self._arrived.clear()
            await self._arrived.wait()

    async def _witnessed(self) -> None:
        """From what the reason of a gap is taken."""
        while True:
            self._witness.note(self._feed.state().state, time.time_ns() // 1_000_000)
            await asyncio.sleep(HEARTBEAT_S)
