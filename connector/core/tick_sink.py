"""What a batch is to whoever takes ticks from the connector itself, instead of from Kafka."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from types import MappingProxyType
from typing import Any, Protocol

import fastavro

from connector.core.ledger_events import FeedEvent
from connector.core.pipeline import Batch
from connector.core.schema import StreamSchema
from connector.core.values import Reject

_FRAME_BYTES = 5
"""Before the Avro of each value: Confluent's magic byte and the schema's id."""


@dataclass(frozen=True, slots=True)
class DecodedTick:
    """A tick as a record of the topic would have it."""

    symbol: str
    event_time_ms: int
    fields: Mapping[str, Any]
    """Every field of the schema by its name: decimals as ``Decimal`` with all their digits, times as ``datetime``
    in UTC."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What some frames came to: whole frames, in the order in which they are to be written."""

    ticks: tuple[DecodedTick, ...]
    """Of each symbol newer than all before: none twice, none out of order."""
    rejects: tuple[Reject, ...]
    """What could not become a tick, with reason and bytes: the content of the dead-letter topic."""
    events: tuple[FeedEvent, ...]
    """What the ledger would get of them: gaps, symbols that appear, vanish and return."""

    @property
    def empty(self) -> bool:
        return not (self.ticks or self.rejects or self.events)


class TickSink(Protocol):
    """Where ticks go instead of Kafka. All calls come from one thread, which may block in them.

    Deliveries come one after the other. A tick leaves the journal once :meth:`write` has returned, and not before;
    after a crash, everything behind what :meth:`newest` says comes again. So each tick arrives at least once, and
    **exactly once where a delivery and what** ``newest`` **says are stored in one step** (a transaction).
    """

    def newest(self) -> Mapping[str, int]:
        """The newest event time that it holds, by symbol, in milliseconds; empty where it cannot know.

        Called once, before the first :meth:`write`. May raise RetryableError.
        """

    def write(self, delivery: Delivery) -> None:
        """Return when it is stored as safely as is wanted.

        Raise RetryableError to get the same delivery again a little later; frames wait in the journal meanwhile.
        Anything else that is raised ends the source, and nothing is lost by it.
        """

    def close(self) -> None:
        """The last call, also where :meth:`write` failed."""


def delivery_of(batch: Batch, schema: StreamSchema) -> Delivery:
    """The batch with its records decoded, which takes some 10 µs each."""
    ticks = tuple(
        DecodedTick(symbol, event_time_ms, _decoded(value, schema))
        for symbol, event_time_ms, value in zip(batch.symbols, batch.event_times_ms, batch.values, strict=True)
    )
    return Delivery(ticks, tuple(letter.reject for letter in batch.letters), tuple(batch.events))


def _decoded(value: bytes, schema: StreamSchema) -> Mapping[str, Any]:
    fields: Any = fastavro.schemaless_reader(BytesIO(value[_FRAME_BYTES:]), schema.parsed, None)
    return MappingProxyType(fields)
