"""What librdkafka measures of itself, as far as somebody is paged by it. Its own names are explained in its
``STATISTICS.md``; times there are in microseconds."""

from __future__ import annotations

import msgspec

from connector.core.happenings import BrokerMeasured, KafkaMeasured, Tell

_US = 1e-6
_MS = 1e-3


class _Window(msgspec.Struct):
    """Of the time since the last report."""

    max: int = 0
    p99: int = 0
    cnt: int = 0
    """Samples: without one the rest says nothing."""


class _Broker(msgspec.Struct):
    nodeid: int
    state: str = ""
    rtt: _Window = msgspec.field(default_factory=_Window)
    outbuf_latency: _Window = msgspec.field(default_factory=_Window)
    throttle: _Window = msgspec.field(default_factory=_Window)
    """In milliseconds."""
    connects: int = 0
    disconnects: int = 0
    txretries: int = 0
    txerrs: int = 0
    rxerrs: int = 0
    req_timeouts: int = 0


class _Partition(msgspec.Struct):
    partition: int
    fetch_state: str = ""
    next_offset: int = -1
    ls_offset: int = -1
    hi_offset: int = -1
    fetchq_cnt: int = 0


class _Topic(msgspec.Struct):
    partitions: dict[str, _Partition] = {}


class _Report(msgspec.Struct):
    msg_cnt: int = 0
    msg_size: int = 0
    brokers: dict[str, _Broker] = {}
    topics: dict[str, _Topic] = {}


_DECODER = msgspec.json.Decoder(_Report)

_Counted = tuple[int, int, int, int]


class Statistics:
    """librdkafka's statistics callback of one client; it counts from nothing with each client."""

    def __init__(self, client: str, tell: Tell) -> None:
        self._client = client
        self._tell = tell
        self._before: dict[int, _Counted] = {}

    def __call__(self, report: str) -> None:
        found = _DECODER.decode(report)
        # Addresses to begin with have no number; a broker that nothing was asked of is not ours to judge.
        brokers = [each for each in found.brokers.values() if each.nodeid >= 0 and each.connects > 0]
        read = [
            each
            for topic in found.topics.values()
            for each in topic.partitions.values()
            if each.fetch_state == "active" and each.ls_offset >= 0
        ]
        self._tell(
            KafkaMeasured(
                self._client,
                brokers=tuple(self._measured(each) for each in brokers),
                queued_records=found.msg_cnt,
                queued_bytes=found.msg_size,
                behind=sum(max(0, each.ls_offset - each.next_offset) + each.fetchq_cnt for each in read),
                uncommitted=sum(max(0, each.hi_offset - each.ls_offset) for each in read),
            )
        )

    def end(self) -> None:
        """The client is no more: what it showed last holds no longer."""
        self._tell(KafkaMeasured(self._client))

    def _measured(self, broker: _Broker) -> BrokerMeasured:
        now = (broker.disconnects, broker.txretries, broker.txerrs + broker.rxerrs, broker.req_timeouts)
        before = self._before.get(broker.nodeid, (0, 0, 0, 0))
        self._before[broker.nodeid] = now
        disconnects, retries, errors, timeouts = (max(0, new - old) for new, old in zip(now, before, strict=True))
        return BrokerMeasured(
            broker.nodeid,
            connected=broker.state == "UP",
            round_trip_s=broker.rtt.p99 * _US if broker.rtt.cnt else None,
            send_wait_s=broker.outbuf_latency.p99 * _US if broker.outbuf_latency.cnt else None,
            throttled_s=broker.throttle.max * _MS,
            disconnects=disconnects,
            retries=retries,
            errors=errors,
            timeouts=timeouts,
        )
