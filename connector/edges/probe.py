"""One look at the exchange, for ``check``: can it be reached, and does it send?"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from connector.core.envelope import Data, Refused
from connector.core.errors import ConfigurationError
from connector.core.exchange_refusal import refusal
from connector.core.schema import RestSpec, StreamSchema
from connector.edges.clock import Clock
from connector.edges.feed import Inspector, places
from connector.edges.feed_options import FeedOptions
from connector.edges.kept_connection import Connect
from connector.edges.rest import Answer, Failure, RestClient
from connector.edges.websocket import (
    ConnectFailedError,
    HandshakeRefusedError,
    SocketLostError,
    SocketOptions,
    open_socket,
)

_PERIODS_TO_ADVANCE = 2.5
_BAD_REQUEST = 400

_ADDRESS = "see feed.url (the base only, as wss://fstream.binance.com)"
_AGAIN = "try again; where it stays so, see the exchange's announcements"
_NOT_REACHED = {
    "tls": "see that feed.url is the exchange's, and whether a proxy in between needs its certificate authority known "
    "to this machine",
    "proxy": "see feed.proxy",
    "unreachable": "see feed.url, and whether this machine may connect to it: a firewall, or feed.proxy",
    "timeout": "see feed.url, and whether this machine may connect to it: a firewall, or feed.proxy",
    "name not found": "see feed.url, and this machine's DNS",
}
"""By the reason of a connection that failed."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one thing."""

    subject: str
    """What was looked at, with its address."""
    ok: bool
    detail: str
    """One sentence for a person."""
    ahead_ms: int | None = None
    """Of a stream: by how much its event time was ahead of this clock; unset where none came."""
    remedy: str = ""
    """What to do where it is not ok."""
    answer: Answer | None = None
    """Of REST: what came, where its status was 200."""


async def probe(
    options: FeedOptions,
    schema: StreamSchema,
    normalizer: Inspector,
    *,
    clock: Clock | None = None,
    connect: Connect = open_socket,
) -> tuple[Finding, ...]:
    """Open every connection that the streams need, once, and wait for data that advances; ask the REST end point once.

    All at the same time, within the open and the first-tick timeout. Options that
    cannot work are findings too.
    """
    try:
        options.check()
        wanted = places(options, schema)
    except ConfigurationError as error:
        return tuple(Finding("feed", False, problem) for problem in error.problems)
    clock = clock or Clock()
    urls = sorted({place.url for place in wanted})
    cadence_s = schema.feed.cadence_ms / 1000
    looks = [_look_at_stream(url, options, normalizer, cadence_s, clock, connect) for url in urls]
    if schema.feed.rest is not None and options.rest_fill:
        looks.append(_look_at_rest(options, schema.feed.rest, clock))
    return tuple(await asyncio.gather(*looks))


async def _look_at_stream(
    url: str, options: FeedOptions, normalizer: Inspector, cadence_s: float, clock: Clock, connect: Connect
) -> Finding:
    subject = f"feed {url}"
    try:
        socket = await connect(
            url,
            SocketOptions(
                max_message_bytes=options.max_frame_bytes,
                open_timeout_s=options.open_timeout,
                close_timeout_s=options.close_timeout,
                proxy=options.proxy,
            ),
        )
    except HandshakeRefusedError as error:
        now_ms = clock.time_ns() // 1_000_000
        detail = refusal(error.status, error.retry_after, error.body, now_ms).detail
        return Finding(subject, False, detail, remedy=_ADDRESS)
    except ConnectFailedError as error:
        return Finding(subject, False, f"cannot be reached: {error}", remedy=_NOT_REACHED.get(error.reason, _ADDRESS))
    first_ms: int | None = None
    advances_within_s = max(options.first_tick_timeout, _PERIODS_TO_ADVANCE * cadence_s)
    try:
        async with asyncio.timeout(advances_within_s):
            while True:
                seen = normalizer.inspect(await socket.receive())
                if isinstance(seen, Refused):
                    return Finding(subject, False, f"answers with error {seen.code}: {seen.message}", remedy=_ADDRESS)
                if isinstance(seen, Data) and seen.event_time_ms is not None:
                    if first_ms is not None and seen.event_time_ms > first_ms:
                        return _sends(subject, seen.event_time_ms, options, clock)
                    first_ms = seen.event_time_ms if first_ms is None else first_ms
    except TimeoutError:
        return _is_quiet(subject, first_ms, advances_within_s)
    except SocketLostError as error:
        what = "any data" if first_ms is None else "data that advances"
        return Finding(subject, False, f"connected, but ended before {what}: {error}", remedy=_AGAIN)
    finally:
        await socket.close()


def _sends(subject: str, event_time_ms: int, options: FeedOptions, clock: Clock) -> Finding:
    ahead_ms = event_time_ms - clock.time_ns() // 1_000_000
    if -options.event_time_behind * 1000 <= ahead_ms <= options.event_time_ahead * 1000:
        return Finding(subject, True, "sends data, and its event time advances", ahead_ms)
    where = "ahead of" if ahead_ms > 0 else "behind"
    return Finding(
        subject,
        False,
        f"sends data, but its time is {abs(ahead_ms) // 1000} s {where} this clock, so every tick would be refused",
        ahead_ms,
        "set the clock (or feed.event_time_ahead and feed.event_time_behind)",
    )


def _is_quiet(subject: str, event_time_ms: int | None, waited_s: float) -> Finding:
    if event_time_ms is not None:
        return Finding(
            subject,
            False,
            f"sent data, but none with a newer event time within {waited_s:g} s: the exchange's feed stands still",
            remedy=_AGAIN,
        )
    return Finding(
        subject,
        False,
        f"connected, but sent no data within {waited_s:g} s",
        remedy="the exchange accepts a connection to a wrong route (as the old ones, /ws and /stream right behind the "
        "host) or to a stream that does not exist, and then stays silent: check that feed.url is the base only (as "
        "wss://fstream.binance.com; the connector adds the route), that the symbols in feed.symbols exist, and "
        "feed.route and the stream names in the schema",
    )


async def _look_at_rest(options: FeedOptions, rest: RestSpec, clock: Clock) -> Finding:
    subject = f"REST {options.rest_url.rstrip('/')}{rest.path}"
    client = RestClient(options, rest, clock)
    try:
        answer = await client.ask(options.symbols[0] if options.symbols else None)
    finally:
        await client.close()
    if isinstance(answer, Failure):
        remedy = "see feed.rest_url and feed.proxy; or set feed.rest_fill = false"
        return Finding(subject, False, f"{answer.reason}: {answer.detail}", remedy=remedy)
    if answer.status != 200:
        now_ms = clock.time_ns() // 1_000_000
        detail = refusal(answer.status, answer.retry_after, answer.body, now_ms).detail
        remedy = "see feed.rest_url (the base only, as https://fapi.binance.com); or set feed.rest_fill = false"
        if options.symbols and answer.status == _BAD_REQUEST:
            remedy = f"see that the first of feed.symbols, {options.symbols[0]}, is one of the exchange's, and {remedy}"
        return Finding(subject, False, detail, remedy=remedy)
    return Finding(subject, True, _answers(answer), answer=answer)


def _answers(answer: Answer) -> str:
    used = "" if answer.used_weight is None else f", weight used this minute: {answer.used_weight}"
    return f"answers with {len(answer.body)} bytes{used}"
