"""Which symbols of the compacted topic are due for a tombstone."""

from __future__ import annotations

from connector.core.admit import GONE_AFTER_MS, History
from connector.core.tombstones import LOOKED_EVERY_MS, Graveyard, Held

SECOND, MINUTE, HOUR = 1_000, 60_000, 3_600_000
START_MS = 1_791_285_204_000
NOTHING = Held({}, {})


def history_of(*ticks: tuple[str, range]) -> History:
    """Each symbol with a tick in these seconds."""
    found = History(SECOND, window_ms=600_000)
    for symbol, seconds in ticks:
        for second in seconds:
            found.add(symbol, START_MS + second * SECOND, content=1)
    return found


def graveyard(history: History, *, after_ms: int | None = HOUR, held: Held = NOTHING) -> Graveyard:
    made = Graveyard(history, after_ms)
    made.loaded(held)
    return made


def at(second: int) -> int:
    return START_MS + second * SECOND


def test_a_symbol_that_has_gone_for_so_long_is_due_once() -> None:
    history = history_of(("OLDUSD", range(1)), ("BTCUSD", range(3500, 3601)))
    found = graveyard(history)
    assert list(found.due(at(3599))) == []
    assert list(found.due(at(3610))) == [("OLDUSD", at(0))]
    assert list(found.due(at(7200))) == []


def test_it_is_due_again_after_it_returned_and_went_again() -> None:
    history = history_of(("OLDUSD", range(1)), ("BTCUSD", range(3500, 3601)))
    found = graveyard(history)
    assert list(found.due(at(3600))) == [("OLDUSD", at(0))]
    history.add("OLDUSD", at(3700), content=2)
    for second in range(7000, 7400):
        history.add("BTCUSD", at(second), content=1)
    assert list(found.due(at(7299))) == []
    assert list(found.due(at(7310))) == [("OLDUSD", at(3700))]


def test_a_silence_of_the_whole_feed_buries_nobody() -> None:
    history = history_of(("BTCUSD", range(60)), ("ETHUSD", range(60)))
    found = graveyard(history)
    history.add("BTCUSD", at(3 * 3600), content=1)  # the first of them that comes back
    assert list(found.due(at(3 * 3600))) == []
    for second in range(1, 58):
        history.add("BTCUSD", at(3 * 3600 + second), content=1)
    assert list(found.due(at(3 * 3600 + 58))) == []
    history.add("ETHUSD", at(3 * 3600 + 59), content=1)
    history.add("BTCUSD", at(3 * 3600 + 70), content=1)
    assert list(found.due(at(3 * 3600 + 70))) == [], "it had a minute to come back, and did"


def test_after_such_a_silence_whoever_stays_away_is_due_after_a_minute() -> None:
    history = history_of(("BTCUSD", range(60)), ("ETHUSD", range(60)), ("BTCUSD", range(10_800, 10_860)))
    assert GONE_AFTER_MS == MINUTE
    assert list(graveyard(history).due(at(10_859))) == [("ETHUSD", at(59))]


def test_a_symbol_that_only_the_compacted_topic_still_knows() -> None:
    """It went before the history's window: the process has started anew meanwhile."""
    history = history_of(("BTCUSD", range(7000, 7100)))
    held = Held({"OLDUSD": at(0), "BTCUSD": at(7099), "YOUNGUSD": at(6000)}, {})
    found = graveyard(history, held=held)
    assert list(found.due(at(7100))) == [("OLDUSD", at(0))]
    assert list(found.due(at(9590))) == []
    assert list(found.due(at(9601))) == [("YOUNGUSD", at(6000))]


def test_what_has_a_tombstone_gets_no_other() -> None:
    history = history_of(("OLDUSD", range(1)), ("BTCUSD", range(100)))
    held = Held({"BTCUSD": at(99)}, {"OLDUSD": at(70), "OLDERUSD": at(-500)})
    assert list(graveyard(history, after_ms=MINUTE, held=held).due(at(99))) == []
    returned = Held({}, {"OLDUSD": at(-5)})
    assert list(graveyard(history, after_ms=MINUTE, held=returned).due(at(99))) == [("OLDUSD", at(0))]


def test_nothing_is_due_before_the_topic_was_read_or_without_one() -> None:
    history = history_of(("OLDUSD", range(1)), ("BTCUSD", range(3500, 3601)))
    unread = Graveyard(history, HOUR)
    assert list(unread.due(at(3600))) == []
    unread.loaded(NOTHING)
    assert list(unread.due(at(3600))) == [("OLDUSD", at(0))]
    unread.forget()
    assert list(unread.due(at(9000))) == []
    assert list(graveyard(history, after_ms=None).due(at(9000))) == []


def test_it_is_not_looked_at_with_every_tick() -> None:
    history = history_of(("OLDUSD", range(1)), ("BTCUSD", range(3500, 3601)))
    found = graveyard(history)
    looked_ms = at(3595)
    assert list(found.due(looked_ms)) == []
    assert list(found.due(looked_ms + LOOKED_EVERY_MS - 1)) == []
    assert list(found.due(looked_ms + LOOKED_EVERY_MS)) == [("OLDUSD", at(0))]
