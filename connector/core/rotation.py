"""When a connection has lived long enough. The exchange ends every connection after 24 hours."""

from __future__ import annotations

import re

from connector.core.errors import ConfigurationError

_HALF_DAY_S = 43_200
_APART_S = 60.0


def parse_time_of_day(text: str) -> int | None:
    """Seconds after midnight, UTC, of ``HH:MM``; None where it is empty. Raises ConfigurationError."""
    if not text:
        return None
    match = re.fullmatch(r"([01][0-9]|2[0-3]):([0-5][0-9])", text)
    if match is None:
        raise ConfigurationError(f'feed.rotate_at {text!r} is no time of day; write it as "HH:MM", UTC, or "" for none')
    return int(match[1]) * 3600 + int(match[2]) * 60


class Rotation:
    """When the connections of one feed are replaced, each at another moment.

    By age: every *after_s*, the first time earlier by a share that differs from
    connection to connection. By time of day: at *at_s* (seconds after midnight,
    UTC) and twelve hours later, since a whole day would leave nothing to the
    exchange's own limit; one minute apart.
    """

    def __init__(self, *, after_s: float, at_s: int | None, connections: int) -> None:
        self._after_s = after_s
        self._at_s = at_s
        self._connections = connections

    def due_in_s(self, connection: int, *, first: bool, now_epoch_s: float) -> float:
        """How long connection number *connection* (from 0), opened now, may live."""
        if self._at_s is not None:
            apart_s = self._at_s + connection * _APART_S
            return _HALF_DAY_S - (now_epoch_s - apart_s) % _HALF_DAY_S
        if first:
            return self._after_s * (self._connections - connection) / self._connections
        return self._after_s
