from hypothesis import given
from hypothesis import strategies as st

from connector.core.witness import Span, Witness


def spans(witness: Witness, from_ms: int, to_ms: int) -> list[tuple[int, int, str]]:
    return [(span.from_ms, span.to_ms, span.state) for span in witness.between(from_ms, to_ms)]


def beat(witness: Witness, from_ms: int, to_ms: int) -> None:
    for at_ms in range(from_ms, to_ms + 1, 1000):
        witness.heartbeat(at_ms)


def test_knows_nothing_at_first() -> None:
    assert spans(Witness(), 0, 5000) == [(0, 5000, "unknown")]


def test_states_follow_each_other_without_hole() -> None:
    witness = Witness()
    witness.note("advancing", 10_000)
    beat(witness, 11_000, 20_000)
    witness.note("silent", 20_500)
    beat(witness, 21_000, 25_000)
    witness.note("down", 25_200)
    witness.heartbeat(26_000)
    assert spans(witness, 12_000, 26_000) == [
        (12_000, 20_500, "advancing"),
        (20_500, 25_200, "silent"),
        (25_200, 26_000, "down"),
    ]


def test_before_the_first_evidence_is_unknown() -> None:
    witness = Witness()
    witness.note("advancing", 10_000)
    assert spans(witness, 5_000, 11_000) == [(5_000, 10_000, "unknown"), (10_000, 11_000, "advancing")]


def test_a_long_pause_of_the_process_is_not_running() -> None:
    witness = Witness()
    witness.note("advancing", 10_000)
    witness.heartbeat(11_000)
    witness.heartbeat(26_000)
    witness.heartbeat(27_000)
    assert spans(witness, 10_000, 27_000) == [
        (10_000, 11_000, "advancing"),
        (11_000, 26_000, "not running"),
        (26_000, 27_000, "advancing"),
    ]


def test_a_state_noted_after_a_long_pause_does_not_cover_it() -> None:
    witness = Witness()
    witness.note("advancing", 10_000)
    witness.heartbeat(11_000)
    witness.note("down", 30_000)
    witness.heartbeat(31_000)
    assert [span.state for span in witness.between(11_000, 29_000)] == ["not running"]
    assert [span.state for span in witness.between(30_500, 31_000)] == ["down"]


def test_overdue_heartbeats_are_not_running() -> None:
    witness = Witness()
    witness.note("advancing", 10_000)
    assert spans(witness, 10_000, 20_000) == [(10_000, 13_000, "advancing"), (13_000, 20_000, "not running")]


def test_the_time_between_two_processes_is_not_running_however_short() -> None:
    first = Witness()
    first.note("advancing", 10_000)
    beat(first, 11_000, 15_000)
    second = Witness(first.all_spans())
    assert spans(second, 14_000, 16_000) == [(14_000, 15_000, "advancing"), (15_000, 16_000, "not running")]
    second.note("advancing", 16_500)
    second.heartbeat(17_000)
    assert spans(second, 14_000, 17_000) == [
        (14_000, 15_000, "advancing"),
        (15_000, 16_500, "not running"),
        (16_500, 17_000, "advancing"),
    ]


def test_frames_given_up_show_before_the_state() -> None:
    witness = Witness()
    witness.note("advancing", 10_000)
    beat(witness, 11_000, 30_000)
    witness.gave_up(12_000, 13_000)
    witness.gave_up(14_000, 15_000)
    witness.gave_up(25_000, 25_000)
    assert spans(witness, 10_000, 30_000) == [
        (10_000, 12_000, "advancing"),
        (12_000, 15_001, "journal bound"),
        (15_001, 25_000, "advancing"),
        (25_000, 25_001, "journal bound"),
        (25_001, 30_000, "advancing"),
    ]


def test_heartbeats_before_the_first_state_say_nothing() -> None:
    witness = Witness()
    witness.heartbeat(10_000)
    assert spans(witness, 9_000, 11_000) == [(9_000, 11_000, "unknown")]


def test_what_changed_is_given_once_and_named_by_begin_and_state() -> None:
    witness = Witness()
    witness.note("advancing", 10_000)
    witness.heartbeat(11_000)
    assert witness.take_changes() == (Span(10_000, 11_000, "advancing"),)
    assert witness.take_changes() == ()
    witness.heartbeat(12_000)
    assert witness.take_changes() == (Span(10_000, 12_000, "advancing"),)


def test_forgets_what_is_old_and_keeps_the_current_span() -> None:
    witness = Witness()
    witness.note("advancing", 10_000)
    witness.note("silent", 12_000)
    witness.note("advancing", 14_000)
    witness.gave_up(10_500, 10_600)
    witness.forget(13_000)
    assert [span.state for span in witness.all_spans()] == ["silent", "advancing"]
    witness.forget(1_000_000)
    assert [span.state for span in witness.all_spans()] == ["advancing"]


def test_spans_that_make_no_sense_are_left_out() -> None:
    witness = Witness([Span(10, 5, "advancing"), Span(1, 2, "nonsense"), Span(1, 2, "silent")])
    assert witness.all_spans() == (Span(1, 2, "silent"),)


def test_memory_is_bounded() -> None:
    witness = Witness(max_spans=10)
    for at_ms in range(0, 100_000, 1000):
        witness.note("advancing" if at_ms % 2000 else "silent", at_ms)
        witness.gave_up(at_ms * 10, at_ms * 10)
    assert len(witness.all_spans()) <= 20


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["advancing", "silent", "frozen", "down", "heartbeat", "gave up", "restart"]),
            st.integers(-2_000, 9_000),
        ),
        max_size=40,
    ),
    st.integers(-10_000, 100_000),
    st.integers(0, 100_000),
)
def test_the_answer_covers_the_time_asked_for_exactly(
    steps: list[tuple[str, int]], from_ms: int, length_ms: int
) -> None:
    witness = Witness()
    now_ms = 0
    for what, step_ms in steps:
        now_ms += step_ms
        if what == "heartbeat":
            witness.heartbeat(now_ms)
        elif what == "gave up":
            witness.gave_up(now_ms, now_ms + abs(step_ms))
        elif what == "restart":
            witness = Witness(witness.all_spans())
        else:
            witness.note(what, now_ms)
    answer = witness.between(from_ms, from_ms + length_ms)
    position = from_ms
    for span in answer:
        assert span.from_ms == position < span.to_ms
        position = span.to_ms
    assert position == from_ms + length_ms
