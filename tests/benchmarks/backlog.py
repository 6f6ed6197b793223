"""An hour's frames in the journal: how long after the broker's return until they are in the topic."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from connector.local.cache import cache_folder
from connector.local.ports import Ports
from tests.benchmarks.frames import CADENCE_MS, write_frames
from tests.benchmarks.job import Job, encoded
from tests.benchmarks.place import Place
from tests.benchmarks.reader import Reader
from tests.benchmarks.subjects import BACKLOG
from tests.benchmarks.throughput import PARTITIONS, SYMBOLS, Say
from tests.chaos.proxy import Proxy

FRAMES = 3600
LIVE_FRAMES = 120
AWAY_S = 20.0
"""Long enough for clients to give connections up and wait between attempts, as after an hour."""


class Result(msgspec.Struct, frozen=True):
    records: int
    took_s: float
    """From the broker's return until a ``read_committed`` consumer had the last of them."""
    in_order: bool


def backlog(place: Place, say: Say) -> Result:
    records = FRAMES * SYMBOLS
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        place.topic(PARTITIONS) as (topic, schema_id),
        Reader(place.stack.bootstrap_servers, topic, PARTITIONS) as reader,
        Proxy(Ports(cache_folder() / "ports").take(), int(place.stack.bootstrap_servers.rsplit(":", 1)[1])) as proxy,
    ):
        frames = Path(folder) / "frames"
        first_ms = (time.time_ns() // 1_000_000 // CADENCE_MS - FRAMES) * CADENCE_MS
        write_frames(frames, frames=FRAMES + LIVE_FRAMES, symbols=SYMBOLS, first_ms=first_ms)
        job = Job(
            subject=BACKLOG,
            topic=topic,
            bootstrap=proxy.bootstrap_servers,
            registry_url=place.stack.registry_url,
            schema_id=schema_id,
            folder=folder,
            frames=str(frames),
            records=records,
        )
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.subjects", encoded(job)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            result = _outage(process, proxy, reader, records)
            say(f"backlog of {records:,} records: {result.took_s:.1f} s")
            return result
        finally:
            process.kill()
            process.communicate()


def _outage(process: subprocess.Popen[str], proxy: Proxy, reader: Reader, records: int) -> Result:
    _hear(process, "writer")
    with proxy.refuse():
        proxy.cut()
        _answer(process)
        away_since = time.monotonic()
        _hear(process, "accepted")
        time.sleep(max(0.0, AWAY_S - (time.monotonic() - away_since)))
    returned = time.monotonic()
    _answer(process)
    reader.wait_for(records, 120)
    return Result(records, time.monotonic() - returned, reader.backwards == 0)


def _hear(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout is not None
    said = process.stdout.readline().strip()
    if said != word:
        raise RuntimeError(f"the subject said {said!r}, not {word!r}")


def _answer(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go on\n")
    process.stdin.flush()
