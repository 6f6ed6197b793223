"""One WebSocket connection: open, receive, close; with the cause of every failure kept.

It knows nothing of streams, siblings or trying again; :mod:`connector.edges.kept_connection` does.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from dataclasses import dataclass
from socket import gaierror
from typing import Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidProxy,
    InvalidStatus,
    InvalidURI,
    ProxyError,
)
from websockets.frames import Close, CloseCode

from connector.core.errors import RetryableError


class HandshakeRefusedError(RetryableError):
    """The server answered the handshake with an HTTP status instead of a connection."""

    def __init__(self, status: int, retry_after: str | None, body: bytes) -> None:
        self.status = status
        self.retry_after = retry_after
        """The header as it came, several joined by commas, or None."""
        self.body = body
        super().__init__(f"the server refused the connection with HTTP status {status}")


class ConnectFailedError(RetryableError):
    """No answer to the handshake that could be understood."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        """``name not found``, ``unreachable``, ``timeout``, ``tls``, ``proxy`` or ``handshake``."""
        self.detail = detail
        super().__init__(f"{reason}: {detail}")


class SocketLostError(RetryableError):
    """The connection has ended."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        """``closed`` (by the server, in form), ``lost`` (without a word), ``too big``, ``no pong`` or ``protocol``."""
        self.detail = detail
        super().__init__(f"{reason}: {detail}")


class Socket(Protocol):
    """An open connection. What :func:`open_socket` returns; tests have their own."""

    async def receive(self) -> bytes:
        """The next message, in order. Raises :class:`SocketLostError` after the last one."""
        ...

    async def close(self) -> None:
        """End it, within a bounded time and whatever the peer does. Messages that came are still received."""
        ...


@dataclass(frozen=True, slots=True)
class SocketOptions:
    """How connections are made; sizes in bytes, times in seconds."""

    max_message_bytes: int = 4 * 1024 * 1024
    open_timeout_s: float = 10.0
    close_timeout_s: float = 1.0
    ping_interval_s: float = 20.0
    ping_timeout_s: float = 20.0
    proxy: str = ""


# websockets logs each refused handshake and each pong by itself; we tell what happens in our own words. A logger of
# ours: the library's own is everybody's in this process.
_LOGGER = logging.getLogger(__name__)
_LOGGER.setLevel(logging.CRITICAL)


async def open_socket(url: str, options: SocketOptions) -> Socket:
    """Connect to *url*. Raises :class:`HandshakeRefusedError` or :class:`ConnectFailedError`."""
    try:
        connection = await connect(
            url,
            proxy=options.proxy or None,
            max_size=options.max_message_bytes,
            open_timeout=options.open_timeout_s,
            close_timeout=options.close_timeout_s,
            ping_interval=options.ping_interval_s,
            ping_timeout=options.ping_timeout_s,
            logger=_LOGGER,
        )
    except InvalidStatus as error:
        answer = error.response
        body = bytes(answer.body or b"")
        retry_after = ", ".join(answer.headers.get_all("Retry-After")) or None
        raise HandshakeRefusedError(answer.status_code, retry_after, body) from error
    except (InvalidHandshake, InvalidURI, InvalidProxy, OSError, UnicodeError) as error:
        raise ConnectFailedError(_why_not_connected(error), str(error) or type(error).__name__) from error
    return _Connection(connection, options.close_timeout_s)


class _Connection:
    def __init__(self, connection: ClientConnection, close_timeout_s: float) -> None:
        self._connection = connection
        self._close_timeout_s = close_timeout_s

    async def receive(self) -> bytes:
        try:
            return await self._connection.recv(decode=False)
        except ConnectionClosed as error:
            raise _lost(error) from error

    async def close(self) -> None:
        try:
            async with asyncio.timeout(2 * self._close_timeout_s):
                await self._connection.close()
        except TimeoutError:
            # The library bounds its own part of the close; a peer that stopped reading can still hold up ours.
            self._connection.transport.abort()


_CAUSES: tuple[tuple[type[Exception], str], ...] = (
    (ProxyError, "proxy"),
    (InvalidProxy, "proxy"),
    (TimeoutError, "timeout"),
    (ssl.SSLError, "tls"),
    (gaierror, "name not found"),
    (UnicodeError, "name not found"),  # a name that cannot be looked up, as a redirection may have it
    (OSError, "unreachable"),
)


def _why_not_connected(error: Exception) -> str:
    return next((reason for kind, reason in _CAUSES if isinstance(error, kind)), "handshake")


_OUR_CLOSES = {
    CloseCode.MESSAGE_TOO_BIG: "too big",
    CloseCode.INTERNAL_ERROR: "no pong",
    CloseCode.PROTOCOL_ERROR: "protocol",
    CloseCode.INVALID_DATA: "protocol",
}
"""Why this side closed, by the code it sent."""


def _lost(error: ConnectionClosed) -> SocketLostError:
    sent, received = error.sent, error.rcvd
    if sent is not None and not error.rcvd_then_sent and sent.code in _OUR_CLOSES:
        return SocketLostError(_OUR_CLOSES[CloseCode(sent.code)], _words(sent))
    if received is not None:
        return SocketLostError("closed", _words(received))
    cause = error.__cause__
    return SocketLostError("lost", str(cause or "") or "the connection ended without a close message")


def _words(close: Close) -> str:
    return f"{close.code} {close.reason}".rstrip()
