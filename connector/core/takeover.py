"""When a replica that does not write begins to write.

The topic's ``transactional.id`` is the lock, and taking it is always safe:
it aborts and fences whoever held it, and the new writer reads the topic to
its end before it writes. So this rule decides nothing about correctness. It
decides how soon a dead writer is replaced and how seldom a slow one is.
"""

from __future__ import annotations

from dataclasses import dataclass

LONGEST_STEP_S = 0.5
"""Idle time is counted in steps of at most this: a process that was paused has not watched the topic meanwhile."""

SPREAD = 0.15
"""Replicas are kept apart by at most this share of their patience."""

LONGEST_AFTER_S = 30.0
FORGIVEN_AFTER_S = 60.0
DEAF_FACTOR = 10.0
ALONE_AFTER_S = 1.5
"""Idle time that suffices where the ledger shows this replica and no other: the writer was an earlier life of it."""
CALL_S = 3.0
"""For so long a replica that lacks ticks waits for those who have them to answer; longer where the broker is slow."""
CALL_ALONE_S = 0.7
"""The same, where the ledger shows no other: its last entries do not go far back in a night with many of them."""
PROMPT_S = 0.5
"""A replica that was asked to write waits for so long with ticks beyond the topic: the asking one may be back."""
REQUESTED_EVERY_S = 10.0
ANSWERED_WITHIN_S = 2.5
"""Who is asked waits for up to a second, looks whether the writer is at work, takes the lock and reads to the end."""
ANSWERED_WITHIN_ANSWERS = 10.0
"""The same, in answers of a broker that is slow: half of them are those that one waits for who is asked."""
ANSWERS = 5.0
"""A transaction is three answers of the broker: so many of them explain a topic that stands still."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a replica that does not write has to offer."""

    complete: bool
    """It holds all that comes next in the topic."""
    has_next: bool
    """It holds what comes next, be it complete or with a hole further on."""
    feed_advancing: bool
    """Its own feed brings ticks."""
    held_s: float
    """For how long it has held ticks beyond the topic."""


@dataclass(slots=True)
class TakeoverRule:
    """Counts for how long the topic has not advanced, as far as this replica watched.

    ``after_s``: idle time that suffices; doubled by each takeover that nobody
    asked for, to 30 s at most, until this replica has written for a minute.
    """

    after_s: float
    takeovers: int = 0
    idle_s: float = 0.0
    heard_itself: bool = False
    heard_others: bool = False
    """Whose entries the ledger has shown."""
    _asked_beyond_ms: int | None = None
    """Another replica wants somebody to write what follows this event time."""
    _called_at_s: float | None = None
    """Idle time at which this replica called for one that has more."""

    def started(self, topic_age_s: float) -> None:
        """The topic's newest tick is so old at the start: that time counts."""
        self.idle_s = max(0.0, min(topic_age_s, self.after_s * (1 + SPREAD)))

    def advanced(self, topic_ms: int) -> None:
        """The topic was seen to advance, to this event time, or its writer to be at work."""
        self.idle_s = 0.0
        self._called_at_s = None
        if self._asked_beyond_ms is not None and topic_ms > self._asked_beyond_ms:
            self._asked_beyond_ms = None

    def watched(self, step_s: float) -> None:
        """So much time went by without the topic advancing."""
        self.idle_s += min(step_s, LONGEST_STEP_S)

    def asked(self, beyond_ms: int, topic_ms: int) -> None:
        """Another replica wants somebody to write what follows ``beyond_ms``; the topic is at ``topic_ms``."""
        if topic_ms <= beyond_ms:
            self._asked_beyond_ms = beyond_ms

    @property
    def is_asked(self) -> bool:
        return self._asked_beyond_ms is not None

    def another_takes_over(self, beyond_ms: int, topic_ms: int) -> None:
        """One that holds what follows ``beyond_ms``; the topic is at ``topic_ms``. It is owed the whole time."""
        if topic_ms <= beyond_ms:
            self.idle_s = 0.0
            self._called_at_s = self._asked_beyond_ms = None

    @property
    def is_alone(self) -> bool:
        return self.heard_itself and not self.heard_others

    def patience_s(self, standing: Standing, *, answer_s: float, chance: float) -> float:
        """How long the topic must have been idle.

        ``answer_s``: how long the broker took to answer last. ``chance``: from 0
        to 1, keeps replicas apart. One that lacks what comes next, and whose own
        feed does not advance either, waits ten times as long: another one
        probably has more.
        """
        after: float = min(self.after_s * 2**self.takeovers, max(LONGEST_AFTER_S, self.after_s))
        if self.is_alone:
            after = min(self.after_s, ALONE_AFTER_S)
        after = max(after, ANSWERS * answer_s) * (1 + SPREAD * chance)
        return after if standing.complete or standing.feed_advancing or self.is_alone else after * DEAF_FACTOR

    def must_call(self, standing: Standing, *, chance: float) -> bool:
        """Whether this replica would take over, but lacks ticks, and has not asked yet who has them."""
        if standing.complete or self._called_at_s is not None:
            return False
        sooner_s = CALL_ALONE_S if self.is_alone else 0.0
        return self.idle_s >= self.patience_s(standing, answer_s=0.0, chance=chance) - sooner_s

    def called(self) -> None:
        self._called_at_s = self.idle_s

    def due(self, standing: Standing, *, answer_s: float, chance: float) -> bool:
        """Whether to take over."""
        patience_s = self.patience_s(standing, answer_s=answer_s, chance=chance)
        prompt_s = max(PROMPT_S * (1 + chance), ANSWERS * answer_s)
        if self.is_asked and standing.has_next and standing.held_s >= prompt_s:
            return True
        if standing.complete:
            return self.idle_s >= patience_s
        if self._called_at_s is None:
            return False
        call_s = max(CALL_ALONE_S if self.is_alone else CALL_S, ANSWERS * answer_s)
        return self.idle_s >= max(patience_s, self._called_at_s + call_s)

    def took_over(self, *, answering: bool = False) -> None:
        """``answering``: because another one asked, which says nothing of a broker that is slow."""
        self.takeovers += not answering
        self.idle_s = 0.0
        self._called_at_s = self._asked_beyond_ms = None

    def written(self, for_s: float) -> None:
        """This replica has been the writer for so long."""
        if for_s >= FORGIVEN_AFTER_S:
            self.takeovers = 0


@dataclass(slots=True)
class Request:
    """For another replica that may have what the writer lacks. What it would write behind the hole waits for the
    answer, and goes its way where none comes.

    At most once in ten seconds, more where waiting takes longer: a feed that comes and goes must not keep everything
    waiting. Times are monotonic seconds.
    """

    _open_until_s: float = float("-inf")
    _made_for_outage: bool = False

    def is_due(self, now_s: float) -> bool:
        """Whether it may be made."""
        return now_s > self._open_until_s + REQUESTED_EVERY_S - ANSWERED_WITHIN_S

    def is_due_for_outage(self, now_s: float) -> bool:
        """The same for one whose sockets are all down: once each time."""
        return not self._made_for_outage and self.is_due(now_s)

    def made(self, now_s: float, *, answer_s: float, for_outage: bool = False) -> None:
        """``answer_s``: how long the broker took to answer last."""
        wait_s = max(ANSWERED_WITHIN_S, min(ANSWERED_WITHIN_ANSWERS * answer_s, LONGEST_AFTER_S))
        self._open_until_s = now_s + wait_s
        self._made_for_outage = self._made_for_outage or for_outage

    def outage_ended(self) -> None:
        self._made_for_outage = False

    def is_open(self, now_s: float) -> bool:
        """Whether the answer may still come."""
        return now_s < self._open_until_s
