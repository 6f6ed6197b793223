"""Names are looked up as ever, and a look-up that hangs holds nothing up."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time

import pytest

from connector.edges import event_loop


def test_a_name_is_looked_up() -> None:
    async def look_up() -> object:
        return await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)

    assert event_loop.run(look_up()) == socket.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)


def test_a_name_that_there_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(socket.gaierror, match="not known"):
        event_loop.run(_connect())


def test_a_name_service_that_does_not_answer_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answer.wait(20))

    async def give_up() -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await _connect()

    started_s = time.monotonic()
    event_loop.run(give_up())
    assert time.monotonic() - started_s < 5
    answer.set()


async def _connect() -> None:
    await asyncio.get_running_loop().create_connection(asyncio.Protocol, "exchange.invalid", 443)
