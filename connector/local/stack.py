"""A real Kafka broker and a real Schema Registry as child processes, from Python packages alone.

``python -m connector.local.stack`` runs them until Ctrl-C.
"""

from __future__ import annotations

import fcntl
import shutil
import signal
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType, TracebackType
from typing import NoReturn, Self, TextIO

import click

from connector.core.errors import RetryableError
from connector.local.broker import SASL_LISTENER, SASL_PROPERTIES, Broker
from connector.local.cache import cache_folder
from connector.local.ports import Ports
from connector.local.processes import Server
from connector.local.registry_server import Registry


class LocalStack:
    """Broker and registry on free loopback ports, running within ``with``.

    ``folder`` keeps data and logs and may be used again; without it they are
    in a temporary folder and gone at the end. However this process ends, the
    servers end with it.

    ``sasl`` adds a listener with SASL/PLAIN (``SASL_USER``, ``SASL_PASSWORD`` of
    :mod:`connector.local.broker`). ``listeners`` adds others, by name and
    security protocol; what they need comes with ``properties``, which are the
    broker's own and win over all that the stack sets.

    Entering raises RetryableError where something cannot be fetched or a
    server does not come up, ConfigurationError where what was asked cannot work.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        registry: bool = True,
        sasl: bool = False,
        listeners: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        self._given_folder = folder
        self._with_registry = registry
        self._listeners = {**(SASL_LISTENER if sasl else {}), **(listeners or {})}
        self._properties = {**(SASL_PROPERTIES if sasl else {}), **(properties or {})}
        self._ports = Ports(cache_folder() / "ports")
        self._kafka: Broker | None = None
        self._registry: Registry | None = None
        self.folder = folder or Path()
        """Data and logs of both servers."""

    @property
    def kafka(self) -> Broker:
        """The broker. Raises RuntimeError before the stack was entered."""
        if self._kafka is None:
            raise RuntimeError("the stack is used before it was entered")
        return self._kafka

    @property
    def registry(self) -> Registry:
        """The registry. Raises RuntimeError in a stack made without."""
        if self._registry is None:
            raise RuntimeError("this stack has no registry")
        return self._registry

    @property
    def bootstrap_servers(self) -> str:
        """Address of the broker's plain listener."""
        return self.kafka.address()

    @property
    def sasl_bootstrap_servers(self) -> str:
        """Address of the broker's SASL/PLAIN listener. Raises KeyError in a stack made without."""
        return self.kafka.address("SASL")

    @property
    def registry_url(self) -> str:
        """Base address for a Schema Registry client; the path belongs to it."""
        return self.registry.url

    def __enter__(self) -> Self:
        self.folder = self._given_folder or Path(tempfile.mkdtemp(prefix="binance-kafka-source-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self._in_use = self._take_folder()
        try:
            self._kafka = Broker(self.folder, self._ports, self._listeners, self._properties)
            self._registry = Registry(self.folder, self._ports) if self._with_registry else None
            for server in self._servers():
                server.begin()
            for server in self._servers():
                server.wait_until_ready()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()

    def _take_folder(self) -> TextIO:
        """Kafka's own lock comes too late: by then a second broker has read and written in the first one's data."""
        lock = (self.folder / "in-use.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.close()
            raise RetryableError(f"{self.folder}: another local stack uses this folder; end it, or name one") from error
        return lock

    def _servers(self) -> list[Server]:
        # The slower one first.
        return [server for server in (self._registry, self._kafka) if server is not None]

    def _end(self) -> None:
        for server in self._servers():
            if self._given_folder:
                server.stop()
            else:
                server.kill()  # data that nobody will read needs no orderly end
        self._ports.release()
        if self._given_folder is None:
            shutil.rmtree(self.folder, ignore_errors=True)
        self._in_use.close()


def prepare() -> None:
    """Fetch everything and make later starts twice as quick: some 30 s the first time. Raises as entering a stack."""
    ports = Ports(cache_folder() / "ports")
    with ThreadPoolExecutor() as pool:
        preparations = [pool.submit(server.prepare, ports) for server in (Registry, Broker)]
    ports.release()
    for preparation in preparations:
        preparation.result()


@click.command()
@click.option("--prepare", "only_prepare", is_flag=True, help="Fetch everything, make later starts quick, and end.")
@click.option("--folder", type=click.Path(path_type=Path), help="Keep data and logs here; else they are temporary.")
def main(folder: Path | None, only_prepare: bool) -> None:
    """Run a Kafka broker and a Schema Registry until Ctrl-C."""

    def leave(number: int, frame: FrameType | None) -> NoReturn:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    if only_prepare:
        prepare()
        return
    with LocalStack(folder) as stack:
        click.echo(f"bootstrap.servers = {stack.bootstrap_servers}\nregistry.url = {stack.registry_url}")
        while True:
            signal.pause()


if __name__ == "__main__":
    main()
