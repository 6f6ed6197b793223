"""A long run of one connector process at a steady rate: is everything there, and does its memory stay flat?

``python -m tests.soak --minutes 10 --rate 5 --symbols 60``; exit code 0 where every requirement holds.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import click

from connector.local.stack import LocalStack
from tests.chaos.harness import Outcome, Scene
from tests.chaos.replica import Replica

SAMPLE_EVERY_S = 2.0
WARM_UP_S = 300.0
SLOPE_LIMIT_MIB_PER_10_MIN = 1.0
PEAK_LIMIT_MIB = 96.0
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory of the process over the run."""

    peak_mib: float
    slope_mib_per_10_min: float | None
    """By least squares after the warm-up; None where the run is too short to tell."""
    at_warm_up_mib: float
    at_end_mib: float


def sample(replica: Replica, seconds: float) -> list[tuple[float, int]]:
    """(seconds since the start, bytes), every few seconds."""
    started = time.monotonic()
    samples: list[tuple[float, int]] = []
    while (elapsed_s := time.monotonic() - started) < seconds:
        samples.append((elapsed_s, replica.rss_bytes()))
        if sys.stderr.isatty():
            click.echo(f"\r{elapsed_s:6.0f} s  {samples[-1][1] / MIB:6.1f} MiB", err=True, nl=False)
        time.sleep(min(SAMPLE_EVERY_S, max(0.0, seconds - elapsed_s)))
    return samples


def memory_of(samples: list[tuple[float, int]]) -> Memory:
    warm = [(at_s, rss / MIB) for at_s, rss in samples if at_s >= WARM_UP_S]
    known = warm or [(at_s, rss / MIB) for at_s, rss in samples]
    return Memory(
        peak_mib=max(rss for _, rss in samples) / MIB,
        slope_mib_per_10_min=slope(warm) * 600 if len(warm) >= 30 else None,
        at_warm_up_mib=known[0][1],
        at_end_mib=known[-1][1],
    )


def slope(points: list[tuple[float, float]]) -> float:
    """Rise for one unit of the first coordinate, by least squares."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)


def problems(outcome: Outcome, memory: Memory) -> list[str]:
    """What does not hold."""
    found = []
    try:
        outcome.assert_nothing_lost()
    except AssertionError as broken:
        found.append(str(broken))
    if memory.peak_mib > PEAK_LIMIT_MIB:
        found.append(f"memory rose to {memory.peak_mib:.1f} MiB, more than {PEAK_LIMIT_MIB:g}")
    if memory.slope_mib_per_10_min is not None and memory.slope_mib_per_10_min >= SLOPE_LIMIT_MIB_PER_10_MIN:
        found.append(f"memory grows by {memory.slope_mib_per_10_min:.2f} MiB in 10 min")
    if any(outcome.journaled.values()):
        found.append(f"frames left in the journal: {dict(outcome.journaled)}")
    return found


def report(outcome: Outcome, memory: Memory) -> str:
    late = outcome.lateness
    growth = "too short to tell" if memory.slope_mib_per_10_min is None else f"{memory.slope_mib_per_10_min:+.2f} MiB"
    return "\n".join(
        [
            outcome.verdict.report(),
            f"visible after event time: p50 {late.p50_s * 1000:.0f} ms, p99 {late.p99_s * 1000:.0f} ms, "
            f"max {late.max_s * 1000:.0f} ms",
            f"memory: peak {memory.peak_mib:.1f} MiB, {memory.at_warm_up_mib:.1f} MiB after the warm-up, "
            f"{memory.at_end_mib:.1f} MiB at the end, growth in 10 min: {growth}",
        ]
    )


@click.command()
@click.option("--minutes", default=10.0, show_default=True)
@click.option("--rate", "rate_hz", default=5.0, show_default=True, help="Frames a second.")
@click.option("--symbols", default=60, show_default=True)
@click.option(
    "--keep", type=click.Path(path_type=Path), default=None, help="Keep logs and what was sent in this folder."
)
def main(minutes: float, rate_hz: float, symbols: int, keep: Path | None) -> None:
    """Run broker, registry, fake exchange and one connector process, then judge what is in the topic."""
    with tempfile.TemporaryDirectory(prefix="soak-") as temporary, LocalStack() as stack:
        folder = keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        truth_path = folder / "sent.jsonl"
        with Scene(stack, folder, rate_hz=rate_hz, symbols=symbols, truth_path=truth_path) as scene:
            samples = sample(scene.replica("one"), minutes * 60)
            outcome = scene.finish()
    memory = memory_of(samples)
    click.echo(f"{minutes:g} min at {rate_hz:g} Hz of {symbols} symbols")
    click.echo(report(outcome, memory))
    if found := problems(outcome, memory):
        click.echo("\n".join(["FAILED", *found]))
        sys.exit(1)
    click.echo("everything holds")


if __name__ == "__main__":
    main()
