"""What a subject is asked to do, and what it answers: one line of JSON each way between processes."""

from __future__ import annotations

import subprocess
import sys

import msgspec

TIMEOUT_S = 600.0


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One run of one subject, in a process of its own."""

    subject: str
    frames: str
    records: int
    """How many come of the frames."""
    topic: str
    bootstrap: str
    registry_url: str
    schema_id: int
    folder: str
    partitions: int = 6
    max_records: int = 10_000


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """CPU time is the whole process's, librdkafka's threads and the kernel's work for it included."""

    records: int
    wall_s: float
    cpu_s: float

    @property
    def records_a_cpu_second(self) -> float:
        return self.records / self.cpu_s

    @property
    def records_a_second(self) -> float:
        return self.records / self.wall_s


def measured(job: Job) -> Measured:
    """Run the job in a new process. Raises RuntimeError with what it wrote where it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.subjects", msgspec.json.encode(job).decode()],
        capture_output=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    if done.returncode:
        raise RuntimeError(f"{job.subject}: {done.stderr.decode(errors='replace')}")
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Measured)
