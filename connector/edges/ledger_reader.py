"""Reading the ledger back."""

from __future__ import annotations

import io
import json
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import fastavro

from connector.core.errors import ConfigurationError, RetryableError
from connector.edges.kafka_clients import Properties
from connector.edges.registry import Registry
from connector.edges.schema_files import find_schema_file, read_schema_file
from connector.edges.topic_reader import Decode, TopicReader

WITHIN_S = 60.0


def read_ledger(
    kafka: Properties, registry: Mapping[str, str | int | float | bool], topic: str, known_id: int | None, since_ms: int
) -> list[dict[str, Any]]:
    """Every entry from then on, decoded; times are aware datetimes.

    Entries of schema *known_id* are read without the registry. Raises :class:`ConfigurationError` where the topic is
    not there or what stands in it is no ledger, and :class:`RetryableError` where somebody does not answer.
    """
    with _decoder(registry, topic, known_id) as decode:
        reader = TopicReader(kafka, topic, decode)
        try:
            reader.start(since_ms)
            entries: list[dict[str, Any]] = []
            deadline_s = time.monotonic() + WITHIN_S
            while not reader.at_end:
                if time.monotonic() > deadline_s:
                    raise RetryableError(f"reading {topic}: its end was not reached within {WITHIN_S:.0f} s")
                entries += [row.value for row in reader.rows(0.2) if row.value is not None]
            return entries
        finally:
            reader.close()


@contextmanager
def _decoder(
    registry_properties: Mapping[str, str | int | float | bool], topic: str, known_id: int | None
) -> Iterator[Decode]:
    """As this version of the ledger's schema, whichever an entry was written with."""
    own = fastavro.parse_schema(json.loads(read_schema_file(find_schema_file("feed_event"))))
    written: dict[int, Any] = {} if known_id is None else {known_id: own}
    registry: Registry | None = None

    def decode(value: bytes) -> Any:
        nonlocal registry
        if len(value) < 5 or value[0] != 0:
            raise ConfigurationError(f"topic {topic}: holds what is no ledger entry; see topic.events")
        (id,) = struct.unpack_from(">I", value, 1)
        if id not in written:
            registry = registry or Registry(registry_properties)
            text = registry.text_of(id)
            if text is None:
                raise ConfigurationError(f"topic {topic}: an entry has schema id {id}, unknown to {registry.address}")
            written[id] = fastavro.parse_schema(json.loads(text))
        return fastavro.schemaless_reader(io.BytesIO(value[5:]), written[id], own)

    try:
        yield decode
    finally:
        if registry is not None:
            registry.close()
