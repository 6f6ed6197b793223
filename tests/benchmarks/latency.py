"""A live feed's latency, beside loops that do nothing but write."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import msgspec

from connector.local.exchange_thread import ExchangeThread
from tests.benchmarks.frames import write_frames
from tests.benchmarks.job import Job, Latencies, ask
from tests.benchmarks.live import WARM_UP_S
from tests.benchmarks.place import Place
from tests.benchmarks.reader import Reader
from tests.benchmarks.spread import Percentiles, percentiles
from tests.benchmarks.subjects import AT_LEAST_ONCE, BARE_PRODUCE, BARE_TRANSACTIONS, EXACTLY_ONCE, LIVE
from tests.benchmarks.throughput import PARTITIONS, SYMBOLS, Say

SUBJECTS = (BARE_PRODUCE, LIVE + AT_LEAST_ONCE, BARE_TRANSACTIONS, LIVE + EXACTLY_ONCE)


class Result(msgspec.Struct, frozen=True):
    """Milliseconds."""

    subject: str
    rate_hz: float
    acknowledged_ms: Percentiles
    """From the frame's arrival; for a bare loop, from its first ``produce``."""
    visible_ms: Percentiles
    """From the exchange's send (for a bare loop, from its first ``produce``) to a ``read_committed`` consumer."""


def latency(place: Place, rate_hz: float, seconds: float, rounds: int, say: Say) -> list[Result]:
    """In each round every subject for that long, one after the other."""
    acknowledged: dict[str, list[float]] = {subject: [] for subject in SUBJECTS}
    visible: dict[str, list[float]] = {subject: [] for subject in SUBJECTS}
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        ExchangeThread(symbols=SYMBOLS, rate_hz=rate_hz) as exchange,
    ):
        frames = Path(folder) / "frames"
        write_frames(frames, frames=200, symbols=SYMBOLS, first_ms=time.time_ns() // 1_000_000)
        for number in range(rounds):
            for subject in SUBJECTS:
                with (
                    place.topic(PARTITIONS) as (topic, schema_id),
                    tempfile.TemporaryDirectory(prefix="bench-") as journal,
                    Reader(place.stack.bootstrap_servers, topic, PARTITIONS) as reader,
                ):
                    answer = ask(
                        Job(
                            subject=subject,
                            topic=topic,
                            bootstrap=place.stack.bootstrap_servers,
                            registry_url=place.stack.registry_url,
                            schema_id=schema_id,
                            folder=journal,
                            frames=str(frames),
                            feed_url=exchange.url,
                            rest_url=exchange.rest_url,
                            rate_hz=rate_hz,
                            seconds=seconds,
                        ),
                        Latencies,
                    )
                    acknowledged[subject] += answer.acknowledged_ms
                    visible[subject] += _after_warm_up(reader)
                last = percentiles(answer.acknowledged_ms)
                say(f"round {number + 1}: {subject} at {rate_hz:g} Hz: p50 {last.p50:.1f} ms, p99 {last.p99:.1f} ms")
    return [
        Result(subject, rate_hz, percentiles(acknowledged[subject]), percentiles(visible[subject]))
        for subject in SUBJECTS
    ]


def _after_warm_up(reader: Reader) -> list[float]:
    first_ms = reader.seen[0][0] + WARM_UP_S * 1000
    return [late_ms for timestamp_ms, late_ms in reader.seen if timestamp_ms > first_ms]
