"""The ledger's entries: what ``schemas/feed_event.avsc`` declares."""

from __future__ import annotations

import io
import json
import struct
from dataclasses import asdict, dataclass
from enum import StrEnum

import fastavro

EVERY_SYMBOL = "*"


class EventKind(StrEnum):
    GAP = "gap"
    GAP_OPENED = "gap_opened"
    STARTED_WITHOUT_HISTORY = "started_without_history"
    SYMBOL_APPEARED = "symbol_appeared"
    SYMBOL_VANISHED = "symbol_vanished"
    SYMBOL_RETURNED = "symbol_returned"
    SOCKET_OPENED = "socket_opened"
    SOCKET_CLOSED = "socket_closed"
    TAKEOVER = "takeover"
    FIELD_UNKNOWN = "field_unknown"
    PARTITIONS_GROWN = "partitions_grown"
    QUALITY_FOUND = "quality_found"
    QUALITY_CLEARED = "quality_cleared"


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """One entry. ``time`` is event time for gaps and symbols, else the connector's clock; both in milliseconds."""

    kind: EventKind
    about: str
    time: int
    first_missing: int | None = None
    last_missing: int | None = None
    periods: int = 0
    reason: str = ""
    detail: str = ""


class EventEncoder:
    """Entries to Confluent-framed Avro, by fastavro: a few a minute need no speed."""

    def __init__(self, schema_text: str, schema_id: int) -> None:
        self._schema = fastavro.parse_schema(json.loads(schema_text))
        self._frame = struct.pack(">bI", 0, schema_id)

    def encode(self, event: FeedEvent, replica: str) -> bytes:
        """The record's value; ``replica`` says which process writes it."""
        out = io.BytesIO()
        out.write(self._frame)
        fields = {**asdict(event), "kind": event.kind.value, "replica": replica}
        fastavro.schemaless_writer(out, self._schema, fields)
        return out.getvalue()
