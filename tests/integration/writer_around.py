"""A writer that does what another one does, for tests that change what it is given or when."""

from __future__ import annotations

from collections.abc import Iterable

from connector.edges.kafka_writer import Outgoing, Records, Writer, Written


class WriterAround:
    """Everything goes to the writer within."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def write(self, records: Iterable[Records], others: Iterable[Outgoing]) -> Written:
        return self._writer.write(records, others)

    def serve(self) -> None:
        self._writer.serve()

    def log_in(self, username: str, password: str) -> None:
        self._writer.log_in(username, password)

    def close(self) -> None:
        self._writer.close()
