"""Topics on the local stack, one for each run and gone after it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # public, yet not marked
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from connector.edges.schema_files import find_schema_file, load_schema, read_schema_file
from connector.local.stack import LocalStack


class Place:
    """A running stack, and what a run needs on it."""

    def __init__(self, stack: LocalStack) -> None:
        self.stack = stack
        self._admin = AdminClient({"bootstrap.servers": stack.bootstrap_servers})
        self._registry = SchemaRegistryClient({"url": stack.registry_url, "timeout": 20})

    @contextmanager
    def topic(self, partitions: int = 6) -> Iterator[tuple[str, int]]:
        """A new topic and the schema id of its records; it and its companions are gone afterwards."""
        name = f"bench-{uuid.uuid4().hex[:8]}"
        names = {name: partitions, f"{name}.events": 1, f"{name}.dlq": 1}
        made = self._admin.create_topics([NewTopic(each, count, 1) for each, count in names.items()])
        for future in made.values():
            future.result()
        schema_id = self._register(name, load_schema("asset_index").text)
        self._register(f"{name}.events", read_schema_file(find_schema_file("feed_event")))
        try:
            yield name, schema_id
        finally:
            for future in self._admin.delete_topics(list(names)).values():
                future.result()

    def _register(self, topic: str, text: str) -> int:
        return self._registry.register_schema(f"{topic}-value", Schema(text, "AVRO"))

    def options(self, topic: str, folder: Path) -> dict[str, Any]:
        """Configuration of a connector that writes there, by table."""
        return {
            "topic": {"name": topic},
            "kafka": {"bootstrap.servers": self.stack.bootstrap_servers},
            "registry": {"url": self.stack.registry_url},
            "journal": {"path": str(folder / "journal")},
            "http": {"port": 0},
        }
