from __future__ import annotations

from connector.core.watch import Life, Limits, Pulse, Watch

LIMITS = Limits(first_tick_s=10.0, trailing_s=3.0, silence_s=15.0, quiet_after_s=2.5)


def _pulse(*event_times_s: float, at_s: float | None = None, opened_at_s: float = 0.0) -> Pulse:
    """A socket that brought these event times, each at that same moment or all at *at_s*."""
    pulse = Pulse(opened_at_s=opened_at_s)
    for event_time_s in event_times_s:
        pulse.beat("all", int(event_time_s * 1000), event_time_s if at_s is None else at_s)
    return pulse


def _named(watch: Watch, pulses: list[Pulse], now_s: float) -> list[tuple[int, str]]:
    return [(pulses.index(each.pulse), each.reason) for each in watch.suspects(pulses, now_s)]


def test_data_that_advances_is_life() -> None:
    pulse = _pulse(100, 101)
    assert pulse.life(102.0, 2.5) is Life.ADVANCING
    assert pulse.life(104.0, 2.5) is Life.SILENT
    assert Pulse(opened_at_s=0.0).life(0.1, 2.5) is Life.SILENT


def test_the_same_event_time_again_is_no_life() -> None:
    pulse = _pulse(100)
    for now_s in range(101, 110):
        assert not pulse.beat("all", 100_000, float(now_s))
    assert pulse.life(109.0, 2.5) is Life.FROZEN


def test_a_socket_with_several_frozen_streams_does_not_advance_by_their_differences() -> None:
    pulse = Pulse(opened_at_s=0.0)
    pulse.beat("btc", 6000, 1.0)
    pulse.beat("eth", 5000, 1.0)
    for now_s in range(2, 10):
        assert not pulse.beat("btc", 6000, float(now_s))
        assert not pulse.beat("eth", 5000, float(now_s))


def test_the_last_event_time_known_sent_to_a_new_socket_is_no_life() -> None:
    watch, pulses = Watch(LIMITS), [Pulse(opened_at_s=0.0, known_ms=100_000)]
    assert not pulses[0].beat("all", 100_000, 1.0)
    assert _named(watch, pulses, 10.0) == [(0, "frozen")]
    assert pulses[0].beat("all", 101_000, 11.0)


def test_a_new_socket_whose_time_is_behind_a_wrong_one_lives_by_its_second_message() -> None:
    pulse = Pulse(opened_at_s=0.0, known_ms=9_999_000)
    assert not pulse.beat("all", 100_000, 1.0)
    assert pulse.beat("all", 101_000, 2.0)


def test_no_first_tick() -> None:
    watch, pulses = Watch(LIMITS), [Pulse(opened_at_s=0.0)]
    assert _named(watch, pulses, 9.9) == []
    assert _named(watch, pulses, 10.0) == [(0, "no first tick")]
    assert _named(watch, pulses, 10.2) == []


def test_trailing_while_the_sibling_advances() -> None:
    watch, pulses = Watch(LIMITS), [_pulse(100, 101, 102), _pulse(100)]
    assert _named(watch, pulses, 102.0) == []
    pulses[0].beat("all", 103_000, 103.0)
    pulses[0].beat("all", 104_000, 104.0)
    assert _named(watch, pulses, 104.0) == [(1, "trailing")]


def test_old_frames_that_advance_are_trailing_too() -> None:
    watch = Watch(LIMITS)
    pulses = [_pulse(200, 201), _pulse(100, 101, at_s=201.0)]
    assert _named(watch, pulses, 201.0) == [(1, "trailing")]


def test_nobody_trails_a_sibling_that_is_silent_itself() -> None:
    assert _named(Watch(LIMITS), [_pulse(100, 110, 111), _pulse(100)], 114.0) == []


def test_one_message_far_ahead_makes_nobody_trail() -> None:
    watch, pulses = Watch(LIMITS), [_pulse(100, 101, 121), _pulse(100, 101)]
    assert _named(watch, pulses, 102.0) == []
    pulses[0].beat("all", 102_000, 102.0)
    pulses[1].beat("all", 102_000, 102.0)
    assert _named(watch, pulses, 102.0) == []


def test_the_first_message_after_a_pause_of_the_exchange_makes_nobody_trail() -> None:
    watch, pulses = Watch(LIMITS), [_pulse(100, 101), _pulse(100, 101)]
    pulses[0].beat("all", 107_000, 107.0)
    assert _named(watch, pulses, 107.0) == []
    pulses[1].beat("all", 107_000, 107.1)
    pulses[0].beat("all", 108_000, 108.0)
    assert _named(watch, pulses, 108.0) == []


def test_a_sibling_whose_clock_is_an_hour_ahead_is_no_measure() -> None:
    watch, good, wrong = Watch(LIMITS), Pulse(opened_at_s=0.0), Pulse(opened_at_s=0.0)
    for now_s in (100, 101, 102):
        good.beat("all", now_s * 1000, float(now_s))
        wrong.beat("all", (now_s + 3600) * 1000, float(now_s), is_plausible=False)
    assert _named(watch, [good, wrong], 102.0) == []


def test_an_hour_ahead_on_all_sockets_is_compared_as_usual() -> None:
    watch, one, other = Watch(LIMITS), Pulse(opened_at_s=0.0), Pulse(opened_at_s=0.0)
    other.beat("all", 3_700_000, 100.0, is_plausible=False)
    for now_s in range(100, 106):
        one.beat("all", (now_s + 3600) * 1000, float(now_s), is_plausible=False)
    assert _named(watch, [one, other], 105.0) == [(1, "trailing")]


def test_silence_names_one_socket_at_a_time_the_oldest_first() -> None:
    watch = Watch(LIMITS)
    pulses = [_pulse(100, 101, opened_at_s=50.0), _pulse(100, 101, opened_at_s=20.0)]
    assert _named(watch, pulses, 115.9) == []
    assert _named(watch, pulses, 116.0) == [(1, "silent")]
    assert _named(watch, pulses, 130.9) == []
    assert _named(watch, pulses, 131.0) == [(0, "silent")]
    assert _named(watch, pulses, 500.0) == []


def test_frozen_is_told_apart_from_silent() -> None:
    watch, pulses = Watch(LIMITS), [_pulse(100)]
    for now_s in range(101, 116):
        pulses[0].beat("all", 100_000, float(now_s))
    assert _named(watch, pulses, 115.0) == [(0, "frozen")]


def test_a_pause_of_several_seconds_is_normal() -> None:
    watch, pulses = Watch(LIMITS), [_pulse(100, 101), _pulse(100, 101)]
    assert all(_named(watch, pulses, 101 + pause_s) == [] for pause_s in range(15))


def test_recovery() -> None:
    watch, pulses = Watch(LIMITS), [_pulse(*range(100, 110)), _pulse(100, 101)]
    assert _named(watch, pulses, 109.0) == [(1, "trailing")]
    assert not watch.has_recovered(pulses[1], pulses, 109.0)
    pulses[1].beat("all", 109_000, 109.5)
    assert watch.has_recovered(pulses[1], pulses, 109.6)


def test_a_socket_that_still_advances_but_late_has_not_recovered() -> None:
    watch, pulses = Watch(LIMITS), [_pulse(*range(100, 110)), _pulse(100, 101, at_s=109.0)]
    assert not watch.has_recovered(pulses[1], pulses, 109.0)
