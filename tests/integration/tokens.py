"""What makes tokens without a signature: as a function for ``kafka.oauth_cb``, and as a server for librdkafka's own."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LIFETIME_S = 6.0
"""A broker takes no second login within a second of the first, so not less."""

calls: list[str] = []


def unsigned(subject: str) -> tuple[str, float]:
    """A token for the principal ``User:<subject>``, and when it ends."""
    now_s = time.time()
    claims = {"sub": subject, "iat": now_s, "exp": now_s + LIFETIME_S, "scope": "kafka"}
    return f"{_part({'alg': 'none'})}.{_part(claims)}.", now_s + LIFETIME_S


def provider(config: str) -> tuple[str, float]:
    """The function; ``sasl.oauthbearer.config`` is the principal."""
    calls.append(config)
    return unsigned(config)


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
            token, _ = unsigned(subject)
            answer = {"access_token": token, "token_type": "Bearer", "expires_in": round(LIFETIME_S)}
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
