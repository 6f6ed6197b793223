"""What the connector costs while little happens: CPU time, memory, and the time it takes to start."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import msgspec

from connector.local.exchange_thread import ExchangeThread
from tests.benchmarks.place import Place
from tests.benchmarks.reader import Reader
from tests.benchmarks.spread import Spread, spread
from tests.benchmarks.throughput import PARTITIONS, SYMBOLS, Say
from tests.chaos.replica import write_toml

WARM_UP_S = 20.0
SAMPLE_EVERY_S = 2.0
STARTS = 5


class Steady(msgspec.Struct, frozen=True):
    """Live at 1 Hz. Memory is resident, in MiB: the middle of the first and of the last tenth, and the most."""

    seconds: float
    cpu_percent_of_a_core: float
    memory_first_mib: float
    memory_last_mib: float
    memory_peak_mib: float


class Result(msgspec.Struct, frozen=True):
    steady: Steady
    start_s: Spread
    """From the process's start until its first record is visible to a ``read_committed`` consumer."""


def footprint(place: Place, seconds: float, say: Say) -> Result:
    with ExchangeThread(symbols=SYMBOLS, rate_hz=20.0) as exchange:  # so that no start waits for its first tick
        _run(place, exchange, 0.0)  # the first makes the broker's own topics
        starts_s = [_run(place, exchange, 0.0)[0] for _ in range(STARTS)]
    say(f"first record visible after {', '.join(f'{each:.1f}' for each in starts_s)} s")
    return Result(steady(place, seconds, say), spread(starts_s))


def steady(place: Place, seconds: float, say: Say) -> Steady:
    with ExchangeThread(symbols=SYMBOLS, rate_hz=1.0) as exchange:
        _, cpu_s, memory_mib = _run(place, exchange, seconds)
    tenth = max(1, len(memory_mib) // 10)
    first_mib, last_mib = median(memory_mib[:tenth]), median(memory_mib[-tenth:])
    say(f"{seconds / 60:g} min: {cpu_s / seconds:.2%} of a core, {first_mib:.1f} to {last_mib:.1f} MiB")
    return Steady(seconds, cpu_s / seconds * 100, first_mib, last_mib, max(memory_mib))


def _run(place: Place, exchange: ExchangeThread, seconds: float) -> tuple[float, float, list[float]]:
    """Seconds to the first record, CPU-seconds of the time measured, and memory along it."""
    with (
        place.topic(PARTITIONS) as (topic, _),
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        Reader(place.stack.bootstrap_servers, topic, PARTITIONS) as reader,
    ):
        config = Path(folder) / "connector.toml"
        feed = {"url": exchange.url, "rest_url": exchange.rest_url}
        write_toml(config, {**place.options(topic, Path(folder)), "feed": feed})
        time.sleep(1.0)  # the reader is connected
        started = time.monotonic()
        with subprocess.Popen(
            [sys.executable, "-m", "connector", "run", "--config", str(config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                reader.wait_for(1, 60)
                start_s = time.monotonic() - started
                return start_s, *(_watch(process.pid, seconds) if seconds else (0.0, []))
            finally:
                process.terminate()


def _watch(pid: int, seconds: float) -> tuple[float, list[float]]:
    time.sleep(WARM_UP_S)
    cpu_s, memory_mib = _cpu_s(pid), [_resident_mib(pid)]
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(SAMPLE_EVERY_S)
        memory_mib.append(_resident_mib(pid))
    return _cpu_s(pid) - cpu_s, memory_mib


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
