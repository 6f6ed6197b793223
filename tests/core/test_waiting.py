from __future__ import annotations

from connector.core.pipeline import Passage
from connector.core.waiting import WaitingFrames

CADENCE_MS = 1000
NO_TICK = Passage(-1, ())


def of(second: int, *symbols: str) -> Passage:
    return Passage(second * 1000, ((second * 1000, frozenset(symbols or ("BTCUSD",))),))


def waiting(*passages: Passage) -> WaitingFrames:
    frames = WaitingFrames()
    frames.extend(enumerate(passages, 1))
    return frames


def taken(frames: WaitingFrames, newest: dict[str, int], *, follows: bool = False, hopeless_ms: int = -1) -> list[int]:
    return [seq for seq, _ in frames.take_passed(newest, follows=follows, hopeless_ms=hopeless_ms)]


def test_what_the_topic_has_passed_leaves_in_order() -> None:
    frames = waiting(of(1), of(2), of(3))
    assert taken(frames, {"BTCUSD": 2000}) == [1, 2]
    assert taken(frames, {"BTCUSD": 2000}) == []
    assert len(frames) == 1
    assert frames.hold_ticks


def test_a_frame_waits_for_all_its_symbols_and_others_wait_for_it() -> None:
    frames = waiting(of(1, "BTCUSD", "ETHUSD"), of(2))
    assert taken(frames, {"BTCUSD": 2000}) == []
    assert taken(frames, {"BTCUSD": 2000, "ETHUSD": 1000}) == [1, 2]


def test_a_writer_has_written_what_frames_without_a_tick_came_to() -> None:
    frames = waiting(NO_TICK, of(1), NO_TICK)
    assert taken(frames, {"BTCUSD": 1000}) == [1, 2, 3]
    assert not frames.hold_ticks


def test_for_a_follower_they_stay_until_the_writer_wrote_the_next_tick() -> None:
    frames = waiting(NO_TICK, NO_TICK)
    assert taken(frames, {}, follows=True) == []
    frames.extend([(3, of(1))])
    assert taken(frames, {}, follows=True) == [1, 2]
    assert taken(frames, {"BTCUSD": 1000}, follows=True) == [3]


def goes_on(frames: WaitingFrames, newest_ms: int, own_since_seq: int = 0) -> bool:
    return frames.continue_topic(newest_ms, CADENCE_MS, own_since_seq=own_since_seq)


def test_they_go_on_from_the_topic_without_a_period_missing() -> None:
    assert goes_on(waiting(of(2), of(3)), 1000)
    assert goes_on(waiting(of(1), of(2)), 1000), "some symbols of a period are missing in the topic"
    assert goes_on(waiting(of(7)), -1), "an empty topic lacks nothing"
    assert not goes_on(waiting(of(3)), 1000)
    assert not goes_on(waiting(of(2), of(4)), 1000)
    assert not goes_on(waiting(NO_TICK), 1000)
    assert not goes_on(waiting(), 1000)


def test_what_comes_next_is_there_whatever_is_missing_further_on() -> None:
    def have_next(frames: WaitingFrames, newest_ms: int = 1000) -> bool:
        return frames.have_next(newest_ms, CADENCE_MS)

    assert have_next(waiting(of(2), of(4)))
    assert have_next(waiting(of(1, "GONEUSD"), of(2)))
    assert have_next(waiting(of(1))), "some symbols of a period are missing in the topic"
    assert have_next(waiting(of(7)), -1), "an empty topic lacks nothing"
    assert not have_next(waiting(of(3), of(4)))
    assert not have_next(waiting(of(0, "GONEUSD"), of(3))), "one that nobody waits for does not fill a hole"
    assert not have_next(waiting(of(2)._replace(exact=False), of(3))), "rows from REST are no ticks"
    assert not have_next(waiting(NO_TICK))
    assert not have_next(waiting())
    ahead = Passage(23_000, ((2000, frozenset(("BTCUSD", "ETHUSD"))), (23_000, frozenset(("ODDUSD",)))))
    assert have_next(waiting(ahead, of(3)))


def test_what_an_earlier_life_left_ends_where_that_life_did() -> None:
    frames = waiting(of(2), of(3))
    assert not goes_on(frames, 1000, own_since_seq=2)
    assert goes_on(frames, 1000, own_since_seq=1)


def test_a_follower_does_not_wait_for_ever_for_a_symbol_that_the_writer_never_had() -> None:
    frames = waiting(of(1, "BTCUSD", "GONEUSD"), NO_TICK, of(2), of(9))
    newest = {"BTCUSD": 8000}
    assert taken(frames, newest, hopeless_ms=1001) == [], "a writer writes it"
    assert taken(frames, newest, follows=True, hopeless_ms=1000) == []
    assert taken(frames, newest, follows=True, hopeless_ms=1001) == [1, 2, 3]
    assert len(frames) == 1
