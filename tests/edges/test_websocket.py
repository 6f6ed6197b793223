"""One connection, against a server on loopback that does what it should not."""

from __future__ import annotations

import asyncio
import socket as sockets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from connector.edges.websocket import (
    ConnectFailedError,
    HandshakeRefusedError,
    Socket,
    SocketLostError,
    SocketOptions,
    open_socket,
)

Handler = Callable[[ServerConnection], Awaitable[None]]
OPTIONS = SocketOptions(max_message_bytes=10_000, open_timeout_s=5.0, close_timeout_s=0.2)


@asynccontextmanager
async def _server(handler: Handler, **options: object) -> AsyncIterator[str]:
    async with serve(handler, "127.0.0.1", 0, close_timeout=0.1, ping_interval=None, **options) as server:  # type: ignore[arg-type]
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def _connected(handler: Handler, options: SocketOptions = OPTIONS) -> AsyncIterator[Socket]:
    async with _server(handler) as url:
        socket = await open_socket(url, options)
        try:
            yield socket
        finally:
            await socket.close()


async def _read_to_end(socket: Socket) -> tuple[list[bytes], SocketLostError]:
    messages = []
    try:
        async with asyncio.timeout(5):
            while True:
                messages.append(await socket.receive())
    except SocketLostError as error:
        return messages, error


async def test_messages_come_as_bytes_in_order_even_after_the_server_has_closed() -> None:
    async def burst(connection: ServerConnection) -> None:
        for number in range(200):
            await connection.send(f"text {number}")
        await connection.close(1001, "going away")

    async with _connected(burst) as socket:
        messages, end = await _read_to_end(socket)
    assert messages == [f"text {number}".encode() for number in range(200)]
    assert (end.reason, end.detail) == ("closed", "1001 going away")


async def test_a_text_message_that_is_no_utf_8_comes_as_it_is() -> None:
    async def invalid(connection: ServerConnection) -> None:
        await connection.send(b"\xff\xfe", text=True)
        await connection.send(b"[]")

    async with _connected(invalid) as socket:
        assert [await socket.receive(), await socket.receive()] == [b"\xff\xfe", b"[]"]


async def test_fragments_are_one_message() -> None:
    async def fragmented(connection: ServerConnection) -> None:
        await connection.send(["[1,", "2,", "3]"])

    async with _connected(fragmented) as socket:
        assert await socket.receive() == b"[1,2,3]"


async def test_a_message_over_the_limit_is_too_big() -> None:
    async def oversize(connection: ServerConnection) -> None:
        await connection.send(b"x" * 10_000)
        await connection.send(b"x" * 10_001)
        await connection.wait_closed()

    async with _connected(oversize) as socket:
        messages, end = await _read_to_end(socket)
    assert [len(message) for message in messages] == [10_000]
    assert end.reason == "too big"
    assert end.detail.startswith("1009")


async def test_the_limit_holds_for_what_is_compressed() -> None:
    async def bomb(connection: ServerConnection) -> None:
        await connection.send(b"0" * 1_000_000)
        await connection.wait_closed()

    async with _connected(bomb) as socket:
        _, end = await _read_to_end(socket)
    assert end.reason == "too big"


async def test_a_connection_cut_without_a_word_is_lost() -> None:
    async def cut(connection: ServerConnection) -> None:
        await connection.send(b"[]")
        connection.transport.abort()

    async with _connected(cut) as socket:
        messages, end = await _read_to_end(socket)
    assert (messages, end.reason) == ([b"[]"], "lost")
    assert end.detail


async def test_a_peer_that_does_not_pong_is_named() -> None:
    async def deaf(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        with suppress(ConnectionClosed):
            await connection.wait_closed()

    options = SocketOptions(close_timeout_s=0.2, ping_interval_s=0.1, ping_timeout_s=0.1)
    async with _connected(deaf, options) as socket:
        _, end = await _read_to_end(socket)
    assert end.reason == "no pong"


async def test_what_breaks_the_protocol_is_named() -> None:
    async def broken(connection: ServerConnection) -> None:
        connection.transport.write(b"\x83\x00")  # opcode 3 is reserved
        await connection.wait_closed()

    async with _connected(broken) as socket:
        _, end = await _read_to_end(socket)
    assert end.reason == "protocol"


async def test_a_close_that_nobody_answers_is_bounded() -> None:
    release = asyncio.Event()

    async def deaf(connection: ServerConnection) -> None:
        await connection.send(b"[]")
        connection.transport.pause_reading()
        await release.wait()

    async with _server(deaf) as url:
        socket = await open_socket(url, OPTIONS)
        assert await socket.receive() == b"[]"
        async with asyncio.timeout(5):
            await socket.close()
            _, end = await _read_to_end(socket)
        assert end.reason == "lost"
        release.set()


async def test_what_came_before_our_close_is_still_received() -> None:
    sent = asyncio.Event()

    async def some(connection: ServerConnection) -> None:
        for number in range(5):
            await connection.send(str(number))
        sent.set()
        await connection.wait_closed()

    async with _connected(some) as socket:
        await sent.wait()
        first = await socket.receive()
        await socket.close()
        rest, end = await _read_to_end(socket)
    assert [first, *rest] == [b"0", b"1", b"2", b"3", b"4"]
    assert end.reason == "closed"


@pytest.mark.parametrize("status", [403, 418, 429, 451, 503])
async def test_a_refused_handshake_keeps_status_header_and_body(status: int) -> None:
    def refuse(connection: ServerConnection, request: Request) -> Response:
        return Response(status, "No", Headers([("Retry-After", "7"), ("Content-Length", "4")]), b"why?")

    async with _server(_never, process_request=refuse) as url:
        with pytest.raises(HandshakeRefusedError) as caught:
            await open_socket(url, OPTIONS)
    assert (caught.value.status, caught.value.retry_after, caught.value.body) == (status, "7", b"why?")


async def test_a_header_that_stands_twice_is_kept_twice() -> None:
    async with _raw(b"HTTP/1.1 429 No\r\nRetry-After: 5\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n") as url:
        with pytest.raises(HandshakeRefusedError) as caught:
            await open_socket(url, OPTIONS)
    assert caught.value.retry_after == "5, 7"


async def test_a_redirection_to_what_cannot_be_a_name() -> None:
    async with _raw(b"HTTP/1.1 302 Found\r\nLocation: ws://a..b/\r\nContent-Length: 0\r\n\r\n") as url:
        with pytest.raises(ConnectFailedError) as caught:
            await open_socket(url, OPTIONS)
    assert caught.value.reason == "name not found"


async def test_nobody_listens() -> None:
    with sockets.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectFailedError) as caught:
            await open_socket(f"ws://127.0.0.1:{taken.getsockname()[1]}", OPTIONS)
    assert caught.value.reason == "unreachable"


async def test_the_name_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*arguments: object, **options: object) -> None:
        raise sockets.gaierror(sockets.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    with pytest.raises(ConnectFailedError) as caught:
        await open_socket("ws://exchange.invalid", OPTIONS)
    assert caught.value.reason == "name not found"


async def test_the_handshake_is_not_answered() -> None:
    async with _raw(b"") as url:
        with pytest.raises(ConnectFailedError) as caught:
            await open_socket(url, SocketOptions(open_timeout_s=0.2))
    assert caught.value.reason == "timeout"


async def test_the_answer_is_no_http() -> None:
    async with _raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n") as url:
        with pytest.raises(ConnectFailedError) as caught:
            await open_socket(url, OPTIONS)
    assert caught.value.reason == "handshake"


async def test_the_peer_speaks_no_tls() -> None:
    async with _raw(b"HTTP/1.1 400 Bad Request\r\n\r\n") as url:
        with pytest.raises(ConnectFailedError) as caught:
            await open_socket(url.replace("ws://", "wss://"), OPTIONS)
    assert caught.value.reason == "tls"


async def test_the_proxy_refuses() -> None:
    async with _raw(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n") as url:
        with pytest.raises(ConnectFailedError) as caught:
            await open_socket("ws://exchange.invalid", SocketOptions(proxy=url.replace("ws://", "http://")))
    assert caught.value.reason == "proxy"


async def test_a_proxy_of_the_environment_is_not_used_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    async def greet(connection: ServerConnection) -> None:
        await connection.send(b"[]")

    for name in ("http_proxy", "ws_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with _connected(greet) as socket:
        assert await socket.receive() == b"[]"


async def _never(connection: ServerConnection) -> None:
    raise AssertionError("the handshake was to be refused")


@asynccontextmanager
async def _raw(answer: bytes) -> AsyncIterator[str]:
    """A TCP server that gives one answer to whatever is asked; an empty one: none, and the line stays open."""
    done = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        if answer:
            writer.write(answer)
        else:
            await done.wait()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        done.set()
        server.close()
        await server.wait_closed()
