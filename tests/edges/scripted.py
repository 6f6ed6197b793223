"""A clock that the test moves, and an exchange made of values: feed tests without time or network."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from connector.core.envelope import Data
from connector.edges.clock import Clock
from connector.edges.websocket import SocketLostError, SocketOptions

EPOCH_S = 1_790_000_000


class ManualClock(Clock):
    """Time passes only in :meth:`advance`; whoever sleeps is woken at exactly its moment, in order."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    @property
    def is_idle(self) -> bool:
        """Whether somebody sleeps: with one sleeper in the test, that it has done its work."""
        return bool(self._sleepers)

    def monotonic(self) -> float:
        return self.now_s

    def time_ns(self) -> int:
        return EPOCH_S * 1_000_000_000 + round(self.now_s * 1e9)

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        sleeper = (self.now_s + seconds, asyncio.get_running_loop().create_future())
        self._sleepers.append(sleeper)
        try:
            await sleeper[1]
        finally:
            self._sleepers.remove(sleeper)

    async def advance(self, seconds: float) -> None:
        end_s = self.now_s + seconds
        await settle()
        while True:
            due_s = min((at_s for at_s, _ in self._sleepers), default=end_s + 1)
            if due_s > end_s:
                break
            self.now_s = max(self.now_s, due_s)
            for at_s, sleeper in list(self._sleepers):
                if at_s <= self.now_s and not sleeper.done():
                    sleeper.set_result(None)
            await settle()
        self.now_s = end_s
        await settle()


async def settle() -> None:
    """Let everything run that can run without time passing."""
    for _ in range(30):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool], *, within_s: float = 20.0) -> None:
    """Wait, in real time, for something that a socket on loopback brings about. Raises TimeoutError."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - the condition is anything; there is no event for it
            await asyncio.sleep(0.005)


class ScriptedSocket:
    """An open connection whose messages and end the test decides."""

    def __init__(self, url: str, number: int) -> None:
        self.url = url
        self.number = number
        self.closed_by_us = False
        self._messages: deque[bytes] = deque()
        self._end: SocketLostError | None = None
        self._changed = asyncio.Event()

    @property
    def is_open(self) -> bool:
        return self._end is None

    def send(self, data: bytes) -> None:
        self._messages.append(data)
        self._changed.set()

    def send_tick(self, event_time_s: float, text: str = "") -> None:
        """An array of one second of the exchange's time, counted from the test's beginning."""
        self.send(f"{round((EPOCH_S + event_time_s) * 1000)} {text}".rstrip().encode())

    def end(self, reason: str = "lost", detail: str = "") -> None:
        self._end = SocketLostError(reason, detail)
        self._changed.set()

    async def receive(self) -> bytes:
        while not self._messages:
            if self._end is not None:
                raise self._end
            self._changed.clear()
            await self._changed.wait()
        return self._messages.popleft()

    async def close(self) -> None:
        self.closed_by_us = True
        if self._end is None:
            self.end("closed", "1000")


@dataclass
class ScriptedExchange:
    """What connects to it gets a :class:`ScriptedSocket`, or the error that is next in ``refusals``."""

    clock: ManualClock
    sockets: list[ScriptedSocket] = field(default_factory=list)
    attempts_at_s: list[float] = field(default_factory=list)
    refusals: deque[Exception] = field(default_factory=deque)
    refuse_all: Exception | None = None
    accept_and_close: bool = False
    on_open: Callable[[ScriptedSocket], None] | None = None

    async def connect(self, url: str, options: SocketOptions) -> ScriptedSocket:
        await asyncio.sleep(0)
        self.attempts_at_s.append(self.clock.now_s)
        if self.refuse_all is not None:
            raise self.refuse_all
        if self.refusals:
            raise self.refusals.popleft()
        socket = ScriptedSocket(url, len(self.sockets))
        self.sockets.append(socket)
        if self.on_open is not None:
            self.on_open(socket)
        if self.accept_and_close:
            socket.end("closed", "1008")
        return socket

    @property
    def open(self) -> list[ScriptedSocket]:
        return [socket for socket in self.sockets if socket.is_open]

    async def play(self, seconds: int, *, skip: Callable[[ScriptedSocket], bool] = lambda socket: False) -> None:
        """A tick a second to every open socket but those that *skip* names."""
        for _ in range(seconds):
            await self.clock.advance(1.0)
            for socket in self.open:
                if not skip(socket):
                    socket.send_tick(self.clock.now_s)
            await settle()


class ScriptedInspector:
    """Reads what :meth:`ScriptedSocket.send_tick` writes; anything else is data without event time."""

    def __init__(self) -> None:
        self.by_bytes: dict[bytes, object] = {}
        """For messages that are to be taken as something else."""

    def inspect(self, data: bytes) -> Data:
        if data in self.by_bytes:
            return self.by_bytes[data]  # type: ignore[return-value]
        first, _, rest = data.decode().partition(" ")
        if not first.isdigit():
            return Data("", None, 0)
        stream = rest.split()[0] if "@" in rest else ""
        return Data(stream, int(first), 1)
