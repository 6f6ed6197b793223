"""The registry's edge against a scripted peer: every answer it may give, and what becomes of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from connector.core.errors import ConfigurationError, ConnectorError, FatalError, RetryableError
from connector.edges.registry import NoRegistryError, Registered, Registry, RegistryDeniedError, subject_of

SCHEMA = '{"type":"record","name":"R","fields":[]}'


@dataclass
class Peer:
    """Answers every request with the next scripted answer; the last one stays."""

    answers: list[tuple[int, bytes]]
    asked: list[str] = field(default_factory=list)
    delay_s: float = 0.0
    url: str = ""

    def next(self) -> tuple[int, bytes]:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def peer(*answers: tuple[int, object], delay_s: float = 0.0) -> Iterator[Peer]:
    scripted = [(status, body if isinstance(body, bytes) else json.dumps(body).encode()) for status, body in answers]
    script = Peer(scripted, delay_s=delay_s)
    released = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            script.asked.append(f"{self.command} {self.path}")
            released.wait(script.delay_s)
            status, body = script.next()
            with suppress(ConnectionError):  # whoever asked may not have waited
                self._send(status, body)

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = _answer  # noqa: N815 (names that http.server asks for)

        def log_message(self, format: str, *args: Any) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    script.url = f"http://127.0.0.1:{server.server_port}/a/path"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield script
    finally:
        released.set()
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def registry_at(url: str, **properties: Any) -> Iterator[Registry]:
    registry = Registry({"url": url, **properties})
    try:
        yield registry
    finally:
        registry.close()


def problem(code: int, message: str = "said so") -> dict[str, object]:
    return {"error_code": code, "message": message}


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (404, problem(40401), ConfigurationError, "not registered; run: binance-kafka-source schema register"),
        (404, problem(40403), ConfigurationError, "not registered; run: binance-kafka-source schema register"),
        (404, b"<html>", NoRegistryError, "needs its whole path"),
        (404, b"", NoRegistryError, "needs its whole path"),
        (401, problem(40101), RegistryDeniedError, r"credentials are refused.*basic\.auth\.user\.info"),
        (403, problem(40301), RegistryDeniedError, "lacks the right"),
        (405, b"", NoRegistryError, "needs its whole path"),
        (422, problem(42201), ConfigurationError, "said so"),
        (408, b"", RetryableError, "timed out"),
        (429, b"", RetryableError, "too many requests"),
        (500, problem(50001), RetryableError, "said so"),
        (502, b"<html>", RetryableError, "HTTP 502"),
        (418, b"", FatalError, "HTTP 418"),
        (200, b"<html>", NoRegistryError, "no schema registry"),
        (200, b"{}", NoRegistryError, "no schema registry"),
        (200, b"[]", NoRegistryError, "no schema registry"),
        (200, b"", NoRegistryError, "no schema registry"),
    ],
)
def test_every_answer_has_its_error(status: int, body: object, error: type[ConnectorError], words: str) -> None:
    with peer((status, body)) as other, registry_at(other.url) as registry, pytest.raises(error, match=words) as caught:
        registry.lookup("t-value", SCHEMA)
    assert type(caught.value) is error
    assert other.url in str(caught.value)
    assert "t-value" in str(caught.value)
    assert len(other.asked) == len(set(other.asked)), "whoever waits decides about another attempt"


def test_the_path_of_the_address_is_kept() -> None:
    answer = {"subject": "t-value", "version": 3, "id": 7, "schema": SCHEMA}
    with peer((200, answer)) as other, registry_at(other.url + "/") as registry:
        assert registry.lookup("t-value", SCHEMA) == 7
    assert other.asked[0].startswith("POST /a/path/subjects/t-value")


def test_the_latest_version_or_none() -> None:
    answer = {"subject": "t-value", "version": 3, "id": 7, "schema": SCHEMA}
    with peer((404, problem(40401)), (200, answer)) as other, registry_at(other.url) as registry:
        assert registry.latest("t-value") is None
        assert registry.latest("t-value") == Registered("t-value", 3, 7, SCHEMA)


def test_the_compatibility_level_of_the_subject_or_the_registry() -> None:
    answers = ((404, problem(40408)), (200, {"compatibilityLevel": "BACKWARD"}), (200, {"compatibilityLevel": "FULL"}))
    with peer(*answers) as other, registry_at(other.url) as registry:
        assert registry.compatibility("t-value") == "BACKWARD"
        assert registry.compatibility("t-value") == "FULL"


def test_registering_sets_the_level_first() -> None:
    with (
        peer((200, []), (200, {"compatibility": "FULL_TRANSITIVE"}), (200, {"id": 4})) as other,
        registry_at(other.url) as registry,
    ):
        assert registry.register("t-value", SCHEMA) == 4
    assert [each.partition("?")[0] for each in other.asked] == [
        "GET /a/path/subjects/t-value/versions",
        "PUT /a/path/config/t-value",
        "POST /a/path/subjects/t-value/versions",
    ]


def test_an_incompatible_schema_is_refused_with_the_reason() -> None:
    answers: tuple[tuple[int, object], ...] = ((200, {}), (409, problem(409, "field removed")))
    with (
        peer(*answers) as other,
        registry_at(other.url) as registry,
        pytest.raises(ConfigurationError, match=r"not compatible.*field removed"),
    ):
        registry.register("t-value", SCHEMA)


def test_a_registry_that_is_down() -> None:
    with registry_at("http://127.0.0.1:1") as registry, pytest.raises(RetryableError, match="refused"):
        registry.lookup("t-value", SCHEMA)


def test_a_registry_that_hangs() -> None:
    with (
        peer((200, {}), delay_s=5.0) as other,
        registry_at(other.url, timeout=0.2) as registry,
        pytest.raises(RetryableError, match="timed out"),
    ):
        registry.lookup("t-value", SCHEMA)


@pytest.mark.parametrize(
    "properties",
    [
        {"no.such": 1},
        {"max.retries": "many"},
        {"ssl.ca.location": "/no/such/file"},
        {"basic.auth.user.info": "nobody"},
        {"bearer.auth.credentials.source": "NOWHERE"},
        {"proxy": "nowhere"},
    ],
)
def test_properties_that_the_library_does_not_take(properties: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"^\[registry\]: "):
        Registry({"url": "http://127.0.0.1:1", **properties})


def test_credentials_are_not_repeated() -> None:
    with (
        registry_at("http://user:hunter2@127.0.0.1:1/path") as registry,
        pytest.raises(RetryableError, match=r"http://\*+@127\.0\.0\.1:1/path") as caught,
    ):
        registry.lookup("t-value", SCHEMA)
    assert "hunter2" not in str(caught.value)


def test_subjects_are_named_after_topics() -> None:
    assert subject_of("binance.usdm.asset-index") == "binance.usdm.asset-index-value"
