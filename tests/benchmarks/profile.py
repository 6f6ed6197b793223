"""``make profile``: a flame graph of a replay, one tower a thread, with py-spy.

It samples the process from outside, so what is measured is the program as it
is. librdkafka's own threads run no Python and are not in it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from connector.local.stack import LocalStack, prepare
from tests.benchmarks.frames import CADENCE_MS, write_frames
from tests.benchmarks.job import Job, encoded
from tests.benchmarks.place import Place
from tests.benchmarks.subjects import AT_LEAST_ONCE, EXACTLY_ONCE, PLAIN
from tests.benchmarks.throughput import PARTITIONS, SYMBOLS

SAMPLES_A_SECOND = 200
OUTPUT = Path(__file__).parents[2] / "build" / "profile.svg"


@click.command()
@click.option("--subject", type=click.Choice([EXACTLY_ONCE, AT_LEAST_ONCE, PLAIN]), default=EXACTLY_ONCE)
@click.option("--frames", "count", default=14_400, show_default=True, help="Frames of 60 symbols.")
@click.option("--output", type=click.Path(path_type=Path), default=OUTPUT, show_default="build/profile.svg")
def main(subject: str, count: int, output: Path) -> None:
    """Replay made-up frames into a local broker and write a flame graph."""
    prepare()
    output.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="profile-") as folder,
        LocalStack() as stack,
        Place(stack).topic(PARTITIONS) as (topic, schema_id),
    ):
        frames = Path(folder) / "frames"
        first_ms = (time.time_ns() // 1_000_000 // CADENCE_MS - count) * CADENCE_MS
        write_frames(frames, frames=count, symbols=SYMBOLS, first_ms=first_ms)
        job = Job(
            subject=subject,
            topic=topic,
            bootstrap=stack.bootstrap_servers,
            registry_url=stack.registry_url,
            schema_id=schema_id,
            folder=folder,
            frames=str(frames),
            records=count * SYMBOLS,
        )
        py_spy = str(Path(sys.executable).with_name("py-spy"))
        sampler = [py_spy, "record", "--threads", f"--rate={SAMPLES_A_SECOND}", f"--output={output}", "--"]
        subprocess.run([*sampler, sys.executable, "-m", "tests.benchmarks.subjects", encoded(job)], check=True)
    click.echo(output)


if __name__ == "__main__":
    main()
