"""REST: the same values asked for while the sockets bring none, and now and then the symbols that there are."""

from __future__ import annotations

import asyncio
import random as chance
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import httpx
import msgspec

from connector.core.backoff import Backoff
from connector.core.budget import WeightBudget
from connector.core.exchange_refusal import refusal
from connector.core.happenings import FeedRefused, FrameReceived, FrameRepeated, RestFailed, RestFillChanged, Tell
from connector.core.schema import RestSpec, StreamSchema
from connector.core.values import Frame, Origin
from connector.edges.clock import Clock
from connector.edges.feed_options import FeedOptions

CONNECTION = "rest"
"""The ``connection`` of its frames and happenings."""

_REQUEST_TIMEOUT_S = 5.0
_WEIGHT_PER_MINUTE = 1200
"""Half of what the exchange allows an address: the other half is for whoever else is behind it."""
_USED_WEIGHT = "X-MBX-USED-WEIGHT-1M"
_SYMBOL_WEIGHT = 1
_COMPARED_EVERY_S = 600.0
_COMPARED_AGAIN_AFTER_S = 60.0
_BRINGS_WITHIN_S = 5.0
"""It fills while it brings rows that are new; one answer that is late or the same is no failure of it."""
_REFUSALS = (403, 418, 429, 451)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request brought."""

    status: int
    body: bytes
    received_at_ns: int
    retry_after: str | None
    used_weight: int | None


@dataclass(frozen=True, slots=True)
class RestState:
    """How the fill is doing. Fit to be read from any thread; monotonic seconds."""

    state: str
    """``idle``, ``filling`` or ``failing``."""
    since: float
    frames: int
    brought_at: float | None
    """When it last brought rows that were new."""
    last_end: str
    """The last refusal or failure; empty where there was none."""
    next_attempt_at: float | None
    """While it stays away."""
    url: str


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a request brought nothing; ``reason`` as in :class:`RestFailed`."""

    reason: str
    detail: str


class RestClient:
    """Asks for the rows of a stream. Never raises for what the other side does."""

    def __init__(self, options: FeedOptions, rest: RestSpec, clock: Clock) -> None:
        self._max_bytes = options.max_frame_bytes
        self._path = rest.path
        self._clock = clock
        self._client = httpx.AsyncClient(
            base_url=options.rest_url.rstrip("/"),
            timeout=_REQUEST_TIMEOUT_S,
            proxy=options.proxy or None,
            trust_env=False,
            headers={"Accept-Encoding": "gzip"},
        )

    async def ask(self, symbol: str | None) -> Answer | Failure:
        """One request, for one symbol or for all."""
        try:
            async with asyncio.timeout(_REQUEST_TIMEOUT_S):
                return await self._ask({} if symbol is None else {"symbol": symbol})
        except (TimeoutError, httpx.TimeoutException):
            return Failure("timeout", f"no answer within {_REQUEST_TIMEOUT_S:g} s")
        except zlib.error as error:
            return Failure("body", f"cannot be unpacked: {error}")
        except httpx.TransportError as error:
            return Failure("unreachable", str(error) or type(error).__name__)

    async def close(self) -> None:
        await self._client.aclose()

    async def _ask(self, query: dict[str, str]) -> Answer | Failure:
        async with self._client.stream("GET", self._path, params=query) as response:
            packing = response.headers.get("Content-Encoding", "identity")
            if packing not in _PACKINGS:
                return Failure("body", f"is packed as {packing[:20]!r}, and only gzip was offered")
            unpack = _PACKINGS[packing]()
            body = bytearray()
            async for part in response.aiter_raw():
                # Not httpx's own way: it unpacks a part whole, a thousand times its size, before anybody can look.
                body += unpack(part, self._max_bytes + 1 - len(body))
                if len(body) > self._max_bytes:
                    return Failure("too big", f"more than {self._max_bytes} bytes (feed.max_frame_bytes)")
            used = response.headers.get(_USED_WEIGHT, "")
            return Answer(
                response.status_code,
                bytes(body),
                self._clock.time_ns(),
                response.headers.get("Retry-After"),
                int(used) if used.isascii() and used.isdigit() and len(used) < 10 else None,
            )


def _gunzip() -> Callable[[bytes, int], bytes]:
    return zlib.decompressobj(wbits=16 + zlib.MAX_WBITS).decompress


def _as_it_is() -> Callable[[bytes, int], bytes]:
    return lambda part, _: part


_PACKINGS: Mapping[str, Callable[[], Callable[[bytes, int], bytes]]] = {
    "identity": _as_it_is,
    "gzip": _gunzip,
    "x-gzip": _gunzip,
}
"""By ``Content-Encoding``: what unpacks the next part, to so many bytes at most."""


class RestFill:
    """Polls the schema's REST end point while *should_fill* returns True, once a cadence at most.

    Answers are passed to *deliver* as frames of :attr:`Origin.REST`. Requests are
    made in the middle of periods, by our clock: at their edges one period would
    be met twice, and another not at all. Never raises for what the exchange does.

    Every ten minutes in which it does not fill it asks for all symbols, and passes them to *compare*, which
    returns whether it wants to see them again in a minute. Fill and comparison share limits and waits.
    """

    def __init__(
        self,
        options: FeedOptions,
        schema: StreamSchema,
        *,
        deliver: Callable[[Frame], None],
        tell: Tell,
        should_fill: Callable[[], bool],
        compare: Callable[[frozenset[str]], bool] = lambda _: False,
        clock: Clock | None = None,
        random: Callable[[], float] = chance.random,
    ) -> None:
        self._options = options
        self._rest = schema.feed.rest
        self._key = schema.field(schema.feed.key_field).rest or ""
        self._cadence_s = schema.feed.cadence_ms / 1000
        self._deliver = deliver
        self._tell = tell
        self._should_fill = should_fill
        self._compare = compare
        self._clock = clock or Clock()
        self._budget = WeightBudget(_WEIGHT_PER_MINUTE)
        self._backoff = Backoff(first_s=1.0, cap_s=10.0, reset_after_s=5.0, random=random)
        self._not_before_s = float("-inf")
        self._compare_at_s = self._clock.monotonic() + _COMPARED_AGAIN_AFTER_S
        self._state, self._since_s = "idle", self._clock.monotonic()
        self._is_asked = False
        self._asked_since_s = 0.0
        self._brought_at_s: float | None = None
        self._frames = 0
        self._last_end = ""
        self._told_failures: set[Failure] = set()
        self._last_bodies: dict[str | None, bytes] = {}

    async def run(self) -> None:
        """Until cancelled; returns at once where the fill is off or the stream has no REST end point."""
        if self._rest is None or not self._options.rest_fill:
            return
        client = RestClient(self._options, self._rest, self._clock)
        asked, cost = _questions(self._options.symbols, self._rest)
        try:
            while True:
                await self._clock.sleep(self._until_mid_period_s())
                self._heed(self._should_fill())
                now_s = self._clock.monotonic()
                self._judge(now_s)
                if now_s < self._not_before_s:
                    continue
                if self._is_asked:
                    answers = await asyncio.gather(*(client.ask(symbol) for symbol in asked))
                    self._take(answers, asked, self._pass_on)
                    self._judge(self._clock.monotonic())
                    self._wait(self._budget.pause_s(cost, self._clock.time_ns() / 1e9))
                elif now_s >= self._compare_at_s:
                    self._compare_at_s = now_s + _COMPARED_EVERY_S
                    self._take([await client.ask(None)], [None], self._pass_on_symbols)
        finally:
            await client.close()

    def _until_mid_period_s(self) -> float:
        since_s = (self._clock.time_ns() / 1e9 - self._cadence_s / 2) % self._cadence_s
        return self._cadence_s - since_s

    def state(self) -> RestState:
        """How it is doing now. May be called from any thread."""
        stays_away = self._not_before_s > self._clock.monotonic()
        return RestState(
            self._state,
            self._since_s,
            self._frames,
            self._brought_at_s,
            self._last_end,
            self._not_before_s if stays_away else None,
            self._options.rest_url.rstrip("/") + (self._rest.path if self._rest else ""),
        )

    def _heed(self, is_asked: bool) -> None:
        if is_asked is not self._is_asked:
            self._is_asked = is_asked
            self._asked_since_s = self._clock.monotonic()
            self._told_failures.clear()

    def _judge(self, now_s: float) -> None:
        """Filling is what it does while it brings something; asked and without an answer yet, it stays what it was."""
        state = self._state
        if not self._is_asked:
            state = "idle"
        elif self._brought_at_s is not None and self._brought_at_s >= max(
            self._asked_since_s, now_s - _BRINGS_WITHIN_S
        ):
            state = "filling"
        elif now_s - self._asked_since_s > _BRINGS_WITHIN_S or self._not_before_s > now_s:
            state = "failing"
        if state != self._state:
            if "filling" in (state, self._state):
                self._tell(RestFillChanged(state == "filling"))
            self._state, self._since_s = state, now_s

    def _take(
        self,
        answers: Sequence[Answer | Failure],
        asked: Sequence[str | None],
        pass_on: Callable[[str | None, Answer], None],
    ) -> None:
        """Pass on what is good. Of several refusals in one round the gravest counts, and is told."""
        failures: list[Failure] = []
        refusals: list[Answer] = []
        for symbol, answer in zip(asked, answers, strict=True):
            if isinstance(answer, Failure):
                failures.append(answer)
                continue
            if answer.used_weight is not None:
                self._budget.told(answer.used_weight, answer.received_at_ns / 1e9)
            if answer.status == httpx.codes.OK:
                pass_on(symbol, answer)
            elif answer.status in _REFUSALS:
                refusals.append(answer)
            else:
                failures.append(Failure("status", refusal(answer.status, None, answer.body, 0).detail))
        if refusals:
            self._refused(refusals)
        elif len(failures) == len(asked):
            self._failed(failures[0], self._stay_away(0.0))
        else:
            self._backoff.progress(self._clock.monotonic())
            # One symbol that does not exist must neither slow the others down nor be told each second.
            for failure in set(failures) - self._told_failures:
                self._told_failures.add(failure)
                self._failed(failure, self._cadence_s)

    def _pass_on(self, symbol: str | None, answer: Answer) -> None:
        body, elements = answer.body, 1
        rows = _rows(body)
        if rows is not None:
            elements = len(rows)
            if symbol is None and self._options.symbols:
                kept = [row for row in rows if _key_of(row, self._key) in self._options.symbols]
                body, elements = b"[" + b",".join(bytes(row) for row in kept) + b"]", len(kept)
        self._tell(FrameReceived(CONNECTION, len(answer.body), elements))
        if self._last_bodies.get(symbol) == body:
            self._tell(FrameRepeated(CONNECTION, elements))
            return
        self._last_bodies[symbol] = body
        self._frames += 1
        self._brought_at_s = self._clock.monotonic()
        stream = self._rest.path if self._rest else ""
        self._deliver(Frame(body, answer.received_at_ns, CONNECTION, stream, Origin.REST))

    def _pass_on_symbols(self, _: str | None, answer: Answer) -> None:
        symbols = frozenset(key for row in _rows(answer.body) or () if isinstance(key := _key_of(row, self._key), str))
        if symbols and self._compare(symbols):
            self._compare_at_s = self._clock.monotonic() + _COMPARED_AGAIN_AFTER_S

    def _refused(self, answers: Sequence[Answer]) -> None:
        now_ms = self._clock.time_ns() // 1_000_000
        meant = [refusal(each.status, each.retry_after, each.body, now_ms) for each in answers]
        gravest = max(meant, key=lambda each: each.retry_after_s)
        pause_s = self._stay_away(gravest.retry_after_s)
        self._last_end = f"refused by the exchange: {gravest.detail}"
        self._tell(FeedRefused(CONNECTION, gravest.status, gravest.detail, pause_s))

    def _failed(self, failure: Failure, next_attempt_s: float) -> None:
        self._last_end = f"{failure.reason}: {failure.detail}"
        self._tell(RestFailed(failure.reason, failure.detail, next_attempt_s))

    def _stay_away(self, at_least_s: float) -> float:
        pause_s = max(at_least_s, self._backoff.failed())
        self._wait(pause_s)
        return pause_s

    def _wait(self, pause_s: float) -> None:
        self._not_before_s = max(self._not_before_s, self._clock.monotonic() + pause_s)


def _questions(symbols: Sequence[str], rest: RestSpec) -> tuple[tuple[str | None, ...], int]:
    """What to ask each time, and its weight: symbol by symbol, or, where that is dearer, for all at once."""
    if symbols and len(symbols) * _SYMBOL_WEIGHT <= rest.weight:
        return tuple(symbols), len(symbols) * _SYMBOL_WEIGHT
    return (None,), rest.weight


def _rows(body: bytes) -> list[msgspec.Raw] | None:
    """The elements of an array, byte for byte; None where the body is none."""
    try:
        return msgspec.json.decode(body, type=list[msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _key_of(row: msgspec.Raw, key: str) -> object:
    try:
        fields = msgspec.json.decode(row, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return fields.get(key)
