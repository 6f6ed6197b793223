from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from connector.core.arrivals import Arrival, Arrivals, Offered
from connector.core.values import Frame

HOLD_S = 0.5


def _arrivals(**changes: float) -> Arrivals:
    return Arrivals(cadence_ms=1000, hold_s=HOLD_S, **changes)  # type: ignore[arg-type]


def _arrival(socket: int, period: int | None, *, data: bytes | None = None, stream: str = "all") -> Arrival:
    payload = f"{stream} {period}".encode() if data is None else data
    event_time_ms = None if period is None else period * 1000
    return Arrival(Frame(payload, 0, f"ws-{socket}", stream), stream, event_time_ms, socket)


def _periods(frames: tuple[Frame, ...]) -> list[int]:
    return [int(frame.data.split()[1]) for frame in frames]


def test_the_first_arrival_wins() -> None:
    arrivals = _arrivals()
    first = _arrival(1, 10)
    assert arrivals.offer(first, 0.0) == Offered((first.frame,))
    assert arrivals.offer(_arrival(2, 10), 0.01) == Offered((), repeated=True)


def test_a_socket_that_repeats_itself_is_dropped_for_as_long_as_it_does() -> None:
    arrivals = _arrivals()
    arrivals.offer(_arrival(1, 10), 0.0)
    for now_s in range(1, 300, 20):
        assert arrivals.offer(_arrival(1, 10), float(now_s)).repeated


def test_bytes_are_forgotten_after_a_while() -> None:
    arrivals = _arrivals(remember_s=60.0)
    arrivals.offer(_arrival(1, 10), 0.0)
    assert not arrivals.offer(_arrival(2, 10), 60.5).repeated


def test_what_is_remembered_is_bounded() -> None:
    arrivals = _arrivals(remember_frames=3)
    for period in range(4):
        arrivals.offer(_arrival(1, period), 0.0)
    assert not arrivals.offer(_arrival(2, 0), 0.1).repeated
    assert arrivals.offer(_arrival(2, 3), 0.1).repeated


def test_frames_without_event_time_pass_at_once_and_every_time() -> None:
    arrivals = _arrivals()
    garbage = _arrival(1, None, data=b"[]")
    for _ in range(3):
        assert arrivals.offer(garbage, 0.0) == Offered((garbage.frame,))


def test_other_bytes_of_the_same_period_pass() -> None:
    arrivals = _arrivals()
    arrivals.offer(_arrival(1, 10), 0.0)
    other = _arrival(2, 10, data=b"all 10 other")
    assert arrivals.offer(other, 0.1).deliver == (other.frame,)


def test_a_frame_that_skips_waits_for_the_sibling_to_bring_what_is_missing() -> None:
    arrivals = _arrivals()
    arrivals.offer(_arrival(1, 10), 0.0)
    arrivals.offer(_arrival(2, 10), 0.0)
    assert arrivals.offer(_arrival(1, 12), 2.0) == Offered(())
    assert _periods(arrivals.offer(_arrival(2, 11), 2.1).deliver) == [11, 12]
    assert arrivals.next_due_s() is None


def test_it_waits_no_longer_than_the_hold_time() -> None:
    arrivals = _arrivals()
    arrivals.offer(_arrival(1, 10), 0.0)
    arrivals.offer(_arrival(2, 10), 0.0)
    arrivals.offer(_arrival(1, 12), 2.0)
    assert arrivals.next_due_s() == 2.5
    assert arrivals.due(2.49) == ()
    assert _periods(arrivals.due(2.5)) == [12]
    assert arrivals.next_due_s() is None


def test_it_does_not_wait_when_every_sibling_is_past_the_missing_period() -> None:
    arrivals = _arrivals()
    arrivals.offer(_arrival(1, 10), 0.0)
    arrivals.offer(_arrival(2, 10), 0.0)
    arrivals.offer(_arrival(1, 12), 2.0)
    repeated = arrivals.offer(_arrival(2, 12), 2.1)
    assert (_periods(repeated.deliver), repeated.repeated) == ([12], True)


def test_it_does_not_wait_for_a_sibling_that_has_left() -> None:
    arrivals = _arrivals()
    arrivals.offer(_arrival(1, 10), 0.0)
    arrivals.offer(_arrival(2, 10), 0.0)
    arrivals.offer(_arrival(1, 12), 2.0)
    assert _periods(arrivals.left(2, 2.1)) == [12]
    assert _periods(arrivals.offer(_arrival(1, 14), 4.0).deliver) == [14]


def test_a_lone_socket_never_waits() -> None:
    arrivals = _arrivals()
    assert [_periods(arrivals.offer(_arrival(1, period), 0.0).deliver) for period in (10, 15, 30)] == [[10], [15], [30]]


def test_what_follows_a_held_frame_stays_behind_it() -> None:
    arrivals = _arrivals()
    arrivals.offer(_arrival(1, 10), 0.0)
    arrivals.offer(_arrival(2, 10), 0.0)
    arrivals.offer(_arrival(1, 12), 2.0)
    assert arrivals.offer(_arrival(1, 13), 2.3).deliver == ()
    assert _periods(arrivals.due(2.5)) == [12, 13]


def test_streams_do_not_wait_for_each_other() -> None:
    arrivals = _arrivals()
    for stream in ("btc", "eth"):
        arrivals.offer(_arrival(1, 10, stream=stream), 0.0)
        arrivals.offer(_arrival(2, 10, stream=stream), 0.0)
    assert arrivals.offer(_arrival(1, 12, stream="btc"), 2.0).deliver == ()
    assert _periods(arrivals.offer(_arrival(1, 11, stream="eth"), 2.0).deliver) == [11]


def test_one_wrong_event_time_far_ahead_does_not_end_the_waiting() -> None:
    arrivals = _arrivals()
    arrivals.offer(_arrival(1, 10), 0.0)
    arrivals.offer(_arrival(2, 10), 0.0)
    arrivals.offer(_arrival(1, 5000), 0.5)
    assert _periods(arrivals.offer(_arrival(1, 11), 1.0).deliver) == [11, 5000]
    arrivals.offer(_arrival(2, 11), 1.0)
    assert arrivals.offer(_arrival(1, 13), 3.0).deliver == ()
    assert _periods(arrivals.offer(_arrival(2, 12), 3.1).deliver) == [12, 13]


def test_old_frames_pass_as_they_come() -> None:
    arrivals = _arrivals()
    for period in (100, 101):
        arrivals.offer(_arrival(1, period), 0.0)
        arrivals.offer(_arrival(2, period), 0.0)
    for period in (50, 51, 52):
        assert _periods(arrivals.offer(_arrival(2, period), 1.0).deliver) == [period]
    assert _periods(arrivals.offer(_arrival(1, 102), 1.0).deliver) == [102]


def test_flush_gives_out_everything() -> None:
    arrivals = _arrivals()
    arrivals.offer(_arrival(1, 10), 0.0)
    arrivals.offer(_arrival(2, 10), 0.0)
    arrivals.offer(_arrival(1, 12), 2.0)
    assert _periods(arrivals.flush()) == [12]


@dataclass(frozen=True)
class _Step:
    pause_s: float
    socket: int
    period: int | None
    variant: int
    leaves: bool


_steps = st.lists(
    st.builds(
        _Step,
        pause_s=st.sampled_from([0.0, 0.01, 0.2, 0.6, 3.0]),
        socket=st.integers(1, 3),
        period=st.one_of(st.none(), st.integers(0, 12), st.integers(0, 12), st.just(10**6)),
        variant=st.sampled_from([0, 0, 0, 1]),
        leaves=st.sampled_from([False] * 9 + [True]),
    ),
    max_size=60,
)


@given(_steps)
def test_every_frame_is_delivered_once_or_repeated_and_none_is_held_too_long(steps: list[_Step]) -> None:
    arrivals = _arrivals()
    now_s = 0.0
    offered_at_s: dict[int, float] = {}
    came_out: Counter[int] = Counter()
    repeated: set[int] = set()
    frames: list[Frame] = []

    def out(delivered: tuple[Frame, ...]) -> None:
        for frame in delivered:
            came_out[frame.received_at_ns] += 1
            assert now_s - offered_at_s[frame.received_at_ns] <= HOLD_S + 1e-9

    for number, step in enumerate(steps):
        end_s = now_s + step.pause_s
        while (due_s := arrivals.next_due_s()) is not None and due_s <= end_s:
            now_s = due_s
            out(arrivals.due(now_s))
        now_s = end_s
        if step.leaves:
            out(arrivals.left(step.socket, now_s))
        frame = Frame(f"{step.period} {step.variant}".encode(), number, f"ws-{step.socket}", "all")
        frames.append(frame)
        offered_at_s[number] = now_s
        event_time_ms = None if step.period is None else step.period * 1000
        offered = arrivals.offer(Arrival(frame, "all", event_time_ms, step.socket), now_s)
        if offered.repeated:
            repeated.add(number)
        out(offered.deliver)
    now_s = min(now_s, arrivals.next_due_s() or now_s)
    out(arrivals.flush())

    assert arrivals.next_due_s() is None
    for number in range(len(frames)):
        assert came_out[number] == (0 if number in repeated else 1)
    for number in repeated:
        assert any(frames[before].data == frames[number].data for before in range(number))


@given(
    st.lists(st.tuples(st.booleans(), st.booleans()), min_size=3, max_size=40),
    st.lists(st.sampled_from([0.0, 0.05, 0.3]), min_size=40, max_size=40),
)
def test_periods_come_in_order_while_one_of_two_sockets_has_each(
    brings: list[tuple[bool, bool]], lags_s: list[float]
) -> None:
    """Two sockets, the second one late by less than the hold time; each loses messages, never both the same."""
    arrivals = _arrivals()
    events = [(0.0, 1, 0), (0.0, 2, 0)]
    for period, (first, second) in enumerate(brings, start=1):
        if first or not second:
            events.append((float(period), 1, period))
        if second or not first:
            events.append((period + lags_s[period - 1], 2, period))
    last = len(brings) + 1
    events += [(float(last), 1, last), (float(last), 2, last)]
    delivered: list[int] = []
    for now_s, socket, period in sorted(events, key=lambda event: (event[0], event[2])):
        delivered += _periods(arrivals.offer(_arrival(socket, period), now_s).deliver)
    delivered += _periods(arrivals.flush())
    assert delivered == list(range(last + 1))
    assert all(before < after for before, after in pairwise(delivered))
