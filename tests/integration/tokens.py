"""What makes tokens without a signature: as a function for ``kafka.oauth_cb``, and as a server for librdkafka's own."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LIFETIME_S = 7.0
"""For so long the broker accepts a token of the function."""
TOLD_S = 3.0
"""Of it, what clients are told. librdkafka asks for the next one at 80 % of that, or up to a second later, and brings
what it has then to the broker at 90 % of what the broker says. Of an hour, minutes lie between; of some seconds, too
little: it would bring the old one once more, and the broker takes no second login within a second of the first.
"""
SERVED_FOR_S = 3600
"""How long the server's tokens live."""


@dataclass(frozen=True, slots=True)
class Call:
    """One of the function."""

    config: str
    at_s: float


calls: list[Call] = []


def unsigned(subject: str, lifetime_s: float) -> str:
    """A token for the principal ``User:<subject>``."""
    now_s = time.time()
    claims = {"sub": subject, "iat": now_s, "exp": now_s + lifetime_s, "scope": "kafka"}
    return f"{_part({'alg': 'none'})}.{_part(claims)}."


def provider(config: str) -> tuple[str, float]:
    """The function; ``sasl.oauthbearer.config`` is the principal."""
    calls.append(Call(config, time.monotonic()))
    return unsigned(config, LIFETIME_S), time.time() + TOLD_S


def _part(content: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


@contextmanager
def token_server(subject: str, client: str, secret: str) -> Iterator[str]:
    """The address of an end point that gives tokens to that client alone."""
    expected = f"Basic {base64.b64encode(f'{client}:{secret}'.encode()).decode()}"

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            is_known = self.headers.get("Authorization") == expected
            token = unsigned(subject, SERVED_FOR_S)
            answer = {"access_token": token, "token_type": "Bearer", "expires_in": SERVED_FOR_S}
            body = json.dumps(answer if is_known else {"error": "invalid_client"}).encode()
            self.send_response(200 if is_known else 401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="token-server", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/token"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
