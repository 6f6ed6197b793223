"""The ledger's entries: what ``schemas/feed_event.avsc`` declares."""

from __future__ import annotations

import io
import json
import struct
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, cast

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
    WRITER_WANTED = "writer_wanted"
    TAKING_OVER = "taking_over"
    TAKEOVER = "takeover"
    FIELD_UNKNOWN = "field_unknown"
    PARTITIONS_GROWN = "partitions_grown"
    QUALITY_FOUND = "quality_found"
    QUALITY_CLEARED = "quality_cleared"


_KINDS = frozenset(EventKind)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """One entry. ``time`` in milliseconds: event time for gaps, symbols and what a writer is wanted for, else the
    connector's clock."""

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

    def decode(self, value: bytes) -> tuple[FeedEvent, str] | None:
        """Kind, subject, time and reason of an entry, and the replica that wrote it.

        ``None`` for one of another version of this program.
        """
        if not value.startswith(self._frame):
            return None
        entry = cast(dict[str, Any], fastavro.schemaless_reader(io.BytesIO(value[len(self._frame) :]), self._schema))
        if entry["kind"] not in _KINDS:
            return None
        time_ms = (entry["time"] - _EPOCH) // timedelta(milliseconds=1)
        event = FeedEvent(EventKind(entry["kind"]), entry["about"], time_ms, reason=entry["reason"])
        return event, entry["replica"]
