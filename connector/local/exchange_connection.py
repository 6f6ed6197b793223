"""One client connection of the fake exchange: its route, its subscriptions, and how bytes are put on it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import unquote, urlsplit

from websockets.asyncio.server import Server, ServerConnection
from websockets.frames import Frame as WireFrame
from websockets.frames import Opcode
from websockets.protocol import OPEN, Event
from websockets.server import ServerProtocol

from connector.local.exchange_control import Session
from connector.local.market import ARRAY_STREAM, Snapshot

LIVE_ROUTE: Final = "market"
_ROUTES: Final = ("market", "public", "private", "")
_COUNTED: Final = frozenset({Opcode.TEXT, Opcode.BINARY, Opcode.PING, Opcode.PONG})


@dataclass(frozen=True, slots=True)
class Route:
    """What a request path asks for. ``label`` is the test's own mark, ``/~label`` in front of the path."""

    label: str
    route: str
    combined: bool
    streams: tuple[str, ...]

    @property
    def live(self) -> bool:
        """Whether data flows at all: on the other routes everything works but that."""
        return self.route == LIVE_ROUTE


def split_label(path: str) -> tuple[str, str]:
    """``/~a/market/ws`` → ``("a", "/market/ws")``; no label is ``""``."""
    if path.startswith("/~"):
        label, _, rest = path[2:].partition("/")
        return label, f"/{rest}"
    return "", path


def parse_route(path: str) -> Route | None:
    """The route of a request, or none where the exchange has no such path."""
    label, path = split_label(path)
    parts = urlsplit(path)
    steps = parts.path.strip("/").split("/")
    route = "" if steps[0] in ("ws", "stream") else steps.pop(0)
    if route not in _ROUTES or not steps or steps[0] not in ("ws", "stream"):
        return None
    if steps[0] == "ws":
        names = [unquote(step) for step in steps[1:]]
    else:
        query = next((pair[8:] for pair in parts.query.split("&") if pair.startswith("streams=")), "")
        names = unquote(query).split("/")
    return Route(label, route, steps[0] == "stream", tuple(name for name in names if name))


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """A connection as tests select it. ``id`` counts the accepted ones from 1; a refused one has 0."""

    id: int
    path: str
    label: str
    since_ms: int
    headers: Mapping[str, str]
    streams: tuple[str, ...] = ()


Selector = Literal["all"] | int | str | Callable[[ConnectionInfo], bool]
"""``"all"``; an index into ``connections()`` (order of arrival, -1 the newest); ``"~label"``; or a predicate."""


class CountedConnection(ServerConnection):
    """Counts what the client sends, control frames included, and closes it above the limit."""

    def __init__(self, protocol: ServerProtocol, server: Server, **options: Any) -> None:
        super().__init__(protocol, server, **options)
        self.ordered_close_code: int | None = None
        """Close right after the handshake with this code."""
        self.incoming_per_s = 10
        self._arrivals: deque[float] = deque()
        self._closing: asyncio.Task[None] | None = None

    def process_event(self, event: Event) -> None:
        super().process_event(event)
        if not isinstance(event, WireFrame) or event.opcode not in _COUNTED:
            return
        now = self.loop.time()
        self._arrivals.append(now)
        while self._arrivals[0] <= now - 1:
            self._arrivals.popleft()
        if len(self._arrivals) > self.incoming_per_s and self._closing is None:
            self._closing = self.loop.create_task(self.close(1008, "Too many requests"))


class Subscriber:
    """An accepted connection."""

    def __init__(self, identifier: int, route: Route, connection: ServerConnection, session: Session) -> None:
        assert connection.request is not None
        self.connection = connection
        self.session = session
        self.live = route.live
        session.combined = route.combined
        session.streams.update(dict.fromkeys(route.streams))
        self._info = ConnectionInfo(
            identifier,
            connection.request.path,
            route.label,
            time.time_ns() // 1_000_000,
            dict(connection.request.headers.raw_items()),
        )

    @property
    def info(self) -> ConnectionInfo:
        info = self._info
        return ConnectionInfo(info.id, info.path, info.label, info.since_ms, info.headers, tuple(self.session.streams))

    @property
    def id(self) -> int:
        return self._info.id

    @property
    def open(self) -> bool:
        # Right after an abort the state is still OPEN; nothing that is written then leaves.
        return self.connection.protocol.state is OPEN and not self.connection.transport.is_closing()

    def receives(self, snapshot: Snapshot) -> bool:
        """Whether it would be pushed anything in this period."""
        return self.live and self.open and any(is_known(stream, snapshot) for stream in self.session.streams)

    def push(self, payload: bytes, *, fragments: int = 1, text: bool = True) -> bool:
        """Hand one message to the socket without waiting; false where it is not open any more."""
        if not self.open:
            return False
        protocol = self.connection.protocol
        size = max(1, -(-len(payload) // fragments))
        pieces = [payload[start : start + size] for start in range(0, len(payload), size)] or [b""]
        for number, piece in enumerate(pieces):
            last = number == len(pieces) - 1
            if number:
                protocol.send_continuation(piece, fin=last)
            elif text:
                protocol.send_text(piece, fin=last)
            else:
                protocol.send_binary(piece, fin=last)
        self.connection.send_data()
        return True

    def abort(self) -> None:
        self.connection.transport.abort()

    @property
    def waiting_bytes(self) -> int:
        """What was handed over and not yet taken by the operating system."""
        return int(self.connection.transport.get_write_buffer_size())


def is_known(stream: str, snapshot: Snapshot) -> bool:
    """Whether a stream pushes: symbols are in lower case, the rest in exact case; all others are silent."""
    if stream == ARRAY_STREAM:
        return True
    asset, _, kind = stream.partition("@")
    return kind == "assetIndex" and asset == asset.lower() and asset.upper() in snapshot.elements
