"""The product with a live feed: how long from a frame's arrival to its acknowledgement."""

from __future__ import annotations

import asyncio

from connector.core.happenings import Committed, Happening
from connector.runner import Connector, live
from tests.benchmarks.job import Job, Latencies
from tests.benchmarks.ours import configuration
from tests.benchmarks.subjects import LIVE

WARM_UP_S = 5.0


class Acknowledged:
    """Milliseconds, of every batch that wrote a record."""

    def __init__(self) -> None:
        self.latencies_ms: list[float] = []
        self.measuring = False

    def __call__(self, happening: Happening) -> None:
        if self.measuring and isinstance(happening, Committed) and happening.records:
            self.latencies_ms.append((happening.committed_at_ns - happening.oldest_received_ns) / 1e6)


def run(job: Job) -> Latencies:
    acknowledged = Acknowledged()
    connector = Connector(configuration(job, job.subject.removeprefix(LIVE)), also=acknowledged)

    async def for_a_while(connector: Connector, asked: asyncio.Event) -> None:
        feed = asyncio.create_task(live(connector, asked))
        while not connector.is_writer():  # noqa: ASYNC110 - a state of another thread
            await asyncio.sleep(0.1)
        await asyncio.sleep(WARM_UP_S)
        acknowledged.measuring = True
        await asyncio.sleep(job.seconds)
        acknowledged.measuring = False
        feed.cancel()
        await asyncio.gather(feed, return_exceptions=True)

    exit_code = connector.run(for_a_while)
    assert exit_code == 0, f"ended with {exit_code}"
    return Latencies(acknowledged_ms=acknowledged.latencies_ms)
