"""Start, stop and what the runner decides by itself. Whole runs are in integration, chaos and embedding."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import pytest

from connector.config import load_config
from connector.core.happenings import Happening, NotVerified, QualityCleared, QualityFound, Stopped
from connector.core.quality import SYMBOLS_DIFFER
from connector.core.witness import ADVANCING, SILENT
from connector.edges import rest
from connector.embedding import Source
from connector.local.exchange import FakeExchange
from connector.runner import Connector, Host
from tests.test_embedding import Memory, until
from tests.test_embedding import config as embedded

NOW_MS = 1_791_285_204_000


@pytest.fixture
def told() -> list[Happening]:
    return []


@pytest.fixture
def connector(tmp_path: Path, told: list[Happening], monkeypatch: pytest.MonkeyPatch) -> Connector:
    """Not opened; its feed advances, and its sink holds what a test says."""
    return made(tmp_path, told, monkeypatch)


def made(folder: Path, told: list[Happening], monkeypatch: pytest.MonkeyPatch, *overrides: str) -> Connector:
    config = load_config(overrides=[f"journal.path={folder / 'journal'}", *overrides], needs=()).config
    host = Host(sink=Memory(), pages=False, log=io.StringIO())
    connector = Connector(config, also=told.append, host=host)
    monkeypatch.setattr(connector, "feed_state", lambda: ADVANCING)
    return connector


def holds(connector: Connector, monkeypatch: pytest.MonkeyPatch, **newest: int) -> None:
    monkeypatch.setattr(connector.sink, "symbols", lambda: newest)


def test_symbols_that_rest_has_and_the_stream_has_not(
    connector: Connector, told: list[Happening], monkeypatch: pytest.MonkeyPatch
) -> None:
    holds(connector, monkeypatch, BTCUSD=NOW_MS, ETHUSD=NOW_MS - 1000, GONEUSD=NOW_MS - 90_000)
    in_rest = frozenset({"BTCUSD", "ETHUSD", "NEWUSD"})
    assert connector.compare_symbols(in_rest), "to be asked again"
    assert told == []
    assert not connector.compare_symbols(in_rest)
    assert told == [QualityFound(SYMBOLS_DIFFER, "NEWUSD", "REST has it, the stream does not bring it")]
    holds(connector, monkeypatch, BTCUSD=NOW_MS, ETHUSD=NOW_MS, NEWUSD=NOW_MS)
    assert not connector.compare_symbols(in_rest)
    assert told[1:] == [QualityCleared(SYMBOLS_DIFFER, "NEWUSD")]


def test_only_symbols_that_were_asked_for_are_compared(
    tmp_path: Path, told: list[Happening], monkeypatch: pytest.MonkeyPatch
) -> None:
    connector = made(tmp_path, told, monkeypatch, 'feed.symbols=["BTCUSD", "ETHUSD"]')
    holds(connector, monkeypatch, BTCUSD=NOW_MS)
    for _ in range(2):
        connector.compare_symbols(frozenset({"BTCUSD", "ETHUSD", "USDTUSD"}))
    assert [each.about for each in told if isinstance(each, QualityFound)] == ["ETHUSD"]


@pytest.mark.parametrize("advancing", [True, False])
def test_nothing_is_compared_where_the_stream_says_nothing(
    advancing: bool, connector: Connector, told: list[Happening], monkeypatch: pytest.MonkeyPatch
) -> None:
    holds(connector, monkeypatch, **({} if advancing else {"BTCUSD": NOW_MS}))
    monkeypatch.setattr(connector, "feed_state", lambda: ADVANCING if advancing else SILENT)
    for _ in range(3):
        assert connector.compare_symbols(frozenset({"ETHUSD"})), "to be asked again"
    assert told == []


async def test_a_symbol_that_is_always_refused_is_missed_by_rest(
    tmp_path: Path, told: list[Happening], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way: REST asked, compared with what the sink holds, asked again, told."""
    monkeypatch.setattr(rest, "_COMPARED_AGAIN_AFTER_S", 0.5)
    async with FakeExchange(symbols=5, rate_hz=10) as exchange:
        exchange.bad_element({"i": "NaN"}, symbol="BTCUSD", periods=10_000)
        config = embedded(exchange, tmp_path)
        async with Source(config, sink=Memory(), tell=told.append, log=io.StringIO()):
            await until(lambda: any(isinstance(each, QualityFound) for each in told))
    (found,) = [each for each in told if isinstance(each, QualityFound)]
    assert found == QualityFound(SYMBOLS_DIFFER, "BTCUSD", "REST has it, the stream does not bring it")


def test_verification_that_is_turned_off_is_told_on_every_start(
    tmp_path: Path, told: list[Happening], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        connector = made(tmp_path, told, monkeypatch, "kafka.enable.ssl.certificate.verification=f")
        connector.open()
        connector.sink.give_up()
        assert connector.sink.join(5)
        connector.close()
    options = [each.option for each in told if isinstance(each, NotVerified)]
    assert options == ["kafka.enable.ssl.certificate.verification"] * 2


async def test_a_source_that_fails_leaves_nothing_running(connector: Connector, told: list[Happening]) -> None:
    async def source(_connector: Connector, _asked: asyncio.Event) -> None:
        raise LookupError("a bug")

    connector.open()
    with pytest.raises(LookupError, match="a bug"):
        await connector.serve(source, asyncio.Event())
    assert connector.sink.ended.is_set()
    assert [each.reason for each in told if isinstance(each, Stopped)] == ["failed"]
    again = Connector(connector.config, host=Host(sink=Memory(), pages=False, log=io.StringIO()))
    again.open()  # the journal's lock is free
    again.sink.give_up()
    assert again.sink.join(5)
    again.close()


async def test_a_heartbeat_that_fails_is_no_secret(
    connector: Connector, told: list[Happening], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it the journal's witness, the metrics and what is ready stand still."""

    async def source(_connector: Connector, asked: asyncio.Event) -> None:
        await asked.wait()

    def status() -> None:
        raise LookupError("a bug")

    connector.open()
    monkeypatch.setattr(connector, "status", status)
    with pytest.raises(LookupError, match="a bug"):
        await asyncio.wait_for(connector.serve(source, asyncio.Event()), 10)
    assert [each.reason for each in told if isinstance(each, Stopped)] == ["failed"]
