"""What a batch becomes: the records of one transaction, and what is told once they are in the topic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from connector.core.dead_letters import DeadLetter
from connector.core.happenings import (
    Committed,
    GapFound,
    Happening,
    StartedWithoutHistory,
    SymbolChanged,
    TombstoneWritten,
)
from connector.core.ledger_events import EventEncoder, EventKind, FeedEvent
from connector.core.pipeline import Batch
from connector.core.values import Reason
from connector.edges.kafka_clients import Properties
from connector.edges.kafka_partition import partition_of
from connector.edges.kafka_writer import Outgoing, Records, headers_of

DEAD_LETTER_MAX_BYTES = 64 * 1024
LONGEST_STREAM = 256
"""As a header; an envelope can name a stream of any length, and Kafka would refuse the record again and again."""

_SYMBOL_KINDS = frozenset({EventKind.SYMBOL_APPEARED, EventKind.SYMBOL_VANISHED, EventKind.SYMBOL_RETURNED})


@dataclass(frozen=True, slots=True)
class SinkOptions:
    """What of the configuration the sink needs. Times in seconds, sizes as named."""

    kafka: Properties
    topic: str
    dead_letter_topic: str
    events_topic: str
    latest_topic: str | None
    transactional_id: str | None
    """``None``: at least once, for clusters without transactions."""
    replica: str
    takeover_after_s: float
    max_records: int
    history_window_ms: int
    whole_history: bool = False
    """The topic is read from its beginning: frames of any age may come."""
    tombstone_after_ms: int | None = None
    """``None``: no tombstones in the latest topic."""


class Keys(dict[str, bytes]):
    """Symbols as keys."""

    def __missing__(self, symbol: str) -> bytes:
        key = self[symbol] = symbol.encode()
        return key


class Places(dict[bytes, int]):
    """The partition of each key, among so many."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions

    def __missing__(self, key: bytes) -> int:
        place = self[key] = partition_of(key, self._partitions)
        return place


class Outbox:
    """Batches to records. ``partitions`` is the count pinned at the start: a symbol stays where it is.

    ``latest_partitions``: that of the latest topic, where there is one. It stays when the topic is given more: in a
    compacted topic a key that moves leaves its last record behind for ever.
    """

    def __init__(
        self, options: SinkOptions, events: EventEncoder, partitions: int, latest_partitions: int | None = None
    ) -> None:
        self._options = options
        self._events = events
        self._places = Places(partitions)
        self._latest_places = Places(latest_partitions or partitions)
        self._keys = Keys()
        self._symbols: list[str] = []
        self._columns: list[tuple[str, list[int], list[bytes]]] = []
        """Topic, partitions and keys of the symbols above."""

    def records(self, batch: Batch) -> Iterator[Records]:
        """The records, the latest ones, and tombstones behind these.

        Batch after batch has the same symbols, live and in a backlog: what follows from them is kept.
        """
        if batch.symbols != self._symbols:
            self._symbols = batch.symbols
            self._columns = list(self._looked_up(batch.symbols))
        for topic, partitions, keys in self._columns:
            yield Records(topic, partitions, keys, batch.values, batch.event_times_ms)
        if (latest := self._options.latest_topic) is not None and (tombstones := batch.tombstones):
            keys = [self._keys[each.symbol] for each in tombstones]
            places = list(map(self._latest_places.__getitem__, keys))
            yield Records(latest, places, keys, [None] * len(keys), [each.event_time_ms for each in tombstones])

    def _looked_up(self, symbols: list[str]) -> Iterator[tuple[str, list[int], list[bytes]]]:
        topic, latest = self._options.topic, self._options.latest_topic
        keys = list(map(self._keys.__getitem__, symbols))
        for name, places in ((topic, self._places), (latest, self._latest_places)):
            if name is not None and keys:
                yield name, list(map(places.__getitem__, keys)), keys

    def others(self, batch: Batch) -> Iterator[Outgoing]:
        """Dead letters, ledger entries."""
        for letter in batch.letters:
            yield self.letter(letter)
        for event in batch.events:
            encoded = self._events.encode(event, self._options.replica)
            yield self._options.events_topic, -1, event.about.encode(), encoded, event.time, None

    def letter(self, letter: DeadLetter) -> Outgoing:
        """The bytes as received, cut at 64 KiB, with the reason in the headers."""
        reject, frame = letter
        cut = len(reject.data) > DEAD_LETTER_MAX_BYTES
        headers = headers_of(
            reason=reject.reason.value,
            field=reject.field,
            detail=reject.detail,
            stream=reject.stream[:LONGEST_STREAM],
            connection=frame.connection,
            received_time=str(frame.received_at_ns // 1_000_000),
            **({"cut_from_bytes": str(len(reject.data))} if cut else {}),
        )
        key = reject.symbol.encode("utf-8", "replace") if reject.symbol else None
        data = reject.data[:DEAD_LETTER_MAX_BYTES]
        return self._options.dead_letter_topic, -1, key, data, frame.received_at_ns // 1_000_000, headers


def told_of(batch: Batch, duration_s: float, committed_at_ns: int) -> Iterator[Happening]:
    """What to tell of a batch that is in the topic."""
    yield from batch.told
    for event in batch.events:
        yield from _told_of_event(event)
    for tombstone in batch.tombstones:
        yield TombstoneWritten(tombstone.symbol, tombstone.newest_ms)
    reasons = [letter.reject.reason for letter in batch.letters]
    yield Committed(
        frames=batch.frames,
        records=len(batch.values),
        letters=len(batch.letters),
        events=len(batch.events),
        duplicates=batch.duplicates,
        late=reasons.count(Reason.LATE),
        conflicts=reasons.count(Reason.CONFLICT),
        duration_s=duration_s,
        oldest_received_ns=batch.oldest_received_ns,
        committed_at_ns=committed_at_ns,
    )


def _told_of_event(event: FeedEvent) -> Iterator[Happening]:
    if event.kind is EventKind.GAP:
        yield GapFound(event.about, event.first_missing or 0, event.last_missing or 0, event.periods, event.reason)
    elif event.kind in _SYMBOL_KINDS:
        yield SymbolChanged(event.kind.value, event.about)
    elif event.kind is EventKind.STARTED_WITHOUT_HISTORY:
        yield StartedWithoutHistory()
