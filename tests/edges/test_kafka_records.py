"""What a batch becomes for Kafka."""

from __future__ import annotations

from connector.core.dead_letters import DeadLetter
from connector.core.ledger_events import EventEncoder
from connector.core.values import Frame, Reason, Reject
from connector.edges.kafka_records import Outbox, SinkOptions
from connector.edges.schema_files import find_schema_file, read_schema_file

OPTIONS = SinkOptions(
    kafka={},
    topic="ticks",
    dead_letter_topic="ticks.dlq",
    events_topic="ticks.events",
    latest_topic=None,
    transactional_id="ticks",
    replica="one",
    takeover_after_s=3.0,
    max_records=10_000,
    history_window_ms=600_000,
)
BYTES_BY_DEFAULT = 1_000_000
"""Kafka's ``message.max.bytes``, about."""


def test_a_letter_is_no_larger_than_kafka_takes_whatever_the_frame_says() -> None:
    outbox = Outbox(OPTIONS, EventEncoder(read_schema_file(find_schema_file("feed_event")), 2), 6)
    reject = Reject(Reason.NULL, "index_price", "is null", b"x" * 2_000_000, "BTCUSD", stream="s" * 2_000_000)
    topic, _, key, value, _, headers = outbox.letter(DeadLetter(reject, Frame(b"", 0, "ws-1", "!assetIndex@arr")))
    assert (topic, key) == ("ticks.dlq", b"BTCUSD")
    sizes = [len(name) + len(text or "") for name, text in headers or []]
    assert len(value or b"") + sum(sizes) < BYTES_BY_DEFAULT
    assert dict(headers or [])["cut-from-bytes"] == b"2000000"
