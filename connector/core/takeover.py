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
LACKING_FACTOR = 2.0


@dataclass(slots=True)
class TakeoverRule:
    """Counts for how long the topic has not advanced, as far as this replica watched.

    ``after_s``: idle time that suffices; doubled by each takeover, to 30 s at
    most, until this replica has written for a minute.
    """

    after_s: float
    takeovers: int = 0
    idle_s: float = 0.0

    def started(self, topic_age_s: float) -> None:
        """The topic's newest tick is so old at the start: that time counts, but a short look is owed all the same."""
        self.idle_s = max(0.0, min(topic_age_s, LACKING_FACTOR * self.after_s) - LONGEST_STEP_S)

    def advanced(self) -> None:
        """The topic was seen to advance, or its writer to be at work."""
        self.idle_s = 0.0

    def watched(self, step_s: float) -> None:
        """So much time went by without the topic advancing."""
        self.idle_s += min(step_s, LONGEST_STEP_S)

    def threshold_s(self, *, answer_s: float, complete: bool, feed_advancing: bool, chance: float) -> float:
        """How long the topic must have been idle.

        ``answer_s``: how long the broker took to answer last; a transaction
        is three such answers, so a slow broker explains as much silence.
        ``chance``: from 0 to 1, keeps replicas apart. ``complete``: this
        replica holds what comes next in the topic. One that does not leaves the
        others twice as long, for once it has written, what they hold is late;
        and ten times as long where its own feed does not advance either. It
        takes over only where no better one is there.
        """
        after: float = min(self.after_s * 2**self.takeovers, max(LONGEST_AFTER_S, self.after_s))
        after = max(after, 5 * answer_s) * (1 + SPREAD * chance)
        if complete:
            return after
        return after * (LACKING_FACTOR if feed_advancing else DEAF_FACTOR)

    def due(self, *, answer_s: float, complete: bool, feed_advancing: bool, chance: float) -> bool:
        return self.idle_s >= self.threshold_s(
            answer_s=answer_s, complete=complete, feed_advancing=feed_advancing, chance=chance
        )

    def took_over(self) -> None:
        self.takeovers += 1
        self.idle_s = 0.0

    def written(self, for_s: float) -> None:
        """This replica has been the writer for so long."""
        if for_s >= FORGIVEN_AFTER_S:
            self.takeovers = 0
