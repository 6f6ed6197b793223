"""``make bench``: everything measured, as JSON, as a chart, and as the tables of docs/performance.md.

Each part is written as soon as it is measured, and one that fails does not keep the others from being measured.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from connector.local.stack import LocalStack, prepare
from tests.benchmarks import backlog, footprint, latency, page, throughput
from tests.benchmarks.chart import chart
from tests.benchmarks.machine import this_machine
from tests.benchmarks.place import Place

DOCS = Path(__file__).parents[2] / "docs"
PARTS = ("throughput", "scaling", "latency", "backlog", "footprint")
STEADY = "steady"
"""The footprint over a longer time, asked for by name alone; its own table stays when the others are measured anew."""


@click.command()
@click.option("--rounds", default=5, show_default=True, help="How often every subject runs, in turn.")
@click.option("--seconds", default=10.0, show_default=True, help="Of each live run; at 1 Hz four times that.")
@click.option("--minutes", default=2.0, show_default=True, help="For which memory and CPU time at 1 Hz are watched.")
@click.option(
    "--only", multiple=True, type=click.Choice([*PARTS, STEADY]), help="Measure this alone; the rest stays as it was."
)
@click.option("--folder", type=click.Path(path_type=Path), default=DOCS, help="Where JSON, chart and page are.")
def main(rounds: int, seconds: float, minutes: float, only: tuple[str, ...], folder: Path) -> None:
    """Measure on a local broker and registry. Takes some 20 minutes; nothing else should run."""
    if not (folder / "performance.md").is_file():
        raise click.BadParameter(f"{folder} has no performance.md to write the tables into", param_hint="--folder")
    file = folder / "performance.json"
    known = msgspec.json.decode(file.read_bytes(), type=page.Results) if file.exists() else page.Results()
    results = known
    if not only:
        results = msgspec.structs.replace(known, machine=this_machine(), measured_on=f"{datetime.now(UTC):%Y-%m-%d}")
    failed: list[str] = []
    prepare()
    with LocalStack() as stack:
        measures = _measures(Place(stack), rounds, seconds, minutes)
        for part in only or PARTS:
            try:
                results = msgspec.structs.replace(results, **{part: measures[part]()})
            except (RuntimeError, TimeoutError, OSError, AssertionError):
                traceback.print_exc()
                failed.append(part)
            else:
                _write(folder, results)
    click.echo(page.tables(results))
    if failed:
        sys.exit(f"failed: {', '.join(failed)}; what stands in the page for it is of an earlier time")


def _measures(place: Place, rounds: int, seconds: float, minutes: float) -> dict[str, Callable[[], Any]]:
    return {
        "throughput": lambda: throughput.throughput(place, rounds, _say),
        "scaling": lambda: throughput.scaling(place, max(3, rounds // 2), _say),
        "latency": lambda: (
            latency.latency(place, 10.0, seconds, rounds, _say) + latency.latency(place, 1.0, 4 * seconds, 1, _say)
        ),
        "backlog": lambda: backlog.backlog(place, _say),
        "footprint": lambda: footprint.footprint(place, minutes * 60, _say),
        STEADY: lambda: footprint.steady(place, minutes * 60, _say),
    }


def _write(folder: Path, results: page.Results) -> None:
    (folder / "performance.json").write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=2) + b"\n")
    if results.throughput and results.machine is not None:
        machine = results.machine
        caption = f"{machine.processor}, {machine.cores} cores, broker on the same machine; {results.measured_on}"
        (folder / "performance.svg").write_text(chart(results.throughput, caption))
    page.write(folder / "performance.md", results)


def _say(what: str) -> None:
    click.echo(f"{time.strftime('%H:%M:%S')} {what}", err=True)


if __name__ == "__main__":
    main()
