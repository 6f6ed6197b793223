"""The state of the fake exchange that faults act on, and the push of one period to all connections.

Everything here runs in the exchange's event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

from connector.local.exchange_connection import ConnectionInfo, Selector, Subscriber, is_known
from connector.local.exchange_rest import Reply
from connector.local.frame_faults import Fault, Frame, Turn
from connector.local.market import ARRAY_STREAM, Market, Snapshot
from connector.local.truth import FaultySend, SentPeriod, Truth

_PAYLOAD_KEPT: Final = 65_536


@dataclass(slots=True)
class Gate:
    """What stands before new requests: a refusal, a close right after the handshake, or a delay."""

    target: Literal["socket", "rest"]
    selects: Callable[[ConnectionInfo], bool]
    reply: Reply | None
    close_code: int | None
    delay_s: float
    until_s: float | None
    times_left: int | None
    over: bool = field(default=False, init=False)

    def stop(self) -> None:
        """End it; from any thread."""
        self.over = True

    def meets(self, target: str, info: ConnectionInfo, now_s: float) -> bool:
        """Whether this request is met; counts it where it is."""
        if self.until_s is not None and now_s >= self.until_s:
            self.over = True
        if self.over or self.target != target or not self.selects(info):
            return False
        if self.times_left is not None:
            self.times_left -= 1
            self.over = self.times_left <= 0
        return True


class Board:
    """Market, truth, connections, and the faults in force."""

    def __init__(self, market: Market, truth: Truth, slow_consumer_bytes: int) -> None:
        self.market = market
        self.truth = truth
        self.subscribers: list[Subscriber] = []
        self.faults: list[Fault] = []
        self.gates: list[Gate] = []
        self.latest = market.snapshot(0)
        self._pushed = False
        self._slow_consumer_bytes = slow_consumer_bytes
        self._closing: set[asyncio.Task[None]] = set()

    def begin(self, event_time_ms: int) -> None:
        """The time of the values that REST gives before the first period."""
        self.latest = Snapshot(event_time_ms, self.latest.rows)

    def leave(self, subscriber: Subscriber) -> None:
        """A connection has ended."""
        self.subscribers.remove(subscriber)
        self.truth.add_end(subscriber.id, self.latest.event_time_ms)

    def open_subscribers(self) -> list[Subscriber]:
        return [subscriber for subscriber in self.subscribers if subscriber.open]

    def live_count(self) -> int:
        """How many connections would be pushed something."""
        return sum(subscriber.receives(self.latest) for subscriber in self.subscribers)

    def predicate(self, select: Selector) -> Callable[[ConnectionInfo], bool]:
        """A selector made firm: an index is the connection that stands there now."""
        if callable(select):
            return select
        if isinstance(select, int):
            identifier = self.open_subscribers()[select].id
            return lambda info: info.id == identifier
        if select.startswith("~"):
            return lambda info: info.label == select[1:]
        if select != "all":
            raise ValueError(f"not a selector: {select!r}")
        return lambda info: True

    def chosen(self, select: Selector) -> list[Subscriber]:
        predicate = self.predicate(select)
        return [subscriber for subscriber in self.open_subscribers() if predicate(subscriber.info)]

    def gate(self, target: str, info: ConnectionInfo, now_s: float) -> Gate | None:
        """The first gate that meets this request."""
        self.gates = [gate for gate in self.gates if not gate.over]
        return next((gate for gate in self.gates if gate.meets(target, info, now_s)), None)

    def clear(self) -> None:
        for fault in self.faults:
            fault.stop()
        for gate in self.gates:
            gate.stop()

    def close_soon(self, subscriber: Subscriber, code: int, reason: str) -> None:
        task = asyncio.get_running_loop().create_task(subscriber.connection.close(code, reason))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def send(self, subscriber: Subscriber, payload: bytes, *, text: bool, kind: str) -> None:
        """One message beside the data."""
        if subscriber.push(payload, text=text):
            self._note(kind, subscriber.id, (), payload)

    def publish(self, event_time_ms: int, now_s: float) -> None:
        """Move the market by one period and push it to everybody who is due to get it."""
        previous, self.latest = self.latest, self.market.snapshot(event_time_ms)
        self.faults = [fault for fault in self.faults if not _is_over(fault, now_s)]
        met: list[Fault] = []
        whole: list[int] = []
        parts: dict[str, list[int]] = {}
        for subscriber in self.open_subscribers():
            if not subscriber.receives(self.latest):
                continue
            ordered = [fault for fault in self.faults if fault.selects(subscriber.info)] if self.faults else []
            if not ordered and list(subscriber.session.streams) == [ARRAY_STREAM]:
                combined = subscriber.session.combined
                if subscriber.push(self.latest.combined_array if combined else self.latest.array):
                    whole.append(subscriber.id)
            else:
                met += ordered
                got = self._push_frames(subscriber, ordered, previous)
                if len(got) == len(self.latest.rows):
                    whole.append(subscriber.id)
                else:
                    for symbol in got:
                        parts.setdefault(symbol, []).append(subscriber.id)
            if subscriber.waiting_bytes > self._slow_consumer_bytes:
                subscriber.abort()
        self._pushed = True
        for fault in {id(fault): fault for fault in met}.values():
            fault.end_turn()
        self.truth.add_period(
            SentPeriod(
                event_time_ms,
                self.latest.array_text,
                tuple(whole),
                {symbol: tuple(identifiers) for symbol, identifiers in parts.items()},
            )
        )

    def _push_frames(self, subscriber: Subscriber, ordered: list[Fault], previous: Snapshot) -> set[str]:
        """The slow way: frame by frame, through the faults; gives the symbols whose true element was sent."""
        session = subscriber.session
        known = (stream for stream in session.streams if is_known(stream, self.latest))
        frames = [frame for stream in known if (frame := Frame.of(stream, self.latest)) is not None]
        for fault in ordered:
            before = previous if self._pushed else self.latest
            frames = fault.shape(Turn(fault.turns, subscriber.id, self.latest, before), frames)
        got: set[str] = set()
        for frame in frames:
            payload = frame.payload(combined=session.combined)
            if not subscriber.push(payload, fragments=frame.fragments):
                break
            if frame.fault is not None:
                self._note(frame.fault, subscriber.id, tuple(piece.symbol for piece in frame.pieces), payload)
                continue
            for piece in frame.pieces:
                if piece.fault is None:
                    got.add(piece.symbol)
                else:
                    self._note(piece.fault, subscriber.id, (piece.symbol,), piece.text.encode("utf-8", "replace"))
        return got

    def _note(self, kind: str, connection_id: int, symbols: tuple[str, ...], payload: bytes) -> None:
        text = payload[:_PAYLOAD_KEPT].decode("utf-8", "replace")
        self.truth.add_fault(FaultySend(kind, self.latest.event_time_ms, connection_id, symbols, text))


def _is_over(fault: Fault, now_s: float) -> bool:
    if fault.until_s is not None and now_s >= fault.until_s:
        fault.stop()
    return fault.over
