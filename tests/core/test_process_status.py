from dataclasses import replace

import pytest

from connector.core.process_status import Status, age_ms, why_not_alive, why_not_ready

NOW_MS = 1_800_000_000_000

STATUS = Status(
    now_ms=NOW_MS,
    started_at_ms=NOW_MS - 3_600_000,
    version="1.2.3",
    replica="replica-1",
    topic="binance.usdm.asset-index",
    role="writer",
    waiting="",
    feed_state="advancing",
    feed_event_time_ms=NOW_MS - 300,
    sockets=(),
    topic_event_time_ms=NOW_MS - 500,
    journal_frames=1,
    journal_bytes=15_000,
    journal_max_bytes=1 << 30,
    journal_problem=None,
    symbols=(("BTCUSD", NOW_MS - 500),),
    heartbeat_at_ms=NOW_MS - 400,
)


def test_a_writer_is_ready_while_the_topic_is_fresh() -> None:
    assert why_not_ready(STATUS) == ()
    assert why_not_ready(replace(STATUS, feed_state="down")) == (), "another replica's feed, or REST, feeds the topic"
    (reason,) = why_not_ready(replace(STATUS, topic_event_time_ms=NOW_MS - 20_000, feed_state="silent"))
    assert reason == "the topic has no tick newer than 20 s; the feed is silent"


def test_a_follower_is_ready_while_its_own_feed_advances() -> None:
    follower = replace(STATUS, role="follower", topic_event_time_ms=NOW_MS - 15_000)
    assert why_not_ready(follower) == ()
    assert why_not_ready(replace(follower, feed_state="frozen")) == ("the feed does not advance: frozen",)


def test_a_follower_is_not_ready_while_the_topic_stands_still_beside_its_feed() -> None:
    """A writer whose broker froze has lost its transaction and become one."""
    follower = replace(STATUS, role="follower", topic_event_time_ms=NOW_MS - 62_000, journal_frames=1_062)
    assert why_not_ready(follower) == (
        "the topic has had no tick for 62 s while this replica holds 1,062 frames beyond it",
    )
    (reason,) = why_not_ready(replace(follower, feed_state="down"))
    assert reason == "the feed does not advance: down", "that is why the topic has nothing from here"
    (reason,) = why_not_ready(replace(follower, topic_event_time_ms=None))
    assert "no tick for 3600 s" in reason, "an empty topic is waited for since the start"


def test_nobody_is_ready_at_the_start_or_while_waiting() -> None:
    assert why_not_ready(replace(STATUS, role="starting")) == ("still starting",)
    assert why_not_ready(replace(STATUS, waiting="the broker does not answer")) == (
        "waits: the broker does not answer",
    )


def test_a_journal_in_trouble_leaves_it_ready() -> None:
    assert why_not_ready(replace(STATUS, journal_problem="disk full")) == ()


@pytest.mark.parametrize(
    "outside", [{"waiting": "broker"}, {"feed_state": "down"}, {"topic_event_time_ms": None}, {"role": "starting"}]
)
def test_what_happens_outside_leaves_it_alive(outside: dict[str, object]) -> None:
    assert why_not_alive(replace(STATUS, **outside)) == ()  # type: ignore[arg-type]


def test_it_is_not_alive_where_a_part_ended_or_nothing_moves() -> None:
    assert why_not_alive(replace(STATUS, ended=("sink",))) == ("sink ended",)
    assert why_not_alive(replace(STATUS, heartbeat_at_ms=NOW_MS - 31_000)) == ("no heartbeat for 31 s",)
    assert "sink ended" in why_not_ready(replace(STATUS, ended=("sink",)))


def test_age_counts_from_the_start_where_nothing_came() -> None:
    assert age_ms(STATUS, NOW_MS - 10) == 10
    assert age_ms(STATUS, None) == 3_600_000
    assert age_ms(STATUS, NOW_MS + 10_000) == -10_000, "a clock is off, and that is to be seen"
