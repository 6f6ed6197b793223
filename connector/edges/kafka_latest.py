"""Reading the compacted topic of the newest records: which symbols it holds, and which have a tombstone."""

from __future__ import annotations

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition

from connector.core.happenings import Tell
from connector.core.tombstones import Held
from connector.edges.kafka_clients import Complaints, Properties, consumer_properties, new_consumer, translated

POLL_RECORDS = 2000


class LatestReader:
    """Reads the topic from its beginning to its end, a little with each call, so that nobody waits for it.

    Compaction leaves at least the newest record of each key, and may leave
    hours of them. One thread only. ``topic`` unset: there is nothing to read.
    """

    def __init__(self, properties: Properties, topic: str | None, tell: Tell) -> None:
        self._properties = properties
        self._topic = topic
        self._complaints = Complaints("latest reader", tell)
        self._consumer: Consumer | None = None
        self._unread: set[int] = set()
        self._records: dict[str, int] = {}
        self._tombstones: dict[str, int] = {}

    def start(self, partitions: int) -> None:
        """Begin anew. Raises :class:`ConfigurationError` for properties that librdkafka refuses."""
        self.close()
        if self._topic is None:
            return
        self._records, self._tombstones = {}, {}
        self._unread = set(range(partitions))
        self._consumer = new_consumer(consumer_properties(self._properties), self._complaints)
        self._consumer.assign([TopicPartition(self._topic, number, OFFSET_BEGINNING) for number in self._unread])

    @property
    def is_open(self) -> bool:
        """Whether there is more to read."""
        return self._consumer is not None

    def read_on(self) -> Held | None:
        """Take what has come; what the topic holds, once, when every partition was read to its end.

        Raises :class:`ConfigurationError` where the right to read is missing.
        """
        if self._consumer is None:
            return None
        for message in self._consumer.consume(POLL_RECORDS, timeout=0.0):
            self._take(message)
        if self._unread:
            return None
        self.close()
        return Held(self._records, self._tombstones)

    def _take(self, message: Message) -> None:
        error = message.error()
        if error is None:
            self._note(message)
        elif error.code() == KafkaError._PARTITION_EOF:
            self._unread.discard(message.partition() or 0)
        elif error.fatal() or error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            raise translated(error, f"reading {self._topic}, which needs the right READ")

    def _note(self, message: Message) -> None:
        key = message.key()
        if not isinstance(key, bytes):
            return
        symbol = key.decode("utf-8", "replace")
        now, before = self._records, self._tombstones
        if message.value() is None:
            now, before = before, now
        now[symbol] = message.timestamp()[1]
        before.pop(symbol, None)

    def close(self) -> None:
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None
