"""What a subject is asked to do, and what it answers: one line of JSON each way between processes."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, TypeVar

import msgspec

TIMEOUT_S = 900.0


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One run of one subject, in a process of its own."""

    subject: str
    topic: str
    bootstrap: str
    registry_url: str
    schema_id: int
    folder: str
    frames: str = ""
    """File of frames, one message a line."""
    records: int = 0
    """How many come of them."""
    feed_url: str = ""
    rest_url: str = ""
    rate_hz: float = 0.0
    seconds: float = 0.0


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


class Latencies(msgspec.Struct, frozen=True, kw_only=True):
    """Of each frame, from being received to being acknowledged."""

    acknowledged_ms: list[float]


Answer = TypeVar("Answer", bound=msgspec.Struct)


def ask(job: Job, answer: type[Answer]) -> Answer:
    """Run the job in a new process. Raises RuntimeError with what it wrote where it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.subjects", encoded(job)],
        capture_output=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    if done.returncode:
        raise RuntimeError(f"{job.subject}: {done.stderr.decode(errors='replace')}")
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=answer)


def encoded(job: Job) -> str:
    return msgspec.json.encode(job).decode()


def decoded(text: str) -> Job:
    return msgspec.json.decode(text, type=Job)


def line_of(answer: Any) -> str:
    return msgspec.json.encode(answer).decode()
