"""The examples, as a reader runs them: each in a process of its own, against the fake exchange and the local stack."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from connector.local.exchange import ExchangeThread
from connector.local.stack import LocalStack
from tests.chaos.replica import ROOT
from tests.integration.bench import Bench, environment, until

EXAMPLES = ROOT / "examples"
PAGE = ROOT / "docs" / "embedding.md"


@pytest.fixture
def exchange() -> Iterator[ExchangeThread]:
    with ExchangeThread(symbols=5, rate_hz=5) as running:
        yield running


@pytest.fixture
def bench(stack: LocalStack, tmp_path: Path, topic_name: str, exchange: ExchangeThread) -> Iterator[Bench]:
    with Bench(stack, tmp_path, topic_name, exchange, rate_hz=5) as made:
        yield made


ENVIRONMENT = environment({"PYTHONPATH": str(ROOT)})


def command(name: str, *arguments: str | Path) -> list[str]:
    return [sys.executable, str(EXAMPLES / name), *map(str, arguments)]


def example(name: str, *arguments: str | Path) -> str:
    """What it printed. AssertionError where it did not end well."""
    done = subprocess.run(
        command(name, *arguments),
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def prices(exchange: ExchangeThread) -> dict[tuple[str, int], Decimal]:
    return {(each.symbol, each.event_time_ms): Decimal(each.values["i"]) for each in exchange.truth.elements()}


@pytest.mark.stack
def test_inside_asyncio(bench: Bench, exchange: ExchangeThread) -> None:
    bench.register()
    printed = example("inside_asyncio.py", bench.config("one"), "6")
    assert "writer, advancing, 5 symbols in the topic: ready" in printed
    sent = prices(exchange)
    records = bench.records()
    assert records
    for record in records:
        assert record.value["index_price"] == sent[(record.key or b"").decode(), record.timestamp_ms]


@pytest.mark.stack
def test_to_sqlite_killed_again_and_again(bench: Bench, exchange: ExchangeThread) -> None:
    """The promise of the page: none twice, none altered, none taken for late; what is missing is a gap."""
    config, database = bench.config("one"), bench.folder / "ticks.db"
    for _ in range(2):
        with subprocess.Popen(command("to_sqlite.py", config, database, "60"), env=ENVIRONMENT) as process:
            before = rows_of(database)
            until(lambda before=before: rows_of(database) > before + 20, 30, "ticks in the table")  # type: ignore[misc]
            process.kill()
    example("to_sqlite.py", config, database, "3")
    with closing(sqlite3.connect(database)) as read:
        rows = list(read.execute("SELECT symbol, event_time_ms, index_price FROM ticks"))
        kinds = {kind for (kind,) in read.execute("SELECT kind FROM notes")}
    sent = prices(exchange)
    assert all(sent[symbol, event_time_ms] == Decimal(price) for symbol, event_time_ms, price in rows)
    assert kinds == {"started_without_history", "gap"}
    times = {event_time_ms for _, event_time_ms, _ in rows}
    assert len(rows) == 5 * len(times), "whole frames"


def rows_of(database: Path) -> int:
    if not database.exists():
        return 0
    with closing(sqlite3.connect(database, timeout=10)) as read:
        try:
            return int(read.execute("SELECT count(*) FROM ticks").fetchone()[0])
        except sqlite3.OperationalError:
            return 0  # the table is not there yet


@pytest.mark.stack
def test_async_ticks(bench: Bench) -> None:
    printed = example("async_ticks.py", bench.config("one"), "50")
    assert "5 assets, one of each: " in printed


def test_every_example_is_run_and_explained() -> None:
    names = {path.name for path in EXAMPLES.glob("*.py")}
    tests = Path(__file__).read_text("utf-8")
    page = PAGE.read_text("utf-8")
    for name in names:
        assert f'example("{name}"' in tests
        assert f"examples/{name}" in page


def test_what_the_page_shows_stands_in_the_examples() -> None:
    shown = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    sources = [path.read_text("utf-8") for path in EXAMPLES.glob("*.py")]
    assert len(shown) == len(sources)
    assert [block for block in shown if not any(block in source for source in sources)] == []
