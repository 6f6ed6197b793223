"""A ``read_committed`` consumer that notes when each record became visible to it."""

from __future__ import annotations

import threading
import time
from typing import Self

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition


class Reader:
    """Reads a topic from its beginning, on a thread, within ``with``: one record at a time, as soon as it comes."""

    def __init__(self, bootstrap: str, topic: str, partitions: int) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "bench",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
            }
        )
        self._consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(partitions)])
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.seen: list[tuple[int, float]] = []
        """Timestamp in milliseconds and milliseconds from it until it was read, in the order of reading."""
        self.backwards = 0
        """Records older than the one before of their key."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)
        self._consumer.close()

    def wait_for(self, records: int, timeout_s: float) -> None:
        """Raises TimeoutError where they do not come."""
        deadline = time.monotonic() + timeout_s
        while len(self.seen) < records:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(self.seen)} of {records} records within {timeout_s:.0f} s")
            time.sleep(0.01)

    def _run(self) -> None:
        newest: dict[bytes | str | None, int] = {}
        while not self._stop.is_set():
            message = self._consumer.poll(0.1)
            if message is None or message.error() is not None:
                continue
            timestamp_ms, key = message.timestamp()[1], message.key()
            self.seen.append((timestamp_ms, time.time() * 1000 - timestamp_ms))
            self.backwards += newest.get(key, -1) >= timestamp_ms
            newest[key] = timestamp_ms
