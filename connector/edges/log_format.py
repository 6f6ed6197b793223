"""The log: one line an event, for people or for machines, on standard error.

The logger is a value of its own: nothing of structlog's or logging's global
configuration is touched, so the connector can run inside another program.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import Any, Literal, TextIO

import structlog

from connector.core.secrets import MASK
from connector.edges.log_writer import LineWriter

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

LONGEST_TEXT = 1_000
_USERINFO = re.compile(r"(?<=://)[^/\s@]+@")
_TOKEN = re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*")
"""A JSON Web Token: header and claims begin as JSON does."""
_BARE = re.compile(r"[^\s\"=\\\x00-\x1f\x7f-\x9f]+")
_SHORTEST_SECRET = 4

Clean = Callable[[str], str]


def cleaner(secrets: Iterable[str]) -> Clean:
    """Text as it may be shown: without those values, without user info in addresses, Unicode, and not without end."""
    wanted = sorted({secret for secret in secrets if len(secret) >= _SHORTEST_SECRET}, key=len, reverse=True)
    planted = re.compile("|".join(map(re.escape, wanted))) if wanted else None

    def clean(text: str) -> str:
        if planted is not None:
            text = planted.sub(MASK, text)
        text = _TOKEN.sub(MASK, _USERINFO.sub(f"{MASK}@", text))
        text = text.encode("utf-8", "backslashreplace").decode()  # half characters (lone surrogates) go nowhere
        return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"

    return clean


def open_log(
    log_format: LogFormat, log_level: LogLevel, target: LineWriter | TextIO
) -> structlog.typing.FilteringBoundLogger:
    """A logger whose first argument is the event's name, the rest its fields. A stream is waited for."""
    logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        target if isinstance(target, LineWriter) else structlog.PrintLogger(target),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            _RENDERERS[log_format],
        ],
        wrapper_class=structlog.make_filtering_bound_logger(log_level),
        context_class=dict,
        cache_logger_on_first_use=True,
    )
    return logger


def _as_text(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> str:
    time, level, event, rest = _parts(fields)
    pairs = " ".join(f"{name}={_quoted(value)}" for name, value in rest.items())
    return f"{time} {level:<7} {event:<22} {pairs}".rstrip()


def _as_json(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> str:
    time, level, event, rest = _parts(fields)
    return json.dumps({"time": time, "level": level, "event": event, **rest}, default=str)


def _parts(fields: MutableMapping[str, Any]) -> tuple[Any, Any, Any, Mapping[str, Any]]:
    return fields.pop("time"), fields.pop("level"), fields.pop("event"), fields


def _quoted(value: object) -> str:
    """One line whatever the value: what could be read as another field or another line is in quotes."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if _BARE.fullmatch(text) else json.dumps(text, ensure_ascii=not text.isprintable())


_RENDERERS = {"text": _as_text, "json": _as_json}
