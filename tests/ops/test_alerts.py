"""The alert rules, by ``promtool``: nothing fires while all is well, and each fires for its own fault."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.chaos.replica import ROOT
from tests.ops.debian import fetched

RULES = ROOT / "docker" / "prometheus" / "alerts.yaml"
HANDBOOK = ROOT / "docs" / "operations.md"
PREFIX = "binance_kafka_source_"

BEFORE = 130
"""Samples, one in 30 s, until the fault begins; it is looked at 5 min later."""
LOOKED_AT = "70m"


def rules() -> list[dict[str, Any]]:
    return list(YAML(typ="safe").load(RULES.read_text("utf-8"))["groups"][0]["rules"])


def steady(value: float) -> str:
    return f"{value}x200"


def then(before: float, after: str) -> str:
    """As it was for 65 min, and then these values."""
    return f"{before}x{BEFORE - 1} {after}"


def grows(step: float) -> str:
    return f"0+{step}x200"


def once(by: float = 1, start: float = 0) -> str:
    """A counter that jumps at the fault."""
    return then(start, f"{start + by}x100")


HEALTHY: Mapping[str, str] = {
    'build_info{version="0.1.0",replica="I",topic="t"}': steady(1),
    "topic_event_time_age_seconds": steady(1),
    "feed_event_time_age_seconds": steady(1),
    "ready": steady(1),
    "journal_troubled": steady(0),
    "journal_bytes": steady(20_000),
    "journal_max_bytes": steady(1_000_000),
    "connections_advancing": steady(2),
    "rest_filling": steady(0),
    "starts_without_history_total": steady(1),
    "partitions_grown_total": steady(0),
    "credentials_kept_total": steady(0),
    "streams_missing_total": steady(0),
    "unknown_fields_total": steady(1),
    "takeovers_total": steady(1),
    'gaps_total{reason="feed down"}': steady(2),
    'rejects_total{reason="scale"}': steady(3),
    'rejects_total{reason="event time"}': steady(3),
    'transactions_total{outcome="committed"}': grows(10),
    'transactions_total{outcome="failed"}': steady(1),
    'transactions_total{outcome="fenced"}': steady(0),
    'reconnects_total{connection="ws-1",reason="rotation"}': grows(0.05),
    'reconnects_total{connection="ws-1",reason="silent"}': grows(0.01),
    'receive_to_commit_seconds_bucket{le="0.1"}': grows(10),
    'receive_to_commit_seconds_bucket{le="5.0"}': grows(10),
    'receive_to_commit_seconds_bucket{le="10.0"}': grows(10),
    'receive_to_commit_seconds_bucket{le="+Inf"}': grows(10),
    'quality_open{finding="disordered"}': steady(0),
    'quality_open{finding="all frozen"}': steady(0),
    'quality_open{finding="frozen"}': steady(3),
    'quality_open{finding="symbols differ"}': steady(0),
    "symbols": steady(60),
    "process_start_time_seconds": steady(0),
}
"""Of both replicas. Faults of the past are still in the counters."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What differs from a healthy hour, and which alerts that fires."""

    name: str
    fires: set[str]
    both: Mapping[str, str] = field(default_factory=dict)
    one: Mapping[str, str] = field(default_factory=dict)
    """Of the first replica alone."""
    other_job: Mapping[str, str] = field(default_factory=dict)
    """Of the only replica of another stream."""


ENDED = {name: values.replace("x200", f"x{BEFORE - 1} stale") for name, values in HEALTHY.items()}
FAULTS = (
    Fault("nothing", set()),
    Fault("a pause of the feed of 20 s", set(), {"feed_event_time_age_seconds": then(1, "20 1x90")}),
    Fault("one bad array", {"TicksRejected"}, one={'rejects_total{reason="event time"}': once(60)}),
    Fault("nobody runs", {"NoReplicaRuns"}, ENDED),
    Fault("one ended", {"ReplicaMissing"}, one=ENDED),
    Fault(
        "the broker is down",
        {"TopicStale", "ReplicaNotReady"},
        {"topic_event_time_age_seconds": then(1, "10+30x90"), "ready": then(1, "0x90")},
    ),
    Fault(
        "this replica alone does not see the topic",
        {"ReplicaNotReady"},
        one={"topic_event_time_age_seconds": then(1, "10+30x90"), "ready": then(1, "0x90")},
    ),
    Fault(
        "a bound of the journal",
        {"TicksGivenUp", "JournalFills"},
        one={
            'journal_dropped_frames_total{policy="drop-oldest"}': f"_x{BEFORE} 5x100",
            "journal_bytes": then(2e4, "1e6x90"),
        },
    ),
    Fault("the bound again", {"TicksGivenUp"}, one={'journal_dropped_frames_total{policy="drop-oldest"}': once(5, 3)}),
    Fault("the bound long ago", set(), one={'journal_dropped_frames_total{policy="drop-oldest"}': steady(5)}),
    Fault("the journal fills", {"JournalFills"}, one={"journal_bytes": then(20_000, "6e5x90")}),
    Fault("the journal's disk", {"JournalTroubled"}, one={"journal_troubled": then(0, "1x90")}),
    Fault(
        "a gap that the restarted process told before it was scraped",
        {"GapFound"},
        one={'gaps_total{reason="not running"}': f"_x{BEFORE} 1x100"},
    ),
    Fault(
        "a restart without one",
        set(),
        one={'gaps_total{reason="not running"}': f"_x{BEFORE} 0x100"},
    ),
    Fault("rejected at once", {"TicksRejected"}, one={'rejects_total{reason="type"}': f"_x{BEFORE} 60x100"}),
    Fault("misspelt from the start", {"StreamsMissing"}, one={"streams_missing_total": f"_x{BEFORE} 1x100"}),
    Fault("nobody runs of one stream of two", {"NoReplicaRuns"}, other_job=ENDED),
    Fault("two streams", {"ReplicaMissing"}, other_job=HEALTHY),
    Fault("a gap", {"GapFound"}, one={'gaps_total{reason="feed down"}': once(3, 2)}),
    Fault(
        "writes take long",
        {"WritesSlow"},
        {
            'receive_to_commit_seconds_bucket{le="0.1"}': f"0+10x{BEFORE - 20} {10 * (BEFORE - 20)}x200",
            'receive_to_commit_seconds_bucket{le="5.0"}': f"0+10x{BEFORE - 20} {10 * (BEFORE - 20)}x200",
        },
    ),
    Fault("transactions fail", {"TransactionsFail"}, one={'transactions_total{outcome="failed"}': then(1, "2+1x90")}),
    Fault("one transaction fails", set(), one={'transactions_total{outcome="failed"}': once(1, 1)}),
    Fault("taking turns", {"TakesOverOften"}, {"takeovers_total": then(1, "2 3 4 4x90")}),
    Fault("one takeover", set(), one={"takeovers_total": once(1, 1)}),
    Fault("a key that does not fit", {"CredentialsKept"}, one={"credentials_kept_total": once()}),
    Fault("more partitions", {"PartitionsGrew"}, {"partitions_grown_total": once()}),
    Fault(
        "an empty topic",
        {"StartedWithoutHistory"},
        one={"process_start_time_seconds": then(0, "3900x90"), "starts_without_history_total": steady(1)},
    ),
    Fault("a replica is not ready", {"ReplicaNotReady"}, one={"ready": then(1, "0x90")}),
    Fault(
        "one restart",
        set(),
        one={"process_start_time_seconds": then(0, "3900x90"), "starts_without_history_total": steady(0)},
    ),
    Fault(
        "restarts",
        {"ReplicaRestarts"},
        one={
            "process_start_time_seconds": then(0, "3900 3930 3960 3990x90"),
            "starts_without_history_total": steady(0),
        },
    ),
    Fault(
        "no feed",
        {"FeedStale", "ReplicaNotReady"},
        one={"feed_event_time_age_seconds": then(1, "10+30x90"), "ready": then(1, "0x90")},
    ),
    Fault("one connection", {"NoSpareConnection"}, {"connections_advancing": f"2x{BEFORE - 20} 1x200"}),
    Fault("a short silence of one", set(), {"connections_advancing": then(2, "1 2x90")}),
    Fault(
        "closed again and again",
        {"ConnectionsEndOften"},
        one={'reconnects_total{connection="ws-1",reason="closed"}': then(0, "2+2x90")},
    ),
    Fault("refused", {"FeedRefused"}, one={'feed_refusals_total{status="451"}': f"_x{BEFORE} 1x100"}),
    Fault("REST instead", {"RestFills"}, one={"rest_filling": then(0, "1x90")}),
    Fault("a misspelt symbol", {"StreamsMissing"}, one={"streams_missing_total": once()}),
    Fault(
        "a clock is off",
        {"ClockOff", "TicksRejected"},
        one={'rejects_total{reason="event time"}': then(3, "63+60x90")},
    ),
    Fault("a reject", {"TicksRejected"}, one={'rejects_total{reason="scale"}': once(1, 3)}),
    Fault("a new field", {"FieldUnknown"}, one={"unknown_fields_total": once(1, 1)}),
    Fault(
        "a symbol is gone",
        {"SymbolVanished"},
        one={'symbol_changes_total{kind="symbol_vanished"}': f"_x{BEFORE} 1x100"},
    ),
    Fault(
        "rates cross for a moment", {"ValuesDisordered"}, {'quality_open{finding="disordered"}': then(0, "1x2 0x90")}
    ),
    Fault("nothing moves", {"ValuesFrozen"}, {'quality_open{finding="all frozen"}': then(0, "1x90")}),
    Fault("many do not move", {"ValuesFrozen"}, {'quality_open{finding="frozen"}': then(3, "20x90")}),
    Fault(
        "two pegged ones, asked for alone", set(), {"symbols": steady(2), 'quality_open{finding="frozen"}': steady(2)}
    ),
    Fault("a few do not move", set(), {'quality_open{finding="frozen"}': then(3, "9x90")}),
    Fault(
        "a symbol that the stream leaves out",
        {"SymbolsDiffer"},
        {'quality_open{finding="symbols differ"}': f"0x{BEFORE - 40} 1x200"},
    ),
    Fault("a listing under way", set(), {'quality_open{finding="symbols differ"}': then(0, "1x6 0x90")}),
)


def series_of(fault: Fault) -> dict[str, str]:
    found: dict[str, str] = {}
    for job, instance, series in (
        ("connector", "one:9400", {**HEALTHY, **fault.both, **fault.one}),
        ("connector", "two:9400", {**HEALTHY, **fault.both}),
        ("other", "three:9400", fault.other_job),
    ):
        for name, values in series.items():
            metric, _, labels = name.partition("{")
            full = metric if metric.startswith("process_") else PREFIX + metric
            told = f",{labels.rstrip('}')}" if labels else ""
            found[f'{full}{{job="{job}",instance="{instance}"{told}}}'] = values
    return found


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    program = fetched("prometheus").folder / "usr" / "bin" / "promtool"
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_prometheus_takes_rules_and_configuration() -> None:
    done = promtool("check", "config", RULES.with_name("prometheus.yaml"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules())} rules found" in done.stdout


@pytest.mark.timeout(300)
def test_each_alert_fires_for_its_fault_and_no_other(tmp_path: Path) -> None:
    tests = [
        {
            "name": fault.name,
            "interval": "30s",
            "input_series": [{"series": name, "values": values} for name, values in series_of(fault).items()],
            "promql_expr_test": [
                {
                    "expr": 'sum by (alertname) (ALERTS{alertstate="firing"}) > bool 0',
                    "eval_time": LOOKED_AT,
                    "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(fault.fires)],
                }
            ],
        }
        for fault in FAULTS
    ]
    file = tmp_path / "alerts.test.yaml"
    with file.open("w") as stream:
        YAML().dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}, stream)
    done = promtool("test", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_fault_that_fires_it() -> None:
    assert {name for fault in FAULTS for name in fault.fires} == {rule["alert"] for rule in rules()}


def test_every_alert_names_its_remedy() -> None:
    sections = {anchor(heading) for heading in re.findall(r"^#+ (.*)$", HANDBOOK.read_text("utf-8"), re.MULTILINE)}
    for rule in rules():
        page, _, section = rule["annotations"]["remedy"].partition("#")
        assert page == "docs/operations.md"
        assert section == rule["alert"].lower()
        assert section in sections, f"{rule['alert']} has no section in {page}"
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]


def anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.strip().lower()).replace(" ", "-")
