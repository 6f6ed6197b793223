"""What a batch becomes for Kafka."""

from __future__ import annotations

from dataclasses import replace

from connector.core.dead_letters import DeadLetter
from connector.core.ledger_events import EventEncoder
from connector.core.pipeline import Batch
from connector.core.values import Frame, Reason, Reject
from connector.edges.kafka_partition import partition_of
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


def test_each_batch_gets_the_keys_and_partitions_of_its_own_symbols() -> None:
    latest = replace(OPTIONS, latest_topic="ticks.latest")
    outbox = Outbox(latest, EventEncoder(read_schema_file(find_schema_file("feed_event")), 2), 6, 3)
    for symbols in (["BTCUSD", "ETHUSD"], ["BTCUSD", "ETHUSD"], ["ETHUSD", "BTCUSD", "ETHUSD"], [], ["币安人生USD"]):
        batch = Batch()
        for number, symbol in enumerate(symbols):
            batch.add_record(symbol, number, b"%d" % number)
        for records, partitions in zip(outbox.records(batch), (6, 3), strict=False):
            keys = [symbol.encode() for symbol in symbols]
            assert records.keys == keys
            assert records.partitions == [partition_of(key, partitions) for key in keys]
            assert (records.values, records.timestamps_ms) == (batch.values, batch.event_times_ms)
        assert [records.topic for records in outbox.records(batch)] == (["ticks", "ticks.latest"] if symbols else [])
