"""``make join``: the connector, another topic, and a Flink that joins them, each row as it comes."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.downstream.topics import ROOT

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]


def test_joined_rows_are_shown() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "connector", "join-demo", "--seconds", "1", "--symbols", "3"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "CREATE TABLE `asset_index`" in done.stdout
    assert re.search(r"joined rows, the newest last", done.stdout)
    rows = re.findall(r"(\d\d:\d\d:\d\d\.\d{3})\s+(\w+)\s+(\w+)\s+(-?[\d.]+)\s+([\d.]+)\s+(-?[\d.]+)", done.stdout)
    assert rows
    for _, _, symbol, balance, rate, usd in rows:
        assert symbol in {"BTCUSD", "ETHUSD", "USDTUSD"}
        assert product(balance, rate) == usd, "exact"


def product(balance: str, rate: str) -> str:
    """In integers: every digit of it."""
    units = int(balance.replace(".", "")) * int(rate.replace(".", ""))
    digits = str(abs(units)).rjust(17, "0")
    return f"{'-' if units < 0 else ''}{digits[:-16]}.{digits[-16:]}"
