"""Merging what sibling sockets bring: the first arrival wins, the second is dropped.

Frames are passed on in the order they arrive, with one exception. A frame whose
preceding period has not been passed on waits for it, as long as some sibling
that is alive has not reached that period either and so may still bring it; at
most for the hold time. So a message that one socket lost costs nothing: the
sibling's copy is passed on first, and order is kept.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import count

from connector.core.values import Frame

_REMEMBERED_PERIODS = 64
_MAX_HELD = 1024


@dataclass(frozen=True, slots=True)
class Arrival:
    """One frame as a socket brought it, with what a first look at it said."""

    frame: Frame
    stream: str
    """One of those subscribed to: each name is remembered."""
    event_time_ms: int | None
    """Newest event time in it; None where it has none: an empty array, or garbage."""
    socket: int
    """Which socket brought it. A number used once: two sockets of one rotation differ."""


@dataclass(frozen=True, slots=True)
class Offered:
    """What became of an arrival."""

    deliver: tuple[Frame, ...]
    """To be passed on now, in this order; holds earlier frames that were waiting for this one too."""
    repeated: bool = False
    """These very bytes have come before; the frame is dropped."""


@dataclass(slots=True)
class _Held:
    period: int
    sequence: int
    until_s: float
    frame: Frame


@dataclass(slots=True)
class _Stream:
    name: str
    passed: deque[int] = field(default_factory=lambda: deque(maxlen=_REMEMBERED_PERIODS))
    """The last distinct periods passed on, in the order they were."""
    reached: dict[int, int] = field(default_factory=dict)
    """Each living socket's last period."""
    held: list[_Held] = field(default_factory=list)


class Arrivals:
    """Decides for each arriving frame: pass on now, hold for a moment, or drop as a repetition.

    Every frame offered comes out of exactly one of :meth:`offer`, :meth:`due`,
    :meth:`left` and :meth:`flush`, or is reported as repeated.

    Bytes are remembered for *remember_s* after they were last seen, and at most
    *remember_frames* of them; a repetition beyond that passes, and is for the
    caller's next stage to find. Times are monotonic seconds.
    """

    def __init__(
        self, *, cadence_ms: int, hold_s: float, remember_s: float = 60.0, remember_frames: int = 16_384
    ) -> None:
        self._cadence_ms = cadence_ms
        self._hold_s = hold_s
        self._remember_s = remember_s
        self._remember_frames = remember_frames
        self._seen_at_s: OrderedDict[bytes, float] = OrderedDict()
        self._streams: dict[str, _Stream] = {}
        self._holding: dict[str, _Stream] = {}
        self._sequence = count()

    def offer(self, arrival: Arrival, now_s: float) -> Offered:
        """Take in one frame."""
        if arrival.event_time_ms is None:
            return Offered((arrival.frame,))
        repeated = self._has_seen(arrival.frame.data, now_s)
        stream = self._streams.get(arrival.stream) or self._streams.setdefault(arrival.stream, _Stream(arrival.stream))
        period = arrival.event_time_ms // self._cadence_ms
        stream.reached[arrival.socket] = period
        if not repeated:
            stream.held.append(_Held(period, next(self._sequence), now_s + self._hold_s, arrival.frame))
            stream.held.sort(key=_order)
        return Offered(self._release(stream, now_s), repeated)

    def due(self, now_s: float) -> tuple[Frame, ...]:
        """What need not wait any longer."""
        return tuple(frame for stream in tuple(self._holding.values()) for frame in self._release(stream, now_s))

    def next_due_s(self) -> float | None:
        """When to call :meth:`due`; None while nothing is held."""
        return min((held.until_s for stream in self._holding.values() for held in stream.held), default=None)

    def left(self, socket: int, now_s: float) -> tuple[Frame, ...]:
        """A socket is gone: nothing waits for it any more. Returns what waited for it alone."""
        for stream in self._streams.values():
            stream.reached.pop(socket, None)
        return self.due(now_s)

    def flush(self) -> tuple[Frame, ...]:
        """Everything still held, for the end."""
        return self.due(float("inf"))

    def _has_seen(self, data: bytes, now_s: float) -> bool:
        fingerprint = blake2b(data, digest_size=16).digest()
        seen = self._seen_at_s
        while seen and (len(seen) >= self._remember_frames or now_s - next(iter(seen.values())) > self._remember_s):
            seen.popitem(last=False)
        repeated = fingerprint in seen
        seen[fingerprint] = now_s
        seen.move_to_end(fingerprint)
        return repeated

    def _release(self, stream: _Stream, now_s: float) -> tuple[Frame, ...]:
        """Take out of *stream* what may go: in order of period, up to the first that must wait.

        A frame whose time is up takes those before it along, so that order holds.
        """
        held = stream.held
        overdue = max((index for index, each in enumerate(held) if each.until_s <= now_s), default=-1)
        overdue = max(overdue, len(held) - _MAX_HELD - 1)
        going = 0
        while going < len(held) and (going <= overdue or not self._must_wait(stream, held[going].period)):
            period = held[going].period
            if period not in stream.passed:
                stream.passed.append(period)
            going += 1
        released = tuple(each.frame for each in held[:going])
        del held[:going]
        if held:
            self._holding[stream.name] = stream
        else:
            self._holding.pop(stream.name, None)
        return released

    def _must_wait(self, stream: _Stream, period: int) -> bool:
        """Whether the period before *period* is missing and a living socket may still bring it.

        Asked of the period just before and not of the newest one passed on: one
        wrong event time far ahead would otherwise end all waiting until real time
        has caught up with it.
        """
        passed = stream.passed
        if not passed or period in passed or period - 1 in passed or period < min(passed):
            return False
        return any(reached < period - 1 for reached in stream.reached.values())


def _order(held: _Held) -> tuple[int, int]:
    return held.period, held.sequence
