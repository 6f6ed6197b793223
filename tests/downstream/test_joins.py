"""Joins on a real Flink, from generated statements alone, against references computed in Python, digit for digit."""

from __future__ import annotations

import base64
import json
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from connector.local.broker import SASL_PASSWORD, SASL_USER
from connector.local.flink import Flink, FlinkSession, final_state, inserted
from connector.local.stack import LocalStack
from tests.downstream.conftest import Case, Generate
from tests.downstream.topics import (
    Balance,
    Price,
    Record,
    Topics,
    every,
    framed,
    priced_as_of,
    priced_within,
    valued,
)

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]

Row = tuple[str | None, ...]

VALUE = "CASE WHEN b.balance < 0 THEN b.balance * a.ask_rate ELSE b.balance * a.bid_rate END"
COLUMNS = f"b.account, b.symbol, b.event_time, a.event_time, {VALUE}"
JOINS = {
    "versioned": f"SELECT {COLUMNS} FROM balances AS b "
    "JOIN versioned FOR SYSTEM_TIME AS OF b.ts AS a ON a.symbol = b.symbol",
    "deduplicated": f"SELECT {COLUMNS} FROM balances AS b "
    "JOIN append_versions FOR SYSTEM_TIME AS OF b.ts AS a ON a.symbol = b.symbol",
    "interval": f"SELECT {COLUMNS} FROM balances AS b "
    "JOIN append AS a ON a.symbol = b.symbol AND a.ts BETWEEN b.ts - INTERVAL '1.999' SECOND(2, 3) AND b.ts",
    "latest": f"SELECT {COLUMNS} FROM balances AS b JOIN latest AS a ON a.symbol = b.symbol",
}
REFERENCES: dict[str, Callable[[Case], list[Row]]] = {
    "versioned": lambda case: [*priced_as_of(case.balances.balances, case.index.prices)],
    "deduplicated": lambda case: [*priced_as_of(case.balances.balances, case.index.prices)],
    "interval": lambda case: [*priced_within(case.balances.balances, case.index.prices, 2000)],
    "latest": lambda case: sorted(
        valued(balance, price)
        for balance in case.balances.balances
        for price in newest(case.index.prices)
        if price.symbol == balance.symbol
    ),
}
PRICE_COLUMNS = (
    "symbol",
    "event_time",
    "index_price",
    "bid_buffer",
    "ask_buffer",
    "bid_rate",
    "ask_rate",
    "auto_exchange_bid_buffer",
    "auto_exchange_ask_buffer",
    "auto_exchange_bid_rate",
    "auto_exchange_ask_rate",
)


def newest(prices: Sequence[Price]) -> list[Price]:
    return list({price.symbol: price for price in sorted(prices, key=lambda price: price.event_time_ms)}.values())


def as_row(price: Price) -> Row:
    return tuple(price.values[name] for name in PRICE_COLUMNS)


def tables(generate: Generate, case: Case, *arguments: str) -> list[str]:
    """Every kind of table, from the command."""
    topic = case.index.name
    of_balances = ("--topic", case.balances.name, "--key", "symbol", "--table", "balances")
    return [
        *generate(topic, "--kind", "append", "--table", "append", *arguments),
        *generate(topic, "--kind", "versioned", "--table", "versioned", *arguments),
        *generate(topic, "--kind", "latest", "--table", "latest", *arguments),
        *generate(topic, "--kind", "append", *of_balances, *arguments),
    ]


def session(flink: Flink, generate: Generate, case: Case, *arguments: str, time_zone: str = "UTC") -> FlinkSession:
    opened = flink.session(time_zone=time_zone)
    opened.execute(*tables(generate, case, *arguments))
    return opened


@pytest.fixture(scope="session", params=["60 symbols, 6 partitions", "5 symbols, 4 partitions, one empty"])
def bounded(
    request: pytest.FixtureRequest, flink: Flink, generate: Generate, large: Case, small: Case
) -> tuple[Case, FlinkSession]:
    case = large if request.param.startswith("60") else small
    return case, session(flink, generate, case, "--bounded")


def test_a_plain_select_gives_every_committed_row_and_no_other(bounded: tuple[Case, FlinkSession]) -> None:
    case, opened = bounded
    rows = inserted(opened.query(f"SELECT {', '.join(PRICE_COLUMNS)}, origin, CAST(ts AS STRING) FROM append"))
    assert len(rows) == len(case.index.symbols) * case.periods
    assert sorted(row[:-2] for row in rows) == sorted(map(as_row, case.index.prices))
    assert {row[-2] for row in rows} == {"websocket"}


@pytest.mark.parametrize("kind", ["versioned", "deduplicated", "interval"])
def test_a_join_in_event_time(bounded: tuple[Case, FlinkSession], kind: str) -> None:
    case, opened = bounded
    expected = REFERENCES[kind](case)
    assert len(expected) > case.periods * 10
    assert sorted(inserted(opened.query(JOINS[kind]))) == expected


def test_a_look_up_in_the_latest(bounded: tuple[Case, FlinkSession]) -> None:
    case, opened = bounded
    rows = final_state(opened.query(JOINS["latest"]))
    assert len(rows) == len(case.balances.balances)
    assert sorted(rows) == REFERENCES["latest"](case)


def test_aborted_rows_are_there_for_who_does_not_ask_for_committed_ones(
    flink: Flink, generate: Generate, small: Case
) -> None:
    """The control: what the generated option leaves out."""
    opened = session(flink, generate, small, "--bounded")
    hint = "/*+ OPTIONS('properties.isolation.level' = 'read_uncommitted') */"
    rows = inserted(opened.query(f"SELECT {', '.join(PRICE_COLUMNS)} FROM append {hint}"))
    aborted = small.periods // 3 * len(small.index.symbols)
    assert len(rows) == len(small.index.prices) + aborted
    assert len(set(rows) - set(map(as_row, small.index.prices))) == aborted


def test_the_session_time_zone_changes_no_joined_row(flink: Flink, generate: Generate, small: Case) -> None:
    query = JOINS["versioned"].replace(VALUE, f"{VALUE}, CAST(b.ts AS STRING)")

    zones = ("Asia/Shanghai", "America/New_York")  # all other tests are in UTC
    opened = [session(flink, generate, small, "--bounded", time_zone=zone) for zone in zones]
    with ThreadPoolExecutor(len(zones)) as pool:
        results = pool.map(lambda each: sorted(inserted(each.query(query))), opened)
        by_zone = dict(zip(zones, results, strict=True))
    expected = REFERENCES["versioned"](small)
    for rows in by_zone.values():
        assert [row[:-1] for row in rows] == expected
    shown = {rows[0][-1] for rows in by_zone.values()}
    assert len(shown) == len(zones), f"the zones were in force, as the clocks on the wall show: {shown}"


def test_credentials_are_filled_in(flink: Flink, generate: Generate, stack: LocalStack, small: Case) -> None:
    login = {
        "kafka.bootstrap.servers": stack.sasl_bootstrap_servers,
        "kafka.security.protocol": "SASL_PLAINTEXT",
        "kafka.sasl.mechanism": "PLAIN",
        "kafka.sasl.username": SASL_USER,
        "kafka.sasl.password": SASL_PASSWORD,
    }
    opened = flink.session()
    opened.execute(*generate(small.index.name, "--table", "append", "--bounded", **login))
    assert len(opened.query("SELECT symbol FROM append")) == len(small.index.prices)


class GuardedRegistry(ThreadingHTTPServer):
    """The registry behind a user and a password."""

    def __init__(self, registry_url: str, user_info: str) -> None:
        super().__init__(("127.0.0.1", 0), _GuardedRequest)
        self.base, _, path = registry_url.partition("/apis")
        self.url = f"http://127.0.0.1:{self.server_port}/apis{path}"
        self.authorization = f"Basic {base64.b64encode(user_info.encode()).decode()}"
        self.refused = 0


class _GuardedRequest(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        registry = self.server
        assert isinstance(registry, GuardedRegistry)
        if self.headers.get("Authorization") != registry.authorization:
            registry.refused += 1
            self.send_error(401)
            return
        with urllib.request.urlopen(registry.base + self.path, timeout=10) as answer:
            body = answer.read()
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def test_credentials_of_the_registry_are_filled_in(
    flink: Flink, generate: Generate, stack: LocalStack, small: Case
) -> None:
    user_info = "reader:it's $ecret"
    with GuardedRegistry(stack.registry_url, user_info) as registry:
        threading.Thread(target=registry.serve_forever, daemon=True).start()
        settings = {"registry.url": registry.url, "registry.basic.auth.user.info": user_info}
        opened = flink.session()
        opened.execute(*generate(small.index.name, "--table", "append", "--bounded", **settings))
        assert len(opened.query("SELECT symbol FROM append")) == len(small.index.prices)
        registry.shutdown()
    assert registry.refused == 0


EVERY_KIND = {
    "symbol": "string",
    "event_time": {"type": "long", "logicalType": "timestamp-millis"},
    "order": ["null", "string"],
    "whether": "boolean",
    "small": "int",
    "large": "long",
    "single": "float",
    "twice": "double",
    "raw": "bytes",
    "amount": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 18}],
    "seen": ["null", {"type": "long", "logicalType": "timestamp-millis"}],
    "day": {"type": "int", "logicalType": "date"},
    "id": {"type": "string", "logicalType": "uuid"},
}


def test_a_look_up_has_every_kind_of_column_and_forgets_what_has_a_tombstone(
    flink: Flink, generate: Generate, topics: Topics, topic_name: str
) -> None:
    """Of any topic; names that SQL has for itself, and text with quotes in it, included."""
    fields = [{"name": name, "type": kind, "doc": "It's `so`."} for name, kind in EVERY_KIND.items()]
    schema = json.dumps({"type": "record", "name": "Other", "doc": "Not ours; it's theirs.", "fields": fields})
    topics.create(topic_name, 2, cleanup_policy="compact")
    schema_id = topics.register(topic_name, schema)
    value = {
        "symbol": "BTCUSD",
        "event_time": 1_767_614_400_000,
        "order": "first",
        "whether": True,
        "small": -1,
        "large": 2**62,
        "single": 1.5,
        "twice": 2.25,
        "raw": b"ab",
        "amount": Decimal("-12345678901234567890.123456789012345678"),
        "seen": 1_767_614_400_000,
        "day": 20_000,
        "id": "123e4567-e89b-12d3-a456-426614174000",
    }
    absent = {**value, "symbol": "ETHUSD", "order": None, "amount": None, "seen": None}
    gone = {**value, "symbol": "OLDUSD"}
    records = [
        Record(str(each["symbol"]).encode(), framed(schema_id, schema, each), 1_767_614_400_000, 1)
        for each in (value, gone, absent)
    ]
    topics.produce(topic_name, [*records, Record(b"OLDUSD", None, 1_767_614_401_000, 1)])
    opened = flink.session()
    named = ("--topic", topic_name, "--key", "symbol", "--time", "event_time", "--table", "order")
    opened.execute(*generate(topic_name, "--kind", "latest", "--bounded", *named))
    rows = final_state(opened.query(f"SELECT {', '.join(f'`{name}`' for name in EVERY_KIND)} FROM `order`"))
    shown = tuple(str(each) for each in value.values())
    expected = dict(zip(EVERY_KIND, shown, strict=True)) | {"raw": "ab", "day": "2024-10-04"}
    nothing = dict.fromkeys(("order", "amount", "seen"))
    assert sorted(rows, key=str) == [
        tuple(expected.values()),
        tuple((expected | {"symbol": "ETHUSD"} | nothing).values()),
    ]


def test_every_kind_unbounded(flink: Flink, generate: Generate, topics: Topics, small: Case) -> None:
    """The queries run while more is written; without an idle time-out the empty partition would stop them."""
    opened = session(flink, generate, small, "--idle-timeout", "1", "--watermark-delay", "0.5")
    expected = {kind: REFERENCES[kind](small) for kind in ("versioned", "deduplicated", "interval")}
    select = f"SELECT {', '.join(PRICE_COLUMNS)} FROM append"
    later_ms = small.end_ms + 30_000
    later = [Balance(symbol, later_ms + 1000, "later", Decimal(1)) for symbol in small.index.symbols]
    # An interval join gives a row as soon as both sides are there: it shows the later ones as well.
    rows = {kind: len(found) + (2 * len(later) if kind == "interval" else 0) for kind, found in expected.items()}
    with ThreadPoolExecutor(len(rows) + 1) as pool:
        running = {kind: pool.submit(opened.query, JOINS[kind], rows=count) for kind, count in rows.items()}
        look_up = opened.start(JOINS["latest"])
        plain = pool.submit(opened.query, select, rows=len(small.index.prices) + 2 * len(later))
        # Only what comes later moves event time past the last row.
        small.index.write(every(later_ms, 1000, 2), also=small.latest)
        topics.produce(small.balances.name, [small.balances.record(each) for each in later])
        found = {kind: sorted(inserted(future.result())) for kind, future in running.items()}
        prices = inserted(plain.result())
    # A look-up is never done: each new price takes its rows back and gives them anew.
    small.balances.balances += later
    settled = REFERENCES["latest"](small)
    deadline = time.monotonic() + 30
    while sorted(final_state(look_up.rows)) != settled and time.monotonic() < deadline:
        time.sleep(0.1)
    assert sorted(final_state(look_up.stop())) == settled
    assert {kind: [row for row in rows if row[0] != "later"] for kind, rows in found.items()} == expected
    assert sorted(prices) == sorted(map(as_row, small.index.prices))
