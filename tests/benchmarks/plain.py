"""The plain way, honestly: what a good engineer writes in an afternoon with the same packages.

``json``, ``Decimal``, confluent-kafka's ``AvroSerializer``, ``produce`` with a
delivery callback, idempotence and Java's partitioner. No journal, no
check for duplicates, no ledger, no transactions.
"""

from __future__ import annotations

import json
import time
from decimal import Decimal

from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaRegistryClient, topic_subject_name_strategy
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from connector.edges.schema_files import load_schema
from tests.benchmarks.ceiling import Deliveries
from tests.benchmarks.job import Job, Measured
from tests.benchmarks.stopwatch import Stopwatch

DECIMALS = {
    "i": "index_price",
    "b": "bid_buffer",
    "a": "ask_buffer",
    "B": "bid_rate",
    "A": "ask_rate",
    "q": "auto_exchange_bid_buffer",
    "g": "auto_exchange_ask_buffer",
    "Q": "auto_exchange_bid_rate",
    "G": "auto_exchange_ask_rate",
}


def run(job: Job) -> Measured:
    registry = SchemaRegistryClient({"url": job.registry_url, "timeout": 20})
    serialize = AvroSerializer(
        registry,
        load_schema("asset_index").text,
        conf={"auto.register.schemas": False, "subject.name.strategy": topic_subject_name_strategy},
    )
    context = SerializationContext(job.topic, MessageField.VALUE)
    delivered = Deliveries()
    producer = Producer(
        {"bootstrap.servers": job.bootstrap, "partitioner": "murmur2_random", "enable.idempotence": True}
    )
    producer.list_topics(job.topic, timeout=20)
    watch = Stopwatch()
    with open(job.frames, "rb") as file:
        for line in file:
            received_ms = time.time_ns() // 1_000_000
            for element in json.loads(line):
                record: dict[str, object] = {name: Decimal(element[key]) for key, name in DECIMALS.items()}
                record["symbol"] = element["s"]
                record["event_time"] = element["E"]
                record["received_time"] = received_ms
                record["origin"] = "websocket"
                value = serialize(record, context)
                while True:
                    try:
                        producer.produce(job.topic, value, element["s"], on_delivery=delivered, timestamp=element["E"])
                        break
                    except BufferError:
                        producer.poll(0.05)
            producer.poll(0)
    producer.flush(60)
    measured = Measured(records=delivered.records, wall_s=watch.wall_s(), cpu_s=watch.cpu_s())
    assert delivered.records == job.records, f"{delivered.records} of {job.records} delivered"
    return measured
