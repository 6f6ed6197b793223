"""``demo``: the whole way of a tick on this machine, with nothing installed but Python."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from connector.commands.parameters import length_of_time
from connector.core.addresses import check_base_url
from connector.core.errors import ConfigurationError, FatalError, RetryableError
from connector.local.processes import Server

if TYPE_CHECKING:
    from rich.console import Console

    from connector.commands.tick_table import TickTable
    from connector.config import Config
    from connector.edges.topic_reader import TopicReader

TOPIC = "binance.usdm.asset-index"
DRAWN_EVERY_S = 0.5
FIRST_TICK_S = 60.0
STOP_S = 3.0
LINES_AROUND_THE_TABLE = 9


def _whole_milliseconds(_context: click.Context, _parameter: click.Parameter, rate: float) -> float:
    if not 0 < rate <= 1000 or 1000 % rate:
        raise click.BadParameter(f"{rate:g} a second: the time between two must be whole milliseconds, as for 1, 5, 10")
    return rate


@click.command("demo")
@click.option("--seconds", type=float, callback=length_of_time, help="End after so long; without it: Ctrl-C.")
@click.option("--feed", help="Base address of the real exchange (wss://…) instead of the fake one.")
@click.option("--symbols", type=click.IntRange(min=1), default=60, show_default=True, help="Of the fake exchange.")
@click.option(
    "--rate",
    type=float,
    default=1.0,
    show_default=True,
    callback=_whole_milliseconds,
    help="Arrays a second of the fake exchange.",
)
def command(seconds: float | None, feed: str | None, symbols: int, rate: float) -> None:
    """Start a broker, a registry, an exchange and the connector here; show the topic; stop them all."""
    from rich.console import Console

    try:
        import connector.local.stack  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"the demo needs the extra 'local' ({error.name} is missing): pip install 'binance-kafka-source[local]'"
        ) from error
    if feed is not None:
        check_base_url(feed)
    console = Console(width=None if sys.stdout.isatty() else 120)
    ended = _ended_by_signal()
    with ExitStack() as running:
        Demo(console, running, ended).run(seconds, feed, symbols, rate)


def _ended_by_signal() -> threading.Event:
    """Set by Ctrl-C, SIGTERM or a terminal that is closed. Each leaves the way out that ends every child."""
    ended = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        if ended.is_set():
            raise KeyboardInterrupt
        ended.set()
        if not Demo.showing:
            raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, *(() if _outlives_its_terminal() else (signal.SIGHUP,))):
        signal.signal(number, end)
    return ended


def _outlives_its_terminal() -> bool:
    """As ``nohup`` asks for."""
    return signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


class Demo:
    """What runs, and the live table of it."""

    showing = False
    """From then on a signal ends the table; before, it ends the start."""

    def __init__(self, console: Console, running: ExitStack, ended: threading.Event) -> None:
        self._console = console
        self._running = running
        self._ended = ended
        self._parent = os.getppid()

    def _is_over(self, deadline: float) -> bool:
        """Asked to end, in time or by a signal; or ``make``, which started it, was killed and can ask nothing more."""
        is_orphan = os.getppid() != self._parent and not _outlives_its_terminal()
        return self._ended.is_set() or is_orphan or time.monotonic() >= deadline

    def run(self, seconds: float | None, feed: str | None, symbols: int, rate: float) -> None:
        from connector.config import load_config

        folder = Path(self._running.enter_context(tempfile.TemporaryDirectory(prefix="binance-kafka-source-demo-")))
        config_file = self._start(folder, feed, symbols, rate)
        Demo.showing = True
        deadline = time.monotonic() + seconds if seconds is not None else float("inf")
        self._show(load_config(config_file, {}, ()).config, deadline)

    def _start(self, folder: Path, feed: str | None, symbols: int, rate: float) -> Path:
        from connector.local.exchange_thread import ExchangeThread
        from connector.local.stack import LocalStack

        started = time.monotonic()
        stack = self._running.enter_context(LocalStack())
        self._say(f"broker {stack.bootstrap_servers}, registry {stack.registry_url}", started)
        if feed is None:
            exchange = self._running.enter_context(ExchangeThread(symbols=symbols, rate_hz=rate))
            feed, rest = exchange.url, exchange.rest_url
            self._say(f"fake exchange {feed}, {symbols} symbols at {rate:g} Hz", started)
        else:
            rest = "https://fapi.binance.com"
        config_file = folder / "connector.toml"
        config_file.write_text(
            f'[feed]\nurl = "{feed}"\nrest_url = "{rest}"\n'
            f'[topic]\nname = "{TOPIC}"\n'
            f'[kafka]\n"bootstrap.servers" = "{stack.bootstrap_servers}"\n'
            f'[registry]\nurl = "{stack.registry_url}"\n'
            f'[journal]\npath = "{folder / "journal"}"\n'
            "[http]\nport = 0\n"
        )
        _run(["schema", "register", "--config", str(config_file)])
        self._running.enter_context(_connector(config_file, folder / "connector.log"))
        self._say(f"connector, as: binance-kafka-source run --config {config_file}", started)
        return config_file

    def _say(self, what: str, started: float) -> None:
        self._console.print(f"[dim]{time.monotonic() - started:5.1f} s[/dim]  {what}", highlight=False)

    def _show(self, config: Config, deadline: float) -> None:
        from rich.live import Live
        from rich.text import Text

        from connector.commands.tick_table import TickTable
        from connector.edges.schema_files import load_schema
        from connector.edges.topic_reader import TopicReader, registry_decoder

        table = TickTable(load_schema(config.schema.file))
        reader = self._reader(lambda: TopicReader(config.kafka, TOPIC, registry_decoder(config.registry, TOPIC)))
        if reader is None:
            return
        terminal = self._console.is_terminal
        started = time.monotonic()
        with Live(console=self._console, auto_refresh=False, vertical_overflow="crop") as live:
            while not self._is_over(deadline):
                table.add(reader.rows(DRAWN_EVERY_S), live=reader.at_end)
                if not table.records and time.monotonic() - started > FIRST_TICK_S:
                    log = (Path(config.journal.path).parent / "connector.log").read_text()
                    raise FatalError(
                        f"no tick reached the topic within {FIRST_TICK_S:.0f} s; the connector said:\n{log}"
                    )
                if terminal or time.monotonic() + DRAWN_EVERY_S >= deadline:
                    rows = max(5, self._console.size.height - LINES_AROUND_THE_TABLE) if terminal else 1_000
                    above = Text("\n".join(_counters(table, reader.partitions)))
                    live.update(
                        table.render(
                            time.time_ns() // 1_000_000, width=self._console.width, most_rows=rows, above=above
                        ),
                        refresh=True,
                    )
        if not terminal:
            self._console.print()
        self._console.print(
            f"{table.records:,} records of {table.symbols} symbols read back; stopping", highlight=False
        )

    def _reader(self, make: Callable[[], TopicReader]) -> TopicReader | None:
        """The topic is made by the connector: it may take a moment until it is there and led. None where a signal
        came first."""
        deadline = time.monotonic() + FIRST_TICK_S
        while not self._ended.is_set():
            try:
                reader = make()
                self._running.callback(reader.close)
                reader.start(0)
            except (ConfigurationError, RetryableError):
                if time.monotonic() > deadline:
                    raise
                self._ended.wait(0.2)
            else:
                return reader
        return None


def _counters(table: TickTable, partitions: int) -> Iterator[str]:
    yield f"{TOPIC} · {partitions} partitions · {table.symbols} symbols · {table.records:,} records read back"
    visible = table.visible_after_ms()
    if visible is not None:
        yield f"received → visible under read_committed: median {visible[0]:.0f} ms, 99 % within {visible[1]:.0f} ms"


def _run(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "connector", *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    if done.returncode:
        raise FatalError(f"{' '.join(arguments[:2])} failed: {done.stderr.strip()}")


class ConnectorProcess(Server):
    """``run`` as a process of its own, which ends when this one does, however that ends."""

    def __init__(self, config_file: Path, log_path: Path) -> None:
        super().__init__("the connector", log_path)
        self._config_file = config_file

    def _command(self) -> list[str]:
        return [sys.executable, "-m", "connector", "run", "--config", str(self._config_file)]

    def _answers(self) -> bool:
        return self.running


@contextmanager
def _connector(config_file: Path, log_file: Path) -> Iterator[None]:
    """Asked to stop at the end, and made to where it does not."""
    process = ConnectorProcess(config_file, log_file)
    process.begin()
    try:
        yield
    finally:
        process.stop(STOP_S)
