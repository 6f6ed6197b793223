from __future__ import annotations

import pytest

from connector.core.secrets import is_secret, masked, without_userinfo


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
        ("", ""),
    ],
)
def test_user_and_password_in_an_address(text: str, shown: str) -> None:
    assert without_userinfo(text) == shown
