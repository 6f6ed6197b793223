"""Control messages of the fake exchange: SUBSCRIBE and its sisters, answered in the documented shapes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(slots=True)
class Session:
    """What a connection is subscribed to, in order, and whether its data comes in the combined envelope."""

    streams: dict[str, None] = field(default_factory=dict)
    combined: bool = False
    streams_limit: int = 1024
    nested_errors: bool = False
    """Errors as ``{"error": {…}, "id": …}`` rather than flat; both have been seen."""


class _RefusedError(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def answer(message: str | bytes, session: Session) -> str:
    """The reply to one client message; changes the session where the message asks for it."""
    identifier: int | None = None
    try:
        request = _parsed(message)
        identifier = _identifier(request)
        result = _method(request)(request.get("params"), session)
    except _RefusedError as refused:
        error = {"code": refused.code, "msg": refused.message}
        if session.nested_errors:
            return json.dumps({"error": error, "id": identifier}, separators=(",", ":"))
        return json.dumps(error if identifier is None else {**error, "id": identifier}, separators=(",", ":"))
    return json.dumps({"result": result, "id": identifier}, separators=(",", ":"))


def _parsed(message: str | bytes) -> dict[str, Any]:
    try:
        request = json.loads(message)
    except (ValueError, RecursionError) as error:
        line, column = getattr(error, "lineno", 1), getattr(error, "colno", 1)
        raise _RefusedError(3, f"Invalid JSON: expected value at line {line} column {column}") from error
    if not isinstance(request, dict):
        raise _RefusedError(2, "Invalid request: expected an object")
    return request


def _identifier(request: dict[str, Any]) -> int:
    identifier = request.get("id")
    if not isinstance(identifier, int) or isinstance(identifier, bool) or identifier < 0:
        raise _RefusedError(2, "Invalid request: request ID must be an unsigned integer")
    return identifier


def _method(request: dict[str, Any]) -> Callable[[Any, Session], Any]:
    if "method" not in request:
        raise _RefusedError(2, "Invalid request: missing field `method` at line 1 column 1")
    method = request["method"]
    if not isinstance(method, str) or method not in _METHODS:
        raise _RefusedError(2, f"Invalid request: unknown variant `{method}`, expected one of {', '.join(_METHODS)}")
    return _METHODS[method]


def _stream_names(params: Any) -> list[str]:
    if not isinstance(params, list) or not params or not all(isinstance(name, str) for name in params):
        raise _RefusedError(2, "Invalid request: params must be a non-empty array of stream names")
    return params


def _subscribe(params: Any, session: Session) -> None:
    # Streams that do not exist are acknowledged like any other; they never push.
    names = _stream_names(params)
    if len({*session.streams, *names}) > session.streams_limit:
        raise _RefusedError(2, f"Invalid request: more than {session.streams_limit} streams")
    session.streams.update(dict.fromkeys(names))


def _unsubscribe(params: Any, session: Session) -> None:
    for name in _stream_names(params):
        session.streams.pop(name, None)


def _list_subscriptions(params: Any, session: Session) -> list[str]:
    return list(session.streams)


def _require_property(params: Any, length: int) -> None:
    if not isinstance(params, list) or not params or not isinstance(params[0], str):
        raise _RefusedError(2, "Invalid request: property name must be a string")
    if len(params) > length:
        raise _RefusedError(2, "Invalid request: too many parameters")
    if params[0] != "combined":
        raise _RefusedError(0, "Unknown property")


def _set_property(params: Any, session: Session) -> None:
    _require_property(params, 2)
    if len(params) < 2 or not isinstance(params[1], bool):
        raise _RefusedError(1, "Invalid value type: expected Boolean")
    session.combined = params[1]


def _get_property(params: Any, session: Session) -> bool:
    _require_property(params, 1)
    return session.combined


_METHODS: Final[dict[str, Callable[[Any, Session], Any]]] = {
    "SUBSCRIBE": _subscribe,
    "UNSUBSCRIBE": _unsubscribe,
    "LIST_SUBSCRIPTIONS": _list_subscriptions,
    "SET_PROPERTY": _set_property,
    "GET_PROPERTY": _get_property,
}
