"""The connector while its broker is away for an hour: told when by lines on standard input."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from connector.core.values import Frame
from connector.runner import Connector
from tests.benchmarks.job import Job
from tests.benchmarks.ours import configuration
from tests.benchmarks.subjects import EXACTLY_ONCE

CONNECTION = "ws-1"


def run(job: Job) -> int:
    """Frames of the past go in while the broker is away; then one a second, as live, until the end of input."""
    return Connector(configuration(job, EXACTLY_ONCE), historical=True).run(lambda c, _: _source(c, job))


async def _source(connector: Connector, job: Job) -> None:
    lines = await asyncio.to_thread(Path(job.frames).read_bytes)
    frames = [Frame(line, time.time_ns(), CONNECTION, "") for line in lines.splitlines()]
    backlog = job.records // 60
    connector.accept(frames[0])
    while not (connector.is_writer() and connector.sink.delivered()):  # noqa: ASYNC110 - a state of another thread
        await asyncio.sleep(0.05)
    await _said("writer")
    for number, frame in enumerate(frames[1:backlog]):
        connector.accept(frame)
        if number % 100 == 0:
            await asyncio.sleep(0.02)
    while connector.journal.newest_seq < backlog:  # noqa: ASYNC110 - a state of another thread
        await asyncio.sleep(0.05)
    await _said("accepted")
    for frame in frames[backlog:]:
        connector.accept(Frame(frame.data, time.time_ns(), CONNECTION, ""))
        await asyncio.sleep(1.0)
        if connector.sink.delivered():
            return


async def _said(what: str) -> None:
    """Say where it stands, and wait for a word."""
    print(what, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
