"""The rights that ``docs/security.md`` lists, on a broker with TLS, passwords and an authorizer: they are enough, and
each of them is needed, and missed by name."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]  # public, yet not marked as exported

from connector.cli import exit_code_of
from connector.commands.check import questions_of
from connector.config import Config, load_config
from connector.core.check_outcomes import Grade, Outcome
from connector.core.errors import ConfigurationError, FatalError
from connector.core.happenings import Committed, Happening, TransactionFailed
from connector.core.values import Frame
from connector.edges.checks_broker import look_at_broker, look_at_transactions
from connector.edges.schema_files import load_schema
from connector.runner import Connector
from tests.chaos.replica import ROOT, write_toml
from tests.integration.secured import REGISTRY_USER, Right, Secured, password_of

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]

TOPIC = "binance.usdm.asset-index"
SAMPLE = json.loads((ROOT / "tests" / "samples" / "asset_index.jsonl").read_text("utf-8").splitlines()[0])
_KINDS = {"Topic": "TOPIC", "TransactionalId": "TRANSACTIONAL_ID", "Group": "GROUP", "Cluster": "BROKER"}


def documented_rights() -> tuple[Right, ...]:
    page = (ROOT / "docs" / "security.md").read_text("utf-8")
    table = page.partition("<!-- rights -->")[2].partition("<!-- end of rights -->")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.strip().splitlines()[2:]]
    return tuple(Right(_KINDS[on], name.strip("`"), operation) for on, name, operation, _ in rows)


RIGHTS = documented_rights()
FOR_CHECK = Right("TRANSACTIONAL_ID", f"{TOPIC}-check", "Write")
EVERYTHING = "may-all"
LEFT_OUT = {right: f"without-{number}" for number, right in enumerate(RIGHTS)}
"""The principal that lacks this one. Each has topics of its own."""


def topic_of(user: str) -> str:
    # Not the user's name: that is masked in the log.
    return f"topic{user.removeprefix('without')}"


def on_own_topics(user: str, right: Right) -> Right:
    return replace(right, name=right.name.replace(TOPIC, topic_of(user)))


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    with Secured(tmp_path_factory.mktemp("secured"), [EVERYTHING, *LEFT_OUT.values()]) as running:
        granted = {
            user: [on_own_topics(user, each) for each in RIGHTS if each != out] for out, user in LEFT_OUT.items()
        }
        running.grant({EVERYTHING: [on_own_topics(EVERYTHING, each) for each in RIGHTS], **granted})
        # Whoever may create, does; the others find their topics.
        found = [user for out, user in LEFT_OUT.items() if out.operation != "Create"]
        topics = [NewTopic(f"{topic_of(user)}{suffix}", 6, 1) for user in found for suffix in ("", ".events", ".dlq")]
        latest = [NewTopic(f"{topic_of(user)}.latest", 6, 1, config={"cleanup.policy": "compact"}) for user in found]
        for future in running.admin.create_topics([*topics, *latest]).values():
            future.result(20)
        yield running


@dataclass(frozen=True, slots=True)
class Principal:
    """One user's configuration."""

    user: str
    config: Config
    file: Path


def principal(secured: Secured, folder: Path, user: str) -> Principal:
    file = folder / "connector.toml"
    tables = {
        "topic": {"name": topic_of(user)},
        "latest": {"enabled": True},
        "kafka": secured.kafka(user),
        # Those that only lack a right need no registry.
        **({"registry": secured.registry()} if user == EVERYTHING else {"schema": {"id": 1, "events_id": 2}}),
        "journal": {"path": str(folder / "journal")},
        "takeover": {"after": 0.2},
        "http": {"port": 0},
        "shutdown": {"timeout": 5.0},
    }
    write_toml(file, tables)
    return Principal(user, load_config(file).config, file)


def run_until_written(config: Config, timeout_s: float = 15.0) -> tuple[int, list[Happening]]:
    """The connector on frames of a sample, until a transaction ended well or not. Raises what the connector raises."""
    told: list[Happening] = []

    async def source(connector: Connector, _: asyncio.Event) -> None:
        deadline = time.monotonic() + timeout_s
        while not any(isinstance(each, Committed | TransactionFailed) for each in told):
            if time.monotonic() > deadline:
                raise FatalError(f"nothing was written: {told}")
            now_ns = time.time_ns()
            data = json.dumps([{**element, "E": now_ns // 1_000_000} for element in SAMPLE]).encode()
            connector.accept(Frame(data, now_ns, "test", "!assetIndex@arr"))
            await asyncio.sleep(0.1)

    connector = Connector(config, historical=True, also=told.append)
    return connector.run(source), told


def values_in(secured: Secured, topic: str, partitions: int) -> list[bytes]:
    consumer = Consumer(
        {
            **secured.plain(),
            "group.id": "unused",
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
    values: list[bytes] = []
    ended = 0
    while ended < partitions:
        for message in consumer.consume(500, timeout=0.3):
            value = message.value()
            ended += message.error() is not None
            if message.error() is None and value is not None:
                values.append(value)
    consumer.close()
    return values


def test_the_documented_rights_are_enough(secured: Secured, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With TLS and a password at the broker, and at a registry of a private authority."""
    may_all = principal(secured, tmp_path, EVERYTHING)
    assert exit_code_of(["schema", "register", "--config", str(may_all.file)]) == 0

    code, told = run_until_written(may_all.config)

    assert code == 0
    records = sum(each.records for each in told if isinstance(each, Committed))
    assert records >= len(SAMPLE)
    assert len(values_in(secured, topic_of(EVERYTHING), 6)) == records
    assert len(values_in(secured, f"{topic_of(EVERYTHING)}.latest", 6)) == records
    assert any(b"takeover" in value for value in values_in(secured, f"{topic_of(EVERYTHING)}.events", 1)), (
        "not in a transaction"
    )
    assert [each for each in looked_at(may_all) if each.grade is Grade.PROBLEM] == []
    for secret in (password_of(EVERYTHING), REGISTRY_USER.partition(":")[2]):
        assert secret not in capsys.readouterr().err


def looked_at(who: Principal) -> list[Outcome]:
    """What ``check`` says of the broker."""
    questions = questions_of(who.config, load_schema(who.config.schema.file)).broker
    return [*look_at_broker(questions), *look_at_transactions(questions)]


def words(right: Right) -> str:
    """The operation as messages write it."""
    return "".join(f"_{letter}" if letter.isupper() else letter for letter in right.operation).strip("_").upper()


IDS = [f"{right.operation} on {right.name}" for right in RIGHTS]
NOT_TRIED_BY_CHECK = Right("TRANSACTIONAL_ID", TOPIC, "Write")
"""To try it would be to stop the writer; ``check`` says that the live id needs what its own needs."""


@pytest.mark.parametrize(
    "right", [each for each in RIGHTS if each != NOT_TRIED_BY_CHECK], ids=lambda right: IDS[RIGHTS.index(right)]
)
def test_check_names_the_right_that_is_missing(secured: Secured, tmp_path: Path, right: Right) -> None:
    user = LEFT_OUT[right]
    problems = [each for each in looked_at(principal(secured, tmp_path, user)) if each.grade is Grade.PROBLEM]
    lacking = on_own_topics(user, right)
    assert [each.subject for each in problems] == [lacking.name]
    assert f"--operation {right.operation}" in problems[0].remedy
    assert f"User:{user}" in problems[0].remedy


@pytest.mark.parametrize(
    "right", [each for each in RIGHTS if each != FOR_CHECK], ids=lambda right: IDS[RIGHTS.index(right)]
)
def test_run_names_the_right_that_is_missing(secured: Secured, tmp_path: Path, right: Right) -> None:
    user = LEFT_OUT[right]
    with pytest.raises(ConfigurationError) as caught:
        run_until_written(principal(secured, tmp_path, user).config)
    lacking = on_own_topics(user, right)
    assert len(caught.value.problems) == 1
    assert lacking.name in str(caught.value)
    assert words(lacking) in str(caught.value) or "transactional.id" in str(caught.value)


def test_a_wrong_password(secured: Secured, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    who = principal(secured, tmp_path, EVERYTHING)
    with pytest.raises(ConfigurationError, match="does not accept these credentials") as caught:
        run_until_written(load_config(who.file, {}, ["kafka.sasl.password=wrong-one"]).config)
    assert "wrong-one" not in str(caught.value) + capfd.readouterr().err


def test_an_authority_that_is_not_known(secured: Secured, tmp_path: Path) -> None:
    who = principal(secured, tmp_path, EVERYTHING)
    public = ["kafka.ssl.ca.location=probe", "registry.ssl.ca.location=/etc/ssl/certs/ca-certificates.crt"]
    questions = questions_of(load_config(who.file, {}, public).config, load_schema("asset_index")).broker
    (outcome,) = look_at_broker(questions)
    assert outcome.grade is Grade.PROBLEM
    assert "ssl.ca.location" in outcome.remedy


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("registry.basic.auth.user.info=somebody:else", "the credentials are refused"),
        ("registry.ssl.ca.location=/etc/ssl/certs/ca-certificates.crt", "its certificate is not trusted"),
    ],
)
def test_a_registry_that_does_not_let_us_in(
    secured: Secured, tmp_path: Path, override: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    who = principal(secured, tmp_path, EVERYTHING)
    assert exit_code_of(["schema", "check", "--config", str(who.file), "--set", override]) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert "somebody:else" not in said.err + said.out
