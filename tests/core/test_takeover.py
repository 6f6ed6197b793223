from __future__ import annotations

import pytest

from connector.core.takeover import Request, Standing, TakeoverRule


def watch(rule: TakeoverRule, seconds: float, step_s: float = 0.1) -> None:
    for _ in range(round(seconds / step_s)):
        rule.watched(step_s)


def due(
    rule: TakeoverRule,
    answer_s: float = 0.0,
    *,
    feed_advancing: bool = True,
    complete: bool = True,
    has_next: bool | None = None,
    chance: float = 0.0,
    held_s: float = 0.0,
) -> bool:
    standing = Standing(complete, complete if has_next is None else has_next, feed_advancing, held_s)
    return rule.due(standing, answer_s=answer_s, chance=chance)


def must_call(rule: TakeoverRule, *, complete: bool = False, feed_advancing: bool = True) -> bool:
    return rule.must_call(Standing(complete, complete, feed_advancing, held_s=0.0), chance=0.0)


def patience_s(rule: TakeoverRule) -> float:
    standing = Standing(complete=True, has_next=True, feed_advancing=True, held_s=0.0)
    return rule.patience_s(standing, answer_s=0.0, chance=0.0)


def test_due_once_the_topic_stood_still_for_long_enough() -> None:
    rule = TakeoverRule(after_s=3.0)
    watch(rule, 2.8)
    assert not due(rule)
    watch(rule, 0.3)
    assert due(rule)
    rule.advanced(0)
    assert not due(rule)


def test_chance_keeps_replicas_apart() -> None:
    rule = TakeoverRule(after_s=3.0)
    watch(rule, 3.1)
    assert due(rule)
    assert not due(rule, chance=1.0)


def test_a_process_that_was_paused_has_not_watched() -> None:
    rule = TakeoverRule(after_s=3.0)
    rule.watched(15.0)
    assert not due(rule)


def test_each_takeover_doubles_the_patience_up_to_a_bound_until_it_has_written_for_a_minute() -> None:
    rule = TakeoverRule(after_s=3.0)
    rule.took_over()
    watch(rule, 5.8)
    assert not due(rule)
    watch(rule, 0.4)
    assert due(rule)
    for _ in range(10):
        rule.took_over()
    assert patience_s(rule) == 30.0
    rule.written(59.0)
    assert patience_s(rule) == 30.0
    rule.written(60.0)
    assert patience_s(rule) == 3.0


def test_to_answer_others_does_not_make_it_more_patient() -> None:
    rule = TakeoverRule(after_s=3.0)
    for beyond_ms in (5_000, 9_000):
        rule.asked(beyond_ms, topic_ms=beyond_ms)
        rule.took_over(answering=True)
    assert patience_s(rule) == 3.0


def test_a_slow_broker_explains_silence() -> None:
    rule = TakeoverRule(after_s=3.0)
    watch(rule, 12.0)
    assert not due(rule, answer_s=4.0)


def test_a_replica_whose_feed_stands_still_lets_the_others_go_first() -> None:
    rule = TakeoverRule(after_s=3.0)
    watch(rule, 10.0)
    assert not must_call(rule, feed_advancing=False)
    watch(rule, 20.1)
    assert must_call(rule, feed_advancing=False)


def test_what_comes_next_is_written_also_by_a_replica_whose_feed_has_just_ended() -> None:
    rule = TakeoverRule(after_s=3.0)
    watch(rule, 3.1)
    assert due(rule, complete=True, feed_advancing=False)


def test_a_replica_that_lacks_what_comes_next_calls_and_waits_for_an_answer() -> None:
    rule = TakeoverRule(after_s=3.0)
    watch(rule, 2.8)
    assert not must_call(rule)
    watch(rule, 0.3)
    assert not must_call(rule, complete=True)
    assert must_call(rule)
    watch(rule, 5.0)
    assert not due(rule, complete=False), "it has not called yet"
    rule.called()
    assert not must_call(rule)
    watch(rule, 2.8)
    assert not due(rule, complete=False)
    watch(rule, 0.3)
    assert due(rule, complete=False)


def test_where_the_ledger_shows_no_other_replica_the_writer_was_an_earlier_life_of_this_one() -> None:
    rule = TakeoverRule(after_s=3.0, heard_itself=True)
    rule.started(topic_age_s=0.9)
    assert must_call(rule), "one that the ledger's last entries do not show would answer at once"
    watch(rule, 2.0)
    assert not due(rule, complete=False, feed_advancing=False), "it has not called yet"
    rule.started(topic_age_s=0.9)
    rule.called()
    watch(rule, 0.5)
    assert not due(rule, complete=False, feed_advancing=False)
    watch(rule, 0.3)
    assert due(rule, complete=False, feed_advancing=False)
    assert not due(rule, complete=False, answer_s=1.0), "the broker is slow"
    rule.heard_others = True
    assert not due(rule, complete=False)


def test_the_answer_to_a_call_takes_as_long_as_the_broker_does() -> None:
    rule = TakeoverRule(after_s=3.0)
    watch(rule, 3.1)
    rule.called()
    watch(rule, 4.0)
    assert due(rule, complete=False)
    assert not due(rule, answer_s=1.0, complete=False)
    watch(rule, 1.1)
    assert due(rule, answer_s=1.0, complete=False)


@pytest.mark.parametrize("answered", [True, False])
def test_a_call_is_over_once_it_is_answered_or_the_topic_advances(answered: bool) -> None:
    rule = TakeoverRule(after_s=3.0)
    watch(rule, 3.1)
    rule.called()
    if answered:
        rule.another_takes_over(5_000, topic_ms=5_000)
    else:
        rule.advanced(6_000)
    watch(rule, 2.8)
    assert not due(rule, complete=False)
    watch(rule, 0.3)
    assert not due(rule, complete=False)
    assert must_call(rule)


def test_one_that_is_asked_and_holds_what_comes_next_takes_over_at_once() -> None:
    rule = TakeoverRule(after_s=3.0)
    rule.asked(beyond_ms=5_000, topic_ms=5_000)
    assert rule.is_asked
    assert not due(rule, held_s=0.4), "the asking one may be back"
    assert due(rule, held_s=0.5)
    assert not due(rule, held_s=0.9, chance=1.0), "chance keeps replicas apart"
    assert not due(rule, held_s=60.0, complete=False)
    assert not due(rule, held_s=2.0, answer_s=1.0), "the writer may be in the middle of a slow transaction"


def test_one_that_is_asked_answers_also_where_it_has_a_hole_further_on() -> None:
    rule = TakeoverRule(after_s=3.0)
    watch(rule, 3.1)
    assert not due(rule, complete=False, has_next=True, held_s=3.1), "unasked it leaves it to one that has none"
    rule.asked(beyond_ms=5_000, topic_ms=5_000)
    assert due(rule, complete=False, has_next=True, held_s=3.1)
    assert not due(rule, complete=False, has_next=False, held_s=3.1)


def test_nobody_is_asked_for_what_the_topic_has() -> None:
    rule = TakeoverRule(after_s=3.0)
    rule.asked(beyond_ms=5_000, topic_ms=6_000)
    assert not rule.is_asked
    rule.asked(beyond_ms=5_000, topic_ms=4_000)
    rule.advanced(5_000)
    assert due(rule, held_s=1.0), "what the asking one wrote last was still on its way"
    rule.advanced(6_000)
    assert not due(rule, held_s=1.0)


def test_one_answer_is_enough() -> None:
    rule = TakeoverRule(after_s=3.0)
    rule.asked(beyond_ms=5_000, topic_ms=5_000)
    rule.another_takes_over(4_000, topic_ms=5_000)
    assert due(rule, held_s=60.0), "that was for what the topic has"
    rule.another_takes_over(5_000, topic_ms=5_000)
    assert not due(rule, held_s=60.0)


def test_at_the_start_the_age_of_the_topic_counts() -> None:
    rule = TakeoverRule(after_s=3.0)
    rule.started(topic_age_s=3600.0)
    assert due(rule, chance=1.0)
    assert must_call(rule)
    soon_back = TakeoverRule(after_s=3.0)
    soon_back.started(topic_age_s=2.0)
    assert not must_call(soon_back)
    ahead = TakeoverRule(after_s=3.0)
    ahead.started(topic_age_s=-5.0)
    assert ahead.idle_s == 0.0


def test_what_waits_for_an_answer_goes_its_way_where_none_comes() -> None:
    request = Request()
    assert not request.is_open(0.0)
    assert request.is_due(100.0)
    request.made(100.0, answer_s=0.1)
    assert request.is_open(102.4)
    assert not request.is_open(102.6)


@pytest.mark.parametrize(("answer_s", "longest_s"), [(0.25, 2.5), (0.6, 6.0), (2.0, 20.0), (20.0, 30.0)])
def test_an_answer_is_waited_for_as_long_as_the_broker_needs_and_then_for_a_while_not(
    answer_s: float, longest_s: float
) -> None:
    request = Request()
    request.made(100.0, answer_s=answer_s)
    assert request.is_open(100.0 + longest_s - 0.1)
    assert not request.is_open(100.0 + longest_s + 0.1)
    assert not request.is_due(100.0 + longest_s + 7.4)
    assert request.is_due(100.0 + longest_s + 7.6)


def test_for_an_outage_others_are_asked_once() -> None:
    request = Request()
    assert request.is_due_for_outage(1.0)
    request.made(1.0, answer_s=0.1, for_outage=True)
    assert not request.is_due_for_outage(30.0)
    assert request.is_due(30.0), "for other reasons it may be made"
    request.outage_ended()
    assert request.is_due_for_outage(32.0)


def test_a_feed_that_comes_and_goes_does_not_keep_everything_waiting() -> None:
    request, asked, held = Request(), 0, 0
    for tenth in range(1000):
        if tenth % 10:
            request.outage_ended()
        elif request.is_due_for_outage(tenth / 10):
            request.made(tenth / 10, answer_s=0.1, for_outage=True)
            asked += 1
        held += request.is_open(tenth / 10)
    assert 9 <= asked <= 10
    assert 0 < held <= 1000 * 0.26


def test_one_that_has_asked_for_another_reason_asks_for_its_outage_when_it_may_again() -> None:
    request = Request()
    request.made(0.0, answer_s=0.1)
    assert not request.is_due_for_outage(5.0)
    assert request.is_due_for_outage(10.1)
    request.made(10.1, answer_s=0.1, for_outage=True)
    request.made(15.0, answer_s=0.1)
    assert not request.is_due_for_outage(30.3)
