"""Credentials that are renewed while the connector runs, and those that somebody else makes, on a broker with TLS."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from connector.cli import exit_code_of
from connector.commands.check import questions_of
from connector.config import load_config
from connector.core.check_outcomes import Grade
from connector.core.errors import ConfigurationError
from connector.core.happenings import (
    Committed,
    CredentialsKept,
    CredentialsRenewed,
    Happening,
    KafkaComplained,
    RoleChanged,
)
from connector.core.secrets import MASK
from connector.core.values import Frame
from connector.edges import credentials
from connector.edges.checks_broker import look_at_broker, look_at_transactions
from connector.edges.registry import Registry
from connector.edges.schema_files import load_schema
from connector.runner import Connector
from tests.chaos.replica import ROOT, write_toml
from tests.integration import tokens
from tests.integration.secured import LOGIN_AGAIN_S, REGISTRY_USER, Right, Secured
from tests.integration.tokens import LIFETIME_S, TOLD_S, token_server

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]

USER = "renewed"
SAMPLE = json.loads((ROOT / "tests" / "samples" / "asset_index.jsonl").read_text("utf-8").splitlines()[0])


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    with Secured(tmp_path_factory.mktemp("secured"), []) as running:
        topic = [Right("TOPIC", "*", operation) for operation in ("Read", "Write", "Create", "DescribeConfigs")]
        running.grant({USER: [*topic, Right("TRANSACTIONAL_ID", "*", "Write")]})
        yield running


@pytest.fixture(autouse=True)
def looked_at_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "LOOKED_AT_EVERY_S", 0.2)


def configured(folder: Path, topic: str, kafka: Mapping[str, str]) -> Path:
    file = folder / "connector.toml"
    write_toml(
        file,
        {
            "topic": {"name": topic},
            "schema": {"id": 1, "events_id": 2},
            "kafka": kafka,
            "journal": {"path": str(folder / "journal")},
            "takeover": {"after": 0.2},
            "http": {"port": 0},
            "shutdown": {"timeout": 5.0},
        },
    )
    return file


@dataclass
class Running:
    """A connector that is fed ticks, as a test goes on beside it."""

    file: Path
    told: list[Happening] = field(default_factory=list)

    def while_running(self, script: Callable[[Running], Iterator[Callable[[], bool]]]) -> int:
        """The exit code. *script* yields what is to be waited for, 15 s at most each time."""
        self.connector = Connector(load_config(self.file).config, historical=True, also=self.told.append)
        return self.connector.run(lambda connector, _: self._feed(connector, script(self)))

    async def _feed(self, connector: Connector, steps: Iterator[Callable[[], bool]]) -> None:
        for holds in steps:
            deadline = time.monotonic() + 15.0
            while not holds():
                assert time.monotonic() < deadline, f"waited in vain: {self.told[-20:]}"
                now_ns = time.time_ns()
                data = json.dumps([{**element, "E": now_ns // 1_000_000} for element in SAMPLE]).encode()
                connector.accept(Frame(data, now_ns, "test", "!assetIndex@arr"))
                await asyncio.sleep(0.1)

    def count(self, kind: type[Happening]) -> int:
        return sum(isinstance(each, kind) for each in list(self.told))

    def more(self, kind: type[Happening], by: int = 1) -> Callable[[], bool]:
        """Whether so many more were told than now."""
        before = self.count(kind)
        return lambda: self.count(kind) >= before + by

    def refused(self) -> set[str]:
        """The clients that were."""
        complaints = [each for each in list(self.told) if isinstance(each, KafkaComplained)]
        return {each.client for each in complaints if each.code == "_AUTHENTICATION"}

    def roles(self) -> list[str]:
        return [each.role for each in self.told if isinstance(each, RoleChanged)]


def test_a_password_changes_on_the_broker_and_then_in_its_file(
    secured: Secured, tmp_path: Path, topic_name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """The broker wants a login every two seconds: the connections that there are do not save it."""
    first, second = "the-first-password", "the-second-password"
    secured.set_password(USER, first)
    password = tmp_path / "password"
    password.write_text(f"{first}\n")
    kafka = {
        **secured.secure("SCRAM-SHA-256"),
        "sasl.username": USER,
        "sasl.password": f"${{file:{password}}}",
        "reconnect.backoff.max.ms": "200",
    }

    def script(running: Running) -> Iterator[Callable[[], bool]]:
        yield running.more(Committed)
        secured.set_password(USER, second)
        yield lambda: "ledger" in running.refused()  # whether or not there is anything to write
        password.write_text("")  # as a writer does that is not done yet
        yield running.more(CredentialsKept)
        password.write_text(f"{second}\n")
        yield running.more(CredentialsRenewed)
        assert running.connector.telemetry.clean(f"{first} {second}") == f"{MASK} {MASK}"
        yield running.more(Committed, by=5)
        deadline = time.monotonic() + 1.5 * LOGIN_AGAIN_S  # so that every client has logged in since
        yield lambda: time.monotonic() > deadline
        yield running.more(Committed, by=2)

    running = Running(configured(tmp_path, topic_name, kafka))
    assert running.while_running(script) == 0
    renewed = [each for each in running.told if isinstance(each, CredentialsRenewed)]
    assert renewed == [CredentialsRenewed(("kafka.sasl.password",))]
    said = capfd.readouterr()
    assert "credentials_renewed" in said.err
    assert first not in said.err + said.out
    assert second not in said.err + said.out


def test_an_authority_that_is_replaced_needs_new_clients(secured: Secured, tmp_path: Path, topic_name: str) -> None:
    secured.set_password(USER, "the-password")
    bundle = tmp_path / "authorities.pem"
    good = secured.certificates.authority.read_bytes()
    bundle.write_bytes(good)
    kafka = {
        **secured.secure("SCRAM-SHA-256"),
        "ssl.ca.location": str(bundle),
        "sasl.username": USER,
        "sasl.password": "the-password",
    }

    def script(running: Running) -> Iterator[Callable[[], bool]]:
        yield running.more(Committed)
        bundle.write_bytes(b"no certificate")
        yield running.more(CredentialsKept)
        assert running.roles()[-1] == "writer"
        bundle.write_bytes(good + good)
        yield running.more(CredentialsRenewed)
        yield lambda: running.roles()[-2:] == ["follower", "writer"]
        yield running.more(Committed)

    running = Running(configured(tmp_path, topic_name, kafka))
    assert running.while_running(script) == 0
    (kept,) = {each.problem for each in running.told if isinstance(each, CredentialsKept)}
    assert "ssl.ca.location" in kept


def test_the_registry_is_asked_with_what_the_file_says_now(secured: Secured, tmp_path: Path) -> None:
    user = tmp_path / "user"
    user.write_text("registry-user:not-yet-changed")
    file = tmp_path / "connector.toml"
    registry = {**secured.registry(), "basic.auth.user.info": f"${{file:{user}}}"}
    write_toml(file, {"kafka": secured.plain(), "registry": registry})
    properties = load_config(file).config.registry

    def asked() -> None:
        client = Registry(properties)
        try:
            client.versions("nothing-value")
        finally:
            client.close()

    with pytest.raises(ConfigurationError, match="the credentials are refused"):
        asked()
    user.write_text(f"{REGISTRY_USER}\n")
    properties.renew(properties.changes())
    asked()


def test_tokens_from_a_function(secured: Secured, tmp_path: Path, topic_name: str) -> None:
    """They end after seconds: the broker cuts off who does not bring a new one, and refuses who brings an old one."""
    kafka = {
        **secured.secure("OAUTHBEARER"),
        "oauth_cb": "tests.integration.tokens:provider",
        "sasl.oauthbearer.config": USER,
    }
    tokens.calls.clear()

    def script(running: Running) -> Iterator[Callable[[], bool]]:
        yield running.more(Committed)
        deadline = time.monotonic() + 1.2 * LIFETIME_S
        yield lambda: time.monotonic() > deadline
        yield running.more(Committed, by=5)

    running = Running(configured(tmp_path, topic_name, kafka))
    assert running.while_running(script) == 0
    assert running.refused() == set()
    assert {each.config for each in tokens.calls} == {USER}
    apart_s = [later.at_s - earlier.at_s for earlier, later in pairwise(tokens.calls)]
    assert min(apart_s) > 0.4 * TOLD_S, "all clients share a token for half of its life"
    questions = questions_of(load_config(running.file).config, load_schema("asset_index")).broker
    outcomes = [*look_at_broker(questions), *look_at_transactions(questions)]
    assert [each for each in outcomes if each.grade is Grade.PROBLEM] == []


def test_tokens_that_librdkafka_gets_itself(secured: Secured, tmp_path: Path, topic_name: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the-clients-secret\n")
    with token_server(USER, "the-client", "the-clients-secret") as url:
        kafka: dict[str, Any] = {
            **secured.secure("OAUTHBEARER"),
            "sasl.oauthbearer.method": "oidc",
            "sasl.oauthbearer.client.id": "the-client",
            "sasl.oauthbearer.client.secret": f"${{file:{secret}}}",
            "sasl.oauthbearer.token.endpoint.url": url,
        }

        def script(running: Running) -> Iterator[Callable[[], bool]]:
            yield running.more(Committed, by=5)

        running = Running(configured(tmp_path, topic_name, kafka))
        assert running.while_running(script) == 0
        assert running.refused() == set()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("tests.integration.tokens:none_such", "there is no function 'none_such'"),
        ("no.such.module:token", "cannot be imported where the connector runs: ModuleNotFoundError"),
        ("no-entry-point", "neither module:function nor an entry point of the group binance_kafka_source.oauth"),
        ("tests.integration.tokens:token_server", "failed: TypeError"),
        ("builtins:str", "must return the token (text) and when it ends"),
    ],
)
def test_a_function_that_makes_no_tokens(
    secured: Secured,
    tmp_path: Path,
    topic_name: str,
    function: str,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kafka = {**secured.secure("OAUTHBEARER"), "oauth_cb": function}
    file = configured(tmp_path, topic_name, kafka)
    questions = questions_of(load_config(file).config, load_schema("asset_index")).broker
    (outcome,) = look_at_broker(questions)
    assert outcome.grade is Grade.PROBLEM
    assert message in outcome.found
    assert exit_code_of(["gaps", "--config", str(file)]) in {2, 4}
    assert message in capsys.readouterr().err
