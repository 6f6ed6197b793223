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
    """Monotonic seconds: since when it has not advanced, whatever was opened and closed meanwhile; or, where it does,
    since when it is open."""
    frames: int
    """Messages received, over all its sockets."""
    newest_event_time_ms: int | None
    """The event time it brought last; None before the first."""
    last_end: str
    """How it ended last, or why it could not be opened since; empty where neither was."""
    next_attempt_at: float | None
    """Monotonic seconds; None while it is open."""
    url: str
    streams: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FeedState:
    """How the feed is doing as a whole: as its best connection, where streams are split as the worst part."""

    state: str
    newest_event_time_ms: int | None
    advanced_at_monotonic: float | None
    """When event time last advanced; None before the first data."""
    silent_s: float
    """For how long this process has watched it not advance. One that was stopped has not watched, and what its sockets
    hold ready for it is still to be read."""
    unbroken_since_ms: int | None
    """The event time from which on an open socket has brought all that the exchange sent; None where none advances."""
    ahead_ms: int | None
    """By how much the newest event time was ahead of our clock when it came; below 0 where it was behind."""
    sockets: tuple[SocketState, ...]


def feed_state(lanes: Sequence[Lane], now_s: float, quiet_after_s: float, *, watched_since_s: float) -> FeedState:
    """Of *lanes*; only reads, so any thread may ask. It was watched since *watched_since_s*, pauses left out."""
    lives = {lane: _life(lane, now_s, quiet_after_s) for lane in lanes}
    by_group = sorted(lanes, key=_group)
    groups = [tuple(siblings) for _, siblings in groupby(by_group, key=_group)]
    advanced_at_s = [_newest(lane.advanced_at_s for lane in siblings) for siblings in groups]
    moved_at_s = None if None in advanced_at_s else min(at_s for at_s in advanced_at_s if at_s is not None)
    unbroken_ms = [_unbroken_since_ms(siblings, now_s, quiet_after_s) for siblings in groups]
    return FeedState(
        state=max((min((lives[lane] for lane in each), key=_ORDER.index) for each in groups), key=_ORDER.index),
        newest_event_time_ms=max((ms for lane in lanes if (ms := lane.event_time_ms) is not None), default=None),
        advanced_at_monotonic=moved_at_s,
        silent_s=now_s - max(watched_since_s, moved_at_s or watched_since_s),
        unbroken_since_ms=None if None in unbroken_ms else max(ms for ms in unbroken_ms if ms is not None),
        ahead_ms=max((ms for lane in lanes if (ms := lane.ahead_ms) is not None), default=None),
        sockets=tuple(_socket_state(lane, life) for lane, life in lives.items()),
    )


def _life(lane: Lane, now_s: float, quiet_after_s: float) -> Life:
    lives = (session.pulse.life(now_s, quiet_after_s) for session in lane.sessions())
    return min(lives, key=_ORDER.index, default=Life.DOWN)


def _unbroken_since_ms(siblings: Sequence[Lane], now_s: float, quiet_after_s: float) -> int | None:
    pulses = [session.pulse for lane in siblings for session in lane.sessions()]
    advancing = [pulse for pulse in pulses if pulse.life(now_s, quiet_after_s) is Life.ADVANCING]
    return min((ms for pulse in advancing if (ms := pulse.first_event_time_ms) is not None), default=None)


def _socket_state(lane: Lane, life: Life) -> SocketState:
    if life is Life.ADVANCING:
        since_s = min((session.pulse.opened_at_s for session in lane.sessions()), default=lane.started_at_s)
    else:
        since_s = lane.started_at_s if lane.advanced_at_s is None else lane.advanced_at_s
    return SocketState(
        connection=lane.place.name,
        state=life.value,
        since=since_s,
        frames=lane.frames,
        newest_event_time_ms=lane.event_time_ms,
        last_end=lane.last_end,
        next_attempt_at=None if lane.sessions() else lane.next_attempt_at_s,
        url=lane.place.url,
        streams=lane.place.streams,
    )


def _group(lane: Lane) -> int:
    return lane.place.group


def _newest(times_s: Iterable[float | None]) -> float | None:
    return max((at_s for at_s in times_s if at_s is not None), default=None)
