"""One look at the exchange, for ``check``: can it be reached, and does it send?"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from connector.core.decode import Data, Refused
from connector.core.errors import ConfigurationError
from connector.core.refusal import refusal
from connector.core.schema import RestSpec, StreamSchema
from connector.edges.clock import Clock
from connector.edges.feed import Inspector, places
from connector.edges.feed_options import FeedOptions
from connector.edges.lane import Connect
from connector.edges.rest import Answer, Failure, RestClient
from connector.edges.websocket import (
    ConnectFailedError,
    HandshakeRefusedError,
    SocketLostError,
    SocketOptions,
    open_socket,
)


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one thing."""

    subject: str
    """What was looked at, with its address."""
    ok: bool
    detail: str
    """One sentence for a person."""


async def probe(
    options: FeedOptions,
    schema: StreamSchema,
    normalizer: Inspector,
    *,
    clock: Clock | None = None,
    connect: Connect = open_socket,
) -> tuple[Finding, ...]:
    """Open every connection that the streams need, once, and wait for data; ask the REST end point once.

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
    looks = [_look_at_stream(url, options, normalizer, clock, connect) for url in urls]
    if schema.feed.rest is not None and options.rest_fill:
        looks.append(_look_at_rest(options, schema.feed.rest, clock))
    return tuple(await asyncio.gather(*looks))


async def _look_at_stream(
    url: str, options: FeedOptions, normalizer: Inspector, clock: Clock, connect: Connect
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
        return Finding(subject, False, refusal(error.status, error.retry_after, error.body, now_ms).detail)
    except ConnectFailedError as error:
        return Finding(subject, False, f"cannot be reached: {error}")
    try:
        async with asyncio.timeout(options.first_tick_timeout):
            while True:
                seen = normalizer.inspect(await socket.receive())
                if isinstance(seen, Refused):
                    return Finding(subject, False, f"answers with error {seen.code}: {seen.message}")
                if isinstance(seen, Data) and seen.event_time_ms is not None:
                    return _sends(subject, seen.event_time_ms, options, clock)
    except TimeoutError:
        return Finding(
            subject,
            False,
            f"connected, but sent no data within {options.first_tick_timeout:g} s: check feed.url (the base only), "
            "feed.symbols, and feed.route and the stream name in the schema",
        )
    except SocketLostError as error:
        return Finding(subject, False, f"connected, but ended before any data: {error}")
    finally:
        await socket.close()


def _sends(subject: str, event_time_ms: int, options: FeedOptions, clock: Clock) -> Finding:
    ahead_ms = event_time_ms - clock.time_ns() // 1_000_000
    if -options.event_time_behind * 1000 <= ahead_ms <= options.event_time_ahead * 1000:
        return Finding(subject, True, "sends data")
    where = "ahead of" if ahead_ms > 0 else "behind"
    return Finding(
        subject,
        False,
        f"sends data, but its time is {abs(ahead_ms) // 1000} s {where} this clock, so every tick would be refused: "
        "set the clock (or feed.event_time_ahead and feed.event_time_behind)",
    )


async def _look_at_rest(options: FeedOptions, rest: RestSpec, clock: Clock) -> Finding:
    subject = f"REST {options.rest_url.rstrip('/')}{rest.path}"
    client = RestClient(options, rest, clock)
    try:
        answer = await client.ask(options.symbols[0] if options.symbols else None)
    finally:
        await client.close()
    if isinstance(answer, Failure):
        return Finding(subject, False, f"{answer.reason}: {answer.detail}")
    if answer.status != 200:
        now_ms = clock.time_ns() // 1_000_000
        return Finding(subject, False, refusal(answer.status, answer.retry_after, answer.body, now_ms).detail)
    return Finding(subject, True, _answers(answer))


def _answers(answer: Answer) -> str:
    used = "" if answer.used_weight is None else f", weight used this minute: {answer.used_weight}"
    return f"answers with {len(answer.body)} bytes{used}"
