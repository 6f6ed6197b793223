from __future__ import annotations

import pytest

from connector.core.secrets import is_secret, masked, secrets_in, without_userinfo


@pytest.mark.parametrize(
    "name",
    [
        "sasl.password",
        "sasl.username",
        "sasl.jaas.config",
        "sasl.oauthbearer.client.secret",
        "ssl.key.password",
        "ssl.key.pem",
        "ssl_key",
        "ssl.keystore.password",
        "basic.auth.user.info",
        "bearer.auth.token",
        "bearer.auth.client.secret",
        "SASL.Password",
        "api.key",
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret(name)
    assert masked(name, "hunter2") == "********"


@pytest.mark.parametrize(
    "name",
    [
        "bootstrap.servers",
        "url",
        "sasl.mechanism",
        "sasl.mechanisms",
        "security.protocol",
        "ssl.ca.location",
        "ssl.key.location",
        "basic.auth.credentials.source",
        "sasl.oauthbearer.token.endpoint.url",
        "socket.keepalive.enable",
    ],
)
def test_names_that_are_no_secrets(name: str) -> None:
    assert masked(name, "value") == "value"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://host:80/path", "http://host:80/path"),
        ("http://user:hunter2@host/path", "http://********@host/path"),
        ("http://user:hunt@er2@host", "http://********@host"),
        ("http://user:hunt/er2@host", "http://********@host"),
        ("user:hunter2@host:3128", "********@host:3128"),
        ("http://a:hunter2@one,http://b:hunter2@two", "http://********@two"),
        ("http://host/path?api_key=hunter2", "http://host/path?********"),
        ("http://user:hunter2@host/path?api_key=hunter2#more", "http://********@host/path?********"),
        ("wss://host#hunter2", "wss://host#********"),
        ("what? no address", "what? no address"),
        ("", ""),
    ],
)
def test_user_and_password_in_an_address(text: str, shown: str) -> None:
    assert without_userinfo(text) == shown


@pytest.mark.parametrize(
    ("name", "value", "secrets"),
    [
        ("sasl.password", "hunter2", ["hunter2"]),
        ("sasl.username", "somebody", []),
        ("basic.auth.user.info", "somebody:hunter2", ["somebody:hunter2", "hunter2", "c29tZWJvZHk6aHVudGVyMg=="]),
        ("url", "http://somebody:hunter2@host", ["hunter2", "c29tZWJvZHk6aHVudGVyMg=="]),
        ("", "http://somebody:hun@ter2@host", ["hun@ter2", "c29tZWJvZHk6aHVuQHRlcjI="]),
        ("bootstrap.servers", "host:9092", []),
    ],
)
def test_the_texts_that_must_not_show(name: str, value: str, secrets: list[str]) -> None:
    assert list(secrets_in(name, value)) == secrets


def test_what_comes_from_a_file_must_not_show_whatever_it_is_called_unless_it_is_who_we_are() -> None:
    assert list(secrets_in("client.rack", "hunter2", is_hidden=True)) == ["hunter2"]
    assert list(secrets_in("sasl.username", "somebody", is_hidden=True)) == []
