"""The other side of a join, for the demo: made-up accounts whose balances change, in a topic of their own."""

from __future__ import annotations

import io
import json
import struct
import threading
import time
from collections.abc import Sequence
from decimal import Decimal
from importlib.resources import files
from random import Random
from types import TracebackType
from typing import Self

import fastavro
from confluent_kafka import Producer

ACCOUNTS = ("alice", "bob", "carol")


def balance_schema() -> str:
    """The Avro schema of a change of a balance."""
    return files("connector.local").joinpath("balance.avsc").read_text("utf-8")


class ChangingBalances:
    """Produces changes within ``with``, to a topic that is there. The key is the symbol, the time is now."""

    def __init__(
        self, bootstrap_servers: str, topic: str, schema_id: int, symbols: Sequence[str], *, per_s: float = 5.0
    ) -> None:
        self._topic = topic
        self._frame = struct.pack(">bI", 0, schema_id)
        self._schema = fastavro.parse_schema(json.loads(balance_schema()))
        self._symbols = symbols
        self._pause_s = 1 / per_s
        # Java's partitioner, or the join of ksqlDB and Kafka Streams would miss partners.
        self._producer = Producer({"bootstrap.servers": bootstrap_servers, "partitioner": "murmur2_random"})
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="balances", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self._producer.purge()
        self._producer.flush(1.0)

    def _run(self) -> None:
        random = Random()
        while not self._over.wait(self._pause_s):
            symbol = random.choice(self._symbols)
            time_ms = time.time_ns() // 1_000_000
            change = {
                "symbol": symbol,
                "event_time": time_ms,
                "account": random.choice(ACCOUNTS),
                "balance": Decimal(random.randrange(-(10**10), 10**11)).scaleb(-8),
            }
            value = io.BytesIO()
            value.write(self._frame)
            fastavro.schemaless_writer(value, self._schema, change)
            self._producer.produce(self._topic, value.getvalue(), symbol.encode(), timestamp=time_ms)
            self._producer.poll(0)
