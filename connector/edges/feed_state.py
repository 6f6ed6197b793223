"""How the feed is doing, as a frozen value; the last stop before readiness, metrics and the ledger's reasons."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from connector.core.watch import Life
from connector.edges.kept_connection import Lane

_ORDER = (Life.ADVANCING, Life.FROZEN, Life.SILENT, Life.DOWN)
"""From best to worst."""


@dataclass(frozen=True, slots=True)
class SocketState:
    """How one connection of the feed is doing."""

    connection: str
    state: str
    """``advancing``, ``silent`` (open, brings nothing), ``frozen`` (repeats), ``down`` (not open)."""
    since: float
    """Monotonic seconds: since when it has not advanced, or, where it does, since when it is open."""
    frames: int
    """Messages received, over all its sockets."""
    newest_event_time_ms: int | None
    """The event time it brought last; None before the first."""
    last_close_reason: str
    """Empty where none was closed yet."""


@dataclass(frozen=True, slots=True)
class FeedState:
    """How the feed is doing as a whole: as its best connection, where streams are split as the worst part."""

    state: str
    newest_event_time_ms: int | None
    advanced_at_monotonic: float | None
    """When event time last advanced; None before the first data."""
    sockets: tuple[SocketState, ...]


def feed_state(lanes: Sequence[Lane], now_s: float, quiet_after_s: float) -> FeedState:
    """Of *lanes*; only reads, so any thread may ask."""
    lives = {lane: _life(lane, now_s, quiet_after_s) for lane in lanes}
    by_group = sorted(lanes, key=_group)
    groups = [tuple(siblings) for _, siblings in groupby(by_group, key=_group)]
    advanced_at_s = [_newest(lane.advanced_at_s for lane in siblings) for siblings in groups]
    return FeedState(
        state=max((min((lives[lane] for lane in each), key=_ORDER.index) for each in groups), key=_ORDER.index),
        newest_event_time_ms=max((ms for lane in lanes if (ms := lane.event_time_ms) is not None), default=None),
        advanced_at_monotonic=min((at_s for at_s in advanced_at_s if at_s is not None), default=None)
        if None not in advanced_at_s
        else None,
        sockets=tuple(_socket_state(lane, life) for lane, life in lives.items()),
    )


def _life(lane: Lane, now_s: float, quiet_after_s: float) -> Life:
    lives = (session.pulse.life(now_s, quiet_after_s) for session in lane.sessions())
    return min(lives, key=_ORDER.index, default=Life.DOWN)


def _socket_state(lane: Lane, life: Life) -> SocketState:
    since_s = min((session.pulse.opened_at_s for session in lane.sessions()), default=lane.down_since_s)
    if life in (Life.SILENT, Life.FROZEN) and lane.advanced_at_s is not None:
        since_s = max(since_s, lane.advanced_at_s)
    return SocketState(lane.place.name, life.value, since_s, lane.frames, lane.event_time_ms, lane.last_close_reason)


def _group(lane: Lane) -> int:
    return lane.place.group


def _newest(times_s: Iterable[float | None]) -> float | None:
    return max((at_s for at_s in times_s if at_s is not None), default=None)
