"""The HTTP end points, read-only, on threads of their own: ``/metrics``, ``/livez``, ``/readyz`` and ``/``."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import make_wsgi_app

from connector.core.errors import ConfigurationError
from connector.core.process_status import Status, why_not_alive, why_not_ready
from connector.edges.status_page import status_page
from connector.edges.telemetry import Telemetry

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

MOST_REQUESTS = 16
"""At the same time; a connection beyond them is closed at once."""
SLOWEST_REQUEST_S = 10.0
"""From the connection to the end of the answer, however it is spread."""

_HEADERS = [
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
]


class HttpServer:
    """Serves what ``status`` and the telemetry say at the time of each request. ``status`` is called on any thread."""

    def __init__(self, host: str, port: int, telemetry: Telemetry, status: Callable[[], Status]) -> None:
        self._host = host
        self._port = port
        self._telemetry = telemetry
        self._status = status
        self._metrics = make_wsgi_app(telemetry.metrics.registry)
        self._paths: dict[str, Callable[[], tuple[str, str, str]]] = {
            "/": self._page,
            "/livez": self._livez,
            "/readyz": self._readyz,
        }
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listens from here on. Raises :class:`ConfigurationError` where the address cannot be had."""
        try:
            # To be looked at once: it says which family of addresses the host is of.
            family, _, _, _, address = socket.getaddrinfo(
                self._host, self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            server = _Server(family, (str(address[0]), int(address[1])))
        except OSError as error:
            raise ConfigurationError(
                f"http.host {self._host!r}, http.port {self._port}: cannot listen there ({error.strerror or error}): "
                "give an address of this machine and a free port."
            ) from error
        server.set_app(self._app)
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="http", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The one listened on; another than configured where that was 0."""
        return int(self._server.server_address[1]) if self._server is not None else self._port

    def stop(self) -> None:
        """Ends listening; requests under way are not waited for. Does nothing where it was not started."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
        self._server = self._thread = None

    def _app(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _answer(environ, start_response, "405 Method Not Allowed", "text/plain", "GET only\n")
        path = environ.get("PATH_INFO", "/")
        if path == "/metrics":
            return self._metrics(environ, start_response)  # type: ignore[no-any-return]
        page = self._paths.get(path or "/")
        if page is None:
            found = " ".join([*self._paths, "/metrics"])
            return _answer(environ, start_response, "404 Not Found", "text/plain", f"There is: {found}\n")
        return _answer(environ, start_response, *page())

    def _page(self) -> tuple[str, str, str]:
        return "200 OK", "text/html", status_page(self._status(), self._telemetry)

    def _livez(self) -> tuple[str, str, str]:
        return self._verdict("alive", why_not_alive(self._status()))

    def _readyz(self) -> tuple[str, str, str]:
        status = self._status()
        return self._verdict("ready", why_not_ready(status), role=status.role, feed=status.feed_state)

    def _verdict(self, word: str, reasons: tuple[str, ...], **more: str) -> tuple[str, str, str]:
        body = {word: not reasons, **more, "reasons": [self._telemetry.clean(reason) for reason in reasons]}
        status = "200 OK" if not reasons else "503 Service Unavailable"
        return status, "application/json", json.dumps(body) + "\n"


def _answer(
    environ: WSGIEnvironment, start_response: StartResponse, status: str, kind: str, text: str
) -> Iterable[bytes]:
    body = text.encode()
    headers = [("Content-Type", f"{kind}; charset=utf-8"), ("Content-Length", str(len(body))), *_HEADERS]
    start_response(status, headers)
    return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]


class _Handler(WSGIRequestHandler):
    timeout = SLOWEST_REQUEST_S

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: probes come every few seconds."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, family: socket.AddressFamily, address: tuple[str, int]) -> None:
        self.address_family = family
        self._room = threading.BoundedSemaphore(MOST_REQUESTS)
        self._ends_at_s: dict[socket.socket, float] = {}
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # Not HTTPServer's: it looks its own name up, which can take seconds where name service is down.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        self._ends_at_s[request] = time.monotonic() + SLOWEST_REQUEST_S
        super().process_request(request, client_address)

    def service_actions(self) -> None:
        """Several times a second: end whoever sends a byte now and then, to keep others out."""
        now_s = time.monotonic()
        for request, ends_at_s in list(self._ends_at_s.items()):
            if now_s > ends_at_s:
                with contextlib.suppress(OSError):  # it has just ended by itself
                    request.shutdown(socket.SHUT_RDWR)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._ends_at_s.pop(request, None)
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: a client that goes away or stalls is its own affair; errors of pages are answered with 500."""
