"""The dashboard's and the alerts' queries, asked of a real Prometheus that scrapes a real connector."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from connector.edges.metrics import Metrics
from connector.local.cache import cache_folder
from connector.local.ports import Ports
from tests.chaos.replica import ROOT, Replica
from tests.ops.debian import fetched
from tests.ops.test_alerts import RULES, rules

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

DASHBOARD = ROOT / "docker" / "grafana" / "dashboards" / "connector.json"
SCRAPED_EVERY = "1s"
_OURS = re.compile(r"binance_kafka_source_\w+")
_LABELLED = re.compile(r"(\w+)\{([^}]*)\}")
_LABEL = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"')
ALWAYS_THERE = {"job", "instance", "le"}


def queries() -> list[tuple[str, str]]:
    """Every query of the dashboard, with the title of its panel."""
    found = json.loads(DASHBOARD.read_text("utf-8"))
    asked = [(panel["title"], target["expr"]) for panel in found["panels"] for target in panel.get("targets", [])]
    return [*asked, *((each["name"], each["expr"]) for each in found["annotations"]["list"])]


def expressions() -> list[tuple[str, str]]:
    return [*queries(), *((rule["alert"], rule["expr"]) for rule in rules())]


def labels_by_metric() -> dict[str, set[str]]:
    """What ``/metrics`` can show."""
    found: dict[str, set[str]] = {}
    for line in Metrics().lines:
        suffixes = ("_bucket", "_sum", "_count") if line.kind == "histogram" else ("",)
        found.update({f"{line.name}{suffix}": set(line.labels) for suffix in suffixes})
    return found


def test_every_name_and_label_is_one_of_ours() -> None:
    known = labels_by_metric()
    for title, expression in expressions():
        for name in _OURS.findall(expression):
            assert name in known, f"{title}: there is no metric {name}"
        for name, selector in _LABELLED.findall(expression):
            assert set(_LABEL.findall(selector)) <= known.get(name, set()) | ALWAYS_THERE, f"{title}: {expression}"
        grouped = {word.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for word in group.split(",")}
        usable = set().union(*(known[name] for name in _OURS.findall(expression)), ALWAYS_THERE)
        assert grouped <= usable, f"{title}: {expression}"


def test_the_dashboard_can_be_loaded() -> None:
    found = json.loads(DASHBOARD.read_text("utf-8"))
    panels = found["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for target in panel.get("targets", []):
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert {each["name"] for each in found["templating"]["list"]} == {"datasource", "job"}


@pytest.fixture(scope="module")
def prometheus(running: Replica, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus with our rules that has scraped the connector for some seconds."""
    folder = tmp_path_factory.mktemp("prometheus")
    text = (RULES.parent / "prometheus.yaml").read_text("utf-8")
    text = text.replace('"one:9400", "two:9400"', f'"127.0.0.1:{running.port}"').replace("10s", SCRAPED_EVERY)
    (folder / "prometheus.yaml").write_text(text.replace("alerts.yaml", str(RULES)), "utf-8")
    ports = Ports(cache_folder() / "ports")
    address = f"127.0.0.1:{ports.take()}"
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                fetched("prometheus").folder / "usr" / "bin" / "prometheus",
                f"--config.file={folder / 'prometheus.yaml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={address}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        wait_until_scraped(f"http://{address}", folder / "prometheus.log")
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(20)
        ports.release()


def wait_until_scraped(url: str, log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            samples = ask(url, "min(count_over_time(binance_kafka_source_ready[1m]))")
        except (httpx.TransportError, ValueError):  # it is not up yet, and says so in plain text
            samples = []
        if samples and float(samples[0]["value"][1]) >= 5:
            return
        time.sleep(0.3)
    raise AssertionError(f"Prometheus scrapes nothing:\n{log.read_text('utf-8')[-2000:]}")


def ask(url: str, expression: str) -> list[dict[str, Any]]:
    answer = httpx.get(f"{url}/api/v1/query", params={"query": expression}, timeout=10).json()
    assert answer["status"] == "success", f"{expression}: {answer.get('error')}"
    return list(answer["data"]["result"])


SHOWN_ONCE_IT_HAPPENS = re.compile(
    r"reconnects_total|connections_failed_total|feed_refusals_total|journal_dropped_frames_total"
    r"|kafka_complaints_total|waits_total"
)
"""With labels of which nobody knows the values beforehand."""


def test_every_panel_shows_something(prometheus: str) -> None:
    titles = {panel["title"] for panel in json.loads(DASHBOARD.read_text("utf-8"))["panels"] if "targets" in panel}
    for title, expression in queries():
        filled = expression.replace("$job", "binance-kafka-source").replace("$__rate_interval", "30s")
        found = ask(prometheus, filled)
        if title in titles and not SHOWN_ONCE_IT_HAPPENS.search(expression):
            assert found, f"{title} is empty: {filled}"


def test_the_rules_are_evaluated_and_quiet(prometheus: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        answer = httpx.get(f"{prometheus}/api/v1/rules", timeout=10).json()
        (group,) = answer["data"]["groups"]
        if all(rule["health"] != "unknown" for rule in group["rules"]) or time.monotonic() > deadline:
            break
        time.sleep(0.3)
    assert {rule["health"] for rule in group["rules"]} == {"ok"}
    firing = {rule["name"] for rule in group["rules"] if rule["state"] == "firing"}
    # A new topic; what a loaded machine missed; and what another test had the same exchange do before.
    assert firing <= {"StartedWithoutHistory", "GapFound", "TicksRejected"}
