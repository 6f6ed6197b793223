"""Where the partitions of a topic begin and end, and where a time begins in them: as the broker says just now."""

from __future__ import annotations

import time
from dataclasses import dataclass

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, yet not marked as exported
    AdminClient,
    ListOffsetsResultInfo,
    OffsetSpec,
)

from connector.edges.kafka_clients import Properties, admin_properties, new_admin, translated, unheard

ASK_TIMEOUT_S = 5.0
CLIENT_KEPT_S = 1.0


@dataclass(frozen=True, slots=True)
class Since:
    """Of one partition: where a time begins."""

    first: int
    """The first offset that the partition still has: nothing before it can be read."""
    offset: int
    """From here on it has all that is as new as that time; its end, where nothing is."""


class TopicOffsets:
    """Asks the broker. One thread only.

    Every method raises :class:`RetryableError` where it does not answer in time and :class:`ConfigurationError` where
    it refuses.
    """

    def __init__(self, properties: Properties, topic: str) -> None:
        self._properties = properties
        self._topic = topic
        self._client: AdminClient | None = None
        self._client_since_s = 0.0

    def partitions(self) -> int:
        """How many there are; 0 where the topic is not there."""
        try:
            topics = self._asker().list_topics(self._topic, timeout=ASK_TIMEOUT_S).topics
        except KafkaException as error:
            self._client = None
            raise translated(error, f"asking for the partitions of {self._topic}") from error
        return len(topics[self._topic].partitions)

    def ends(self, partitions: int, *, committed_only: bool = False) -> dict[int, int]:
        """Where each partition ends: the high watermark, or the last stable offset for ``committed_only``."""
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        doing = f"asking for the end of {self._topic}"
        found = self._list(partitions, latest, doing, committed_only=committed_only)
        return {partition: result.offset for partition, result in found.items()}

    def newest_ms(self, partitions: int) -> int:
        """The newest event time in the topic, or that of the last commit, which is not older; -1 where it is empty."""
        newest = OffsetSpec.max_timestamp()  # type: ignore[no-untyped-call]
        found = self._list(partitions, newest, f"asking for the newest record of {self._topic}")
        return max(result.timestamp for result in found.values())

    def since(self, partitions: int, time_ms: int) -> dict[int, Since]:
        """Where to begin so as to read all that is as new as *time_ms*. A time before all that a partition still has
        begins where the partition does.

        The broker looks into the first segment that ever had a record as new. Where ``DeleteRecords`` has cut that one
        off, in part or until it is removed some minutes later, the answer is that there is no such record, whatever
        later segments have. So that counts only where the newest record is older too; else the time begins at the cut.
        """
        doing = f"finding where to start in {self._topic}"
        # The time at last: what comes between two answers is found then.
        first = self._list(partitions, OffsetSpec.earliest(), doing)  # type: ignore[no-untyped-call]
        ends = self.ends(partitions)
        newest = self._list(partitions, OffsetSpec.max_timestamp(), doing)  # type: ignore[no-untyped-call]
        found = self._list(partitions, OffsetSpec.for_timestamp(max(0, time_ms)), doing)
        where_none = {p: first[p].offset if newest[p].timestamp >= time_ms else ends[p] for p in found}
        return {
            p: Since(first[p].offset, result.offset if result.offset >= 0 else where_none[p])
            for p, result in found.items()
        }

    def _list(
        self, partitions: int, spec: OffsetSpec, doing: str, *, committed_only: bool = False
    ) -> dict[int, ListOffsetsResultInfo]:
        isolation = IsolationLevel.READ_COMMITTED if committed_only else IsolationLevel.READ_UNCOMMITTED
        wanted = {TopicPartition(self._topic, partition): spec for partition in range(partitions)}
        try:
            asked = self._asker().list_offsets(wanted, isolation_level=isolation, request_timeout=ASK_TIMEOUT_S)
            return {partition.partition: future.result() for partition, future in asked.items()}
        except KafkaException as error:
            self._client = None
            raise translated(error, doing) from error

    def _asker(self) -> AdminClient:
        """A client that is new, or nearly: one with stale metadata fails for good after a broker froze or restarted,
        and on a consumer's own connection every question waits behind a fetch that waits for data.

        One that asks for offsets before it knows who leads the partitions waits one, three or six seconds for that,
        one time in twenty. So it asks for the leaders first.

        With ``oauth_cb`` each would first wait a second for its token, so one is kept until it fails.
        """
        now_s = time.monotonic()
        is_old = now_s - self._client_since_s > CLIENT_KEPT_S and "oauth_cb" not in self._properties
        if self._client is None or is_old:
            self._client = None
            client = new_admin(admin_properties(self._properties), unheard)
            client.list_topics(self._topic, timeout=ASK_TIMEOUT_S)
            self._client, self._client_since_s = client, now_s
        return self._client
