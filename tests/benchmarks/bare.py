"""The least that a frame can take: ready bytes, paced as the feed is, one transaction or one flush a frame."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from confluent_kafka import Producer

from tests.benchmarks.ceiling import ready_records
from tests.benchmarks.job import Job, Latencies
from tests.benchmarks.live import WARM_UP_S

SYMBOLS = 60


def run_transactions(job: Job) -> Latencies:
    producer = Producer({"bootstrap.servers": job.bootstrap, "transactional.id": job.topic})
    producer.init_transactions(30)

    def send(records: list[tuple[bytes, bytes]], timestamp_ms: int) -> None:
        producer.begin_transaction()
        for key, value in records:
            producer.produce(job.topic, value, key, timestamp=timestamp_ms)
        producer.commit_transaction(30)

    return _paced(job, send)


def run_produce(job: Job) -> Latencies:
    producer = Producer({"bootstrap.servers": job.bootstrap, "enable.idempotence": True})

    def send(records: list[tuple[bytes, bytes]], timestamp_ms: int) -> None:
        for key, value in records:
            producer.produce(job.topic, value, key, timestamp=timestamp_ms)
        producer.flush(30)

    return _paced(job, send)


def _paced(job: Job, send: Callable[[list[tuple[bytes, bytes]], int], None]) -> Latencies:
    latencies_ms: list[float] = []
    began = time.monotonic()
    for number, records in enumerate(_frames(job)):
        due_s = began + number / job.rate_hz
        time.sleep(max(0.0, due_s - time.monotonic()))
        started = time.monotonic()
        send(records, time.time_ns() // 1_000_000)
        if due_s - began > WARM_UP_S:
            latencies_ms.append((time.monotonic() - started) * 1000)
        if due_s - began > WARM_UP_S + job.seconds:
            break
    return Latencies(acknowledged_ms=latencies_ms)


def _frames(job: Job) -> Iterator[list[tuple[bytes, bytes]]]:
    frames: list[list[tuple[bytes, bytes]]] = [[]]
    for key, value, _ in ready_records(job):
        if len(frames[-1]) == SYMBOLS:
            frames.append([])
        frames[-1].append((key, value))
    while True:
        yield from frames
