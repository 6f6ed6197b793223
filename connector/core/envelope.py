"""The exchange's envelope: what a message is, by its shape, and where its elements stand in it.

A change of the envelope changes this module. What is read here is read with
care: standard-library JSON, one element at a time, with the literal text of
every number kept and the place of every element known. Frames that are as
documented are not (see :mod:`connector.core.normalize`).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

STREAM, DATA = "stream", "data"
"""The members of the combined envelope."""


@dataclass(frozen=True, slots=True)
class Data:
    """A message with elements, as far as a socket needs to know it."""

    stream: str
    """As the envelope names it; empty where there is no envelope."""
    event_time_ms: int | None
    """The newest among the elements; None where no element has one."""
    elements: int


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The reply to a control message that succeeded."""

    request_id: int | None


@dataclass(frozen=True, slots=True)
class Refused:
    """The reply to a control message, or request, that did not."""

    code: int
    message: str


@dataclass(frozen=True, slots=True)
class ServerShutdown:
    """The server is about to close this connection."""


@dataclass(frozen=True, slots=True)
class Element:
    value: Any
    """As ``json`` gives it, but numbers are their literal text (``Number``)."""
    data: bytes
    """As received."""


@dataclass(frozen=True, slots=True)
class Payload:
    """A message with elements: an array's, or a single one."""

    stream: str
    elements: tuple[Element, ...]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Not JSON, or deeper or longer than it is read."""

    problem: str


Control = Acknowledged | Refused | ServerShutdown


class Number(str):
    """The literal text of a JSON number; also of NaN and Infinity, which are not JSON, but are sent by some."""

    __slots__ = ()


MOST_ELEMENTS = 20_000
"""Read with care in one message. As many real elements fill 4 MiB; of millions of tiny ones, which are none, each
would take hundreds of bytes and be refused by itself."""

_JSON = json.JSONDecoder(parse_float=Number, parse_int=Number, parse_constant=Number)
_ENVELOPED = f'{{"{STREAM}":'.encode()
_SPACE = re.compile(r"[ \t\n\r]*")
_SHUTDOWN = "serverShutdown"


def classify(data: bytes) -> Payload | Control | Unreadable:
    """Read a message, whatever its bytes. Never raises."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        return Unreadable(f"is not UTF-8 at byte {error.start}")
    try:
        return _read(text)
    except json.JSONDecodeError as error:
        return Unreadable(f"is not JSON: {error.msg} at character {error.pos}")
    except RecursionError:
        return Unreadable("is nested too deep")
    except _TooManyError:
        return Unreadable(f"has more than {MOST_ELEMENTS:,} elements, and not all of them are good")


class _TooManyError(Exception):
    """More elements than are read."""


def is_enveloped(data: bytes) -> bool:
    """Whether it begins as the combined envelope does, to the letter."""
    return data.startswith(_ENVELOPED)


def read_value(data: bytes) -> Any:
    """One JSON value, numbers as their literal text. Raises what ``json`` raises, RecursionError included."""
    return _JSON.decode(data.decode())


def _read(text: str) -> Payload | Control:
    start = _skip(text, 0)
    if text.startswith("{", start):
        members, places, end = _members(text, start)
        _expect_end(text, end)
        control = _control(members)
        if control is not None:
            return control
        stream = members.get(STREAM)
        if isinstance(stream, str) and not isinstance(stream, Number) and DATA in places:
            return _enveloped(text, stream, members[DATA], *places[DATA])
        return Payload("", (Element(members, text[start:end].encode()),))
    if text.startswith("[", start):
        elements, end = _elements(text, start)
        _expect_end(text, end)
        return Payload("", elements)
    value, end = _JSON.raw_decode(text, start)
    _expect_end(text, end)
    return Payload("", (Element(value, text[start:end].encode()),))


def _enveloped(text: str, stream: str, value: Any, start: int, end: int) -> Payload | Control:
    if isinstance(value, list):
        return Payload(stream, _elements(text, start)[0])
    if isinstance(value, dict) and _is_shutdown(value):
        return ServerShutdown()
    return Payload(stream, (Element(value, text[start:end].encode()),))


def _control(members: dict[str, Any]) -> Control | None:
    if _is_shutdown(members):
        return ServerShutdown()
    error = members.get("error", members)
    if isinstance(error, dict) and isinstance(error.get("code"), Number) and isinstance(error.get("msg"), str):
        return Refused(_integer(error["code"]) or 0, error["msg"])
    if "result" in members and "id" in members:
        return Acknowledged(_integer(members["id"]))
    return None


def _is_shutdown(members: dict[str, Any]) -> bool:
    event = members.get("event")
    return _SHUTDOWN in (members.get("e"), event) or (isinstance(event, dict) and event.get("e") == _SHUTDOWN)


def _integer(value: Any) -> int | None:
    return int(value) if isinstance(value, Number) and re.fullmatch(r"-?[0-9]{1,18}", value) else None


def _elements(text: str, start: int) -> tuple[tuple[Element, ...], int]:
    """The elements of the array that begins at ``start``, and where it ends."""
    found: list[Element] = []
    at = _skip(text, start + 1)
    if text.startswith("]", at):
        return (), at + 1
    while True:
        value, end = _JSON.raw_decode(text, at)
        if len(found) == MOST_ELEMENTS:
            raise _TooManyError
        found.append(Element(value, text[at:end].encode()))
        at, closed = _next(text, end, "]")
        if closed:
            return tuple(found), at


def _members(text: str, start: int) -> tuple[dict[str, Any], dict[str, tuple[int, int]], int]:
    """The members of the object that begins at ``start``, the place of each value, and where it ends."""
    members: dict[str, Any] = {}
    places: dict[str, tuple[int, int]] = {}
    at = _skip(text, start + 1)
    if text.startswith("}", at):
        return members, places, at + 1
    while True:
        if not text.startswith('"', at):
            raise json.JSONDecodeError("Expecting a name in quotes", text, at)
        name, end = _JSON.raw_decode(text, at)
        at = _skip(text, end)
        if not text.startswith(":", at):
            raise json.JSONDecodeError("Expecting a colon", text, at)
        at = _skip(text, at + 1)
        members[name], end = _JSON.raw_decode(text, at)
        places[name] = (at, end)
        at, closed = _next(text, end, "}")
        if closed:
            return members, places, at


def _next(text: str, end: int, closing: str) -> tuple[int, bool]:
    """Where to go on after a value that ended at ``end``, and whether that was the last."""
    at = _skip(text, end)
    if text.startswith(closing, at):
        return at + 1, True
    if not text.startswith(",", at):
        raise json.JSONDecodeError("Expecting a comma", text, at)
    return _skip(text, at + 1), False


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _expect_end(text: str, end: int) -> None:
    at = _skip(text, end)
    if at != len(text):
        raise json.JSONDecodeError("Something follows the message", text, at)
