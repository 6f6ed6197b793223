"""One place in the feed that is to hold an open connection at all times, whatever happens to it.

A connection that is to go by our own choice (rotation, the server's notice, a
watchdog's suspicion) is kept until its replacement has brought data.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass

from connector.core.backoff import AttemptGate, Backoff
from connector.core.exchange_refusal import refusal
from connector.core.happenings import FeedRefused, SocketClosed, SocketFailed, SocketOpened, Tell
from connector.core.rotation import Rotation
from connector.core.watch import Life, Pulse
from connector.edges.clock import Clock, first_of
from connector.edges.feed_options import FeedOptions
from connector.edges.websocket import ConnectFailedError, HandshakeRefusedError, Socket, SocketLostError, SocketOptions

Connect = Callable[[str, SocketOptions], Awaitable[Socket]]

ROTATION = "rotation"
SERVER_SHUTDOWN = "server shutdown"
STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a lane stands in the feed."""

    name: str
    """The ``connection`` of its frames."""
    connection: int
    """Which of the sibling connections, from 0."""
    group: int
    """Lanes of one group have the same streams, and are siblings."""
    url: str
    streams: tuple[str, ...]


class Session:
    """One open socket of a lane."""

    def __init__(self, number: int, lane: Lane, socket: Socket, pulse: Pulse, *, due_at_s: float) -> None:
        self.number = number
        """Used once in the life of the feed."""
        self.lane = lane
        self.socket = socket
        self.pulse = pulse
        self.due_at_s = due_at_s
        self.first_data = asyncio.Event()
        """Its event time has advanced."""
        self.leaving = asyncio.Event()
        self.ended = asyncio.Event()
        self.leave_reason = ""
        self.leave_detail = ""
        self.is_closing = False

    @property
    def is_open(self) -> bool:
        return not self.ended.is_set()

    def ask_to_leave(self, reason: str, detail: str) -> None:
        """Have it replaced. The first reason stands."""
        if not self.leaving.is_set():
            self.leave_reason, self.leave_detail = reason, detail
            self.leaving.set()

    def stay(self) -> None:
        """Take back what a watchdog asked for."""
        self.pulse.is_suspected = False
        self.leave_reason = self.leave_detail = ""
        self.leaving.clear()

    async def close(self) -> None:
        """End it; returns when it has ended. The reason told is the one it was asked to leave for."""
        self.is_closing = True
        await self.socket.close()
        await self.ended.wait()


@dataclass(frozen=True, slots=True)
class Common:
    """What all lanes of a feed share."""

    options: FeedOptions
    socket_options: SocketOptions
    clock: Clock
    tell: Tell
    connect: Connect
    random: Callable[[], float]
    gate: AttemptGate
    rotation: Rotation
    rotating: asyncio.Lock
    """Held while one lane rotates: never two at the same time."""
    next_number: Callable[[], int]
    received: Callable[[Session, bytes], None]
    ended: Callable[[Session], None]
    known_ms: Callable[[int], int | None]
    """The newest event time that any lane of a group has brought last."""
    has_recovered: Callable[[Session], bool]
    """Whether a session that a watchdog named is well again."""
    spawn: Callable[[Coroutine[None, None, None]], object]
    """Run beside all else; an error in it ends the feed."""


class Lane:
    """Keeps one connection; see :meth:`run`. All else may be read from any thread."""

    def __init__(self, place: Place, common: Common) -> None:
        self.place = place
        self.streams = frozenset(place.streams)
        self.only_stream = place.streams[0] if len(place.streams) == 1 else ""
        self.session: Session | None = None
        self.successor: Session | None = None
        """While it proves itself, beside the session that it is to replace."""
        self.frames = 0
        self.event_time_ms: int | None = None
        self.advanced_at_s: float | None = None
        self.ahead_ms: int | None = None
        """By how much the event time brought last was ahead of our clock when it came."""
        self.started_at_s = common.clock.monotonic()
        self.last_end = ""
        """How the last socket ended, or why none could be opened since."""
        self.next_attempt_at_s: float | None = None
        """While there is none."""
        options = common.options
        self._common = common
        self._backoff = Backoff(
            first_s=options.backoff_first,
            cap_s=options.backoff_cap,
            reset_after_s=options.backoff_reset,
            random=common.random,
        )
        self._has_opened = False

    def sessions(self) -> tuple[Session, ...]:
        """The open ones: none, one, or two during a replacement."""
        return tuple(each for each in (self.session, self.successor) if each is not None and each.is_open)

    def beat(self, session: Session, stream: str, event_time_ms: int, *, is_plausible: bool) -> None:
        """Take in the event time of a message."""
        now_s = self._common.clock.monotonic()
        self.event_time_ms = event_time_ms
        if session.pulse.beat(stream, event_time_ms, now_s, is_plausible=is_plausible):
            self.advanced_at_s = now_s
            self._backoff.progress(now_s)
            session.first_data.set()

    async def run(self) -> None:
        """Until cancelled."""
        clock = self._common.clock
        await clock.sleep(self.place.connection * self._common.options.stagger)
        while True:
            pause_s = await (self._serve(self.session) if self.session and self._is_well() else self._replace())
            if pause_s > 0:
                await clock.sleep(pause_s)

    def _is_well(self) -> bool:
        session = self.session
        if session is None or not session.is_open:
            return False
        if session.pulse.is_suspected and self._common.has_recovered(session):
            session.stay()
        return not session.leaving.is_set()

    async def _serve(self, session: Session) -> float:
        """Wait until the session ends or is to be replaced. Returns the pause before that."""
        clock = self._common.clock
        await first_of(clock, session.due_at_s - clock.monotonic(), session.ended, session.leaving)
        if session.ended.is_set() or session.pulse.is_suspected:
            return self._backoff.failed()
        age_s = clock.monotonic() - session.pulse.opened_at_s
        if not session.leaving.is_set():
            session.ask_to_leave(ROTATION, f"after {age_s:.0f} s")
            return 0.0
        # The server's notice. One that gives it to every new connection must not be asked again at once.
        return 0.0 if self._backoff.is_fresh and age_s >= self._common.options.backoff_reset else self._backoff.failed()

    async def _replace(self) -> float:
        """Try once to open a connection and put it in place. Returns the pause before the next step."""
        old = self.session
        async with AsyncExitStack() as stack:
            if old is not None and old.is_open and old.leave_reason == ROTATION:
                await stack.enter_async_context(self._common.rotating)
            await self._pass_gate(old)
            opened = await self._open()
            if isinstance(opened, float):
                return opened
            return await self._install(opened, old)

    async def _pass_gate(self, old: Session | None) -> None:
        """Wait for the right to one attempt. Rotations leave a third of them to those who have no connection."""
        clock, gate = self._common.clock, self._common.gate
        while True:
            is_rotation = old is not None and old.is_open and old.leave_reason == ROTATION
            leave = self._common.options.max_attempts // 3 if is_rotation else 0
            wait_s = gate.wait_s(clock.monotonic(), leave=leave)
            if wait_s <= 0:
                gate.take(clock.monotonic())
                return
            await first_of(clock, wait_s, *([old.ended] if old is not None and is_rotation else []))

    async def _open(self) -> Session | float:
        """A new session, or the pause after a failure, which has been told."""
        common, place = self._common, self.place
        try:
            socket = await common.connect(place.url, common.socket_options)
        except HandshakeRefusedError as error:
            answer = refusal(error.status, error.retry_after, error.body, common.clock.time_ns() // 1_000_000)
            pause_s = self._backoff.failed()
            if answer.concerns_all:
                common.gate.close_until(common.clock.monotonic() + answer.retry_after_s)
            else:
                pause_s = max(pause_s, answer.retry_after_s)
            stay_away_s = max(pause_s, answer.retry_after_s)
            self._could_not(f"refused by the exchange: {answer.detail}", stay_away_s)
            common.tell(FeedRefused(place.name, answer.status, answer.detail, stay_away_s))
            return pause_s
        except ConnectFailedError as error:
            pause_s = self._backoff.failed()
            self._could_not(f"{error.reason}: {error.detail}", pause_s)
            common.tell(SocketFailed(place.name, error.reason, error.detail, pause_s))
            return pause_s
        now_s = common.clock.monotonic()
        lives_s = common.rotation.due_in_s(
            place.connection, first=not self._has_opened, now_epoch_s=common.clock.time_ns() / 1e9
        )
        self._has_opened = True
        pulse = Pulse(opened_at_s=now_s, known_ms=common.known_ms(place.group))
        session = Session(common.next_number(), self, socket, pulse, due_at_s=now_s + lives_s)
        self.next_attempt_at_s = None
        common.tell(SocketOpened(place.name, place.url))
        common.spawn(self._read(session))
        return session

    def _could_not(self, why: str, next_attempt_s: float) -> None:
        self.last_end = why
        self.next_attempt_at_s = self._common.clock.monotonic() + next_attempt_s

    async def _install(self, fresh: Session, old: Session | None) -> float:
        """Put *fresh* in the place of *old* if it proves itself, or *old* is no better. Returns the pause to make."""
        if old is None or not old.is_open:
            self.session = fresh
            return 0.0
        clock, options = self._common.clock, self._common.options
        self.successor = fresh
        await first_of(clock, options.first_tick_timeout, fresh.first_data, fresh.ended, old.ended)
        if not fresh.is_open and old.is_open:
            self.successor = None
            return self._backoff.failed()
        is_proven = fresh.first_data.is_set()
        old_advances = old.is_open and old.pulse.life(clock.monotonic(), options.first_tick_timeout) is Life.ADVANCING
        if old_advances and not is_proven:
            fresh.ask_to_leave("no first tick", f"no data within {options.first_tick_timeout:g} s; the old one stays")
            await fresh.close()
            self.successor = None
            return self._backoff.failed()
        self.session, self.successor = fresh, old
        if old.is_open:
            await old.close()
        self.successor = None
        return 0.0

    async def _read(self, session: Session) -> None:
        """Take in what the socket brings until its end. Nothing in here waits but for the socket."""
        common = self._common
        try:
            while True:
                data = await session.socket.receive()
                self.frames += 1
                common.received(session, data)
        except SocketLostError as error:
            ours = session.is_closing
            reason, detail = (session.leave_reason, session.leave_detail) if ours else (error.reason, error.detail)
        self.last_end = f"{reason}: {detail}" if detail else reason
        session.ended.set()
        common.ended(session)
        common.tell(SocketClosed(self.place.name, reason, detail))
