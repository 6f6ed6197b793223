"""For each fault the sentence that a person told only "data is missing" is to find at the top of the page."""

from dataclasses import replace

import pytest

from connector.core.diagnosis import clock_time, diagnosis, missing_now
from connector.core.process_status import KafkaStatus, Refused, RestStatus, SocketStatus, Status
from tests.core.test_process_status import NOW_MS
from tests.core.test_process_status import STATUS as PLAIN

OPEN = SocketStatus("ws-1", "advancing", 60_000, 60, NOW_MS - 300, "")
STATUS = replace(
    PLAIN,
    kafka=KafkaStatus("broker:9092", NOW_MS - 500, NOW_MS - 500),
    sockets=(OPEN, replace(OPEN, connection="ws-2")),
    feed_advanced_at_ms=NOW_MS - 300,
    feed_ahead_ms=-250,
    ticks_written_at_ms=NOW_MS - 500,
)
"""All is well at 08:00:00."""
FILLING = RestStatus("filling", 40_000, 40, NOW_MS - 500, "", None, "https://exchange/index")
FAILING = replace(FILLING, state="failing", last_end="timeout: no answer within 5 s", newest_at_ms=None)


def silent(state: str = "silent") -> Status:
    sockets = tuple(replace(each, state=state, since_ms=52_000) for each in STATUS.sockets)
    return replace(STATUS, feed_state=state, feed_advanced_at_ms=NOW_MS - 52_000, sockets=sockets)


def refused(reason: str, field: str, *symbols: str) -> Refused:
    return Refused(reason, field, symbols, NOW_MS - 52_000, NOW_MS - 400, 52)


def test_it_says_so_while_nothing_is_the_matter() -> None:
    assert diagnosis(STATUS) == "Nothing is the matter: the newest tick in the topic is 0.5 s old."
    assert missing_now(STATUS) == ()


def test_a_silent_exchange_while_rest_fills() -> None:
    status = replace(silent(), rest=FILLING, topic_event_time_ms=NOW_MS - 12_000)
    said = "The exchange: WebSockets silent since 07:59:08 (52 s); REST fills, about 12 s behind."
    assert diagnosis(status) == said
    assert missing_now(status) == (
        "Every symbol: no tick newer than 07:59:48 (12 s). "
        "What came since waits: 1 frames wait in the journal, none lost.",
    )


def test_a_silent_exchange_while_nothing_fills() -> None:
    status = replace(silent(), rest=FAILING, topic_event_time_ms=NOW_MS - 52_000)
    assert diagnosis(status) == (
        "The exchange: WebSockets silent since 07:59:08 (52 s); REST brings nothing either (timeout: no answer within "
        "5 s); ticks are being lost unless another replica has them."
    )
    assert "will be a gap in the ledger" in missing_now(status)[0]
    assert "nothing fills in" in diagnosis(replace(status, rest=None))
    assert "frozen (they repeat old ticks)" in diagnosis(replace(silent("frozen"), rest=FILLING))


def test_another_replica_that_feeds_the_topic() -> None:
    assert diagnosis(replace(silent(), role="follower")).endswith("the topic goes on by another replica, 0.5 s behind.")
    assert missing_now(replace(silent(), role="follower")) == ()


def test_a_refusal_by_the_exchange() -> None:
    end = "refused by the exchange: 451: the exchange does not serve the country of this address"
    sockets = tuple(
        replace(each, state="down", last_end=end, next_attempt_ms=NOW_MS + 600_000) for each in STATUS.sockets
    )
    status = replace(silent("down"), sockets=sockets, topic_event_time_ms=NOW_MS - 52_000)
    assert diagnosis(status) == (
        f"The exchange: WebSockets down since 07:59:08 (52 s) ({end}, next attempt 08:10:00); "
        "nothing fills in; ticks are being lost unless another replica has them."
    )
    refused_too = replace(status, rest=replace(FAILING, last_end=end))
    assert diagnosis(refused_too).endswith(
        "08:10:00); REST brings nothing either; ticks are being lost unless another replica has them."
    )


def test_a_broker_that_does_not_answer() -> None:
    kafka = replace(STATUS.kafka, answered_at_ms=NOW_MS - 62_000)
    status = replace(STATUS, role="follower", kafka=kafka, topic_event_time_ms=NOW_MS - 62_000, journal_frames=62)
    assert diagnosis(status) == (
        "Kafka does not answer since 07:58:58 (62 s): 62 frames wait in the journal, none lost."
    )
    assert missing_now(status) == (
        "Every symbol: no tick newer than 07:58:58 (62 s). "
        "What came since waits: 62 frames wait in the journal, none lost.",
    )
    assert "5 were given up at its bound" in diagnosis(replace(status, dropped_frames=5))
    assert diagnosis(replace(status, kafka=STATUS.kafka, waiting="too few replicas")).startswith(
        "Kafka cannot be written to or read: too few replicas; 62 frames wait"
    )


def test_every_tick_refused_for_its_time() -> None:
    status = replace(
        STATUS,
        refused=(refused("event time", "event_time", "ADAUSD", "BTCUSD"),),
        ticks_written_at_ms=NOW_MS - 53_000,
        topic_event_time_ms=NOW_MS - 53_000,
        feed_ahead_ms=3_600_000,
    )
    assert diagnosis(status) == (
        "Every tick is refused: event time since 07:59:08 (52 s): it is 3,600.0 s ahead of this machine's clock, so "
        "that one of the two clocks is off. They are in the dead-letter topic, and missing in the topic."
    )
    assert "dead-letter topic" in missing_now(status)[0]
    assert "3,600.0 s behind this" in diagnosis(replace(status, feed_ahead_ms=-3_600_000))
    assert diagnosis(replace(status, ticks_written_at_ms=None)) == diagnosis(status), "where none was ever written"
    follower = replace(status, refused=(), role="follower")
    assert "one of the two clocks is off" in diagnosis(follower), "it refuses nothing itself"


def test_every_tick_of_one_symbol_refused() -> None:
    status = replace(
        STATUS,
        refused=(refused("scale", "index_price", "ADAUSD"),),
        symbols=(("ADAUSD", NOW_MS - 53_000), ("BTCUSD", NOW_MS - 500)),
    )
    assert diagnosis(status) == (
        "ADAUSD: every tick refused since 07:59:08 (52 s) (scale, index_price); they are in the dead-letter topic, "
        "all else is in the topic."
    )
    assert missing_now(status) == ("ADAUSD: no tick newer than 07:59:07 (53 s).",)
    never = replace(status, symbols=(("BTCUSD", NOW_MS - 500),))
    assert diagnosis(never) == diagnosis(status), "a symbol that the topic never had"


def test_some_ticks_refused_and_refusals_that_are_over() -> None:
    each = refused("scale", "index_price", "BTCUSD")
    assert diagnosis(replace(STATUS, refused=(each,))).startswith("Some ticks of BTCUSD are refused since 07:59:08")
    over = replace(each, last_ms=NOW_MS - 11_000)
    assert diagnosis(replace(STATUS, refused=(over,))).startswith("Nothing is the matter")
    assert "symbols that cannot be told" in diagnosis(replace(STATUS, refused=(replace(each, symbols=()),)))


def test_symbols_of_which_nothing_comes() -> None:
    symbols = (("BTCUSD", NOW_MS - 500), *((f"S{number}", NOW_MS - 9_000) for number in range(7)))
    assert diagnosis(replace(STATUS, symbols=symbols)) == (
        "The exchange: nothing came of S0, S1, S2, S3, S4 and 2 more since 07:59:51 (9.0 s); all else is in the topic."
    )


def test_one_connection_of_two() -> None:
    down = replace(OPEN, connection="ws-2", state="down", since_ms=52_000, last_end="lost", next_attempt_ms=NOW_MS)
    assert diagnosis(replace(STATUS, sockets=(OPEN, down))) == (
        "The exchange: ws-2 is down since 07:59:08 (52 s) (lost, next attempt 08:00:00); "
        "the other connections bring everything."
    )


@pytest.mark.parametrize(
    ("change", "start"),
    [
        ({"ended": ("the sink",)}, "The connector itself: the sink ended; 1 frames wait in the journal, none lost."),
        ({"role": "starting"}, "The connector starts: 1 frames wait"),
        ({"role": "starting", "waiting": "no answer"}, "The connector waits for Kafka or the registry to start: no an"),
        (
            {"topic_event_time_ms": NOW_MS - 12_000},
            "The feed advances, and the topic does not: no tick newer than 07:59:48 (12 s) (Kafka last answered 0.5 s",
        ),
        ({"topic_event_time_ms": None}, "The feed advances, and the topic does not: no tick at all, 3,600 s after"),
        ({"journal_problem": "disk full"}, "The journal's file cannot be used (disk full)"),
        ({"kafka": KafkaStatus(""), "waiting": "disk full"}, "The sink cannot be written to or read: disk full"),
    ],
)
def test_what_else_may_be_the_matter(change: dict[str, object], start: str) -> None:
    assert diagnosis(replace(STATUS, **change)).startswith(start)  # type: ignore[arg-type]


def test_what_waits_on_purpose_is_said() -> None:
    held = replace(STATUS.kafka, held_back="rows from REST wait, for another replica may have ticks")
    assert "another replica may have ticks" in diagnosis(
        replace(STATUS, kafka=held, topic_event_time_ms=NOW_MS - 6_000)
    )


def test_why_what_waits_is_refused_is_said_until_the_topic_goes_on() -> None:
    said = "ProduceRequest for ticks [2] with 290 message(s) failed: Broker: Message size too large"
    kafka = replace(STATUS.kafka, problem=said, problem_at_ms=NOW_MS - 4_000, committed_at_ms=NOW_MS - 62_000)
    status = replace(STATUS, kafka=kafka, topic_event_time_ms=NOW_MS - 62_000, journal_frames=62)
    assert diagnosis(status) == (
        "The feed advances, and the topic does not: no tick newer than 07:58:58 (62 s) (the last error, 4.0 s ago: "
        f"{said}); 62 frames wait in the journal, none lost."
    )
    later = replace(status, kafka=replace(kafka, committed_at_ms=NOW_MS - 3_000))
    of_another = replace(status, role="follower", topic_event_time_ms=NOW_MS - 3_500 - 3_000)
    assert said not in diagnosis(later)
    assert said not in diagnosis(replace(of_another, kafka=replace(kafka, problem_at_ms=NOW_MS - 7_000)))


def test_a_time_of_day() -> None:
    assert clock_time(NOW_MS + 3_723_999) == "09:02:03"
