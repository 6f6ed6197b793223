"""A loopback proxy between one connector and the broker that knows where a Kafka request begins.

Clients stay with it because the broker's address in its answers becomes the
proxy's: host and port stand next to each other in every version of every
answer that names a broker, and a port is four bytes, so lengths stay as they
are. Frames can be held, delayed or lost by request type and by direction::

    with proxy.hold(Api.END_TXN, when="response") as held:
        held.wait(10)       # the broker has committed, the client does not know
        replica.kill()
        held.drop()         # and never will

Rules are looked at when a frame comes in; a frame that no rule matches is
passed on untouched, in order. One connection keeps its order, so what is held
holds everything behind it on that connection and direction, as a network does.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Literal

When = Literal["request", "response"]

MAX_FRAME_BYTES = 128 * 1024 * 1024
HOST = b"127.0.0.1"
QUEUE_FRAMES = 256
"""A connection with more frames than this waiting in one direction is not read from: backpressure, as TCP's."""


class Api(IntEnum):
    """Request types of the Kafka protocol that the tests name."""

    PRODUCE = 0
    FETCH = 1
    LIST_OFFSETS = 2
    METADATA = 3
    FIND_COORDINATOR = 10
    API_VERSIONS = 18
    INIT_PRODUCER_ID = 22
    ADD_PARTITIONS_TO_TXN = 24
    END_TXN = 26


_COMPACT_FROM_VERSION = {Api.PRODUCE: 9, Api.INIT_PRODUCER_ID: 2, Api.ADD_PARTITIONS_TO_TXN: 3, Api.END_TXN: 3}
"""Request types whose body begins with a transactional id, and since when it is a compact string."""


@dataclass(frozen=True, slots=True)
class Request:
    """The head of one request, as the client wrote it."""

    api: int
    version: int
    correlation: int
    client_id: str
    transactional_id: str
    """Of the requests that begin with one; empty where it is null."""


@dataclass(frozen=True, slots=True)
class Caught:
    """One frame that a rule matched."""

    request: Request
    when: When
    at_s: float
    """``time.monotonic()`` of its arrival at the proxy."""


def parse_request(frame: bytes) -> Request:
    """Read the head of a request; ``frame`` comes without its four bytes of length."""
    api, version, correlation, _ = struct.unpack_from(">hhih", frame)
    client_id, end = _text(frame, 8)
    transactional_id = ""
    if api in _COMPACT_FROM_VERSION:
        if version < _COMPACT_FROM_VERSION[api]:
            transactional_id, _ = _text(frame, end)
        else:
            transactional_id = _compact_text(frame, end + 1)  # behind the head's tagged fields, of which there are none
    return Request(api, version, correlation, client_id, transactional_id)


def _text(frame: bytes, start: int) -> tuple[str, int]:
    """A nullable string with two bytes of length, and where it ends."""
    (length,) = struct.unpack_from(">h", frame, start)
    end = start + 2 + max(0, length)
    return frame[start + 2 : end].decode(), end


def _compact_text(frame: bytes, start: int) -> str:
    """A nullable string with a length in seven bits a byte, plus one."""
    length = shift = 0
    while True:
        byte = frame[start]
        start += 1
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return frame[start : start + max(0, length - 1)].decode()


@dataclass(eq=False, slots=True)
class Rule:
    """What shall happen to frames of some types in one direction; made by the methods of :class:`Proxy`."""

    apis: frozenset[int]
    """Empty: every type."""
    when: When
    loop: asyncio.AbstractEventLoop
    transactional: bool = False
    """Only requests that carry a transactional id."""
    delay_s: float = 0.0
    lose: bool = False
    """Close the connection instead of passing the frame on."""
    remaining: int | None = None
    """How many frames it still applies to; None: all while it is in force."""
    gate: asyncio.Event | None = None
    """Matching frames wait for it."""
    dropped: bool = False
    """The gate was opened by :meth:`drop`: frames that waited are lost with their connections."""
    caught: list[Caught] = field(default_factory=list)
    arrived: threading.Event = field(default_factory=threading.Event)

    def matches(self, request: Request, when: When) -> bool:
        if self.when != when or self.remaining == 0 or (self.gate is not None and self.gate.is_set()):
            return False
        if self.transactional and not request.transactional_id:
            return False
        return not self.apis or request.api in self.apis

    def take(self, request: Request, when: When) -> None:
        if self.remaining is not None:
            self.remaining -= 1
        self.caught.append(Caught(request, when, time.monotonic()))
        self.arrived.set()

    def wait(self, timeout_s: float) -> Caught:
        """Block until a frame was caught; the first one. Raises TimeoutError."""
        if not self.arrived.wait(timeout_s):
            names = ", ".join(sorted(Api(api).name for api in self.apis)) or "frame"
            raise TimeoutError(f"no {self.when} of {names} came by in {timeout_s:g} s")
        return self.caught[0]

    def release(self) -> None:
        """Let what is held go on its way, even where its sender is gone by now; the rule is over."""
        if self.gate is not None:
            self.loop.call_soon_threadsafe(self.gate.set)

    def drop(self) -> None:
        """Lose what is held, and close its connections; the rule is over."""
        self.dropped = True
        self.release()


@dataclass(slots=True)
class _Passing:
    """A frame on its way through."""

    data: bytes
    due_s: float
    rules: list[Rule]


class _Connection:
    """One client connection and its counterpart to the broker: a reading and a sending task each way."""

    def __init__(self, proxy: Proxy, client: asyncio.StreamWriter, broker: asyncio.StreamWriter) -> None:
        self.proxy = proxy
        self.client = client
        self.broker = broker
        self.unanswered: dict[int, Request] = {}
        self.tasks: tuple[asyncio.Task[None], ...] = ()

    async def run(self, from_client: asyncio.StreamReader, from_broker: asyncio.StreamReader) -> None:
        requests: asyncio.Queue[_Passing | None] = asyncio.Queue(QUEUE_FRAMES)
        responses: asyncio.Queue[_Passing | None] = asyncio.Queue(QUEUE_FRAMES)
        self.tasks = (
            asyncio.create_task(self._read(from_client, requests, "request")),
            asyncio.create_task(self._send(requests, self.broker)),
            asyncio.create_task(self._read(from_broker, responses, "response")),
            asyncio.create_task(self._send(responses, self.client)),
        )
        await asyncio.wait(self.tasks)
        for task in self.tasks:
            if not task.cancelled() and (failure := task.exception()) is not None:
                raise failure

    def close(self) -> None:
        """Lose it at once, with all that is on its way."""
        self.client.transport.abort()
        self.broker.transport.abort()
        for task in self.tasks:
            task.cancel()

    async def _read(self, reader: asyncio.StreamReader, queue: asyncio.Queue[_Passing | None], when: When) -> None:
        # The end of a side is the end of its stream alone: what it sent before is still delivered, as in a network.
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readexactly(4)
                (length,) = struct.unpack(">i", head)
                if not 0 < length <= MAX_FRAME_BYTES:
                    break
                data = await reader.readexactly(length)
                rules = self.proxy._catch(self._request_of(data, when), when)
                if any(rule.lose for rule in rules):
                    self.close()
                    return
                due_s = time.monotonic() + sum(rule.delay_s for rule in rules)
                if when == "response":
                    data = data.replace(*self.proxy._addresses)
                await queue.put(_Passing(head + data, due_s, [rule for rule in rules if rule.gate is not None]))
        await queue.put(None)

    def _request_of(self, data: bytes, when: When) -> Request:
        if when == "request":
            request = parse_request(data)
            self.unanswered[request.correlation] = request
            return request
        (correlation,) = struct.unpack_from(">i", data)
        return self.unanswered.pop(correlation)

    async def _send(self, queue: asyncio.Queue[_Passing | None], writer: asyncio.StreamWriter) -> None:
        while (passing := await queue.get()) is not None:
            for rule in passing.rules:
                assert rule.gate is not None
                await rule.gate.wait()
                if rule.dropped:
                    self.close()
                    return
            if (wait_s := passing.due_s - time.monotonic()) > 0:
                await asyncio.sleep(wait_s)
            with contextlib.suppress(ConnectionError):  # a receiver that is gone must not keep the rest from flowing
                writer.write(passing.data)
                await writer.drain()
        with contextlib.suppress(OSError):  # it may have closed first
            writer.write_eof()


class Proxy:
    """Listens on ``port`` of loopback and carries to the broker at ``upstream_port``.

    A context manager; runs in a thread of its own. The broker may go and come
    back meanwhile: while it is away, connections are closed at accept.
    """

    def __init__(self, port: int, upstream_port: int) -> None:
        self.port = port
        self.upstream_port = upstream_port
        self.seen: Counter[int] = Counter()
        """Requests by type that clients have sent."""
        self.committed = 0
        """EndTxn requests that the broker has answered."""
        self._addresses = (HOST + struct.pack(">i", upstream_port), HOST + struct.pack(">i", port))
        self._rules: list[Rule] = []
        self._refusing = False
        self._connections: set[_Connection] = set()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._failure: OSError | None = None
        self._thread = threading.Thread(target=self._run, name=f"proxy-{port}", daemon=True)

    @property
    def bootstrap_servers(self) -> str:
        return f"{HOST.decode()}:{self.port}"

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._ready.wait(10)
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    # What tests order

    @contextlib.contextmanager
    def hold(
        self, *apis: Api, when: When = "request", count: int | None = None, transactional: bool = False
    ) -> Iterator[Rule]:
        """Hold frames of these types (none named: all) until released, dropped, or the block ends (released)."""
        rule = self._rule(apis, when, gate=asyncio.Event(), remaining=count, transactional=transactional)
        with self._in_force(rule):
            yield rule

    @contextlib.contextmanager
    def delay(self, seconds: float, *apis: Api, when: When = "response") -> Iterator[Rule]:
        """Every matching frame passes so much later; frames still overlap, as on a long line."""
        with self._in_force(self._rule(apis, when, delay_s=seconds)) as rule:
            yield rule

    @contextlib.contextmanager
    def lose(self, *apis: Api, when: When = "request", count: int | None = 1) -> Iterator[Rule]:
        """Close the connection in place of passing the frame on: unsent request, or unread answer."""
        with self._in_force(self._rule(apis, when, lose=True, remaining=count)) as rule:
            yield rule

    @contextlib.contextmanager
    def refuse(self) -> Iterator[None]:
        """Cut, and close every new connection at accept, until the block ends."""
        self._refusing = True
        try:
            self.cut()
            yield
        finally:
            self._refusing = False

    def cut(self) -> None:
        """Close every connection now; clients may connect again."""

        async def cut() -> None:
            for connection in list(self._connections):
                connection.close()

        asyncio.run_coroutine_threadsafe(cut(), self._loop).result(10)

    # Inside

    def _rule(self, apis: tuple[Api, ...], when: When, **what: Any) -> Rule:
        return Rule(frozenset(apis), when, self._loop, **what)

    @contextlib.contextmanager
    def _in_force(self, rule: Rule) -> Iterator[Rule]:
        self._loop.call_soon_threadsafe(self._rules.append, rule)
        try:
            yield rule
        finally:
            rule.release()
            self._loop.call_soon_threadsafe(self._rules.remove, rule)

    def _catch(self, request: Request, when: When) -> list[Rule]:
        if when == "request":
            self.seen[request.api] += 1
        elif request.api == Api.END_TXN:
            self.committed += 1
        rules = [rule for rule in self._rules if rule.matches(request, when)]
        for rule in rules:
            rule.take(request, when)
        return rules

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        try:
            server = await asyncio.start_server(self._accept, HOST.decode(), self.port, limit=1 << 20)
        except OSError as failure:
            self._failure = failure
            self._ready.set()
            return
        self._ready.set()
        await self._stop.wait()
        server.close()
        for connection in list(self._connections):
            connection.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            _, pending = await asyncio.wait(others, timeout=2)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            writer.transport.abort()
            return
        try:
            from_broker, to_broker = await asyncio.open_connection(HOST.decode(), self.upstream_port, limit=1 << 20)
        except OSError:  # the broker is down: the client sees the same as without us
            writer.transport.abort()
            return
        connection = _Connection(self, writer, to_broker)
        self._connections.add(connection)
        try:
            await connection.run(reader, from_broker)
        finally:
            connection.close()
            self._connections.discard(connection)
