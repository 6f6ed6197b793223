"""One subject, run in this process: ``python -m tests.benchmarks.subjects JOB`` prints what was measured.

Each imports what it needs and nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from tests.benchmarks.job import Job, decoded, line_of

CEILING = "ceiling"
PLAIN = "plain"
AT_LEAST_ONCE = "at-least-once"
EXACTLY_ONCE = "exactly-once"
LIVE = "live-"
"""Before a mode: the live connector, for latency."""
BARE_TRANSACTIONS = "bare-transactions"
BARE_PRODUCE = "bare-produce"
BACKLOG = "backlog"

_MADE_BY = {
    CEILING: "ceiling.run",
    PLAIN: "plain.run",
    AT_LEAST_ONCE: "ours.run",
    EXACTLY_ONCE: "ours.run",
    LIVE + AT_LEAST_ONCE: "live.run",
    LIVE + EXACTLY_ONCE: "live.run",
    BARE_TRANSACTIONS: "bare.run_transactions",
    BARE_PRODUCE: "bare.run_produce",
    BACKLOG: "backlog_subject.run",
}


def run(job: Job) -> Any:
    module, name = _MADE_BY[job.subject].split(".")
    chosen: Callable[[Job], Any] = getattr(import_module(f"tests.benchmarks.{module}"), name)
    return chosen(job)


if __name__ == "__main__":
    print(line_of(run(decoded(sys.argv[1]))))
