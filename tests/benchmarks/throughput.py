"""Records a CPU-second: ours beside the ceiling and the plain way; and what symbols and partitions cost."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from tests.benchmarks.frames import CADENCE_MS, write_frames
from tests.benchmarks.job import Job, Measured, ask
from tests.benchmarks.place import Place
from tests.benchmarks.spread import Spread, spread
from tests.benchmarks.subjects import AT_LEAST_ONCE, CEILING, EXACTLY_ONCE, PLAIN

SUBJECTS = (CEILING, PLAIN, AT_LEAST_ONCE, EXACTLY_ONCE)
FRAMES, SYMBOLS, PARTITIONS = 7200, 60, 6
SCALED_RECORDS = 432_000
Say = Callable[[str], None]


class Case(msgspec.Struct, frozen=True):
    """One subject with one kind of frames; equal ones are hashed alike."""

    subject: str
    symbols: int = SYMBOLS
    partitions: int = PARTITIONS
    frames: int = FRAMES

    @property
    def records(self) -> int:
        return self.symbols * self.frames


class Result(msgspec.Struct, frozen=True):
    case: Case
    records_a_cpu_second: Spread
    records_a_second: Spread
    cpu_us_a_record: Spread


def throughput(place: Place, rounds: int, say: Say) -> list[Result]:
    """In each round every subject once, on the same frames."""
    return _measure(place, [Case(subject) for subject in SUBJECTS], rounds, say)


def scaling(place: Place, rounds: int, say: Say) -> list[Result]:
    """The same number of records in frames of 60, 600 and 6,000 symbols, and over 6 and 48 partitions."""
    wide = [Case(EXACTLY_ONCE, symbols=count, frames=SCALED_RECORDS // count) for count in (60, 600, 6000)]
    return _measure(place, [*wide, Case(EXACTLY_ONCE, partitions=48)], rounds, say)


def _measure(place: Place, cases: Sequence[Case], rounds: int, say: Say) -> list[Result]:
    measured: dict[Case, list[Measured]] = {case: [] for case in cases}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        frames = {case: _frames(Path(folder), case) for case in cases}
        for number in range(rounds):
            for case in cases:
                one = _once(place, case, frames[case])
                measured[case].append(one)
                say(
                    f"round {number + 1}: {case.subject}, {case.symbols} symbols, {case.partitions} partitions: "
                    f"{one.records_a_cpu_second:,.0f} records a CPU-second, {one.records_a_second:,.0f} a second"
                )
    return [
        Result(
            case,
            spread(each.records_a_cpu_second for each in of_case),
            spread(each.records_a_second for each in of_case),
            spread(each.cpu_s / each.records * 1e6 for each in of_case),
        )
        for case, of_case in measured.items()
    ]


def _frames(folder: Path, case: Case) -> Path:
    path = folder / f"{case.symbols}x{case.frames}"
    if not path.exists():
        first_ms = (time.time_ns() // 1_000_000 // CADENCE_MS - case.frames) * CADENCE_MS
        write_frames(path, frames=case.frames, symbols=case.symbols, first_ms=first_ms)
    return path


def _once(place: Place, case: Case, frames: Path) -> Measured:
    with place.topic(case.partitions) as (topic, schema_id), tempfile.TemporaryDirectory(prefix="bench-") as folder:
        return ask(
            Job(
                subject=case.subject,
                topic=topic,
                bootstrap=place.stack.bootstrap_servers,
                registry_url=place.stack.registry_url,
                schema_id=schema_id,
                folder=folder,
                frames=str(frames),
                records=case.records,
            ),
            Measured,
        )
