"""``docs/joins.md``: its blocks, the topics they speak of, and what they print.

``python -m tests.downstream.page`` writes the results into the page anew;
:mod:`tests.downstream.test_page` holds the page to them.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from click.testing import CliRunner

from connector.cli import cli
from connector.local.flink import Flink, FlinkSession, final_state
from connector.local.stack import LocalStack
from tests.downstream.topics import ROOT, AssetIndexTopic, Balance, BalanceTopic, Topics

PAGE = ROOT / "docs" / "joins.md"
TOPIC, BALANCES = "binance.usdm.asset-index", "balances"
"""As the page calls them."""
PARTITIONS = 2
"""Few enough for three symbols to leave none empty."""
START_MS = 1_767_614_400_000
"""2026-01-05 12:00:00 UTC. The topics here keep records for ever, so that such old ones stay."""

RATES = {
    "BTCUSD": (
        ("86156.14485640", "81848.33761358", "90463.95209922"),
        ("86159.36842105", "81851.40000000", "90467.33684211"),
        ("86146.31578948", "81839.00000001", "90453.63157896"),
    ),
    "ETHUSD": (
        ("2931.40718265", "2784.83682352", "3077.97754178"),
        ("2931.68421053", "2785.10000000", "3078.26842105"),
        ("2931.57894736", "2784.99999999", "3078.15789473"),
    ),
    "USDTUSD": (
        ("0.99968617", "0.99958620", "0.99978614"),
        ("0.99968618", "0.99958621", "0.99978615"),
        ("0.99968619", "0.99958622", "0.99978616"),
    ),
}
"""Index, bid rate and ask rate at each second."""
CHANGES = (
    (-250, "alice", "USDTUSD", "1000.00000000"),
    (0, "alice", "BTCUSD", "0.25000000"),
    (400, "bob", "USDTUSD", "-1500.12345678"),
    (1300, "bob", "ETHUSD", "3.14159265"),
    (1999, "alice", "BTCUSD", "-0.01000001"),
    (2700, "alice", "USDTUSD", "21547.83350000"),
    (3600, "bob", "ETHUSD", "2.50000000"),
)


@dataclass(frozen=True, slots=True)
class Block:
    language: str
    text: str
    start: int
    """Where its text begins in the page."""
    printed: Block | None = None
    """The block of text right behind it."""


def blocks(page: str) -> Iterator[Block]:
    """What is run, each with what it prints."""
    pattern = re.compile(r"^```(\w+)\n(.*?)^```\n(?:```text\n(?P<printed>.*?)^```\n)?", re.MULTILINE | re.DOTALL)
    for match in pattern.finditer(page):
        printed = match["printed"]
        shown = None if printed is None else Block("text", printed, match.start("printed"))
        yield Block(match[1], match[2], match.start(2), shown)


def elements(second: int) -> bytes:
    """The array that the exchange pushes."""
    return json.dumps(
        [
            {
                "e": "assetIndexUpdate",
                "E": START_MS + 1000 * second,
                "s": symbol,
                "i": rates[second][0],
                "b": "0.05000000",
                "a": "0.05000000",
                "B": rates[second][1],
                "A": rates[second][2],
                "q": "0.02500000",
                "g": "0.02500000",
                "Q": rates[second][1],
                "G": rates[second][2],
            }
            for symbol, rates in RATES.items()
        ]
    ).encode()


class Page:
    """The page's topics on a stack, under names of their own, and a session of Flink."""

    def __init__(self, stack: LocalStack, topics: Topics, flink: Flink) -> None:
        self._stack = stack
        self._names = {TOPIC: f"page-{uuid.uuid4().hex[:8]}", BALANCES: f"page-{uuid.uuid4().hex[:8]}.balances"}
        self._session: FlinkSession = flink.session()
        name = self._names[TOPIC]
        index = AssetIndexTopic(topics, name, partitions=PARTITIONS, retention_ms="-1")
        latest = f"{name}.latest"
        topics.create(latest, PARTITIONS, cleanup_policy="compact")
        topics.register(latest, topics.registry.versions(f"{name}-value")[-1].text)
        for second in range(3):
            index.write_array(elements(second), also=latest)
        balances = BalanceTopic(topics, self._names[BALANCES], partitions=PARTITIONS, retention_ms="-1")
        balances.write(
            [Balance(symbol, START_MS + ms, account, Decimal(units)) for ms, account, symbol, units in CHANGES]
        )

    def run(self, block: Block) -> str:
        """What it prints; rows of SQL sorted, since they come in no order."""
        return {"console": self._console, "sql": self._sql, "python": self._python}[block.language](block.text)

    def _console(self, text: str) -> str:
        printed = ""
        for line in text.splitlines():
            given = line.removeprefix("$ binance-kafka-source ").split()
            arguments = [
                self._names[part] if before in {"--with", "--topic"} else part
                for before, part in zip(["", *given], given, strict=False)
            ]
            settings = {
                "kafka.bootstrap.servers": self._stack.bootstrap_servers,
                "registry.url": self._stack.registry_url,
                "topic.name": self._names[TOPIC],
            }
            arguments += [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
            if arguments[:2] == ["ddl", "flink"]:
                arguments += ["--inline", "--bounded"]
            result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
            assert result.exit_code == 0, result.output
            if arguments[:2] == ["ddl", "flink"]:
                statements = [each for each in result.stdout.split(";\n") if each.strip()]
                self._session.execute(*statements)
            elif arguments[0] != "ddl":
                printed += result.stdout
        for shown, name in self._names.items():
            printed = printed.replace(name, shown)
        return printed

    def _sql(self, text: str) -> str:
        rows = self._session.query(text)
        if text.startswith("CREATE"):
            return ""
        return "".join(f"{' | '.join(str(value) for value in row)}\n" for row in sorted(final_state(rows)))

    def _python(self, text: str) -> str:
        for shown, name in self._names.items():
            text = text.replace(f'"{shown}"', f'"{name}"')
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", text],
            env={
                **os.environ,
                "KAFKA_BOOTSTRAP_SERVERS": self._stack.bootstrap_servers,
                "SCHEMA_REGISTRY_URL": self._stack.registry_url,
            },
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def main() -> None:
    """Write what is printed into the page."""
    text = PAGE.read_text("utf-8")
    with LocalStack() as stack, Flink() as flink:
        page = Page(stack, Topics(stack), flink)
        moved = 0
        for block in list(blocks(text)):
            printed = page.run(block)
            if block.printed is not None:
                at = block.printed.start + moved
                text = text[:at] + printed + text[at + len(block.printed.text) :]
                moved += len(printed) - len(block.printed.text)
    PAGE.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
