from __future__ import annotations

from connector.core.takeover import TakeoverRule


def watch(rule: TakeoverRule, seconds: float, step_s: float = 0.1) -> None:
    for _ in range(round(seconds / step_s)):
        rule.watched(step_s)


def due(
    rule: TakeoverRule,
    answer_s: float = 0.0,
    *,
    feed_advancing: bool = True,
    complete: bool = True,
    chance: float = 0.0,
) -> bool:
    return rule.due(answer_s=answer_s, complete=complete, feed_advancing=feed_advancing, chance=chance)


def test_due_once_the_topic_stood_still_for_long_enough() -> None:
    rule = TakeoverRule(after_s=3.0)
    watch(rule, 2.8)
    assert not due(rule)
    watch(rule, 0.3)
    assert due(rule)
    rule.advanced()
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
    assert rule.threshold_s(answer_s=0.0, feed_advancing=True, complete=True, chance=0.0) == 30.0
    rule.written(59.0)
    assert rule.threshold_s(answer_s=0.0, feed_advancing=True, complete=True, chance=0.0) == 30.0
    rule.written(60.0)
    assert rule.threshold_s(answer_s=0.0, feed_advancing=True, complete=True, chance=0.0) == 3.0


def test_a_slow_broker_explains_silence() -> None:
    rule = TakeoverRule(after_s=3.0)
    watch(rule, 12.0)
    assert not due(rule, answer_s=4.0)


def test_a_replica_whose_feed_stands_still_lets_the_others_go_first() -> None:
    rule = TakeoverRule(after_s=3.0)
    watch(rule, 10.0)
    assert not due(rule, complete=False, feed_advancing=False)
    watch(rule, 21.0)
    assert due(rule, complete=False, feed_advancing=False)


def test_what_comes_next_is_written_also_by_a_replica_whose_feed_has_just_ended() -> None:
    rule = TakeoverRule(after_s=3.0)
    watch(rule, 3.1)
    assert due(rule, complete=True, feed_advancing=False)


def test_a_replica_that_lacks_what_comes_next_lets_a_complete_one_go_first() -> None:
    rule = TakeoverRule(after_s=3.0)
    watch(rule, 5.8)
    assert due(rule)
    assert not due(rule, complete=False)
    watch(rule, 0.4)
    assert due(rule, complete=False)


def test_one_that_is_soon_back_after_its_death_does_not_overtake_the_one_that_was_there() -> None:
    back, there = TakeoverRule(after_s=3.0), TakeoverRule(after_s=3.0)
    watch(there, 2.0)
    back.started(topic_age_s=2.0)
    watch(back, 2.0)
    watch(there, 2.0)
    assert due(there, chance=1.0)
    assert not due(back, complete=False)


def test_at_the_start_an_old_topic_is_looked_at_only_shortly() -> None:
    rule = TakeoverRule(after_s=3.0)
    rule.started(topic_age_s=3600.0)
    assert not due(rule, complete=False)
    watch(rule, 0.6)
    assert due(rule, complete=False)
    fresh = TakeoverRule(after_s=3.0)
    fresh.started(topic_age_s=-5.0)
    assert fresh.idle_s == 0.0
