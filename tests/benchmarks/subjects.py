"""One subject, run in this process: ``python -m tests.benchmarks.subjects JOB`` prints what was measured."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module

import msgspec

from tests.benchmarks.job import Job, Measured

CEILING = "ceiling"
PLAIN = "plain"
AT_LEAST_ONCE = "at-least-once"
EXACTLY_ONCE = "exactly-once"


def run(job: Job) -> Measured:
    """Each imports what it needs and nothing else."""
    if job.subject in (AT_LEAST_ONCE, EXACTLY_ONCE):
        from tests.benchmarks import ours

        return ours.run(job, job.subject)
    chosen: Callable[[Job], Measured] = import_module(f"tests.benchmarks.{job.subject}").run
    return chosen(job)


if __name__ == "__main__":
    print(msgspec.json.encode(run(msgspec.json.decode(sys.argv[1], type=Job))).decode())
