"""The feed: sibling connections to the exchange, kept alive by data, merged into one flow of frames."""

from __future__ import annotations

import asyncio
import random as chance
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Protocol

from connector.core.addresses import stream_addresses
from connector.core.arrivals import Arrival, Arrivals
from connector.core.backoff import AttemptGate
from connector.core.envelope import Control, Data, Refused, ServerShutdown
from connector.core.happenings import (
    FeedChanged,
    FeedComplained,
    FrameReceived,
    FrameRepeated,
    SocketClosed,
    SocketSuspected,
    StreamMissing,
    Tell,
)
from connector.core.rotation import Rotation, parse_time_of_day
from connector.core.schema import StreamSchema
from connector.core.values import Frame
from connector.core.watch import Life, Limits, Watch
from connector.edges.clock import Clock
from connector.edges.feed_options import FeedOptions
from connector.edges.feed_state import FeedState, SocketState, feed_state
from connector.edges.kept_connection import SERVER_SHUTDOWN, STOPPING, Common, Connect, Lane, Place, Session
from connector.edges.websocket import SocketOptions, open_socket

__all__ = ["Feed", "FeedOptions", "FeedState", "Inspector", "SocketState", "places"]

_WATCH_EVERY_S = 0.2
_PAUSED_FOR_S = 1.0
"""A watch that comes later than this was not late: the process was stopped, or had no processor."""


class Inspector(Protocol):
    """What the feed needs of a normalizer."""

    def inspect(self, data: bytes) -> Data | Control:
        """What a message is, at a glance. Never raises."""
        ...


class Feed:
    """Receives the schema's stream over ``options.connections`` sibling connections.

    Every frame is passed to *deliver* once, whichever sibling brought it first;
    *deliver* is called on the event loop and must return at once. What happens
    is passed to *tell*. Raises ConfigurationError where the options cannot work.
    """

    def __init__(
        self,
        options: FeedOptions,
        schema: StreamSchema,
        normalizer: Inspector,
        *,
        deliver: Callable[[Frame], None],
        tell: Tell,
        clock: Clock | None = None,
        connect: Connect = open_socket,
        random: Callable[[], float] = chance.random,
    ) -> None:
        options.check()
        self._options = options
        self._normalizer = normalizer
        self._deliver = deliver
        self._tell = tell
        self._clock = clock or Clock()
        cadence_ms = schema.feed.cadence_ms
        self._ahead_ms = int(options.event_time_ahead * 1000)
        self._arrivals = Arrivals(cadence_ms=cadence_ms, hold_s=options.hold)
        self._holding = asyncio.Event()
        self._limits = Limits(
            first_tick_s=options.first_tick_timeout,
            trailing_s=max(options.trailing_timeout, 3 * cadence_ms / 1000),
            silence_s=options.silence_timeout,
            quiet_after_s=max(1.0, 2.5 * cadence_ms / 1000),
        )
        self._tasks: asyncio.TaskGroup | None = None
        numbers = count(1)
        common = Common(
            options=options,
            socket_options=SocketOptions(
                max_message_bytes=options.max_frame_bytes,
                open_timeout_s=options.open_timeout,
                close_timeout_s=options.close_timeout,
                proxy=options.proxy,
            ),
            clock=self._clock,
            tell=tell,
            connect=connect,
            random=random,
            gate=AttemptGate(attempts=options.max_attempts, window_s=options.attempts_window),
            rotation=Rotation(
                after_s=options.rotate_after,
                at_s=parse_time_of_day(options.rotate_at),
                connections=options.connections,
            ),
            rotating=asyncio.Lock(),
            next_number=lambda: next(numbers),
            received=self._received,
            ended=self._ended,
            known_ms=self._known_ms,
            has_recovered=self._has_recovered,
            spawn=self._spawn,
        )
        self._lanes = tuple(Lane(place, common) for place in places(options, schema))
        self._watches = {lane.place.group: Watch(self._limits) for lane in self._lanes}
        self._started_at_s = self._watched_since_s = self._watched_at_s = self._clock.monotonic()
        self._inspected: tuple[bytes, Data | Control] = (b"", normalizer.inspect(b""))
        self._told_state: Life | None = None
        self._told_missing: set[str] = set()

    async def run(self) -> None:
        """Receive until cancelled; then close every connection, within the close timeout, and deliver what is held."""
        self._started_at_s = self._watched_since_s = self._watched_at_s = self._clock.monotonic()
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                for lane in self._lanes:
                    tasks.create_task(lane.run())
                tasks.create_task(self._keep_watch())
                tasks.create_task(self._release_held())
        finally:
            for frame in self._arrivals.flush():
                self._deliver(frame)
            await self._close_all()

    def state(self) -> FeedState:
        """How it is doing now. May be called from any thread."""
        now_s = self._clock.monotonic()
        return self._state_at(now_s, now_s if self._is_paused(now_s) else self._watched_since_s)

    def _state_at(self, now_s: float, watched_since_s: float) -> FeedState:
        return feed_state(self._lanes, now_s, self._limits.quiet_after_s, watched_since_s=watched_since_s)

    def _is_paused(self, now_s: float) -> bool:
        return now_s - self._watched_at_s > _PAUSED_FOR_S

    def _received(self, session: Session, data: bytes) -> None:
        """Every message of every socket comes through here."""
        lane = session.lane
        name = lane.place.name
        received_at_ns = self._clock.time_ns()
        seen = self._inspect(data)
        if isinstance(seen, Data):
            # A name that nobody asked for is no stream to keep account of.
            stream = seen.stream if seen.stream in lane.streams else lane.only_stream
            if seen.event_time_ms is not None:
                ahead_ms = seen.event_time_ms - received_at_ns // 1_000_000
                lane.ahead_ms = ahead_ms
                lane.beat(session, stream, seen.event_time_ms, is_plausible=ahead_ms <= self._ahead_ms)
                if self._told_state is not Life.ADVANCING:
                    self._tell_state()
            frame = Frame(data, received_at_ns, name, stream)
            arrival = Arrival(frame, stream, seen.event_time_ms, session.number)
            offered = self._arrivals.offer(arrival, self._clock.monotonic())
            self._pass_on(offered.deliver)
            self._tell(FrameReceived(name, len(data), seen.elements))
            if offered.repeated:
                self._tell(FrameRepeated(name, seen.elements))
        elif isinstance(seen, Refused):
            self._tell(FeedComplained(name, seen.code, seen.message))
        elif isinstance(seen, ServerShutdown):
            session.ask_to_leave(SERVER_SHUTDOWN, "the server said that it is about to close")

    def _inspect(self, data: bytes) -> Data | Control:
        """What siblings bring one after the other are mostly the same bytes."""
        last, seen = self._inspected
        if data != last:
            seen = self._normalizer.inspect(data)
            self._inspected = (data, seen)
        return seen

    def _pass_on(self, frames: tuple[Frame, ...]) -> None:
        for frame in frames:
            self._deliver(frame)
        if self._arrivals.next_due_s() is not None:
            self._holding.set()

    async def _release_held(self) -> None:
        """Pass on what has waited for long enough."""
        while True:
            await self._holding.wait()
            while (due_s := self._arrivals.next_due_s()) is not None:
                await self._clock.sleep(max(0.0, due_s - self._clock.monotonic()))
                self._pass_on(self._arrivals.due(self._clock.monotonic()))
            self._holding.clear()

    async def _keep_watch(self) -> None:
        while True:
            await self._clock.sleep(_WATCH_EVERY_S)
            now_s, before_s = self._clock.monotonic(), self._watched_at_s
            was_paused, self._watched_at_s = self._is_paused(now_s), now_s
            if was_paused:  # what has come meanwhile is read first, then judged; the silence before counts on
                silent_s = self._state_at(before_s, self._watched_since_s).silent_s
                self._watched_since_s = now_s - max(0.0, silent_s)
                continue
            for group, watch in self._watches.items():
                sessions = {session.pulse: session for session in self._sessions(group)}
                for suspicion in watch.suspects(sessions, now_s):
                    session = sessions[suspicion.pulse]
                    detail = self._explained(session.lane.place, suspicion.reason, suspicion.detail)
                    self._tell(SocketSuspected(session.lane.place.name, suspicion.reason, detail))
                    session.ask_to_leave(suspicion.reason, suspicion.detail)
                for session in sessions.values():
                    self._tell_missing(session, now_s)
            self._tell_state()

    def _explained(self, place: Place, reason: str, detail: str) -> str:
        """With what to do about it, where this process has never had data from there."""
        if reason != "no first tick" or self._known_ms(place.group) is not None:
            return detail
        return (
            f"{detail} from {place.url}: the exchange accepts a connection to a wrong route or to a stream that does "
            "not exist, and then stays silent. Check that feed.url is the base only (as wss://fstream.binance.com; "
            "the connector adds the route), that the symbols in feed.symbols exist, and feed.route and the stream "
            "name in the schema"
        )

    def _tell_missing(self, session: Session, now_s: float) -> None:
        """Name the streams that stay silent while others on the same socket do not."""
        pulse, asked = session.pulse, session.lane.place.streams
        if len(asked) == 1 or pulse.advanced_at_s is None or now_s - pulse.opened_at_s < self._limits.first_tick_s:
            return
        missing = tuple(name for name in asked if name not in pulse.streams and name not in self._told_missing)
        if missing:
            self._told_missing.update(missing)
            self._tell(StreamMissing(missing, "subscribed, but nothing comes: does the symbol exist? (feed.symbols)"))

    def _tell_state(self) -> None:
        """Tell a change; in the first seconds, while nothing could be there yet, only that data has come."""
        state = self.state()
        life = Life(state.state)
        is_starting = (
            state.advanced_at_monotonic is None
            and self._clock.monotonic() - self._started_at_s < self._limits.first_tick_s
        )
        if life is not self._told_state and not is_starting:
            self._told_state = life
            sockets = ", ".join(f"{each.connection} {each.state}" for each in state.sockets)
            self._tell(FeedChanged(life.value, sockets))

    def _siblings(self, group: int) -> tuple[Lane, ...]:
        return tuple(lane for lane in self._lanes if lane.place.group == group)

    def _sessions(self, group: int) -> tuple[Session, ...]:
        return tuple(session for lane in self._siblings(group) for session in lane.sessions())

    def _known_ms(self, group: int) -> int | None:
        return max((ms for lane in self._siblings(group) if (ms := lane.event_time_ms) is not None), default=None)

    def _has_recovered(self, session: Session) -> bool:
        group = session.lane.place.group
        pulses = [each.pulse for each in self._sessions(group)]
        return self._watches[group].has_recovered(session.pulse, pulses, self._clock.monotonic())

    def _ended(self, session: Session) -> None:
        self._pass_on(self._arrivals.left(session.number, self._clock.monotonic()))

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        assert self._tasks is not None, "lanes run only within run()"
        self._tasks.create_task(work)

    async def _close_all(self) -> None:
        sessions = [session for lane in self._lanes for session in lane.sessions()]
        await asyncio.gather(*(session.socket.close() for session in sessions))
        for session in sessions:
            session.ended.set()
            self._tell(SocketClosed(session.lane.place.name, STOPPING, ""))


def places(options: FeedOptions, schema: StreamSchema) -> tuple[Place, ...]:
    """The connections to keep: for each sibling, one for every address that the streams need."""
    streams = schema.feed.stream_names(options.symbols)
    groups = stream_addresses(options.url, schema.feed.route, streams, combined=bool(options.symbols))
    found = []
    for connection in range(options.connections):
        for group, address in enumerate(groups):
            name = f"ws-{connection + 1}" if len(groups) == 1 else f"ws-{connection + 1}.{group + 1}"
            found.append(Place(name, connection, group, address.url, address.streams))
    return tuple(found)
