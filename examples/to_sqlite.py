"""Another sink: ticks into a table of SQLite, exactly once, without Kafka and without a registry.

    python examples/to_sqlite.py connector.toml ticks.db 10

The table is its own memory: what it holds says where to go on, and a delivery is one transaction. Kill it when you
like, and start it again: no tick is missing that was received, and none is there twice.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import Mapping
from pathlib import Path

from connector.embedding import Delivery, RetryableError, Source, load_config


class SqliteSink:
    """A :class:`connector.embedding.TickSink`. All its methods are called on one thread."""

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path, check_same_thread=False)  # from here on it is that thread's alone

    def newest(self) -> Mapping[str, int]:
        with self._database as database:
            database.execute(
                "CREATE TABLE IF NOT EXISTS ticks"
                " (symbol TEXT, event_time_ms INTEGER, index_price TEXT, PRIMARY KEY (symbol, event_time_ms))"
            )
            database.execute("CREATE TABLE IF NOT EXISTS notes (time_ms INTEGER, kind TEXT, about TEXT, detail TEXT)")
        return dict(self._database.execute("SELECT symbol, max(event_time_ms) FROM ticks GROUP BY symbol"))

    def write(self, delivery: Delivery) -> None:
        rows = [(tick.symbol, tick.event_time_ms, str(tick.fields["index_price"])) for tick in delivery.ticks]
        notes = [(event.time, event.kind.value, event.about, event.reason) for event in delivery.events]
        notes += [(0, "reject", reject.symbol, reject.detail) for reject in delivery.rejects]
        try:
            with self._database as database:
                database.executemany("INSERT INTO ticks VALUES (?, ?, ?)", rows)
                database.executemany("INSERT INTO notes VALUES (?, ?, ?, ?)", notes)
        except sqlite3.OperationalError as error:  # busy, or the disk is full: the same delivery comes again
            raise RetryableError(str(error)) from error

    def close(self) -> None:
        self._database.close()


async def main(config_file: Path, database: Path, seconds: float) -> int:
    config = load_config(config_file, needs=()).config
    source = Source(config, sink=SqliteSink(database))
    await source.start()
    try:
        async with asyncio.timeout(seconds):
            await source.wait()
    except TimeoutError:
        pass
    return await source.stop()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))))
