"""``make bench``: everything measured, as JSON, as a chart, and as the tables of docs/performance.md."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from connector.local.stack import LocalStack, prepare
from tests.benchmarks import backlog, footprint, latency, page, throughput
from tests.benchmarks.chart import chart
from tests.benchmarks.machine import this_machine
from tests.benchmarks.place import Place

DOCS = Path(__file__).parents[2] / "docs"
PARTS = ("throughput", "scaling", "latency", "backlog", "footprint")


@click.command()
@click.option("--rounds", default=5, show_default=True, help="How often every subject runs, in turn.")
@click.option("--seconds", default=20.0, show_default=True, help="Of each live run; at 1 Hz three times that.")
@click.option("--minutes", default=5.0, show_default=True, help="For which memory and CPU time at 1 Hz are watched.")
@click.option("--only", multiple=True, type=click.Choice(PARTS), help="Measure this alone; the rest stays as it was.")
@click.option("--folder", type=click.Path(path_type=Path), default=DOCS, help="Where JSON, chart and page are.")
def main(rounds: int, seconds: float, minutes: float, only: tuple[str, ...], folder: Path) -> None:
    """Measure on a local broker and registry. Takes some 30 minutes; nothing else should run."""
    file = folder / "performance.json"
    known = msgspec.json.decode(file.read_bytes(), type=page.Results) if file.exists() else page.Results()
    machine = this_machine()
    results = msgspec.structs.replace(known, machine=machine, measured_on=f"{datetime.now(UTC):%Y-%m-%d}")
    wanted = set(only or PARTS)
    prepare()
    with LocalStack() as stack:
        place = Place(stack)
        if "throughput" in wanted:
            results = msgspec.structs.replace(results, throughput=throughput.throughput(place, rounds, _say))
        if "scaling" in wanted:
            results = msgspec.structs.replace(results, scaling=throughput.scaling(place, max(3, rounds // 2), _say))
        if "latency" in wanted:
            fast = latency.latency(place, 10.0, seconds, rounds, _say)
            slow = latency.latency(place, 1.0, 3 * seconds, 1, _say)
            results = msgspec.structs.replace(results, latency=fast + slow)
        if "backlog" in wanted:
            results = msgspec.structs.replace(results, backlog=backlog.backlog(place))
        if "footprint" in wanted:
            results = msgspec.structs.replace(results, footprint=footprint.footprint(place, minutes * 60))
    file.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=2) + b"\n")
    caption = f"{machine.processor}, {machine.cores} cores, broker on the same machine; {results.measured_on}"
    (folder / "performance.svg").write_text(chart(results.throughput, caption))
    page.write(folder / "performance.md", results)
    click.echo(page.tables(results))


def _say(what: str) -> None:
    click.echo(f"{time.strftime('%H:%M:%S')} {what}", err=True)


if __name__ == "__main__":
    main()
