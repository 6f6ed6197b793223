"""The frames that every subject is given: a made-up market's, one message a line."""

from __future__ import annotations

from pathlib import Path

from connector.local.market import Market

CADENCE_MS = 1000


def write_frames(path: Path, *, frames: int, symbols: int, first_ms: int) -> None:
    """A file as ``replay`` takes it: array frames of that many symbols, a second apart."""
    market = Market(symbols)
    with path.open("wb") as file:
        for number in range(frames):
            file.write(market.snapshot(first_ms + number * CADENCE_MS).array + b"\n")
