"""A Schema Registry with Confluent's interface: Apicurio, its data in a file."""

from __future__ import annotations

from pathlib import Path

import httpx

from connector.local.jars import unpacked
from connector.local.java import OPTIONS, java
from connector.local.ports import Ports
from connector.local.processes import Server

_READY_ANSWER_TIMEOUT_S = 1.0


class Registry(Server):
    """A registry that keeps its schemas in ``folder``."""

    def __init__(self, folder: Path, ports: Ports) -> None:
        port = ports.take()
        self.url = f"http://127.0.0.1:{port}/apis/ccompat/v7"
        # The database answers a write before it is on disk, unless told not to; a killed registry would forget.
        database = f"jdbc:h2:file:{folder / 'registry' / 'data'};WRITE_DELAY=0;DB_CLOSE_ON_EXIT=FALSE"
        options = {
            "quarkus.http.host": "127.0.0.1",
            "quarkus.http.port": port,
            # Its health and metrics would else listen on every interface.
            "quarkus.management.host": "127.0.0.1",
            "quarkus.management.port": ports.take(),
            "apicurio.datasource.url": database,
        }
        command = [
            java(),
            *OPTIONS,
            *(f"-D{name}={value}" for name, value in options.items()),
            "-jar",
            unpacked("registry") / "quarkus-run.jar",
        ]
        super().__init__("Schema Registry", command, folder / "registry.log", self._answers)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/subjects", timeout=_READY_ANSWER_TIMEOUT_S).status_code == 200
        except httpx.TransportError:
            return False
