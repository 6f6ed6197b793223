"""Flink in a process of its own: what it answers, and that it never outlives whoever started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from connector.local.flink import Flink, FlinkError, FlinkRow, FlinkSession, final_state, inserted

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def session() -> Iterator[FlinkSession]:
    with Flink() as flink:
        yield flink.session()


def test_values_come_as_text_in_all_their_digits(session: FlinkSession) -> None:
    statement = (
        "SELECT CAST(1.5 AS DECIMAL(18, 8)), CAST(0.00000001 AS DECIMAL(18, 8)), CAST(NULL AS INT), 'it''s',"
        " TO_TIMESTAMP_LTZ(1767614400123, 3)"
    )
    assert inserted(session.query(statement)) == [
        ("1.50000000", "0.00000001", None, "it's", "2026-01-05T12:00:00.123Z")
    ]


def test_what_flink_says_is_in_the_error(session: FlinkSession) -> None:
    with pytest.raises(FlinkError, match="Object 'nowhere' not found"):
        session.query("SELECT * FROM nowhere")
    with pytest.raises(FlinkError, match=r"(?s)/ by zero|Division by zero"):
        session.query("SELECT 1 / (x - x) FROM (VALUES (1)) AS t (x)")


def test_queries_that_do_not_end(session: FlinkSession) -> None:
    session.execute("CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '200')")
    assert len(session.query("SELECT n FROM numbers", rows=3)) == 3
    running = session.start("SELECT n FROM numbers")
    assert len(running.wait_for(10, 30)) >= 10
    rows = running.stop()
    time.sleep(0.3)
    assert running.rows == rows, "nothing comes after the end"


def test_changes_are_counted_up() -> None:
    rows = [FlinkRow("+I", ("a", "1")), FlinkRow("-U", ("a", "1")), FlinkRow("+U", ("a", "2")), FlinkRow("+I", ("b",))]
    assert final_state(rows) == [("a", "2"), ("b",)]
    with pytest.raises(ValueError, match="-U"):
        inserted(rows)


def test_it_ends_with_whoever_started_it() -> None:
    program = (
        "import time\nfrom connector.local.flink import Flink\n"
        "with Flink() as flink:\n    print(flink.pid, flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        os.kill(owner.pid, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while alive(pid):
            assert time.monotonic() < deadline, "it is still there"
            time.sleep(0.1)


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
