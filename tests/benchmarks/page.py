"""The tables of docs/performance.md, between its two marks; the text around them is written by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from tests.benchmarks.backlog import Result as Backlog
from tests.benchmarks.footprint import Result as Footprint
from tests.benchmarks.footprint import Steady
from tests.benchmarks.latency import Result as Latency
from tests.benchmarks.machine import Machine
from tests.benchmarks.spread import Percentiles
from tests.benchmarks.subjects import AT_LEAST_ONCE, BARE_PRODUCE, BARE_TRANSACTIONS, CEILING, EXACTLY_ONCE, LIVE, PLAIN
from tests.benchmarks.throughput import Result as Throughput

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
BARE = {LIVE + AT_LEAST_ONCE: BARE_PRODUCE, LIVE + EXACTLY_ONCE: BARE_TRANSACTIONS}


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """Everything measured; parts that were not are empty."""

    measured_on: str = ""
    machine: Machine | None = None
    throughput: list[Throughput] = []
    scaling: list[Throughput] = []
    latency: list[Latency] = []
    backlog: Backlog | None = None
    footprint: Footprint | None = None
    steady: Steady | None = None


def write(path: Path, results: Results) -> None:
    """Put the tables in their place. Raises ValueError where the page has no marks."""
    text = path.read_text()
    head, found, rest = text.partition(BEGIN)
    _, ended, tail = rest.partition(END)
    if not (found and ended):
        raise ValueError(f"{path} has not the marks {BEGIN} and {END}")
    path.write_text(f"{head}{BEGIN}\n{tables(results)}\n{END}{tail}")


def tables(results: Results) -> str:
    """All of them, as Markdown."""
    parts = (_machine(results), _throughput(results), _scaling(results), _latency(results), _rest(results))
    return "\n".join(line for part in parts for line in part)


def _machine(results: Results) -> Iterator[str]:
    machine = results.machine
    if machine is None:
        return
    packages = ", ".join(f"{name} {version}" for name, version in machine.packages.items())
    yield f"Measured on {results.measured_on}: {machine.processor}, {machine.cores} cores, {machine.memory_gib} GiB,"
    yield f"{machine.system}, Python {machine.python}, librdkafka {machine.librdkafka}, {packages}."
    yield f"Load average at the start, from whatever else ran: {machine.load_at_start}."


def _throughput(results: Results) -> Iterator[str]:
    if not results.throughput:
        return
    of = {each.case.subject: each for each in results.throughput}
    plain, ceiling = of[PLAIN].cpu_us_a_record.median, of[CEILING].cpu_us_a_record.median
    yield "\n### Throughput\n"
    yield "Each number: min / median / max over the rounds.\n"
    yield "| subject | records a CPU-second | × plain | of ceiling | records a second |"
    yield "|---|---|---|---|---|"
    for subject, each in of.items():
        cpu, wall, mine = each.records_a_cpu_second, each.records_a_second, each.cpu_us_a_record.median
        yield (
            f"| {subject} | {cpu.min:,.0f} / {cpu.median:,.0f} / {cpu.max:,.0f} | {plain / mine:.1f} | "
            f"{ceiling / mine:.0%} | {wall.min:,.0f} / {wall.median:,.0f} / {wall.max:,.0f} |"
        )


def _scaling(results: Results) -> Iterator[str]:
    if not results.scaling:
        return
    base = results.scaling[0].cpu_us_a_record.median
    yield "\n### Scaling\n"
    yield "| symbols a frame | partitions | CPU µs a record: min / median / max | × the first |"
    yield "|---|---|---|---|"
    for each in results.scaling:
        cost = each.cpu_us_a_record
        yield (
            f"| {each.case.symbols:,} | {each.case.partitions} | {cost.min:.1f} / {cost.median:.1f} / {cost.max:.1f} "
            f"| {cost.median / base:.2f} |"
        )


def _latency(results: Results) -> Iterator[str]:
    if not results.latency:
        return
    of = {(each.subject, each.rate_hz): each for each in results.latency}
    yield "\n### Live latency\n"
    yield "Milliseconds: p50 / p90 / p99 / max; beside it p50 / p99 as multiples of the bare loop's.\n"
    yield "| subject | Hz | received → acknowledged | × bare | sent → visible |"
    yield "|---|---|---|---|---|"
    for (subject, rate_hz), each in of.items():
        done = each.acknowledged_ms
        ratio = "–"
        if subject in BARE:
            bare = of[BARE[subject], rate_hz].acknowledged_ms
            ratio = f"{done.p50 / bare.p50:.2f} / {done.p99 / bare.p99:.2f}"
        yield (f"| {subject} | {rate_hz:g} | {_shown(each.acknowledged_ms)} | {ratio} | {_shown(each.visible_ms)} |")


def _shown(times: Percentiles) -> str:
    return f"{times.p50:.1f} / {times.p90:.1f} / {times.p99:.1f} / {times.max:.1f}"


def _rest(results: Results) -> Iterator[str]:
    if results.backlog is None and results.footprint is None and results.steady is None:
        return
    yield "\n### Backlog, start and footprint\n"
    yield "| what | measured |"
    yield "|---|---|"
    if (done := results.backlog) is not None:
        order = "in order" if done.in_order else "NOT in order"
        yield f"| {done.records:,} records from the journal after the broker's return | {done.took_s:.1f} s, {order} |"
    if (idle := results.footprint) is not None:
        start = idle.start_s
        yield (
            f"| process start → first record visible | {start.min:.1f} / {start.median:.1f} / {start.max:.1f} s "
            "(min / median / max) |"
        )
        yield from _steady(idle.steady)
    if results.steady is not None:
        yield from _steady(results.steady)


def _steady(measured: Steady) -> Iterator[str]:
    live = f"live at 1 Hz × 60, {measured.seconds / 60:g} min"
    yield f"| CPU, {live} | {measured.cpu_percent_of_a_core:.1f} % of a core |"
    yield (
        f"| resident memory, {live}: first tenth / last tenth / peak | {measured.memory_first_mib:.1f} / "
        f"{measured.memory_last_mib:.1f} / {measured.memory_peak_mib:.1f} MiB |"
    )
