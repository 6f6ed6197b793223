"""librdkafka's reports, as it writes them."""

from __future__ import annotations

import json
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # public, yet not marked so

from connector.core.happenings import Happening, KafkaMeasured
from connector.edges.kafka_statistics import Statistics
from connector.local.stack import LocalStack


def broker(nodeid: int, **more: Any) -> dict[str, Any]:
    window = {"min": 1, "max": 9000, "p99": 2500, "cnt": 3, "unknown": 1}
    return {"nodeid": nodeid, "state": "UP", "connects": 1, "rtt": window, "outbuf_latency": window, **more}


def test_without_a_sample_there_is_no_time() -> None:
    none = {"min": 0, "max": 0, "p99": 0, "cnt": 0}
    ((found,),) = (each.brokers for each in measured({"brokers": {"a:1/1": broker(1, rtt=none, outbuf_latency=none)}}))
    assert (found.round_trip_s, found.send_wait_s) == (None, None)


def partition(number: int, **more: Any) -> dict[str, Any]:
    return {"partition": number, "fetch_state": "active", "next_offset": 5, "ls_offset": 7, "hi_offset": 10, **more}


def measured(*reports: dict[str, Any]) -> list[KafkaMeasured]:
    told: list[Happening] = []
    statistics = Statistics("follower", told.append)
    for report in reports:
        statistics(json.dumps(report))
    return [each for each in told if isinstance(each, KafkaMeasured)]


def test_times_are_seconds_and_counts_are_since_the_report_before() -> None:
    reports = [
        {"brokers": {"a:1/1": broker(1, txretries=retries, txerrs=2, rxerrs=1, throttle={"max": 50})}}
        for retries in (1, 4)
    ]
    ((first,), (second,)) = (each.brokers for each in measured(*reports))
    assert (first.round_trip_s, first.send_wait_s, first.throttled_s, first.connected) == (0.0025, 0.0025, 0.05, True)
    assert (first.retries, first.errors, second.retries, second.errors) == (1, 3, 3, 0)


def test_only_brokers_that_we_speak_to() -> None:
    (found,) = measured({"brokers": {"boot": broker(-1), "a": broker(1), "b": broker(2, connects=0)}})
    assert [each.broker for each in found.brokers] == [1]


def test_behind_counts_what_waits_at_the_broker_and_here() -> None:
    partitions = {
        "0": partition(0, fetchq_cnt=3),
        "1": partition(1, next_offset=7),
        "2": partition(2, fetch_state="none"),
        "-1": partition(-1, ls_offset=-1001, hi_offset=-1001),
    }
    (found,) = measured({"topics": {"t": {"partitions": partitions}}})
    assert (found.behind, found.uncommitted) == (2 + 3, 3 + 3)


def test_the_end_shows_nothing_more() -> None:
    told: list[Happening] = []
    Statistics("writer", told.append).end()
    assert told == [KafkaMeasured("writer")]


def test_reports_of_real_clients(stack: LocalStack, topic_name: str) -> None:
    """An open transaction hides its records; once it has ended and was read, nobody is behind."""
    told: dict[str, list[KafkaMeasured]] = {"writer": [], "follower": []}

    def statistics(client: str) -> Statistics:
        return Statistics(client, lambda each: told[client].append(each) if isinstance(each, KafkaMeasured) else None)

    common = {"bootstrap.servers": stack.bootstrap_servers, "statistics.interval.ms": 100}
    producer = Producer(
        {**common, "transactional.id": topic_name, "allow.auto.create.topics": False, "stats_cb": statistics("writer")}
    )
    make_topic(stack, topic_name)
    producer.init_transactions(20)
    consumer = Consumer({**common, "group.id": "unused", "stats_cb": statistics("follower")})
    consumer.assign([TopicPartition(topic_name, 0, 0)])
    producer.begin_transaction()
    for _ in range(3):
        producer.produce(topic_name, b"value", partition=0)
    producer.flush(10)
    assert wait_for(consumer, lambda: any(each.uncommitted == 3 for each in told["follower"]))
    producer.commit_transaction(10)
    told["follower"].clear()
    # The commit has an offset too, and no message.
    assert wait_for(
        consumer, lambda: any((each.uncommitted, each.behind) == (0, 0) and each.brokers for each in told["follower"])
    )
    producer.poll(0)
    consumer.close()
    assert any(each.brokers and (each.brokers[0].round_trip_s or 0) > 0 for each in told["writer"])


def wait_for(consumer: Consumer, holds: Any) -> bool:
    for _ in range(100):
        consumer.poll(0.1)
        if holds():
            return True
    return False


def make_topic(stack: LocalStack, name: str) -> None:
    admin = AdminClient({"bootstrap.servers": stack.bootstrap_servers})
    admin.create_topics([NewTopic(name, 1, 1)])[name].result(10)
