"""What the feed was doing when: the evidence from which the ledger takes the reason of a gap.

Kept as spans of time. A heartbeat each second makes the current span longer;
time that no span covers is time in which nobody was there to see. Pure: times
come in as values, in milliseconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

ADVANCING = "advancing"
SILENT = "silent"
FROZEN = "frozen"
DOWN = "down"
NOT_RUNNING = "not running"
JOURNAL_BOUND = "journal bound"
UNKNOWN = "unknown"

LONGEST_PAUSE_MS = 3_000
"""A process that shows no heartbeat for longer was not running, whatever it says afterwards."""

_KEPT = frozenset({ADVANCING, SILENT, FROZEN, DOWN, JOURNAL_BOUND})


@dataclass(frozen=True, slots=True)
class Span:
    """The state held from ``from_ms`` up to, not including, ``to_ms``."""

    from_ms: int
    to_ms: int
    state: str


class Witness:
    """Remembers the feed's states and the time of frames that were given up. Not thread-safe.

    ``max_spans`` bounds the memory: the oldest go first.
    """

    def __init__(self, spans: Iterable[Span] = (), *, max_spans: int = 20_000) -> None:
        self._max_spans = max_spans
        kept = [span for span in spans if span.state in _KEPT and span.from_ms <= span.to_ms]
        self._states = sorted((s for s in kept if s.state != JOURNAL_BOUND), key=lambda span: span.from_ms)
        self._dropped = sorted((s for s in kept if s.state == JOURNAL_BOUND), key=lambda span: span.from_ms)
        self._present = False
        self._changed: dict[tuple[int, str], Span] = {}

    def note(self, state: str, at_ms: int) -> None:
        """The feed is in ``state`` from now on."""
        if state not in _KEPT:
            raise ValueError(f"no state of the feed: {state!r}")
        if self._present and self._states[-1].state == state:
            self.heartbeat(at_ms)
            return
        if self._present:
            self.heartbeat(at_ms)
        begin_ms = max(at_ms, self._states[-1].to_ms) if self._states else at_ms
        if self._states and self._states[-1].from_ms == begin_ms:
            begin_ms += 1
        self._begin(Span(begin_ms, begin_ms, state))

    def heartbeat(self, at_ms: int) -> None:
        """This process lives, and the feed is as it was. Without a state noted before, it says nothing."""
        if not self._present:
            return
        current = self._states[-1]
        if at_ms - current.to_ms > LONGEST_PAUSE_MS:
            self._begin(Span(at_ms, at_ms, current.state))
        elif at_ms > current.to_ms:
            self._states[-1] = self._keep(Span(current.from_ms, at_ms, current.state))

    def gave_up(self, from_ms: int, to_ms: int) -> None:
        """Frames received in this time (both ends included) were dropped at the journal's bound."""
        last = self._dropped[-1] if self._dropped else None
        if last is not None and last.from_ms <= from_ms <= last.to_ms + LONGEST_PAUSE_MS:
            self._dropped[-1] = self._keep(Span(last.from_ms, max(last.to_ms, to_ms + 1), JOURNAL_BOUND))
        else:
            self._dropped.append(self._keep(Span(from_ms, to_ms + 1, JOURNAL_BOUND)))
            self._dropped.sort(key=lambda span: span.from_ms)
            del self._dropped[: -self._max_spans]

    def between(self, from_ms: int, to_ms: int) -> tuple[Span, ...]:
        """What is known of that time, in order, without overlap and without hole.

        ``not running`` where there was no heartbeat, ``journal bound`` (before anything else)
        where frames were given up, ``unknown`` before the first evidence.
        """
        if from_ms >= to_ms:
            return ()
        pieces: list[Span] = []
        position = from_ms
        if self._states and from_ms < self._states[0].from_ms:
            position = min(self._states[0].from_ms, to_ms)
            pieces.append(Span(from_ms, position, UNKNOWN))
        for span in self._timeline():
            begin, end = max(span.from_ms, position), min(span.to_ms, to_ms)
            if begin < end:
                _append(pieces, Span(begin, end, span.state))
                position = end
        if position < to_ms:
            _append(pieces, Span(position, to_ms, NOT_RUNNING if self._states else UNKNOWN))
        for dropped in self._dropped:
            pieces = _overlay(pieces, dropped)
        return tuple(pieces)

    def take_changes(self) -> tuple[Span, ...]:
        """Spans that are new or have grown since the last call; (``from_ms``, ``state``) names a span."""
        changes = tuple(self._changed.values())
        self._changed.clear()
        return changes

    def all_spans(self) -> tuple[Span, ...]:
        return (*self._states, *self._dropped)

    def forget(self, before_ms: int) -> None:
        """Drops what ended before that time."""
        # The current span stays: something must say that evidence exists.
        self._states = [span for span in self._states[:-1] if span.to_ms >= before_ms] + self._states[-1:]
        self._dropped = [span for span in self._dropped if span.to_ms >= before_ms]

    def _begin(self, span: Span) -> None:
        self._states.append(self._keep(span))
        self._present = True
        del self._states[: -self._max_spans]

    def _keep(self, span: Span) -> Span:
        self._changed[span.from_ms, span.state] = span
        return span

    def _timeline(self) -> Iterable[Span]:
        """The states with every hole between them filled."""
        if not self._states:
            return
        for span, following in zip(self._states, self._states[1:], strict=False):
            yield span
            yield Span(span.to_ms, following.from_ms, NOT_RUNNING)
        last = self._states[-1]
        # A heartbeat holds until the next one is overdue; that of an earlier process holds no longer than itself.
        yield Span(last.from_ms, last.to_ms + (LONGEST_PAUSE_MS if self._present else 0), last.state)


def _append(pieces: list[Span], span: Span) -> None:
    if pieces and pieces[-1].state == span.state and pieces[-1].to_ms == span.from_ms:
        pieces[-1] = Span(pieces[-1].from_ms, span.to_ms, span.state)
    else:
        pieces.append(span)


def _overlay(pieces: list[Span], top: Span) -> list[Span]:
    result: list[Span] = []
    for piece in pieces:
        begin, end = max(piece.from_ms, top.from_ms), min(piece.to_ms, top.to_ms)
        if begin >= end:
            _append(result, piece)
            continue
        if piece.from_ms < begin:
            _append(result, Span(piece.from_ms, begin, piece.state))
        _append(result, Span(begin, end, top.state))
        if end < piece.to_ms:
            _append(result, Span(end, piece.to_ms, piece.state))
    return result
