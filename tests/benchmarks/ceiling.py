"""The most that librdkafka gives to Python: bytes made beforehand, produced in a loop, with delivery callbacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, Message, Producer

from connector.core.encode import RecordEncoder
from connector.core.normalize import Normalizer
from connector.core.values import Frame, Origin
from connector.edges.schema_files import load_schema
from tests.benchmarks.job import Job, Measured
from tests.benchmarks.stopwatch import Stopwatch

if TYPE_CHECKING:
    from collections.abc import Iterator

POLL_EVERY_RECORDS = 1000


def run(job: Job) -> Measured:
    records = list(ready_records(job))
    delivered = Deliveries()
    producer = Producer({"bootstrap.servers": job.bootstrap, "partitioner": "murmur2_random"})
    producer.list_topics(job.topic, timeout=20)
    watch = Stopwatch()
    for number, (key, value, timestamp_ms) in enumerate(records):
        while True:
            try:
                producer.produce(job.topic, value, key, on_delivery=delivered, timestamp=timestamp_ms)
                break
            except BufferError:
                producer.poll(0.05)
        if number % POLL_EVERY_RECORDS == 0:
            producer.poll(0)
    producer.flush(60)
    measured = Measured(records=delivered.records, wall_s=watch.wall_s(), cpu_s=watch.cpu_s())
    assert delivered.records == job.records, f"{delivered.records} of {job.records} delivered"
    return measured


class Deliveries:
    """Counts what was acknowledged."""

    def __init__(self) -> None:
        self.records = 0

    def __call__(self, error: KafkaError | None, _: Message) -> None:
        if error is None:
            self.records += 1


def ready_records(job: Job) -> Iterator[tuple[bytes, bytes, int]]:
    """Key, value and timestamp of the very records that the others write."""
    schema = load_schema("asset_index")
    normalizer = Normalizer(schema, ahead_ms=None, behind_ms=None)
    encoder = RecordEncoder(schema, job.schema_id)
    with open(job.frames, "rb") as file:
        for line in file:
            frame = Frame(line.rstrip(b"\n"), 0, "", "")
            for tick in normalizer.normalize(frame).ticks:
                yield (
                    tick.symbol.encode(),
                    encoder.encode(tick, tick.event_time_ms, Origin.WEBSOCKET),
                    tick.event_time_ms,
                )
