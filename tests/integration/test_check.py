"""``check`` on a real broker, registry and a fake exchange: each mistake a newcomer makes is found, with what to do.

Missing rights are in ``test_rights.py``, on a broker with an authorizer.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # public, yet not marked so

from connector.cli import exit_code_of
from connector.commands.check import _show_table
from connector.core.check_outcomes import Grade, Outcome
from connector.edges.journal import Journal
from connector.local.exchange import ExchangeThread
from connector.local.market import symbol_names
from connector.local.stack import LocalStack

pytestmark = pytest.mark.stack

SCHEMA = Path(__file__).parents[2] / "schemas" / "asset_index.avsc"
LONGEST_S = 20.0

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def exchange() -> Iterator[ExchangeThread]:
    with ExchangeThread(symbols=3, rate_hz=10) as running:
        yield running


@dataclass
class Checked:
    """What one run of ``check`` said."""

    code: int
    outcomes: list[Outcome]
    text: str
    took_s: float

    def bad(self) -> list[Outcome]:
        return [each for each in self.outcomes if each.grade in {Grade.PROBLEM, Grade.WARNING}]

    def only(self, area: str, grade: Grade = Grade.PROBLEM) -> Outcome:
        """The one thing that is wrong; nothing else may be."""
        (outcome,) = self.bad()
        assert (outcome.area, outcome.grade) == (area, grade)
        assert outcome.remedy
        assert self.code == (2 if grade is Grade.PROBLEM else 0)
        return outcome


@dataclass
class Setup:
    """A configuration that works, to be spoiled."""

    folder: Path
    stack: LocalStack
    exchange: ExchangeThread
    topic: str
    capsys: Capture
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tables = {
            "feed": {"url": self.exchange.url, "rest_url": self.exchange.rest_url, "first_tick_timeout": 1},
            "topic": {"name": self.topic},
            "kafka": {"bootstrap.servers": self.stack.bootstrap_servers},
            "registry": {"url": self.stack.registry_url},
            "journal": {"path": str(self.folder / "journal"), "max_bytes": 1024 * 1024},
            "http": {"port": 0},
        }

    def file(self) -> Path:
        file = self.folder / "connector.toml"
        lines = []
        for table, options in self.tables.items():
            lines += [f"[{table}]", *(f"{json.dumps(key)} = {json.dumps(value)}" for key, value in options.items())]
        file.write_text("\n".join(lines), encoding="utf-8")
        file.chmod(0o600)
        return file

    def register(self, **changes: str) -> dict[str, int]:
        assert exit_code_of(["schema", "register", "--config", str(self.file())]) == 0
        lines = self.capsys.readouterr().out.splitlines()
        return {subject: int(id) for subject, id in (line.split(": id ") for line in lines)}

    def make_topic(self, partitions: int = 6, **config: str) -> None:
        dotted = {name.replace("_", "."): value for name, value in config.items()}
        admin = AdminClient({"bootstrap.servers": self.stack.bootstrap_servers})
        admin.create_topics([NewTopic(self.topic, partitions, 1, config=dotted)])[self.topic].result(10)

    def check(self) -> Checked:
        self.capsys.readouterr()
        started_s = time.monotonic()
        code = exit_code_of(["check", "--json", "--config", str(self.file())])
        took_s = time.monotonic() - started_s
        text = self.capsys.readouterr().out
        document: Mapping[str, Any] = json.loads(text)
        outcomes = [Outcome(**{**each, "grade": Grade(each["grade"])}) for each in document["outcomes"]]
        assert document["will_run"] is (code == 0)
        return Checked(code, outcomes, text, took_s)

    def schema_file(self, old: str, new: str) -> str:
        file = self.folder / "other.avsc"
        text = SCHEMA.read_text(encoding="utf-8")
        assert old in text
        file.write_text(text.replace(old, new), encoding="utf-8")
        return str(file)


@pytest.fixture
def setup(tmp_path: Path, stack: LocalStack, exchange: ExchangeThread, topic_name: str, capsys: Capture) -> Setup:
    return Setup(tmp_path, stack, exchange, topic_name, capsys)


def test_all_well(setup: Setup) -> None:
    setup.register()
    checked = setup.check()
    assert checked.code == 0
    assert checked.bad() == []
    areas = {each.area for each in checked.outcomes}
    assert areas >= {"configuration", "feed", "rest", "clock", "broker", "topic", "transactions", "registry", "schema"}
    assert areas >= {"journal", "http"}
    assert checked.took_s < LONGEST_S


# The twelve mistakes


@pytest.mark.parametrize("route", ["/ws", "/stream", "/market/ws/!assetIndex@arr"])
def test_a_route_in_the_address(setup: Setup, route: str) -> None:
    setup.tables["feed"]["url"] += route
    outcome = setup.check().only("configuration")
    assert f"contains the route {route}, which the connector adds itself" in outcome.found


def test_a_route_that_is_dead(setup: Setup) -> None:
    """The exchange accepts the connection and stays silent."""
    setup.register()
    setup.tables["schema"] = {"file": setup.schema_file('"route": "market"', '"route": "public"')}
    checked = setup.check()
    outcome = next(each for each in checked.bad() if each.area == "feed")
    assert "connected, but sent no data within 2.5 s" in outcome.found
    assert "accepts a connection to a wrong route" in outcome.remedy
    assert "feed.url is the base only" in outcome.remedy


def test_a_registry_address_without_its_path(setup: Setup) -> None:
    setup.register()
    setup.tables["registry"]["url"] = setup.stack.registry_url.partition("/apis")[0]
    outcome = setup.check().only("registry")
    assert "needs its whole path" in outcome.found
    assert "/apis/ccompat/v7" in outcome.remedy


def test_another_partition_count(setup: Setup) -> None:
    setup.register()
    setup.make_topic(partitions=3)
    setup.tables["topic"]["partitions"] = 6
    outcome = setup.check().only("topic")
    assert outcome.found == "has 3 partitions, topic.partitions says 6"
    assert "set topic.partitions = 3" in outcome.remedy


def test_a_topic_that_overwrites_event_time(setup: Setup) -> None:
    setup.register()
    setup.make_topic(message_timestamp_type="LogAppendTime")
    outcome = setup.check().only("topic")
    assert "message.timestamp.type is LogAppendTime: the broker overwrites the event time" in outcome.found
    assert f"--entity-name {setup.topic} --add-config message.timestamp.type=CreateTime" in outcome.remedy


def test_a_short_retention(setup: Setup) -> None:
    setup.register()
    setup.tables["topic"]["retention_ms"] = 3_600_000
    assert "retention.ms is 1 h, less than a day" in setup.check().only("topic", Grade.WARNING).found
    setup.make_topic(retention_ms="3600000")
    outcome = setup.check().only("topic", Grade.WARNING)
    assert "--add-config retention.ms=604800000" in outcome.remedy


def test_schemas_that_are_not_registered(setup: Setup) -> None:
    checked = setup.check()
    assert checked.code == 2
    assert [(each.area, each.subject, each.remedy) for each in checked.bad()] == [
        ("schema", f"{setup.topic}-value", "run, with the same options: binance-kafka-source schema register"),
        ("schema", f"{setup.topic}.events-value", "run, with the same options: binance-kafka-source schema register"),
    ]


def test_a_schema_that_differs(setup: Setup) -> None:
    setup.register()
    setup.tables["schema"] = {"file": setup.schema_file('"precision": 18, "scale": 8', '"precision": 20, "scale": 8')}
    outcome = setup.check().only("schema")
    assert "precision is 18, not 20" in outcome.found
    setup.tables["schema"] = {"file": setup.schema_file('"precision": 18, "scale": 8', '"precision": 18, "scale": 9')}
    outcome = setup.check().only("schema")
    assert "scale is 8, not 9), and this one is not compatible with it" in outcome.found


def test_a_pinned_id_of_another_schema(setup: Setup) -> None:
    ids = setup.register()
    records, events = ids[f"{setup.topic}-value"], ids[f"{setup.topic}.events-value"]
    setup.tables["schema"] = {"id": events, "events_id": events}
    outcome = setup.check().only("schema")
    assert f"schema.id = {events} is the id of another schema" in outcome.found
    setup.tables["schema"] = {"id": 999_999, "events_id": events}
    assert "the registry has no schema of this id" in setup.check().only("schema").found
    setup.tables["schema"] = {"id": records, "events_id": events}
    assert setup.check().bad() == []


@pytest.mark.parametrize(("off_s", "words"), [(3600, "ahead of"), (-3600, "behind")])
def test_a_clock_that_is_off(setup: Setup, off_s: int, words: str) -> None:
    setup.register()
    with ExchangeThread(symbols=2, rate_hz=10, start_time_ms=round((time.time() + off_s) * 1000)) as elsewhen:
        setup.tables["feed"].update(url=elsewhen.url, rest_url=elsewhen.rest_url)
        outcome = setup.check().only("clock")
    assert f"{words} this machine's clock: every tick would be refused" in outcome.found
    assert "set the clock" in outcome.remedy


def test_a_journal_that_cannot_be_written(setup: Setup) -> None:
    setup.register()
    setup.tables["journal"]["path"] = "/proc/here/journal"
    outcome = setup.check().only("journal")
    assert "/proc cannot be written" in outcome.found
    assert "journal.path" in outcome.remedy


def test_an_unknown_key(setup: Setup) -> None:
    setup.tables["feed"]["conections"] = 3
    outcome = setup.check().only("configuration")
    assert 'feed.conections: no such option; did you mean "feed.connections"?' in outcome.found
    del setup.tables["feed"]["conections"]
    setup.register()
    setup.tables["kafka"]["ssl.key.pasword"] = "hunter2-hunter2"
    checked = setup.check()
    assert 'No such configuration property: "ssl.key.pasword"' in checked.only("broker").found
    assert "hunter2" not in checked.text


def test_a_secret_in_the_wrong_place(setup: Setup) -> None:
    setup.register()
    setup.tables["kafka"]["ssl.key.password"] = "hunter2-hunter2"
    checked = setup.check()
    outcome = checked.only("configuration", Grade.WARNING)
    assert (outcome.subject, "a secret stands in" in outcome.found) == ('kafka."ssl.key.password"', True)
    assert "BKS_KAFKA__SSL_KEY_PASSWORD" in outcome.remedy
    setup.tables["kafka"]["ssl.key.password"] = "${file:" + str(setup.folder / "password") + "}"
    (setup.folder / "password").write_text("hunter2-hunter2")
    assert setup.check().bad() == []
    setup.tables["registry"]["sasl.password"] = "hunter2-hunter2"
    first = setup.check()
    settings = [each for each in first.outcomes if each.area == "configuration"]
    assert 'it belongs in [kafka], as kafka."sasl.password"' in settings[0].remedy
    del setup.tables["registry"]["sasl.password"]
    setup.tables["feed"]["url"] = "ws://user:hunter2-hunter2@127.0.0.1:1"
    last = setup.check()
    assert "do not belong in this address" in last.only("configuration").found
    assert "hunter2" not in checked.text + last.text


# Beyond them


def test_symbols_in_small_letters(setup: Setup) -> None:
    setup.register()
    setup.tables["feed"]["symbols"] = [symbol_names(1)[0].lower()]
    assert setup.check().bad() == []
    setup.tables["feed"]["symbols"] = ["NOSUCH"]
    feed, rest = setup.check().bad()
    assert "the symbols in feed.symbols exist" in feed.remedy
    assert "the first of feed.symbols, NOSUCH, is one of the exchange's" in rest.remedy


def test_every_problem_at_once(setup: Setup) -> None:
    setup.make_topic(partitions=3, message_timestamp_type="LogAppendTime", cleanup_policy="compact")
    with socket.create_server(("127.0.0.1", 0)) as taken, ExchangeThread(symbols=2, manual=True) as silent:
        silent.rest_refuse(451)
        setup.tables["feed"].update(url=silent.url, rest_url=silent.rest_url)
        setup.tables["topic"]["partitions"] = 6
        setup.tables["http"]["port"] = taken.getsockname()[1]
        setup.tables["journal"]["path"] = "/proc/journal"
        checked = setup.check()
    assert checked.code == 2
    assert [each.area for each in checked.bad()] == [
        *("feed", "rest", "topic", "topic", "topic", "schema", "schema", "journal", "http")
    ]
    assert all(each.remedy for each in checked.bad())
    assert checked.took_s < LONGEST_S


def test_nobody_answers(setup: Setup) -> None:
    """Each is told once, and within the time."""
    closed = "127.0.0.1:1"
    setup.tables["feed"].update(url=f"ws://{closed}", rest_url=f"http://{closed}")
    setup.tables["kafka"]["bootstrap.servers"] = closed
    setup.tables["registry"]["url"] = f"http://{closed}/path"
    checked = setup.check()
    assert [each.area for each in checked.bad()] == ["feed", "rest", "broker", "registry"]
    assert checked.took_s < LONGEST_S


def test_a_broker_and_a_registry_that_hang(setup: Setup) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        address = "{}:{}".format(*hanging.getsockname())
        setup.tables["kafka"]["bootstrap.servers"] = address
        setup.tables["registry"]["url"] = f"http://{address}/path"
        checked = setup.check()
    assert [each.area for each in checked.bad()] == ["broker", "registry"]
    assert checked.took_s < LONGEST_S


def test_wrong_credentials_are_told_as_such(setup: Setup) -> None:
    setup.register()
    setup.tables["kafka"].update(
        {
            "bootstrap.servers": setup.stack.sasl_bootstrap_servers,
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username": "somebody",
            "sasl.password": "${file:" + str(setup.folder / "password") + "}",
        }
    )
    (setup.folder / "password").write_text("hunter2-hunter2")
    checked = setup.check()
    outcome = checked.only("broker")
    assert "Authentication failed" in outcome.found
    assert "sasl.password" in outcome.remedy
    assert "hunter2" not in checked.text
    assert checked.took_s < LONGEST_S


def test_the_connector_that_writes_is_not_disturbed(setup: Setup) -> None:
    """Its transaction is open while check looks, and ends well; its journal and port are told as in use."""
    setup.register()
    setup.make_topic()
    live = Producer({"bootstrap.servers": setup.stack.bootstrap_servers, "transactional.id": setup.topic})
    live.init_transactions(20)
    live.begin_transaction()
    live.produce(setup.topic, b"value", b"key")
    live.flush(10)
    journal = Journal(
        Path(setup.tables["journal"]["path"]),
        max_bytes=1024 * 1024,
        max_age_s=60.0,
        at_bound="drop-oldest",
        tell=lambda _: None,
    )
    journal.open()
    try:
        with socket.create_server(("127.0.0.1", 0)) as page:
            setup.tables["http"]["port"] = page.getsockname()[1]
            checked = setup.check()
    finally:
        journal.close(5.0)
    live.commit_transaction(20)
    assert checked.bad() == []
    notes = [(each.area, each.found) for each in checked.outcomes if each.grade is Grade.NOTE and each.area != "topic"]
    assert [area for area, _ in notes] == ["journal", "http"]
    assert "a connector that runs here" in notes[0][1]


def test_lines_and_table(setup: Setup) -> None:
    assert exit_code_of(["check", "--config", str(setup.file())]) == 2
    lines = setup.capsys.readouterr().out.splitlines()
    assert f"problem  schema: {setup.topic}-value: nothing is registered under this subject" in lines
    assert "         -> run, with the same options: binance-kafka-source schema register" in lines
    assert lines[-1] == "2 problems, 0 warnings: run would not work"
    _show_table([Outcome("topic", "ticks", Grade.PROBLEM, "is [not] there", "make it")])
    table = setup.capsys.readouterr().out
    assert "is [not] there" in table
    assert "→ make it" in table
