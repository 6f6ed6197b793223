"""Builds of the connector with one part left out or broken, through its constructors.

``python -m tests.chaos.unguarded NAME run --config FILE``. They exist so that
tests can show what each guard is for; no option of the product leaves one out.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from connector.config import Config, load_config
from connector.core.happenings import Tell
from connector.edges.journal_file import connect
from connector.edges.kafka_follower import Follower
from connector.edges.kafka_records import SinkOptions
from connector.edges.kafka_sink import Guards
from connector.edges.kafka_writer import TransactionalWriter, Writer
from connector.runner import Connector, live


class NoFence(Guards):
    """Every process has a transactional.id of its own."""

    def open_writer(self, options: SinkOptions, tell: Tell) -> Writer:
        return TransactionalWriter(options.kafka, f"{options.transactional_id}-{os.getpid()}", tell)


class NoHighWaterMark(Guards):
    """Whoever takes over trusts what it happened to have read by then."""

    def read_to_end(self, follower: Follower, timeout_s: float) -> None:
        pass


class _FullAfterOpening(sqlite3.Connection):
    """Takes a few pages more than the empty file, and no more."""

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        if statement.startswith("PRAGMA wal_autocheckpoint"):
            super().execute("PRAGMA max_page_count=12")
        return super().execute(statement, *values)


def _full(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=1.0, isolation_level=None, check_same_thread=False, factory=_FullAfterOpening)


def _read_only(path: Path) -> sqlite3.Connection:
    with contextlib.closing(connect(path)) as made:
        made.execute("PRAGMA journal_mode=WAL")
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None, check_same_thread=False)


def _in_memory(path: Path) -> sqlite3.Connection:
    return connect(Path(":memory:"))


def _one_socket(config: Config) -> Connector:
    return Connector(msgspec.structs.replace(config, feed=msgspec.structs.replace(config.feed, connections=1)))


BUILDS: dict[str, Callable[[Config], Connector]] = {
    "no-fence": lambda config: Connector(config, guards=NoFence()),
    "no-high-water-mark": lambda config: Connector(config, guards=NoHighWaterMark()),
    "no-journal": lambda config: Connector(config, open_journal=_in_memory),
    "no-second-socket": _one_socket,
    "journal-full": lambda config: Connector(config, open_journal=_full),
    "journal-read-only": lambda config: Connector(config, open_journal=_read_only),
}


def main() -> None:
    name, command, option, path = sys.argv[1:]
    assert (command, option) == ("run", "--config")
    sys.exit(BUILDS[name](load_config(Path(path)).config).run(live))


if __name__ == "__main__":
    main()
