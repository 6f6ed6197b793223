import http.client
import io
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from prometheus_client.parser import text_string_to_metric_families

from connector.core.errors import ConfigurationError
from connector.core.happenings import GapFound, Rejected, SocketClosed
from connector.core.process_status import KafkaStatus, Refused, RestStatus, SocketStatus, Status
from connector.edges import http as edge
from connector.edges.http import MOST_REQUESTS, HttpServer
from connector.edges.status_page import status_page
from connector.edges.telemetry import Telemetry
from tests.core.test_process_status import NOW_MS, STATUS
from tests.edges.test_telemetry import REJECT


class Served:
    """A server, and the status that it is to show."""

    def __init__(self) -> None:
        self.telemetry = Telemetry(stream=io.StringIO(), secrets=["s3cr3t-w0rd"])
        self.status: Status = STATUS
        self.server = HttpServer("127.0.0.1", 0, self.telemetry, lambda: self.status)

    def get(self, path: str, method: str = "GET") -> tuple[int, str, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.read().decode(), dict(response.getheaders())
        finally:
            connection.close()


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    served.server.start()
    yield served
    served.server.stop()


def test_metrics_can_be_parsed(served: Served) -> None:
    served.telemetry.observe(STATUS)
    status, body, headers = served.get("/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(body)}
    assert families["binance_kafka_source_ready"].samples[0].value == 1


def test_livez(served: Served) -> None:
    status, body, _ = served.get("/livez")
    assert (status, json.loads(body)) == (200, {"alive": True, "reasons": []})
    served.status = replace(STATUS, waiting="the broker does not answer", feed_state="down")
    assert served.get("/livez")[0] == 200
    served.status = replace(STATUS, ended=("sink",))
    status, body, _ = served.get("/livez")
    assert (status, json.loads(body)) == (503, {"alive": False, "reasons": ["sink ended"]})


def test_readyz(served: Served) -> None:
    status, body, headers = served.get("/readyz")
    assert headers["Content-Type"].startswith("application/json")
    assert headers["Cache-Control"] == "no-store"
    assert (status, json.loads(body)) == (
        200,
        {"ready": True, "role": "writer", "feed": "advancing", "reasons": []},
    )
    served.status = replace(STATUS, waiting="refused for s3cr3t-w0rd")
    status, body, _ = served.get("/readyz")
    assert (status, json.loads(body)["reasons"]) == (503, ["waits: refused for ********"])


def test_nothing_can_be_changed_from_outside(served: Served) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert served.get("/readyz", method)[0] == 405
        assert served.get("/metrics", method)[0] == 405
    status, body, _ = served.get("/readyz", "HEAD")
    assert (status, body) == (200, "")
    status, body, _ = served.get("/nothing")
    assert status == 404
    assert "/metrics" in body


def test_a_client_that_stalls_keeps_nobody_else_waiting(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.server.port)) as stalled:
        stalled.sendall(b"GET / HT")
        assert served.get("/livez")[0] == 200


def test_clients_that_send_a_byte_now_and_then_are_ended(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte is in time; the request is not."""
    monkeypatch.setattr(edge, "SLOWEST_REQUEST_S", 0.5)
    dripping = [socket.create_connection(("127.0.0.1", served.server.port)) for _ in range(MOST_REQUESTS)]
    for each in dripping:
        each.sendall(b"G")
    started_s = time.monotonic()
    while dripping and time.monotonic() - started_s < 10:
        time.sleep(0.1)
        for each in list(dripping):
            try:
                each.sendall(b"E")
            except OSError:
                each.close()
                dripping.remove(each)
    assert dripping == []
    assert served.get("/livez")[0] == 200


def test_connections_are_bounded(served: Served) -> None:
    stalled = [socket.create_connection(("127.0.0.1", served.server.port)) for _ in range(MOST_REQUESTS + 4)]
    try:
        for each in stalled:
            each.sendall(b"GET / HT")
        stalled[-1].settimeout(10)
        assert _is_ended(stalled[-1])
        assert sum(thread.name.startswith("Thread") for thread in threading.enumerate()) <= MOST_REQUESTS + 2
    finally:
        for each in stalled:
            each.close()
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            assert served.get("/livez")[0] == 200
            break
        except ConnectionError:
            time.sleep(0.05)
    else:
        pytest.fail("room is given back when the stalled clients are gone")


def _is_ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def test_a_port_in_use_is_a_matter_of_configuration(served: Served) -> None:
    second = HttpServer("127.0.0.1", served.server.port, served.telemetry, lambda: STATUS)
    with pytest.raises(ConfigurationError, match=rf"http\.port {served.server.port}.*free port"):
        second.start()
    second.stop()


def test_an_address_of_another_machine_is_a_matter_of_configuration() -> None:
    for host in ("192.0.2.1", "no such host"):
        server = HttpServer(host, 0, Telemetry(stream=io.StringIO()), lambda: STATUS)
        with pytest.raises(ConfigurationError, match=r"http\.host"):
            server.start()


def test_nothing_listens_after_the_stop(served: Served) -> None:
    port = served.server.port
    served.server.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    served.server.stop()


# The page


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, "what is opened is closed"

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text.append(data)


def text_of(page: str) -> str:
    parser = _Text()
    parser.feed(page)
    assert parser.open == []
    return " ".join(parser.text)


def test_the_page_shows_what_is_asked_for_at_night(served: Served) -> None:
    served.status = replace(
        STATUS,
        sockets=(
            SocketStatus("ws-1", "advancing", 7_200_000, 12_345, NOW_MS - 300, ""),
            SocketStatus(
                "ws-2",
                "down",
                5_000,
                999,
                None,
                "refused by the exchange: 451",
                NOW_MS + 600_000,
                "wss://exchange/stream?streams=s@arr",
                ("s@arr",),
            ),
        ),
        rest=RestStatus("failing", 50_000, 7, NOW_MS - 50_000, "timeout: no answer", None, "https://exchange/index"),
        kafka=KafkaStatus(
            "broker-1:9092", NOW_MS - 3_000, NOW_MS - 4_000, "too few replicas", NOW_MS - 9_000, "rows from REST wait"
        ),
        feed_ahead_ms=-250,
        dropped_frames=3,
        symbols=(("BTCUSD", NOW_MS - 500), ("OLDUSD", NOW_MS - 90_000)),
        journal_problem="/data/journal: disk I/O error",
    )
    served.telemetry.tell(GapFound("*", NOW_MS - 60_000, NOW_MS - 50_000, 11, "feed down"))
    served.telemetry.tell(Rejected(REJECT, repeated=False))
    status, body, headers = served.get("/")
    assert status == 200
    assert headers["Content-Type"].startswith("text/html")
    assert '<meta http-equiv="refresh"' in body
    text = text_of(body)
    for wanted in (
        "ready",
        "writer",
        "0.5 s ago",
        "ws-1",
        "2.0 h",
        "12,345",
        "refused by the exchange: 451; next attempt 2027-01-15 08:10:00 UTC",
        "wss://exchange/stream s@arr",
        "came 50.0 s ago",
        "timeout: no answer",
        "broker-1:9092",
        "3.0 s ago",
        "2027-01-15 07:59:51 UTC: too few replicas",
        "Held on purpose: rows from REST wait.",
        "3 were given up",
        "-0.25 s",
        "ws-2 is down since 07:59:55",
        "OLDUSD: no tick newer than 07:58:30 (90 s).",
        "feed down",
        "2027-01-15 07:59:10 UTC",
        "more than 8 decimals",
        "OLDUSD",
        "90.0 s ago",
        "disk I/O error",
    ):
        assert wanted in text, wanted


def test_the_page_of_a_process_that_has_seen_nothing_yet(served: Served) -> None:
    served.status = replace(
        STATUS, role="starting", feed_state="down", feed_event_time_ms=None, topic_event_time_ms=None, symbols=()
    )
    text = text_of(served.get("/")[1])
    assert "not ready" in text
    assert "still starting" in text
    assert "none yet" in text
    assert "No gap in the ledger since the start" in text


def test_what_repeats_is_one_line_with_its_onset(served: Served) -> None:
    for number in range(40):
        served.telemetry.tell(Rejected(replace(REJECT, symbol=f"S{number % 2}USD"), repeated=False))
        served.telemetry.tell(SocketClosed("ws-1", "lost", f"number {number}"))
    body = served.get("/")[1]
    assert body.count("S0USD, S1USD") == 1
    assert body.count("<td>connection_closed</td>") == 1
    assert body.count("<td>40</td>") == 3, "the rejects are warnings, too"
    assert "number 39" in body


def test_what_is_missing_now_stands_beside_the_ledger(served: Served) -> None:
    served.status = replace(STATUS, topic_event_time_ms=NOW_MS - 62_000, feed_state="down")
    text = text_of(served.get("/")[1])
    assert "Every symbol: no tick newer than 07:58:58 (62 s)." in text
    assert "No gap in the ledger since the start" in text


def test_an_event_time_ahead_of_our_clock_is_told_as_such(served: Served) -> None:
    served.status = replace(STATUS, feed_event_time_ms=NOW_MS + 90_000, feed_ahead_ms=90_000)
    text = text_of(served.get("/")[1])
    assert "90.0 s ahead of our clock" in text
    assert "+90.00 s" in text


def test_nothing_on_the_page_is_taken_for_markup_and_no_secret_is_shown() -> None:
    telemetry = Telemetry(stream=io.StringIO(), secrets=["s3cr3t-w0rd"])
    hostile = "<script>alert(1)</script>&\"' s3cr3t-w0rd https://user:pa55w0rd@host/"
    telemetry.tell(Rejected(replace(REJECT, detail=hostile, data=hostile.encode(), symbol=hostile), repeated=False))
    telemetry.tell(GapFound("<b>", 1, 2, 1, "unknown"))
    page = status_page(
        replace(
            STATUS,
            topic="<i>topic",
            replica="<i>replica",
            waiting=hostile,
            journal_problem=hostile,
            symbols=(("<u>", NOW_MS),),
            sockets=(SocketStatus("<s>", "down", 0, 0, None, "<em>", 1, "ws://user:pa55w0rd@<i>host", ("<i>stream",)),),
            rest=RestStatus("<i>rest", 0, 0, None, hostile, 1, "http://user:pa55w0rd@<i>rest"),
            kafka=KafkaStatus(hostile, problem=hostile, held_back=hostile),
            refused=(Refused(hostile, hostile, (hostile,), NOW_MS, NOW_MS, 1),),
        ),
        telemetry,
    )
    assert "<script" not in page
    for mark in (
        "<b>al",
        "<i>topic",
        "<i>replica",
        "<i>rest",
        "<i>host",
        "<i>stream",
        "<u>",
        "<s>",
        "<em>",
        "s3cr3t",
        "pa55w0rd",
    ):
        assert mark not in page
    assert "&lt;script&gt;alert(1)" in page
