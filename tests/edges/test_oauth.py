"""Functions that make tokens, without a broker; with one in ``tests/integration/test_credentials.py``."""

from __future__ import annotations

import time
from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

import pytest

from connector.core.errors import ConfigurationError, RetryableError
from connector.edges import oauth
from connector.edges.oauth import GROUP, Tokens, tokens_of


class Provider:
    """Returns one token after the other, each for a minute."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __call__(self, config: str) -> tuple[str, float]:
        self.calls.append(config)
        return f"token-{len(self.calls)}", time.time() + 60


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """One number: the time."""
    now_s = [time.time()]
    monkeypatch.setattr(time, "time", lambda: now_s[0])
    return now_s


def test_every_client_shares_a_token_for_half_its_life(clock: list[float]) -> None:
    provider = Provider()
    tokens = Tokens("provider", provider)
    assert [tokens.token("a")[0] for _ in range(3)] == ["token-1"] * 3
    clock[0] += 29
    assert tokens.token("a")[0] == "token-1"
    clock[0] += 2
    assert tokens.token("a")[0] == "token-2"


def test_each_text_has_tokens_of_its_own() -> None:
    provider = Provider()
    tokens = Tokens("provider", provider)
    assert (tokens.token("a")[0], tokens.token("b")[0], tokens.token("a")[0]) == ("token-1", "token-2", "token-1")
    assert provider.calls == ["a", "b"]


def test_a_provider_that_fails_is_asked_again() -> None:
    answers: list[Any] = [TimeoutError("nobody there"), ("token", time.time() + 60)]

    def provider(_: str) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    tokens = Tokens("my.module:token", provider)
    with pytest.raises(RetryableError, match=r"my\.module:token failed: TimeoutError: nobody there"):
        tokens.token("")
    assert tokens.token("")[0] == "token"


AHEAD_S = time.time() + 3600


@pytest.mark.parametrize(
    "answer",
    [
        ("token", AHEAD_S),
        ("token", int(AHEAD_S)),
        ("token", AHEAD_S, "principal"),
        ("token", AHEAD_S, "principal", {"logicalCluster": "lkc-1"}),
    ],
)
def test_what_confluent_kafka_takes(answer: Any) -> None:
    assert Tokens("provider", lambda _: answer).token("") == answer


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        ("token", ConfigurationError, "must return the token"),
        (None, ConfigurationError, "must return the token"),
        (("token",), ConfigurationError, "must return the token"),
        ((b"token", AHEAD_S), ConfigurationError, "must return the token"),
        (("", AHEAD_S), ConfigurationError, "must return the token"),
        (("token", "tomorrow"), ConfigurationError, "must return the token"),
        (("token", AHEAD_S, 7), ConfigurationError, "must return the token"),
        (("token", AHEAD_S, "", {"a": 1}), ConfigurationError, "must return the token"),
        (("token", AHEAD_S, "", {}, ""), ConfigurationError, "must return the token"),
        (("token", AHEAD_S * 1000), ConfigurationError, "is the time in milliseconds?"),
        (("token", 1_000.0), RetryableError, "has ended already"),
    ],
)
def test_what_is_no_token_is_said(answer: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        Tokens("my.module:token", lambda _: answer).token("")
    assert "my.module:token" in str(caught.value)


def test_a_name_is_an_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = EntryPoints([EntryPoint("cloud", "tests.integration.tokens:provider", GROUP)])
    monkeypatch.setattr(oauth, "entry_points", lambda group: installed.select(group=group))
    assert tokens_of("cloud").token("somebody")[0].count(".") == 2
    with pytest.raises(ConfigurationError, match=r"neither module:function nor an entry point .* \(cloud\)"):
        tokens_of("clowd")


def test_every_client_of_a_process_has_the_same_tokens() -> None:
    assert tokens_of("tests.integration.tokens:provider") is tokens_of("tests.integration.tokens:provider")
