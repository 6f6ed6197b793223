"""The truth of what was sent: in memory, bounded, and in a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from connector.local.market import Market
from connector.local.truth import FaultySend, RestReply, SentPeriod, Truth


def _fill(truth: Truth, periods: int = 3) -> None:
    market = Market(2)
    for number in range(periods):
        snapshot = market.snapshot(1000 * number)
        parts = {"ETHUSD": (2,)} if number == 1 else {}
        truth.add_period(SentPeriod(snapshot.event_time_ms, snapshot.array_text, (1,) if number == 0 else (), parts))
        truth.add_fault(FaultySend("late", 1000 * number, 1, ("BTCUSD",), "[]"))
        truth.add_rest_reply(RestReply(1000 * number + 3, ({"symbol": "BTCUSD", "time": 3},)))
    truth.add_end(7, 1000)


@pytest.mark.parametrize("kept_in", ["memory", "file", "file read elsewhere"])
def test_what_was_added_is_given_back(kept_in: str, tmp_path: Path) -> None:
    truth = written = Truth(None if kept_in == "memory" else tmp_path / "truth.jsonl")
    _fill(written)
    if kept_in == "file read elsewhere":
        with (tmp_path / "truth.jsonl").open("a") as file:
            file.write('{"E": 3000, "who')  # a line that is still being written
        truth = Truth.read(tmp_path / "truth.jsonl")
    assert [period.event_time_ms for period in truth.periods()] == [0, 1000, 2000]
    assert [(element.symbol, element.event_time_ms, element.connection_ids) for element in truth.elements()] == [
        ("BTCUSD", 0, (1,)),
        ("ETHUSD", 0, (1,)),
        ("ETHUSD", 1000, (2,)),
    ]
    assert set(next(truth.elements()).values) == set("ibaBAqgQG")
    assert len(list(truth.elements(unsent=True))) == 6
    assert [(fault.kind, fault.event_time_ms, fault.symbols) for fault in truth.faults][-1] == (
        "late",
        2000,
        ("BTCUSD",),
    )
    assert [reply.time_ms for reply in truth.rest_replies] == [3, 1003, 2003]
    assert truth.ends == {7: 1000}
    written.close()
    assert len(list(truth.periods())) == 3


def test_memory_can_be_bounded_to_the_last_periods() -> None:
    truth = Truth(keep_periods=2)
    _fill(truth, 5)
    assert [period.event_time_ms for period in truth.periods()] == [3000, 4000]
