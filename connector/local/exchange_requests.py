"""What the fake exchange does with a request before there is a connection: REST answers, refused handshakes."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from connector.local.exchange_board import Board, Gate
from connector.local.exchange_connection import ConnectionInfo, CountedConnection, parse_route, split_label
from connector.local.exchange_rest import Reply, RestEndpoint, refusal

_HANDSHAKE_WINDOW_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class Rules:
    """The exchange's limits, as documented; a test shortens them."""

    connection_lifetime_s: float = 86_400.0
    ping_interval_s: float = 180.0
    pong_timeout_s: float = 600.0
    handshakes_per_5_min: int = 300
    incoming_per_s: int = 10
    streams_per_connection: int = 1024
    weight_per_minute: int = 2400
    nested_errors: bool = False
    """Error replies as ``{"error": {…}, "id": …}`` rather than flat; both have been seen."""
    slow_consumer_bytes: int = 64 * 1024 * 1024
    """A client that leaves so much unread is disconnected."""


class RequestDesk:
    """Meets every HTTP request: handshakes and REST come to the same port."""

    def __init__(self, board: Board, rest: RestEndpoint, rules: Rules) -> None:
        self._board = board
        self._rest = rest
        self._rules = rules
        self._handshakes: deque[float] = deque()
        self._ending = asyncio.Event()

    def end(self) -> None:
        """Let no ordered delay hold the end of the server up."""
        self._ending.set()

    async def process(self, connection: ServerConnection, request: Request) -> Response | None:
        """The answer, or none where the handshake may go on (the shape that ``websockets`` asks for)."""
        assert isinstance(connection, CountedConnection)
        connection.incoming_per_s = self._rules.incoming_per_s
        label, path = split_label(request.path)
        info = ConnectionInfo(0, request.path, label, time.time_ns() // 1_000_000, dict(request.headers.raw_items()))
        is_handshake = request.headers.get("Upgrade", "").lower() == "websocket"
        if is_handshake and (reply := self._over_limit()) is not None:
            return _response(reply)
        gate = self._board.gate("socket" if is_handshake else "rest", info, asyncio.get_running_loop().time())
        if gate is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(gate.delay_s):
                    await self._ending.wait()
            if gate.reply is not None:
                return _response(gate.reply)
        if not is_handshake:
            return _response(self._rest.reply(path, self._board.latest))
        return self._accepted(connection, request.path, gate)

    def _over_limit(self) -> Reply | None:
        now_s = asyncio.get_running_loop().time()
        self._handshakes.append(now_s)
        while self._handshakes[0] <= now_s - _HANDSHAKE_WINDOW_S:
            self._handshakes.popleft()
        if len(self._handshakes) <= self._rules.handshakes_per_5_min:
            return None
        return refusal(429, int(self._handshakes[0] + _HANDSHAKE_WINDOW_S - now_s) + 1, None)

    def _accepted(self, connection: CountedConnection, path: str, gate: Gate | None) -> Response | None:
        if parse_route(path) is None:
            return _response(Reply(HTTPStatus.NOT_FOUND, "Not Found"))
        connection.ordered_close_code = None if gate is None else gate.close_code
        return None


def _response(reply: Reply) -> Response:
    body = reply.body.encode()
    headers = Headers(
        [("Content-Type", "application/json"), ("Content-Length", str(len(body))), ("Connection", "close")]
    )
    for name, value in reply.headers:
        headers[name] = value
    return Response(reply.status.value, reply.status.phrase, headers, body)
