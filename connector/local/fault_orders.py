"""How a test orders faults of the fake exchange: one method for each, from any thread.

What changes the data of a period starts with the next period and returns its :class:`Fault`;
what refuses requests starts at once and returns its :class:`Gate`; both can be stopped.
What happens once to open connections returns how many it met.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final, Literal, TypeVar

from connector.local import frame_faults
from connector.local.exchange_board import Board, Gate
from connector.local.exchange_connection import Selector, Subscriber
from connector.local.exchange_rest import Reply, refusal
from connector.local.frame_faults import Fault, Mutation, Patch, Shape

T = TypeVar("T")
_OTHER_VALUE: Final[Patch] = {"i": "1.23456789"}


class FaultOrders(ABC):
    """Everything a test may order. ``select``: see :data:`Selector`; lasting until stopped where no end is given."""

    _board: Board

    @abstractmethod
    def _on_loop(self, action: Callable[[], T]) -> T:
        """Run in the exchange's event loop and give the result."""

    # At once, to open connections.

    def drop(self, select: Selector = "all") -> int:
        """Abort the TCP connection, without a word."""
        return self._each(select, Subscriber.abort)

    def close(self, select: Selector = "all", code: int = 1001, reason: str = "") -> int:
        """Send a close frame."""
        return self._each(select, lambda subscriber: self._board.close_soon(subscriber, code, reason))

    def stop_reading(self, select: Selector = "all") -> int:
        """Never read from it again: a close frame stays unanswered, and so do pings; data goes on."""
        return self._each(select, lambda subscriber: subscriber.connection.transport.pause_reading())

    def send(self, payload: bytes | str, select: Selector = "all", *, text: bool = True, kind: str = "garbage") -> int:
        """One message of any bytes, now, beside the data; as a text frame even where the bytes are no text."""
        data = payload.encode("utf-8", "surrogatepass") if isinstance(payload, str) else payload
        return self._each(select, lambda subscriber: self._board.send(subscriber, data, text=text, kind=kind))

    def oversize(self, size_bytes: int, select: Selector = "all") -> int:
        """One valid JSON message of so many bytes."""
        return self.send(b'["' + b"x" * max(0, size_bytes - 4) + b'"]', select, kind="oversize")

    def server_shutdown(self, select: Selector = "all", *, nested: bool = False) -> int:
        """The announcement, flat or under ``event``; the connection stays open."""
        event = f'{{"e":"serverShutdown","E":{self._board.latest.event_time_ms}}}'
        return self.send(f'{{"event":{event}}}' if nested else event, select, kind="server_shutdown")

    # From the next period on.

    def stall(self, select: Selector = "all", *, duration_s: float | None = None) -> Fault:
        """Open, answering pings, without data."""
        return self._order("stall", frame_faults.nothing, select, None, duration_s)

    def skip_period(self, select: Selector = "all", periods: int = 1) -> Fault:
        """The selected connections do not get the next periods."""
        return self._order("skip_period", frame_faults.nothing, select, periods)

    def freeze(self, select: Selector = "all", *, duration_s: float | None = None) -> Fault:
        """The last data again and again, event time included."""
        return self._order("freeze", frame_faults.freeze(), select, None, duration_s)

    def garbage(self, payload: bytes | str, select: Selector = "all", periods: int = 1) -> Fault:
        """The given bytes instead of the data; :meth:`send` sends them beside it."""
        data = payload.encode("utf-8", "surrogatepass") if isinstance(payload, str) else payload
        return self._order("garbage", frame_faults.garbage(data), select, periods)

    def bad_element(
        self, change: Patch | Mutation, symbol: str | None = None, select: Selector = "all", periods: int = 1
    ) -> Fault:
        """One element (the symbol's, or the first) changed by a patch or a function; its neighbours remain."""
        return self._order("bad_element", frame_faults.bad_element("bad_element", change, symbol), select, periods)

    def bad_event_time(
        self, offset_ms: int, symbol: str | None = None, select: Selector = "all", periods: int = 1
    ) -> Fault:
        """The event time of one element off by so much."""

        def moved(element: dict[str, Any]) -> dict[str, Any]:
            return {**element, "E": element["E"] + offset_ms}

        return self._order("bad_event_time", frame_faults.bad_element("bad_event_time", moved, symbol), select, periods)

    def time_shift(
        self, offset_ms: int, select: Selector = "all", periods: int | None = None, *, duration_s: float | None = None
    ) -> Fault:
        """Every event time off by so much."""
        return self._order("time_shift", frame_faults.time_shift(offset_ms), select, periods, duration_s)

    def duplicate(self, select: Selector = "all", periods: int = 1) -> Fault:
        """Each frame twice."""
        return self._order("duplicate", frame_faults.duplicate, select, periods)

    def duplicate_element(self, symbol: str | None = None, select: Selector = "all", periods: int = 1) -> Fault:
        """One element twice within its array."""
        return self._order("duplicate", frame_faults.duplicate_element(symbol), select, periods)

    def conflict(
        self,
        symbol: str | None = None,
        change: Patch | Mutation = _OTHER_VALUE,
        select: Selector = "all",
        periods: int = 1,
    ) -> Fault:
        """Behind the true frame one element again: same symbol and event time, other value."""
        return self._order("conflict", frame_faults.conflict(change, symbol), select, periods)

    def split(self, parts: int = 2, select: Selector = "all", periods: int | None = 1) -> Fault:
        """Each array over so many messages."""
        return self._order("split", frame_faults.split(parts), select, periods)

    def fragmented(self, parts: int = 3, select: Selector = "all", periods: int | None = 1) -> Fault:
        """Each message in so many WebSocket fragments."""
        return self._order("fragmented", frame_faults.fragmented(parts), select, periods)

    def late(self, after: int = 1, select: Selector = "all") -> Fault:
        """The next frame held back until ``after`` further ones were sent."""
        return self._order("late", frame_faults.late(after), select, after + 1)

    # Requests that come from now on.

    def refuse(
        self,
        status: int,
        select: Selector = "all",
        *,
        retry_after_s: int | None = None,
        banned_until_ms: int | None = None,
        duration_s: float | None = None,
        times: int | None = None,
    ) -> Gate:
        """Answer the WebSocket handshake with a status (an index selects nothing here: there is none yet)."""
        return self._gate("socket", select, duration_s, times, refusal(status, retry_after_s, banned_until_ms))

    def slow_handshake(
        self, delay_s: float, select: Selector = "all", *, duration_s: float | None = None, times: int | None = None
    ) -> Gate:
        """Answer the WebSocket handshake so much later."""
        return self._gate("socket", select, duration_s, times, delay_s=delay_s)

    def accept_and_close(
        self,
        select: Selector = "all",
        *,
        code: int = 1008,
        duration_s: float | None = None,
        times: int | None = None,
    ) -> Gate:
        """Accept the handshake and close at once."""
        return self._gate("socket", select, duration_s, times, close_code=code)

    def rest_refuse(
        self,
        status: int,
        select: Selector = "all",
        *,
        retry_after_s: int | None = None,
        banned_until_ms: int | None = None,
        duration_s: float | None = None,
        times: int | None = None,
    ) -> Gate:
        """Answer REST requests with a status."""
        return self._gate("rest", select, duration_s, times, refusal(status, retry_after_s, banned_until_ms))

    def rest_slow(
        self, delay_s: float, select: Selector = "all", *, duration_s: float | None = None, times: int | None = None
    ) -> Gate:
        """Answer REST requests so much later."""
        return self._gate("rest", select, duration_s, times, delay_s=delay_s)

    # Symbols.

    def new_symbol(self, symbol: str) -> None:
        self._on_loop(lambda: self._board.market.add(symbol))

    def vanish_symbol(self, symbol: str) -> None:
        self._on_loop(lambda: self._board.market.vanish(symbol))

    def return_symbol(self, symbol: str) -> None:
        self._on_loop(lambda: self._board.market.restore(symbol))

    def clear(self) -> None:
        """End every fault and every refusal; what is done to a connection stays done."""
        self._on_loop(self._board.clear)

    def _each(self, select: Selector, action: Callable[[Subscriber], object]) -> int:
        def act() -> int:
            chosen = self._board.chosen(select)
            for subscriber in chosen:
                action(subscriber)
            return len(chosen)

        return self._on_loop(act)

    def _order(
        self, kind: str, shape: Shape, select: Selector, periods: int | None, duration_s: float | None = None
    ) -> Fault:
        def act() -> Fault:
            until_s = None if duration_s is None else asyncio.get_running_loop().time() + duration_s
            fault = Fault(kind, self._board.predicate(select), shape, periods, until_s)
            self._board.faults.append(fault)
            return fault

        return self._on_loop(act)

    def _gate(
        self,
        target: Literal["socket", "rest"],
        select: Selector,
        duration_s: float | None,
        times: int | None,
        reply: Reply | None = None,
        *,
        close_code: int | None = None,
        delay_s: float = 0.0,
    ) -> Gate:
        def act() -> Gate:
            until_s = None if duration_s is None else asyncio.get_running_loop().time() + duration_s
            gate = Gate(target, self._board.predicate(select), reply, close_code, delay_s, until_s, times)
            self._board.gates.append(gate)
            return gate

        return self._on_loop(act)
