"""What is missing: periods without a tick, for the whole stream and for single symbols.

A *period* is ``event_time // cadence``. A period in which no symbol had a
tick is missing for the stream; one in which others had is missing for the
symbol alone. Both follow from the :class:`~connector.core.admit.History`,
that is, from the topic, so a gap is found again after any crash until the
tick that ended it stands in the topic, and never after.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator

from connector.core import witness
from connector.core.admit import GONE_AFTER_MS, History
from connector.core.ledger_events import EVERY_SYMBOL, EventKind, FeedEvent
from connector.core.values import Reject
from connector.core.witness import Span

UNKNOWN = "unknown"
REJECTED = "rejected"

Witness = Callable[[int, int], tuple[Span, ...]]
"""Tells what the feed was doing from one time to another (milliseconds), as the journal has it."""

_REASONS = {
    witness.NOT_RUNNING: "not running",
    witness.DOWN: "feed down",
    witness.SILENT: "feed silent",
    witness.FROZEN: "feed frozen",
    witness.JOURNAL_BOUND: "journal bound",
}
_CONNECTED = "feed silent"
"""The feed counted as advancing, and nothing came: it was connected and silent, too shortly to be called so."""


class GapFinder:
    """Compares each new tick with the history *before* it joins."""

    def __init__(self, history: History, looked: Witness) -> None:
        self._history = history
        self._looked = looked
        self._vanished: set[str] = set()
        self._looked_at = (0, 0)
        self._seen: tuple[str, ...] = ()
        self._rejects: deque[tuple[int, str]] = deque(maxlen=4096)
        self._refused_ms: dict[str, int] = {}
        self.history_loaded()

    def history_loaded(self) -> None:
        """Take up a history that was read from the topic: what had vanished there has been told."""
        self._vanished = set(self._unseen(self._history.newest_ms))
        self._looked_at = (0, 0)

    def rejected(self, reject: Reject, received_ms: int) -> None:
        """Remember a reject: it explains a gap, and a symbol whose ticks are refused has not gone."""
        self._rejects.append((received_ms, reject.symbol))
        if reject.symbol in self._history.symbols:
            self._refused_ms[reject.symbol] = received_ms
            self._vanished.discard(reject.symbol)

    def before_period(self, event_time_ms: int) -> Iterator[FeedEvent]:
        """Events due before the first tick of a new period joins: a gap of the whole stream."""
        periods = self._history.periods
        if not periods:
            yield FeedEvent(EventKind.STARTED_WITHOUT_HISTORY, EVERY_SYMBOL, event_time_ms)
            return
        first, last = periods[-1] + 1, event_time_ms // self._history.cadence_ms - 1
        if last >= first:
            yield self._gap(EVERY_SYMBOL, first, last, event_time_ms)

    def before_tick(self, symbol: str, newest_ms: int, event_time_ms: int, frame_time_ms: int) -> Iterator[FeedEvent]:
        """Events due before a tick joins whose symbol skipped periods that others had.

        A tick ahead of its own frame (``frame_time_ms``) mutes its symbol
        until the feed has caught up: all that it skips is missing.
        """
        cadence = self._history.cadence_ms
        first, last = newest_ms // cadence + 1, event_time_ms // cadence - 1
        if event_time_ms // cadence > frame_time_ms // cadence:
            yield self._gap(symbol, first, last, event_time_ms, REJECTED)
            return
        if symbol in self._vanished:
            self._vanished.discard(symbol)
            yield FeedEvent(EventKind.SYMBOL_RETURNED, symbol, event_time_ms)
            return
        for run in runs(self._history.present(first, last)):
            yield self._gap(symbol, *run, event_time_ms)

    def after_period(self, event_time_ms: int) -> Iterator[FeedEvent]:
        """Events due when a new period has begun: symbols that have gone."""
        for symbol in self._unseen(event_time_ms):
            if symbol not in self._vanished:
                self._vanished.add(symbol)
                yield FeedEvent(EventKind.SYMBOL_VANISHED, symbol, event_time_ms)

    def _unseen(self, now_ms: int) -> Iterator[str]:
        if self._history.all_seen_since(now_ms - GONE_AFTER_MS):
            return  # as nearly always
        for symbol, known in self._history.symbols.items():
            refused_ms = self._refused_ms.get(symbol, known.newest)
            if self._history.went_on_without(max(known.newest, refused_ms), now_ms):
                yield symbol

    def _gap(self, about: str, first: int, last: int, event_time_ms: int, reason: str = "") -> FeedEvent:
        cadence = self._history.cadence_ms
        first_ms, last_ms = first * cadence, last * cadence
        return FeedEvent(
            EventKind.GAP,
            about,
            event_time_ms,
            first_missing=first_ms,
            last_missing=last_ms,
            periods=last - first + 1,
            reason=reason or self._reason(about, first_ms, last_ms + cadence),
        )

    def _reason(self, about: str, from_ms: int, to_ms: int) -> str:
        """For the stream the feed explains more than a reject does; for one symbol, which others do not miss, less."""
        states = self._states(from_ms, to_ms)
        of_feed = next((_REASONS[state] for state in states if state in _REASONS), "")
        slack_ms = self._history.cadence_ms + 1000
        of_reject = any(
            from_ms - slack_ms <= received_ms <= to_ms + slack_ms and (about == EVERY_SYMBOL or symbol in ("", about))
            for received_ms, symbol in self._rejects
        )
        if of_reject and not (of_feed and about == EVERY_SYMBOL):
            return REJECTED
        connected = about == EVERY_SYMBOL and witness.ADVANCING in states
        return of_feed or (_CONNECTED if connected else UNKNOWN)

    def _states(self, from_ms: int, to_ms: int) -> tuple[str, ...]:
        """What the feed was doing, longest first; many symbols miss the same time."""
        if self._looked_at != (from_ms, to_ms):
            shares: Counter[str] = Counter()
            for span in self._looked(from_ms, to_ms):
                shares[span.state] += span.to_ms - span.from_ms
            self._looked_at, self._seen = (from_ms, to_ms), tuple(state for state, _ in shares.most_common())
        return self._seen


def runs(periods: Iterable[int]) -> Iterator[tuple[int, int]]:
    """(first, last) of each stretch of consecutive numbers, from rising ones."""
    first = last = None
    for period in periods:
        if last is not None and first is not None and period != last + 1:
            yield first, last
            first = period
        elif first is None:
            first = period
        last = period
    if first is not None and last is not None:
        yield first, last
