"""Where to connect: addresses made from the configured base, the schema's route and the streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from connector.core.errors import ConfigurationError
from connector.core.secrets import without_userinfo

MAX_STREAMS = 1024
"""The exchange's own limit on the streams of one connection."""
MAX_TARGET_CHARS = 4096
"""Bound of path and query of an address: proxies and servers refuse request lines of 8 KiB and more."""

_ROUTES = ("market", "public", "private")
_MODES = ("ws", "stream")


def check_base_url(url: str) -> None:
    """Raise :class:`ConfigurationError` unless *url* is the base of a WebSocket end point and no more.

    The routes are the connector's own: with ``/ws`` or ``/stream`` in front the
    exchange accepts the connection and never sends anything.
    """
    _check(url, option="feed.url", schemes=("wss", "ws"), example="wss://fstream.binance.com")
    extra = _from_segment(url, _ROUTES + _MODES)
    if extra:
        raise ConfigurationError(
            f"feed.url {url!r} contains the route {extra}, which the connector adds itself (on a wrong route the "
            f'exchange connects and stays silent); write the base only: feed.url = "{url.removesuffix(extra)}"'
        )


def check_rest_url(url: str) -> None:
    """Raise :class:`ConfigurationError` unless *url* is the base of the exchange's REST interface."""
    _check(url, option="feed.rest_url", schemes=("https", "http"), example="https://fapi.binance.com")
    extra = _from_segment(url, ("fapi",))
    if extra:
        raise ConfigurationError(
            f"feed.rest_url {url!r} contains {extra}, which the connector adds itself; "
            f'write the base only: feed.rest_url = "{url.removesuffix(extra)}"'
        )


def check_proxy(url: str) -> None:
    """Raise :class:`ConfigurationError` unless *url* is empty (none) or an HTTP proxy."""
    if url:
        _check(url, option="feed.proxy", schemes=("http", "https"), example="http://proxy.internal:3128", user=True)


@dataclass(frozen=True, slots=True)
class Address:
    """One connection's address, and the streams it subscribes to."""

    url: str
    streams: tuple[str, ...]


def stream_addresses(base: str, route: str, streams: Sequence[str], *, combined: bool) -> tuple[Address, ...]:
    """The addresses that together subscribe to *streams*; one connection each.

    Subscribing by address needs no control messages, so the exchange's limit on
    those cannot be reached. *combined* asks for the envelope that names the
    stream; without it there may be only one.
    """
    start = f"{base.rstrip('/')}/{route}"
    if not combined:
        (stream,) = streams
        return (Address(f"{start}/ws/{_quoted(stream)}", (stream,)),)
    start = f"{start}/stream?streams="
    room = MAX_TARGET_CHARS - len(start)
    groups: list[list[str]] = [[]]
    used = 0
    for stream in streams:
        needed = len(_quoted(stream)) + 1
        if groups[-1] and (used + needed > room or len(groups[-1]) == MAX_STREAMS):
            groups.append([])
            used = 0
        groups[-1].append(stream)
        used += needed
    return tuple(Address(start + "/".join(map(_quoted, group)), tuple(group)) for group in groups)


def _quoted(stream: str) -> str:
    return quote(stream, safe="!@")


def _check(url: str, *, option: str, schemes: tuple[str, ...], example: str, user: bool = False) -> None:
    advice = f'write the base only, for example {option} = "{example}"'
    try:
        parts = urlsplit(url)
        port_is_valid = parts.port != 0
        (parts.hostname or "").encode("idna").decode("idna")  # raises where no such name can be
    except ValueError as error:
        # Words of the error may be a part of a password.
        why = "" if "@" in url else f": {error}"
        raise ConfigurationError(f"{option} {without_userinfo(url)!r} is no address{why}; {advice}") from error
    if parts.scheme not in schemes or not parts.hostname or not port_is_valid:
        kinds = " or ".join(f"{scheme}://" for scheme in schemes)
        raise ConfigurationError(f"{option} {without_userinfo(url)!r} is no {kinds} address; {advice}")
    if parts.query or parts.fragment or (parts.username is not None and not user):
        raise ConfigurationError(f"{option} {without_userinfo(url)!r} has more than host, port and path; {advice}")


def _from_segment(url: str, names: tuple[str, ...]) -> str:
    """The end of the path from the first segment that is one of *names*, with its slash; empty where none is."""
    segments = urlsplit(url).path.split("/")
    first = next((index for index, segment in enumerate(segments) if segment in names), None)
    return "" if first is None else "/" + "/".join(segments[first:])
