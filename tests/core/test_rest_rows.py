"""Which rows from REST may be written, and which still wait."""

from __future__ import annotations

from connector.core.rest_rows import RestRows, Rows
from connector.core.values import Frame, Normalized, Origin

START_MS = 1_791_285_204_000
START_NS = START_MS * 1_000_000


def rows(second: float) -> Rows:
    frame = Frame(f"{second}".encode(), START_NS + int(second * 1e9), "rest", "/path", Origin.REST)
    return Rows(START_MS + int(second * 1000), frame, Normalized((), (), "/path"))


def waiting(*seconds: float) -> RestRows:
    held = RestRows(1000, 20.0)
    for second in seconds:
        held.wait(rows(second))
    return held


def let_go(held: RestRows, event_time_ms: int) -> list[bytes]:
    return [each.frame.data for each in held.before(event_time_ms)]


def test_a_tick_lets_go_the_rows_of_earlier_periods() -> None:
    held = waiting(1.003, 2.001, 3.002)
    assert let_go(held, START_MS + 3_000) == [b"1.003", b"2.001"]
    assert len(held) == 1
    assert let_go(held, START_MS + 3_999) == [], "the tick of its own period goes before it"
    assert let_go(held, START_MS + 4_000) == [b"3.002"]
    assert not held


def test_ticks_that_come_late_go_first() -> None:
    held = waiting(4.0, 5.0)
    for second in (1, 2, 3):
        assert let_go(held, START_MS + second * 1000) == []
    assert let_go(held, START_MS + 6_000) == [b"4.0", b"5.0"]


def test_a_frame_without_a_tick_lets_nothing_go() -> None:
    assert let_go(waiting(1.0), -1) == []


def test_rows_that_waited_for_long_enough_go() -> None:
    held = waiting(1.0, 2.0)
    assert list(held.ripe(START_NS + int(20.9e9))) == []
    assert [each.frame.data for each in held.ripe(START_NS + int(21.5e9))] == [b"1.0"]
    assert [each.frame.data for each in held.ripe(START_NS + int(22.5e9))] == [b"2.0"]


def test_those_of_a_writer_that_is_one_no_longer_are_forgotten() -> None:
    held = waiting(1.0)
    held.clear()
    assert not held
