"""A Schema Registry with Confluent's interface: Apicurio, its data in a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import httpx

from connector.local.jars import MANIFEST, unpacked
from connector.local.java import java, java_options, prepare_quick_start
from connector.local.ports import Ports
from connector.local.processes import Server

_ANSWER_TIMEOUT_S = 2.0


class Registry(Server):
    """A registry that keeps its schemas in a folder."""

    def __init__(self, folder: Path, ports: Ports, options: Sequence[str] | None = None) -> None:
        """``options``: for Java. Fetches what it needs; raises as :func:`~connector.local.jars.unpacked` does."""
        super().__init__("Schema Registry", folder / "registry.log")
        port = ports.take()
        self.url = f"http://127.0.0.1:{port}/apis/ccompat/v7"
        """Base address for a Schema Registry client; the path belongs to it."""
        self._options = {
            "quarkus.http.host": "127.0.0.1",
            "quarkus.http.port": port,
            # Its health and metrics would else listen on every interface.
            "quarkus.management.host": "127.0.0.1",
            "quarkus.management.port": ports.take(),
            # Its own names the month by the zone's offset.
            "quarkus.log.console.format": "%d{yyyy-MM-dd'T'HH:mm:ss,SSS} %p %c{1}: %s%e%n",
            # A write is on disk before it is answered; else a killed registry forgets the last half second.
            "apicurio.datasource.url": f"jdbc:h2:file:{folder / 'registry' / 'data'};WRITE_DELAY=0",
            "apicurio.datasource.jdbc.initial-size": 2,
            "apicurio.datasource.jdbc.min-size": 2,
        }
        loaded = _loaded()
        self._jar = loaded[0]
        self._java_options = options or java_options("registry", loaded)

    @classmethod
    def prepare(cls, ports: Ports) -> None:
        """Fetch everything and make later starts quick. Raises as starting does."""
        prepare_quick_start("registry", _loaded(), lambda folder, options: cls(folder, ports, options))

    def _command(self) -> list[str]:
        options = [f"-D{name}={value}" for name, value in self._options.items()]
        return [java(), *self._java_options, *options, "-jar", str(self._jar)]

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/subjects", timeout=_ANSWER_TIMEOUT_S).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False


def _loaded() -> list[Path]:
    """The program, and what changes whenever the files around it do."""
    program = unpacked("registry")
    return [program / "quarkus-run.jar", program / MANIFEST]
