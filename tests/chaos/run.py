"""The long form: every row of the guarantees' table as written there, then random faults for twenty minutes.

``python -m tests.chaos.run`` writes ``docs/chaos-report.md``; exit code 0 where everything held. With ``--rows`` the
other rows of the page stay as they were.
"""

from __future__ import annotations

import os
import platform
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Collection, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
import confluent_kafka

from connector.local.stack import LocalStack
from tests.chaos.cases import CASES, LONG, SHORT, Case, Scale
from tests.chaos.harness import Outcome
from tests.chaos.storm import Storm

REPORT = Path(__file__).parents[2] / "docs" / "chaos-report.md"


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one case."""

    row: int
    title: str
    took_s: float
    outcome: Outcome | None
    failure: str
    notes: tuple[str, ...] = ()


def attempt(row: int, title: str, run: Callable[[], tuple[Outcome, tuple[str, ...]]]) -> Result:
    started = time.monotonic()
    outcome: Outcome | None = None
    failure, notes = "", tuple[str, ...]()
    try:
        outcome, notes = run()
    except (AssertionError, TimeoutError) as broken:
        failure = str(broken)
        traceback.print_exc()
    result = Result(row, title, time.monotonic() - started, outcome, failure, notes)
    click.echo(f"row {row}: {title} {'FAILED' if failure else 'held'} after {result.took_s:.0f} s")
    return result


def run_case(row: int, case: Case, scale: Scale, folder: Path) -> Result:
    def run() -> tuple[Outcome, tuple[str, ...]]:
        with LocalStack() as stack:
            return case(stack, folder / case.__name__, scale), ()

    return attempt(row, (case.__doc__ or case.__name__).splitlines()[0], run)


def run_storm(minutes: float, rate_hz: float, every_s: float, folder: Path, seed: int) -> Result:
    def run() -> tuple[Outcome, tuple[str, ...]]:
        with LocalStack() as stack:
            storm = Storm(stack, folder / "storm", minutes=minutes, rate_hz=rate_hz, every_s=every_s, seed=seed)
            return storm.run(), storm.notes()

    title = f"{minutes:g} min at {rate_hz:g} Hz of 60 symbols, a random fault every {every_s:g} s (seed {seed})."
    return attempt(14, title, run)


def report(results: list[Result], scale: Scale, kept: Iterable[str] = ()) -> str:
    """The page; ``kept``: table lines of an earlier one, of rows that were not run now."""
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M}"
    measured = sorted([*kept, *(_line(result, now) for result in results)], key=_row_of)
    lines = [
        "# Chaos report",
        "",
        "Written by `make chaos`: a real broker and a real registry on one "
        f"machine ({os.cpu_count()} cores, {platform.system()} {platform.release()}, Python "
        f"{platform.python_version()}, librdkafka {confluent_kafka.libversion()[0]}), the fake exchange at "
        f"{scale.rate_hz:g} Hz of {scale.symbols} symbols. The judge (`tests/judge.py`) shares no code with the "
        "connector. Row numbers are those of [guarantees.md](guarantees.md).",
        "",
        "*Lost*: handed by the exchange to a socket of a process, and not in the topic. Where the only replica is "
        "killed, what is on its way to it in that moment is lost; the ledger has those periods.",
        "",
        "| row | fault | ticks | lost | duplicates | out of order | altered | gaps | takeovers | latest | took "
        "| ended (UTC) | |",
        "|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|---|",
        *measured,
    ]
    for result in results:
        if result.failure or result.notes:
            lines += ["", f"## Row {result.row}", "", *result.notes]
            if result.failure:
                lines += ["```", result.failure[:4000], "```"]
    return "\n".join(lines) + "\n"


def kept_lines(page: str, run_now: Collection[int]) -> list[str]:
    """The table lines of an earlier page, without the rows that were run now."""
    lines = [line for line in page.splitlines() if re.match(r"\| \d+ \|", line)]
    return [line for line in lines if _row_of(line) not in run_now]


def _row_of(line: str) -> int:
    return int(line.split("|")[1])


def _line(result: Result, now: str) -> str:
    outcome = result.outcome
    if outcome is None:
        return f"| {result.row} | {result.title} | | | | | | | | | {result.took_s:.0f} s | {now} | **failed** |"
    verdict = outcome.verdict
    cells = (
        result.row,
        result.title,
        f"{verdict.sent:,}",
        verdict.lost,
        verdict.duplicates,
        verdict.out_of_order,
        verdict.altered,
        len(outcome.gaps),
        outcome.takeovers,
        f"{outcome.lateness.max_s:.1f} s",
        f"{result.took_s:.0f} s",
        now,
        "held",
    )
    return f"| {' | '.join(str(cell) for cell in cells)} |"


@click.command()
@click.option("--rows", default="", help="Only these, as 1,2,14; all where empty.")
@click.option("--short", is_flag=True, help="The short form of rows 1 to 13.")
@click.option("--minutes", default=20.0, show_default=True, help="Of row 14.")
@click.option("--rate", "rate_hz", default=50.0, show_default=True, help="Frames a second in row 14.")
@click.option("--every", "every_s", default=10.0, show_default=True, help="Seconds from fault to fault in row 14.")
@click.option("--seed", default=1, show_default=True, help="Of the faults in row 14.")
@click.option("--report", "report_path", default=REPORT, show_default=False, type=click.Path(path_type=Path))
@click.option("--keep", default=None, type=click.Path(path_type=Path), help="Keep logs and journals in this folder.")
def main(
    rows: str,
    short: bool,
    minutes: float,
    rate_hz: float,
    every_s: float,
    seed: int,
    report_path: Path,
    keep: Path | None,
) -> None:
    """Make every fault, judge what is in the topic, and write the report."""
    wanted = {int(row) for row in rows.split(",")} if rows else {*CASES, 14}
    scale = SHORT if short else LONG
    results = []
    with ExitStack() as exits:
        folder = keep or Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        for row in sorted(wanted & CASES.keys()):
            results += [run_case(row, case, scale, folder) for case in CASES[row]]
        if 14 in wanted:
            results.append(run_storm(minutes, rate_hz, every_s, folder, seed))
    kept = kept_lines(report_path.read_text("utf-8"), wanted) if report_path.exists() else []
    report_path.write_text(report(results, scale, kept), "utf-8")
    click.echo(f"written: {report_path}")
    sys.exit(1 if any(result.failure for result in results) else 0)


if __name__ == "__main__":
    main()
