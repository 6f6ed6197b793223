"""Whether sockets bring data, judged by event time that advances.

An open socket proves nothing: the exchange acknowledges a wrong route and then
stays silent, and a socket can repeat its last message for ever while pings are
answered. So what is watched is the exchange's own time in the data.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Life(StrEnum):
    """How a socket, or the feed as a whole, is doing."""

    ADVANCING = "advancing"
    SILENT = "silent"
    """Open, and brings nothing."""
    FROZEN = "frozen"
    """Brings data whose event time does not advance."""
    DOWN = "down"
    """Not open."""


class Pulse:
    """What one socket has brought, for :class:`Watch` to judge. Readable from any thread.

    *known_ms* is the newest event time that its siblings and predecessors had
    brought when it was opened: an exchange that stands still sends the last one
    to every new socket, which is no advance.
    """

    def __init__(self, *, opened_at_s: float, known_ms: int | None = None) -> None:
        self.opened_at_s = opened_at_s
        self._known_ms = known_ms
        self.data_at_s: float | None = None
        """When it last brought any event time."""
        self.advanced_at_s: float | None = None
        """When it last brought an event time newer than the one before."""
        self.first_event_time_ms: int | None = None
        """The event time it brought first, without old ones that a new socket may bring before."""
        self.event_time_ms: int | None = None
        """The event time it brought last, over all its streams."""
        self.is_plausible = True
        """Whether that one was not far ahead of the clock."""
        self.is_suspected = False
        """Set by :class:`Watch` when it names this socket, and taken back by its owner."""
        self._streams: dict[str, tuple[int, int]] = {}

    def beat(self, stream: str, event_time_ms: int, now_s: float, *, is_plausible: bool = True) -> bool:
        """Take in one message's event time. Returns whether it advanced."""
        before = self._streams.get(stream)
        earlier_ms = self._known_ms if before is None else before[1]
        self._streams[stream] = (event_time_ms if before is None else before[1], event_time_ms)
        self.data_at_s = now_s
        if self.first_event_time_ms is None and event_time_ms >= (self._known_ms or 0):
            self.first_event_time_ms = event_time_ms
        self.event_time_ms = event_time_ms
        self.is_plausible = is_plausible
        advanced = earlier_ms is None or event_time_ms > earlier_ms
        if advanced:
            self.advanced_at_s = now_s
        return advanced

    def newest_ms(self) -> int | None:
        """The newest event time of the last two messages on any stream."""
        return max((max(pair) for pair in tuple(self._streams.values())), default=None)

    def confirmed_ms(self) -> int | None:
        """The newest event time that two messages running have reached on any stream.

        One message with a time far ahead does not move it, so it does not make
        every sibling look behind.
        """
        return max((min(pair) for pair in tuple(self._streams.values())), default=None)

    @property
    def streams(self) -> frozenset[str]:
        """The streams that have brought data."""
        return frozenset(self._streams)

    def life(self, now_s: float, quiet_after_s: float) -> Life:
        """The state of this socket, which must be open."""
        if self.advanced_at_s is not None and now_s - self.advanced_at_s <= quiet_after_s:
            return Life.ADVANCING
        if self.data_at_s is not None and now_s - self.data_at_s <= quiet_after_s:
            return Life.FROZEN
        return Life.SILENT


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A socket that should be replaced, and why."""

    pulse: Pulse
    reason: str
    """``no first tick``, ``trailing``, ``silent`` or ``frozen``."""
    detail: str


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds after which a socket is suspected."""

    first_tick_s: float
    trailing_s: float
    silence_s: float
    quiet_after_s: float
    """Without advance for so long, a socket counts as silent or frozen; nothing is done about it yet."""


class Watch:
    """Judges the sockets of one set of streams, which are siblings of each other."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._suspected_at_s = float("-inf")

    def suspects(self, pulses: Iterable[Pulse], now_s: float) -> tuple[Suspicion, ...]:
        """Which of the open sockets to replace now, each named once. To be called a few times a second.

        A socket that has brought nothing yet is judged alone, one that trails by
        comparison. Where none advances, the exchange itself may be pausing: then
        one is named at a time, the oldest first, each given the time to prove itself.
        """
        pulses = tuple(pulses)
        found = [one for pulse in pulses if not pulse.is_suspected and (one := self._judged(pulse, pulses, now_s))]
        if (silent := self._silent(pulses, now_s)) is not None:
            self._suspected_at_s = now_s
            found.append(silent)
        for suspicion in found:
            suspicion.pulse.is_suspected = True
        return tuple(found)

    def _judged(self, pulse: Pulse, pulses: tuple[Pulse, ...], now_s: float) -> Suspicion | None:
        limits = self._limits
        if pulse.advanced_at_s is None:
            if now_s - pulse.opened_at_s < limits.first_tick_s:
                return None
            if pulse.data_at_s is not None:
                return Suspicion(pulse, "frozen", f"no new data within {limits.first_tick_s:g} s; {_HOW[Life.FROZEN]}")
            return Suspicion(pulse, "no first tick", f"no data within {limits.first_tick_s:g} s")
        behind_ms = self.trailing_ms(pulse, pulses, now_s)
        if behind_ms < limits.trailing_s * 1000:
            return None
        how = _HOW[pulse.life(now_s, limits.quiet_after_s)]
        return Suspicion(pulse, "trailing", f"{behind_ms / 1000:g} s behind its sibling; {how}")

    def trailing_ms(self, pulse: Pulse, pulses: Iterable[Pulse], now_s: float) -> int:
        """How far *pulse* is behind the newest sibling that advances; 0 where there is none.

        A sibling whose time is far ahead of the clock is no measure for one whose time is not.
        """
        own_ms = pulse.newest_ms()
        if own_ms is None:
            return 0
        newest_ms = own_ms
        for sibling in pulses:
            if sibling is pulse or sibling.life(now_s, self._limits.quiet_after_s) is not Life.ADVANCING:
                continue
            if pulse.is_plausible and not sibling.is_plausible:
                continue
            newest_ms = max(newest_ms, sibling.confirmed_ms() or own_ms)
        return newest_ms - own_ms

    def has_recovered(self, pulse: Pulse, pulses: Iterable[Pulse], now_s: float) -> bool:
        """Whether a socket that was suspected is as good as its siblings again."""
        if pulse.life(now_s, self._limits.quiet_after_s) is not Life.ADVANCING:
            return False
        return self.trailing_ms(pulse, pulses, now_s) < self._limits.trailing_s * 1000

    def _silent(self, pulses: tuple[Pulse, ...], now_s: float) -> Suspicion | None:
        limits = self._limits
        started = [pulse for pulse in pulses if pulse.advanced_at_s is not None]
        advanced_at_s = max((pulse.advanced_at_s or 0.0 for pulse in started), default=now_s)
        if now_s - max(advanced_at_s, self._suspected_at_s) < limits.silence_s:
            return None
        oldest = min((each for each in started if not each.is_suspected), key=_opened_at_s, default=None)
        if oldest is None:
            return None
        life = oldest.life(now_s, limits.quiet_after_s)
        reason = "frozen" if life is Life.FROZEN else "silent"
        return Suspicion(oldest, reason, f"no socket has advanced for {now_s - advanced_at_s:.0f} s; {_HOW[life]}")


def _opened_at_s(pulse: Pulse) -> float:
    return pulse.opened_at_s


_HOW = {
    Life.ADVANCING: "it advances, but late",
    Life.SILENT: "it brings nothing",
    Life.FROZEN: "it repeats the same event time",
}
