"""No secret shows anywhere: one is planted in every place where one can stand, and everything that is said is searched.

What shows the options alone (``config show``, ``repr``, problems) is in ``test_config.py`` too, value by value.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from connector.cli import exit_code_of
from connector.local.broker import SASL_PASSWORD, SASL_USER
from connector.local.exchange import ExchangeThread
from connector.local.stack import LocalStack

pytestmark = pytest.mark.stack

ENVIRONMENT = {"BKS_KAFKA__SSL_KEYSTORE_PASSWORD": "planted-environment-4d1", "OAUTH": "planted-reference-7c2"}
FILE_SECRET = "planted-file-0b9"
KEY_SECRET = "planted-key-password-e57"
REGISTRY_SECRET = "planted-registry-a83"
PROXY_SECRET = "planted-proxy-c16"
TOKEN_SECRET = "planted-token-f20"
WRONG_PASSWORD = "planted-wrong-password-66a"
PLANTED = (
    *ENVIRONMENT.values(),
    b64encode(f"somebody:{REGISTRY_SECRET}".encode()).decode(),
    *(FILE_SECRET, KEY_SECRET, REGISTRY_SECRET, PROXY_SECRET, TOKEN_SECRET, WRONG_PASSWORD, SASL_PASSWORD),
)

CLOSED = "127.0.0.1:1"
PAGES = ("/", "/metrics", "/readyz", "/livez", "/no-such-page")


@dataclass
class Planted:
    """A configuration with a secret in every place."""

    file: Path
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)

    def write(self) -> Path:
        lines: list[str] = []
        for table, options in self.tables.items():
            lines += [f"[{table}]", *(f"{json.dumps(key)} = {json.dumps(value)}" for key, value in options.items())]
        self.file.write_text("\n".join(lines), encoding="utf-8")
        return self.file


@pytest.fixture(scope="module")
def exchange() -> Iterator[ExchangeThread]:
    with ExchangeThread(symbols=2, rate_hz=5) as running:
        yield running


@pytest.fixture
def planted(
    tmp_path: Path, stack: LocalStack, exchange: ExchangeThread, topic_name: str, monkeypatch: pytest.MonkeyPatch
) -> Planted:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    secret = tmp_path / "secret"
    secret.write_text(f"{FILE_SECRET}\n")
    tables: dict[str, dict[str, Any]] = {
        "feed": {
            "url": exchange.url,
            "rest_url": exchange.rest_url,
            "first_tick_timeout": 1,
            "proxy": f"http://somebody:{PROXY_SECRET}@{CLOSED}",
        },
        "topic": {"name": topic_name},
        "kafka": {
            "bootstrap.servers": stack.sasl_bootstrap_servers,
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username": SASL_USER,
            "sasl.password": SASL_PASSWORD,
            "ssl.key.password": KEY_SECRET,
            "sasl.oauthbearer.client.secret": "${OAUTH}",
            "ssl.keystore.password": f"${{file:{secret}}}",
        },
        "registry": {"url": stack.registry_url, "basic.auth.user.info": f"somebody:{REGISTRY_SECRET}"},
        "journal": {"path": str(tmp_path / "journal")},
        "http": {"port": 0},
        "log": {"level": "debug"},
    }
    return Planted(tmp_path / "connector.toml", tables)


def assert_nothing_shows(text: str, where: str) -> None:
    assert text, f"{where} says nothing, so it shows nothing of what is tested"
    shown = [secret for secret in PLANTED if secret in text]
    assert not shown, f"{where} shows {shown}:\n{text}"


OF_OPTIONS = (("config", "show"), ("config", "show", "--json"))
OF_REGISTRY = (("check", "--json"), ("schema", "check"))
OF_BOTH = (("check",), *OF_REGISTRY, ("gaps",))


def run_all(
    commands: Iterable[tuple[str, ...]],
    planted: Planted,
    capfd: pytest.CaptureFixture[str],
    more: tuple[str, ...] = (),
) -> None:
    for arguments in commands:
        capfd.readouterr()
        exit_code_of([*arguments, "--config", str(planted.write()), *more])
        said = capfd.readouterr()
        assert_nothing_shows(said.out + said.err, " ".join(arguments))


def test_every_command_where_the_feed_fails(planted: Planted, capfd: pytest.CaptureFixture[str]) -> None:
    run_all((*OF_OPTIONS, *OF_BOTH), planted, capfd)


def test_every_command_where_nobody_takes_the_credentials(planted: Planted, capfd: pytest.CaptureFixture[str]) -> None:
    """What refuses them may repeat them."""
    planted.tables["kafka"]["sasl.password"] = WRONG_PASSWORD
    del planted.tables["registry"]["basic.auth.user.info"]
    address = planted.tables["registry"]["url"].replace("http://", f"http://somebody:{REGISTRY_SECRET}@")
    planted.tables["registry"]["url"] = address
    run_all((*OF_OPTIONS, *OF_BOTH), planted, capfd)
    planted.tables["registry"]["url"] = f"http://somebody:{REGISTRY_SECRET}@{CLOSED}/path"
    run_all(OF_REGISTRY, planted, capfd)


@contextmanager
def registry_that_repeats() -> Iterator[str]:
    """The address of one that refuses everybody, and says in full whom."""

    class Handler(BaseHTTPRequestHandler):
        def _refuse(self) -> None:
            sent = self.headers.get("Authorization", "")
            plain = b64decode(sent.partition(" ")[2]).decode()
            body = json.dumps({"error_code": 401, "message": f"{sent} is {plain}"}).encode()
            self.send_response(401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = _refuse  # noqa: N815 - the names are the server's

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def test_every_command_where_the_registry_repeats_the_credentials(
    planted: Planted, capfd: pytest.CaptureFixture[str]
) -> None:
    with registry_that_repeats() as url:
        planted.tables["registry"]["url"] = url
        run_all((*OF_REGISTRY, ("schema", "register"), ("run",)), planted, capfd)


def test_the_command_line_and_a_token(planted: Planted, capfd: pytest.CaptureFixture[str]) -> None:
    planted.tables["registry"] = {
        "url": f"http://{CLOSED}/path",
        "bearer.auth.credentials.source": "STATIC_TOKEN",
        "bearer.auth.token": TOKEN_SECRET,
        "bearer.auth.logical.cluster": "none",
        "bearer.auth.identity.pool.id": "none",
    }
    run_all((*OF_OPTIONS, *OF_REGISTRY), planted, capfd, ("--set", f"kafka.sasl.password={WRONG_PASSWORD}"))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("kafka.sasl.pasword", KEY_SECRET),
        ("kafka.security.protocol", KEY_SECRET),
        ("kafka.ssl.key.pem", KEY_SECRET),
        ("registry.basic.auth.userinfo", KEY_SECRET),
        ("feed.url", f"wss://somebody:{KEY_SECRET}@host"),
        ("feed.rest_url", f"https://somebody:{KEY_SECRET}@host"),
        ("feed.password", KEY_SECRET),
        ("kafka", KEY_SECRET),
        ("feed.connections", KEY_SECRET),
    ],
)
def test_a_secret_where_none_belongs(planted: Planted, key: str, value: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Given under a wrong name or in another option's place, it is a problem; its value is not repeated."""
    file = str(planted.write())
    for arguments in (("check", "--json"), ("run",)) if not key.startswith("kafka.") else (("check", "--json"),):
        assert exit_code_of([*arguments, "--config", file, "--set", f"{key}={value}"]) == 2
        said = capfd.readouterr()
        assert_nothing_shows(said.out + said.err, " ".join(arguments))


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_log_and_pages_of_the_connector(planted: Planted, log_format: str) -> None:
    """Its feed fails at the proxy, so that it has much to tell; broker and registry work."""
    assert exit_code_of(["schema", "register", "--config", str(planted.write())]) == 0
    with socket.create_server(("127.0.0.1", 0)) as free:
        planted.tables["http"]["port"] = free.getsockname()[1]
    command = [sys.executable, "-m", "connector", "run", "--config", str(planted.write()), "--log-format", log_format]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **ENVIRONMENT}
    )
    try:
        pages = pages_of(planted.tables["http"]["port"])
    finally:
        process.send_signal(signal.SIGTERM)
        log, _ = process.communicate(timeout=20)
    assert "unreachable" in log, "the feed was to fail at the proxy"
    assert_nothing_shows(log, "the log")
    for path, text in pages.items():
        assert_nothing_shows(text, path)


def pages_of(port: int) -> dict[str, str]:
    """Once the feed has failed a few times."""
    deadline = time.monotonic() + 30.0
    while "unreachable" not in (page := _page(port, "/")) and time.monotonic() < deadline:
        time.sleep(0.3)
    assert page, "no page came"
    time.sleep(1.0)
    return {path: _page(port, path) for path in PAGES}


def _page(port: int, path: str) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode()
    except OSError:
        return ""
