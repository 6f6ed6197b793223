"""Following the topic: what it holds under ``read_committed``, whoever wrote it; and what the ledger says meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from connector.core.admit import CONTENT_UNKNOWN, History, content_hash
from connector.core.errors import RetryableError
from connector.core.happenings import Tell
from connector.edges.kafka_clients import Complaints, Properties, consumer_properties, new_consumer, translated
from connector.edges.kafka_statistics import Statistics
from connector.edges.kafka_writer import Acknowledged
from connector.edges.topic_offsets import TopicOffsets

POLL_RECORDS = 2000
LAST_ENTRIES = -2000 - 100
"""librdkafka's logical offset of a hundred before the end: who the others are, and what they said just before."""
TAIL = 1000
"""The last records of a partition, which are always read."""
COMMITTED_WITHIN_MS = 60_000
"""Time also finds commit markers, which have the time of the commit. Where the last one is later than the newest tick
by more than this (a backlog, or a transaction that was aborted long after), the start is looked for again."""


@dataclass(frozen=True, slots=True)
class TopicPartitions:
    """A topic and how many partitions it has."""

    topic: str
    partitions: int


ContentOf = Callable[[bytes], bytes | None]
"""The comparable part of a record's value; ``None`` where it was written under another schema."""


class Follower:
    """Reads keys, timestamps and content hashes of all partitions into a history.

    ``hear`` is given each entry that comes to the ledger's topic meanwhile.

    ``passed`` has the newest event time by symbol that the topic was seen to
    hold, ``records`` counts those read. One thread only. Every method that asks the broker raises
    :class:`RetryableError` where it does not answer in time and
    :class:`ConfigurationError` where it refuses.
    """

    def __init__(
        self,
        properties: Properties,
        topic: str,
        history: History,
        content_of: ContentOf,
        tell: Tell,
        *,
        ledger: TopicPartitions,
        hear: Callable[[bytes], None],
        whole: bool = False,
    ) -> None:
        """``whole``: from the topic's beginning, for frames of any age."""
        self._properties = properties
        self._topic = topic
        self._ledger = ledger
        self._hear = hear
        self._whole = whole
        self._history = history
        self._content_of = content_of
        self._tell = tell
        self._complaints = Complaints("follower", tell)
        self._consumer: Consumer | None = None
        self._closing = threading.Lock()
        self._offsets = TopicOffsets(properties, topic)
        self._positions: dict[int, int] = {}
        self._own: dict[int, Acknowledged] = {}
        self._left_out: Set[int] = frozenset()
        self._names: dict[bytes, str] = {}
        self.passed: dict[str, int] = {}
        self.newest_ms = -1
        self.records = 0
        self.partitions = 0

    def open(self, partitions: int, oldest_needed_ms: int | None) -> None:
        """Start where the history must start, and read to the topic's present end.

        That is the history's window before the topic's newest tick or before
        ``oldest_needed_ms``, whichever is older.
        """
        self.partitions = partitions
        newest_ms = self._offsets.newest_ms(partitions)
        self._read_from(self._starts(newest_ms, oldest_needed_ms))
        if not self._whole and 0 <= self.newest_ms < newest_ms - COMMITTED_WITHIN_MS:
            self._read_from(self._starts(self.newest_ms, oldest_needed_ms))

    def _read_from(self, starts: dict[int, int]) -> None:
        self.close()
        self.passed.clear()
        self._names.clear()
        self.newest_ms = -1
        self._positions = dict(starts)
        self._own.clear()
        self._left_out = frozenset()
        self._consumer = new_consumer(
            consumer_properties(self._properties), self._complaints, stats_cb=Statistics("follower", self._tell)
        )
        followed = [TopicPartition(self._topic, partition, offset) for partition, offset in starts.items()]
        heard = [TopicPartition(self._ledger.topic, each, LAST_ENTRIES) for each in range(self._ledger.partitions)]
        self._consumer.assign(followed + heard)
        try:
            # What an open transaction hides is waited for by whoever holds the lock, not here.
            self.read_to(self.end_offsets(committed_only=True), timeout_s=60.0)
        except RetryableError:
            self.close()
            raise

    def grow(self, partitions: int) -> None:
        """The topic was given more partitions: follow them too, from their beginning. What was read stays."""
        added = range(self.partitions, partitions)
        self.partitions = partitions
        self._positions.update(dict.fromkeys(added, 0))
        if self._consumer is not None:
            self._consumer.incremental_assign([TopicPartition(self._topic, each, 0) for each in added])

    def _starts(self, newest_ms: int, oldest_needed_ms: int | None) -> dict[int, int]:
        """Offsets by partition, and a history with room for what is read from there. A record's timestamp is its event
        time, so time finds them.

        Each partition's last records are read however old they are, for what its symbols had last counts.
        """
        ends = self.end_offsets()
        oldest_ms = newest_ms if oldest_needed_ms is None else min(newest_ms, oldest_needed_ms)
        since_ms = 0 if self._whole else oldest_ms - self._history.window_ms - COMMITTED_WITHIN_MS
        found = self._offsets.since(self.partitions, since_ms)
        starts = {p: max(found[p].first, min(found[p].offset, end - TAIL)) for p, end in ends.items()}
        read = max(end - starts[p] for p, end in ends.items())
        periods = (newest_ms - oldest_ms) // self._history.cadence_ms
        self._history.clear(read if self._whole else min(read, periods))
        return starts

    @property
    def is_open(self) -> bool:
        return self._consumer is not None

    def poll(self, timeout_s: float) -> bool:
        """Take all that has come; wait for it so long at most. True where another process than this one wrote some:
        ticks that this process wrote are in the history already, and no tick is written twice by one process.
        """
        foreign = False
        while messages := self._open_consumer().consume(POLL_RECORDS, timeout=timeout_s):
            foreign = self._take(messages) or foreign
            if len(messages) < POLL_RECORDS:
                break
        return foreign

    def acknowledged(
        self,
        symbols: Sequence[str],
        event_times_ms: Sequence[int],
        where: Mapping[int, Acknowledged],
        *,
        more: bool,
    ) -> bool:
        """Records of this process are in the topic; ``more`` are about to be written. Whether this was taken for
        reading them.

        While a backlog is written, this stands for reading them, which would cost a sixth of all that a record costs.
        It is as good: where they begin at the very offset that was read to, and take no more offsets than they are,
        nobody else wrote anything before or between them. Where that is not so, they are read, and so is what
        others wrote. A partition that has none of them is read in any case. Call :meth:`read_all` when nothing more is
        written: between two frames of a live feed, others are heard.
        """
        self._note_positions(where.keys() - self._left_out)
        is_next = (
            bool(where)
            and sum(each.last + 1 - each.first for each in where.values()) == len(symbols)
            and all(self._next_offset(partition) == each.first <= each.last for partition, each in where.items())
        )
        self._own.update(where)
        is_taken = is_next and (more or where.keys() <= self._left_out)
        self._leave_out(where.keys() if is_taken else frozenset())
        if is_taken:
            self.passed.update(zip(symbols, event_times_ms, strict=True))  # of a symbol's, the last is the newest
            self.newest_ms = max(self.newest_ms, max(event_times_ms))
            # Not beyond the last record: the commit's marker may yet have to be written.
            self._positions.update({partition: each.last + 1 for partition, each in where.items()})
        return is_taken

    def read_all(self) -> None:
        """Read all partitions again."""
        self._leave_out(frozenset())

    def _next_offset(self, partition: int) -> int:
        """Where the next record comes to stand, if nobody has written what was not read."""
        position, own = self._positions.get(partition, 0), self._own.get(partition)
        return own.following if own is not None and position == own.last + 1 else position

    def _leave_out(self, partitions: Set[int]) -> None:
        """Of the topic, read all partitions but these."""
        if partitions == self._left_out:
            return
        consumer = self._open_consumer()
        read_on = [TopicPartition(self._topic, each, self._positions[each]) for each in self._left_out - partitions]
        leave = [TopicPartition(self._topic, each) for each in partitions - self._left_out]
        self._left_out = frozenset(partitions)
        if leave:
            consumer.incremental_unassign(leave)
        if read_on:
            consumer.incremental_assign(read_on)

    def _open_consumer(self) -> Consumer:
        if self._consumer is None:
            raise RuntimeError("open() first")
        return self._consumer

    def _take(self, messages: list[Message]) -> bool:
        # Each question to a message is a call: as few as can be, and from C.
        if any(map(Message.error, messages)):
            messages = [message for message in messages if self._is_record(message)]
        if self._ledger.topic in map(Message.topic, messages):
            messages = [message for message in messages if not self._is_heard(message)]
        foreign = False
        passed, symbols, names = self.passed, self._history.symbols, self._names
        keys = list(map(Message.key, messages))
        for message, key, (_, event_time_ms) in zip(messages, keys, map(Message.timestamp, messages), strict=True):
            if not isinstance(key, bytes):
                continue
            symbol = names.get(key) or self._named(key)
            if event_time_ms > passed.get(symbol, -1):
                passed[symbol] = event_time_ms
                if event_time_ms > self.newest_ms:
                    self.newest_ms = event_time_ms
            else:
                foreign = True
            known = symbols.get(symbol)
            if known is None or event_time_ms > known.newest:
                foreign = True
                value = message.value()
                content = self._content_of(value) if isinstance(value, bytes) else None
                self._history.add(
                    symbol, event_time_ms, content_hash(content) if content is not None else CONTENT_UNKNOWN
                )
        self.records += len(keys) - keys.count(None)
        return foreign

    def _named(self, key: bytes) -> str:
        symbol = self._names[key] = key.decode("utf-8", "replace")
        return symbol

    def _is_record(self, message: Message) -> bool:
        error = message.error()
        if error is not None:
            self._met(error, message)
        return error is None

    def _is_heard(self, message: Message) -> bool:
        """Whether it is an entry of the ledger."""
        value = message.value()
        if message.topic() != self._ledger.topic:
            return False
        if isinstance(value, bytes):
            self._hear(value)
        return True

    def _met(self, error: KafkaError, message: Message) -> None:
        if error.code() == KafkaError._PARTITION_EOF:
            # Commit markers take offsets and yield no message: only this tells that they were read.
            if message.topic() == self._topic and message.partition() not in self._left_out:
                self._positions[message.partition() or 0] = message.offset() or 0
        elif error.fatal() or error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            # Without the right to read nothing would ever come, and nothing else would say so.
            self.close()
            raise translated(error, f"following {message.topic() or self._topic}, which needs the right READ")

    def read_to(self, ends: dict[int, int], timeout_s: float) -> None:
        """Read until every partition is at its end offset: however long that is, as long as it gets on."""
        self.read_all()
        deadline = time.monotonic() + timeout_s
        while any(self._positions.get(partition, 0) < end for partition, end in ends.items()):
            if time.monotonic() > deadline:
                behind = {p: (self._positions.get(p, 0), end) for p, end in ends.items()}
                raise RetryableError(
                    f"reading {self._topic} to its end gets no further for {timeout_s:.0f} s (position, end by "
                    f"partition: {behind}); an open transaction of another transactional.id would explain it"
                )
            before = self._positions.copy()
            self.poll(0.1)
            self._note_positions(ends)
            if self._positions != before:
                deadline = time.monotonic() + timeout_s

    def _note_positions(self, partitions: Iterable[int]) -> None:
        """How far these were read."""
        asked = [TopicPartition(self._topic, partition) for partition in partitions]
        for at in self._open_consumer().position(asked) if asked else ():
            self._positions[at.partition] = max(self._positions.get(at.partition, 0), at.offset)

    def end_offsets(self, *, committed_only: bool = False) -> dict[int, int]:
        """Where each partition ends: the high watermark, or the last stable offset for ``committed_only``."""
        return self._offsets.ends(self.partitions, committed_only=committed_only)

    def partition_count(self) -> int:
        """As the broker says now."""
        return self._offsets.partitions()

    def log_in(self, username: str, password: str) -> None:
        """The credentials for the consumer's next login. Any thread may call."""
        with self._closing:
            if self._consumer is not None:
                self._consumer.set_sasl_credentials(username, password)

    def close(self) -> None:
        with self._closing:
            if self._consumer is not None:
                self._consumer.close()
                self._consumer = None
