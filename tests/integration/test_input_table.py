"""Input to outcome, every row in one running process: what is bad is refused with its bytes, what is good goes on."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from connector.local.exchange import ExchangeThread
from connector.local.frame_faults import REMOVE, Mutation, Patch
from connector.local.stack import LocalStack
from tests.chaos.replica import Replica
from tests.integration.bench import Bench, json_lines, newest, until
from tests.judge import Sent, Verdict
from tests.ledger import disagreements
from tests.readers import DeadLetter, Tail
from tests.truths import everything_sent

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]

STREAM = "!assetIndex@arr"
RATE_HZ = 5
NEIGHBOURS_WITHIN_S = 2.0
MOST_BYTES = 256 * 1024
"""``feed.max_frame_bytes`` of the process."""
CUT_AT = 64 * 1024


@dataclass(frozen=True, slots=True)
class Element:
    """One element of an array made other than documented. ``reason`` None: it is a record all the same."""

    name: str
    change: Patch | Mutation
    reason: str | None
    field: str = ""


def literal(key: str, text: str) -> Mutation:
    """The value of a key as that very text, JSON or not."""
    return lambda element: json.dumps({**element, key: "@@"}).replace('"@@"', text)


def moved(by_ms: int) -> Mutation:
    return lambda element: {**element, "E": element["E"] + by_ms}


def times(factor: int) -> Mutation:
    return lambda element: {**element, "E": element["E"] * factor}


ELEMENTS = (
    Element("unknown field", {"zz": "1"}, None),
    Element("nested unknown field", {"yy": {"i": 1}}, None),
    Element("other order of keys", lambda element: dict(reversed(element.items())), None),
    Element("number", literal("i", "1.5"), None),
    Element("exponent", literal("i", "12E-3"), None),
    Element("text with an exponent", {"i": "1.5e2"}, None),
    Element("zeros beyond the scale", {"i": "1.1234567800"}, None),
    Element("negative", {"i": "-0.00000001"}, None),
    Element("missing", {"i": REMOVE}, "missing", "index_price"),
    Element("null", {"b": None}, "null", "bid_buffer"),
    Element("empty text", {"q": ""}, "empty", "auto_exchange_bid_buffer"),
    Element("NaN as text", {"i": "NaN"}, "not a decimal", "index_price"),
    Element("NaN", literal("G", "NaN"), "not a decimal", "auto_exchange_ask_rate"),
    Element("Infinity", literal("a", "-Infinity"), "not a decimal", "ask_buffer"),
    Element("boolean", {"A": True}, "type", "ask_rate"),
    Element("text", lambda _: '"BTCUSD"', "not an element"),
    Element("null element", lambda _: "null", "not an element"),
    Element("number element", lambda _: "5", "not an element"),
    Element("array element", lambda _: "[[]]", "not an element"),
    Element("other event type", {"e": "markPriceUpdate"}, "event type", "e"),
    Element("no event type", {"e": REMOVE}, "missing", "e"),
    Element("empty symbol", {"s": ""}, "empty", "symbol"),
    Element("number for a symbol", {"s": 7}, "type", "symbol"),
    Element("nine decimals", {"i": "1.123456789"}, "scale", "index_price"),
    Element("small exponent", literal("i", "1e-9"), "scale", "index_price"),
    Element("nineteen digits", {"i": "12345678901.12345678"}, "precision", "index_price"),
    Element("huge exponent", literal("i", "1e999999999"), "precision", "index_price"),
    Element("underscore", {"i": "1_000"}, "not a decimal", "index_price"),
    Element("spaces", {"i": " 5 "}, "not a decimal", "index_price"),
    Element("plus", {"i": "+1"}, "not a decimal", "index_price"),
    Element("arabic digit", {"i": "٣"}, "not a decimal", "index_price"),
    Element("event time as text", lambda element: {**element, "E": str(element["E"])}, "type", "event_time"),
    Element("microseconds", times(1000), "event time", "event_time"),
    Element("nanoseconds", times(1_000_000), "event time", "event_time"),
    Element("ahead", moved(40_000), "event time", "event_time"),
    Element("behind", moved(-610_000), "event time", "event_time"),
)

FRAMES: Mapping[str, tuple[bytes, str, str]] = {
    "no JSON": (b"<html>503</html>", "not json", ""),
    "cut JSON": (b'[{"e":"assetIndexUpdate","E":17', "not json", ""),
    "no bytes": (b"", "not json", ""),
    "scalar": (b"42", "not an element", ""),
    "text": (b'"hello"', "not an element", ""),
    "empty object": (b"{}", "missing", "e"),
    "deep": (b"[" * 20_000 + b"]" * 20_000, "not json", ""),
    "deep objects": (b'{"a":' * 20_000 + b"1" + b"}" * 20_000, "not json", ""),
    "invalid UTF-8": (b'[{"e":"assetIndexUpdate","s":"\xff\xfe"}]', "not json", ""),
    "too long for the dead-letter topic": (b"x" * (CUT_AT + 1000), "not json", ""),
}
"""Bytes, reason, field of whole messages that become one reject each."""

CONTROL = (
    b'{"result":null,"id":1}',
    b'{"result":["!assetIndex@arr"],"id":2}',
    b'{"code":2,"msg":"Invalid request: unknown variant"}',
    b'{"error":{"code":-1121,"msg":"Invalid symbol."},"id":3}',
)
OF_ELEMENTS = {element.name: f"X{number:02d}USD" for number, element in enumerate(ELEMENTS)}
"""Each row has a symbol of its own."""
CONFLICTING, REPEATED, LATE = "CONFLICTUSD", "REPEATEDUSD", "LATEUSD"
NEIGHBOURS = tuple(f"GOOD{number}USD" for number in range(8))
SYMBOLS = (*OF_ELEMENTS.values(), CONFLICTING, REPEATED, LATE, *NEIGHBOURS)


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that the rows are judged by."""

    verdict: Verdict
    letters: Sequence[DeadLetter]
    events: Sequence[Mapping[str, Any]]
    metrics: Mapping[str, float]
    payloads: Mapping[str, bytes]
    """What was sent in a row's place."""
    log: Sequence[Mapping[str, Any]]
    disagreements: Sequence[object]
    began_ms: int
    ended_ms: int
    exit_code: int

    def letter(self, payload: bytes) -> DeadLetter:
        """The one letter with these bytes."""
        found = [letter for letter in self.letters if letter.value == payload[:CUT_AT]]
        assert len(found) == 1, f"{len(found)} letters of {payload[:80]!r}"
        return found[0]

    def events_of(self, kind: str) -> list[Mapping[str, Any]]:
        return [event for event in self.events if event["kind"] == kind]

    def logged(self, event: str) -> list[Mapping[str, Any]]:
        return [line for line in self.log if line["event"] == event]


class Run:
    """The process, the exchange that feeds it, and a reader who says that good records go on."""

    def __init__(self, exchange: ExchangeThread, replica: Replica, tail: Tail) -> None:
        self.exchange = exchange
        self.replica = replica
        self._tail = tail
        self.payloads: dict[str, bytes] = {}

    def go_on(self) -> None:
        """What the exchange has sent by now is in the topic soon."""
        time.sleep(2 / RATE_HZ)
        sent = newest(self.exchange)
        assert self.replica.running, self.replica.log()
        self._tail.wait_until(sent, NEIGHBOURS_WITHIN_S)

    def snapshot(self) -> dict[str, dict[str, Any]]:
        """The last array that was pushed, by symbol."""
        *_, last = self.exchange.truth.periods()
        return {element["s"]: element for element in json.loads(last.array_text)}


def bad_elements(run: Run) -> None:
    for element in ELEMENTS:
        run.exchange.bad_element(element.change, symbol=OF_ELEMENTS[element.name])
    run.go_on()
    for fault in run.exchange.truth.faults:
        if fault.kind == "bad_element":
            run.payloads[fault.symbols[0]] = fault.payload.encode()


def bad_frames(run: Run) -> None:
    for name, (payload, _, _) in FRAMES.items():
        assert run.exchange.send(payload) == 2, name
    run.go_on()


def every_event_time_off(run: Run) -> None:
    array = [{**element, "E": element["E"] + 60_000} for element in run.snapshot().values()]
    run.payloads["clock"] = json.dumps(array[-1]).encode()
    run.exchange.send(json.dumps(array))
    run.go_on()


def empty_array(run: Run) -> None:
    run.exchange.send(b"[]")
    run.go_on()


def control_messages(run: Run) -> None:
    for payload in CONTROL:
        run.exchange.send(payload)
    run.go_on()


def server_shutdown(run: Run) -> None:
    for nested in (False, True):
        leaving = run.exchange.connections()[0].id  # the oldest: the other one, the second time
        run.exchange.server_shutdown(0, nested=nested)
        wait_until_replaced(run, leaving)
        run.go_on()


def oversize(run: Run) -> None:
    leaving = run.exchange.connections()[0].id
    run.exchange.oversize(MOST_BYTES + 1000, 0)
    wait_until_replaced(run, leaving)
    run.go_on()


def wait_until_replaced(run: Run, connection_id: int) -> None:
    def replaced() -> bool:
        identifiers = {info.id for info in run.exchange.connections()}
        return connection_id not in identifiers and len(identifiers) == 2

    until(replaced, 10, run.replica.log)


def the_same_again(run: Run) -> None:
    run.exchange.duplicate()
    run.go_on()
    run.exchange.duplicate_element(REPEATED)
    run.go_on()
    # In a message of its own, written in another way.
    run.exchange.send(json.dumps(run.snapshot()[REPEATED], indent=1))
    run.go_on()


def the_same_time_with_another_value(run: Run) -> None:
    run.exchange.conflict(CONFLICTING, {"i": "7.00000001"})
    run.go_on()
    (payload, *_) = [fault.payload for fault in run.exchange.truth.faults if fault.kind == "conflict"]
    run.payloads["conflict"] = payload.encode()


def too_late(run: Run) -> None:
    element = run.snapshot()[LATE]
    payload = json.dumps({**element, "E": element["E"] - 1501}).encode()
    run.payloads["late"] = payload
    run.exchange.send(payload)
    run.go_on()


STEPS: tuple[Callable[[Run], None], ...] = (
    bad_elements,
    bad_frames,
    every_event_time_off,
    empty_array,
    control_messages,
    the_same_again,
    the_same_time_with_another_value,
    too_late,
    server_shutdown,
    oversize,
)


@pytest.fixture(scope="module")
def outcome(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    folder = tmp_path_factory.mktemp("input-table")
    with (
        ExchangeThread(symbols=SYMBOLS, rate_hz=RATE_HZ) as exchange,
        Bench(stack, folder, f"test-input-{time.time_ns()}", exchange, rate_hz=RATE_HZ) as bench,
    ):
        bench.register()
        began_ms = time.time_ns() // 1_000_000
        replica = bench.replica(more={"feed": feed_options(exchange), "log": {"format": "json"}})
        bench.wait_for_topic(replica)
        with Tail(stack.bootstrap_servers, bench.topic) as tail:
            exchange.wait_for_subscribers(2)
            tail.wait_for_records(len(SYMBOLS), 15)
            run = Run(exchange, replica, tail)
            for step in STEPS:
                step(run)
            exchange.stop_feeding()
            tail.wait_until(newest(exchange), NEIGHBOURS_WITHIN_S)
        metrics = replica.metrics()
        exit_code = replica.stop()
        records = bench.records()
        observed: dict[str, list[int]] = {}
        for record in records:
            observed.setdefault((record.key or b"").decode(), []).append(record.timestamp_ms)
        events = bench.events()
        yield Outcome(
            verdict=bench.judged([*everything_sent(exchange.truth), *unusual(run.payloads)], records),
            letters=bench.letters(),
            events=events,
            metrics=metrics,
            payloads=run.payloads,
            log=json_lines(replica),
            disagreements=disagreements(events, observed, bench.cadence_ms),
            began_ms=began_ms,
            ended_ms=time.time_ns() // 1_000_000,
            exit_code=exit_code,
        )


def feed_options(exchange: ExchangeThread) -> dict[str, Any]:
    return {"url": exchange.url, "rest_url": exchange.rest_url, "max_frame_bytes": MOST_BYTES}


def unusual(payloads: Mapping[str, bytes]) -> Iterator[Sent]:
    """Elements that are records although they are not as documented."""
    for element in ELEMENTS:
        if element.reason is None:
            symbol = OF_ELEMENTS[element.name]
            sent = json.loads(payloads[symbol], parse_float=Decimal)
            yield Sent(symbol, sent["E"], sent)


METRIC = "binance_kafka_source"
REFUSED = [element for element in ELEMENTS if element.reason is not None]
TAKEN = [element for element in ELEMENTS if element.reason is None]
UNNAMED = {"text", "null element", "number element", "array element", "empty symbol", "number for a symbol"}
"""Rows whose element does not say of which symbol it is."""


def check_headers(letter: DeadLetter, outcome: Outcome, reason: str, field: str) -> None:
    headers = letter.headers
    assert (headers["reason"], headers["field"]) == (reason, field), headers
    assert headers["stream"] == STREAM
    assert headers["connection"] in {"ws-1", "ws-2"}
    assert outcome.began_ms <= int(headers["received-time"]) <= outcome.ended_ms
    assert headers["detail"]


@pytest.mark.parametrize("element", REFUSED, ids=lambda element: element.name)
def test_an_element_that_is_refused(element: Element, outcome: Outcome) -> None:
    symbol = OF_ELEMENTS[element.name]
    letter = outcome.letter(outcome.payloads[symbol])
    assert element.reason is not None
    check_headers(letter, outcome, element.reason, element.field)
    assert letter.key == ("" if element.name in UNNAMED else symbol)
    assert "cut-from-bytes" not in letter.headers


@pytest.mark.parametrize("element", TAKEN, ids=lambda element: element.name)
def test_an_element_that_is_a_record_all_the_same(element: Element, outcome: Outcome) -> None:
    assert not [letter for letter in outcome.letters if letter.key == OF_ELEMENTS[element.name] and not late(letter)]


def late(letter: DeadLetter) -> bool:
    """Of the array whose event times were all a minute ahead."""
    return "a clock is off" in letter.headers["detail"]


@pytest.mark.parametrize("name", FRAMES)
def test_a_message_that_is_refused(name: str, outcome: Outcome) -> None:
    payload, reason, field = FRAMES[name]
    letter = outcome.letter(payload)
    check_headers(letter, outcome, reason, field)
    assert letter.key == ""
    cut = len(payload) > CUT_AT
    assert letter.headers.get("cut-from-bytes") == (str(len(payload)) if cut else None)


def test_an_unknown_field_is_told_once(outcome: Outcome) -> None:
    assert Counter(event["about"] for event in outcome.events_of("field_unknown")) == {"zz": 1, "yy": 1}
    assert Counter(line["field"] for line in outcome.logged("field_unknown")) == {"zz": 1, "yy": 1}


def test_event_times_that_are_all_off_mean_a_clock(outcome: Outcome) -> None:
    hinted = [letter for letter in outcome.letters if late(letter)]
    assert sorted(letter.key for letter in hinted) == sorted(SYMBOLS)
    check_headers(outcome.letter(outcome.payloads["clock"]), outcome, "event time", "event_time")


def test_an_empty_array_is_no_reject(outcome: Outcome) -> None:
    assert not [letter for letter in outcome.letters if letter.value == b"[]"]


def test_control_messages_are_handled_as_what_they_are(outcome: Outcome) -> None:
    assert not [letter for letter in outcome.letters if letter.value in CONTROL or b"serverShutdown" in letter.value]
    assert outcome.metrics[f"{METRIC}_feed_complaints_total"] == 4, "two errors on two connections"
    assert {line["code"] for line in outcome.logged("feed_complained")} == {2, -1121}


def test_a_server_that_shuts_down_is_left_in_time(outcome: Outcome) -> None:
    closed = [line["connection"] for line in outcome.logged("connection_closed") if line["reason"] == "server shutdown"]
    assert sorted(closed) == ["ws-1", "ws-2"]


def test_a_message_that_is_too_long_ends_the_connection(outcome: Outcome) -> None:
    (closed,) = [line for line in outcome.logged("connection_closed") if line["reason"] == "too big"]
    assert "1009" in closed["detail"]
    told = outcome.metrics[f'{METRIC}_reconnects_total{{connection="{closed["connection"]}",reason="too big"}}']
    assert told == 1


def test_what_came_before_is_dropped_and_counted(outcome: Outcome) -> None:
    assert outcome.verdict.duplicates == 0
    assert outcome.metrics[f"{METRIC}_duplicates_total"] == 2, "one in a frame, one in a message of its own"


def test_the_first_of_two_values_stays(outcome: Outcome) -> None:
    letter = outcome.letter(outcome.payloads["conflict"])
    check_headers(letter, outcome, "conflict", "")
    assert letter.key == CONFLICTING
    assert outcome.metrics[f"{METRIC}_conflicts_total"] == 1


def test_what_is_late_is_kept_aside(outcome: Outcome) -> None:
    letter = outcome.letter(outcome.payloads["late"])
    check_headers(letter, outcome, "late", "")
    assert letter.key == LATE
    assert outcome.metrics[f"{METRIC}_late_total"] == 1


def test_nothing_else_was_refused(outcome: Outcome) -> None:
    assert len(outcome.letters) == len(REFUSED) + len(FRAMES) + len(SYMBOLS) + 2
    counted = {
        name.partition('reason="')[2][:-2]: count
        for name, count in outcome.metrics.items()
        if name.startswith(f"{METRIC}_rejects_total") and count
    }
    assert counted == Counter(letter.headers["reason"] for letter in outcome.letters)


def test_every_good_element_is_a_record(outcome: Outcome) -> None:
    assert outcome.verdict.clean, outcome.verdict.report()
    assert not outcome.disagreements, "the ledger names what the topic does not have"
    assert outcome.exit_code == 0
