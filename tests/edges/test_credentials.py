"""What becomes of files that change, without a broker; with one in ``tests/integration/test_credentials.py``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from connector.config import load_config
from connector.core.errors import ConfigurationError
from connector.core.happenings import CredentialsKept, CredentialsRenewed, Happening
from connector.edges.credentials import Credentials

TOML = """
[kafka]
"bootstrap.servers" = "127.0.0.1:9"
"sasl.username" = "${{file:{folder}/username}}"
"sasl.password" = "${{file:{folder}/password}}"
"ssl.key.password" = "${{file:{folder}/key-password}}"
"ssl.key.location" = "{folder}/key.pem"
[registry]
url = "http://127.0.0.1:9"
"basic.auth.user.info" = "${{file:{folder}/registry}}"
"""
NAMES = ("username", "password", "key-password", "registry", "key.pem")


class Bench:
    """Credentials whose every effect is written down, in order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in NAMES:
            self.write(name, f"first-{name}")
        file = folder / "connector.toml"
        file.write_text(TOML.format(folder=folder), "utf-8")
        self.config = load_config(file).config
        self.log: list[Any] = []
        self.told: list[Happening] = []
        self.refusal = ""
        self.credentials = Credentials(
            self.config.kafka,
            self.config.registry,
            mask=self._mask,
            log_in=lambda username, password: self.log.append(("log in", username, password)),
            try_out=self._try_out,
            start_over=lambda: self.log.append("start over"),
            tell=self.told.append,
        )

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, "utf-8")

    def look(self) -> list[Any]:
        """What one look did."""
        self.log.clear()
        self.told.clear()
        self.credentials.look()
        return self.log

    def _mask(self, secrets: Iterable[str]) -> None:
        self.log += [("mask", secret) for secret in secrets]

    def _try_out(self, properties: Mapping[str, Any]) -> None:
        self.log.append(("try out", properties["ssl.key.password"]))
        if self.refusal:
            raise ConfigurationError(self.refusal)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_where_nothing_changed_the_clients_have_what_they_had(bench: Bench) -> None:
    assert bench.look() == [("log in", "first-username", "first-password")]
    assert bench.told == []


def test_user_and_password_are_for_the_clients_that_there_are(bench: Bench) -> None:
    bench.write("username", "second-username")
    bench.write("password", "second-password")
    assert bench.look() == [("mask", "second-password"), ("log in", "second-username", "second-password")]
    assert bench.told == [CredentialsRenewed(("kafka.sasl.password", "kafka.sasl.username"))]
    assert bench.config.kafka["sasl.password"] == "second-password"
    assert "second" not in repr(bench.config)


def test_what_is_read_once_needs_new_clients_which_are_tried_first(bench: Bench) -> None:
    bench.write("key-password", "second")
    before = [("mask", "second"), ("try out", "second")]
    assert bench.look() == [*before, "start over", ("log in", "first-username", "first-password")]
    assert bench.told == [CredentialsRenewed(("kafka.ssl.key.password",))]


def test_so_does_a_file_that_librdkafka_reads_itself(bench: Bench) -> None:
    bench.write("key.pem", "second")
    assert "start over" in bench.look()
    assert bench.told == [CredentialsRenewed(("kafka.ssl.key.location",))]
    assert "start over" not in bench.look()


def test_what_no_client_can_be_made_with_is_not_taken_until_it_can(bench: Bench) -> None:
    """As a key whose certificate is not there yet."""
    bench.write("key.pem", "second")
    bench.write("key-password", "second")
    bench.refusal = "key values mismatch"
    assert "start over" not in bench.look()
    assert bench.told == [CredentialsKept("key values mismatch")]
    assert bench.config.kafka["ssl.key.password"] == "first-key-password"
    bench.refusal = ""
    assert "start over" in bench.look()


def test_the_registrys_are_for_the_next_question(bench: Bench) -> None:
    bench.write("registry", "user:second-secret")
    assert bench.look()[:2] == [("mask", "user:second-secret"), ("mask", "second-secret")]
    assert bench.log[2] == ("mask", "dXNlcjpzZWNvbmQtc2VjcmV0"), "as HTTP sends it"
    assert bench.config.registry["basic.auth.user.info"] == "user:second-secret"
    assert bench.told == [CredentialsRenewed(("registry.basic.auth.user.info",))]


@pytest.mark.parametrize(("name", "problem"), [("password", "cannot be read"), ("username", "is empty")])
def test_a_file_that_is_being_written_leaves_all_as_it_was(bench: Bench, name: str, problem: str) -> None:
    bench.write("username", "")
    bench.write("password", "second")
    if name == "password":
        bench.write("username", "first-username")
        (bench.folder / "password").unlink()
    assert bench.look() == [("log in", "first-username", "first-password")]
    (kept,) = bench.told
    assert isinstance(kept, CredentialsKept)
    assert f'kafka."sasl.{name}"' in kept.problem
    assert problem in kept.problem
    assert "second" not in kept.problem


def test_nobody_looks_where_nothing_can_change(bench: Bench, tmp_path: Path) -> None:
    config = load_config(None, {}, ["kafka.bootstrap.servers=a:1", "registry.url=http://b"]).config
    credentials = Credentials(
        config.kafka,
        config.registry,
        mask=lambda _: None,
        log_in=lambda username, password: None,
        try_out=lambda _: None,
        start_over=lambda: None,
        tell=lambda _: None,
    )
    credentials.start()
    assert not credentials.is_looking
    bench.credentials.start()
    assert bench.credentials.is_looking
    bench.credentials.stop()
