from __future__ import annotations

import time

import pytest
from confluent_kafka import KafkaError, KafkaException

from connector.core.errors import ConfigurationError, RetryableError
from connector.core.happenings import Happening, KafkaComplained
from connector.edges.kafka_clients import (
    Complaints,
    admin_properties,
    consumer_properties,
    new_producer,
    producer_properties,
    translated,
    unheard,
)

GIVEN = {
    "bootstrap.servers": "127.0.0.1:9092",
    "security.protocol": "PLAINTEXT",
    "linger.ms": 7,
    "compression.type": "lz4",
    "transactional.id": "the-lock",
    "transaction.timeout.ms": 1000,
    "fetch.max.bytes": 1_000_000,
}


def test_each_client_gets_its_own_properties() -> None:
    producer = producer_properties(GIVEN)
    assert producer["compression.type"] == "lz4"
    assert producer["enable.idempotence"] is True
    assert not producer.keys() & {"transactional.id", "transaction.timeout.ms", "fetch.max.bytes", "isolation.level"}
    consumer = consumer_properties(GIVEN)
    assert consumer["fetch.max.bytes"] == 1_000_000
    assert consumer["isolation.level"] == "read_committed"
    assert not consumer.keys() & {"linger.ms", "compression.type", "transactional.id"}
    admin = admin_properties(GIVEN)
    assert admin["security.protocol"] == "PLAINTEXT"
    assert not admin.keys() & {"linger.ms", "transactional.id", "group.id"}


def test_what_the_promises_rest_on_wins_over_what_is_given() -> None:
    assert consumer_properties({"isolation.level": "read_uncommitted"})["isolation.level"] == "read_committed"


@pytest.mark.parametrize(
    ("code", "kind", "says"),
    [
        (KafkaError.SASL_AUTHENTICATION_FAILED, ConfigurationError, "kafka.sasl.password"),
        (KafkaError._AUTHENTICATION, ConfigurationError, "kafka.sasl.password"),
        (KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, ConfigurationError, "denies"),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, ConfigurationError, "denies"),
        (KafkaError._TIMED_OUT, RetryableError, "_TIMED_OUT"),
        (KafkaError.NOT_LEADER_FOR_PARTITION, RetryableError, "NOT_LEADER"),
    ],
)
def test_errors_are_named_for_what_happens_next(code: int, kind: type[Exception], says: str) -> None:
    error = translated(KafkaException(KafkaError(code)), "doing something")
    assert isinstance(error, kind)
    assert "doing something" in str(error)
    assert says in str(error)


@pytest.mark.parametrize(("code", "kept"), [(KafkaError._TRANSPORT, False), (KafkaError._AUTHENTICATION, True)])
def test_complaints_are_told_and_a_refusal_is_kept(code: int, kept: bool) -> None:
    told: list[Happening] = []
    complaints = Complaints("writer", told.append)
    complaints(KafkaError(code))
    assert (complaints.refused is not None) == kept
    assert [type(each) for each in told] == [KafkaComplained]


def test_a_property_written_with_underscores_is_told_with_dots() -> None:
    with pytest.raises(ConfigurationError, match=r'did you mean "bootstrap\.servers"\?'):
        new_producer({"bootstrap_servers": "a:1"}, unheard)


def test_a_client_whose_statistics_nobody_takes_makes_none() -> None:
    """They would be kept until somebody does: 40 MB a day."""
    producer = new_producer({"bootstrap.servers": "127.0.0.1:9", "statistics.interval.ms": 1}, unheard)
    time.sleep(0.2)
    assert len(producer) < 10
    taken: list[str] = []
    measured = new_producer(
        {"bootstrap.servers": "127.0.0.1:9", "statistics.interval.ms": 1}, unheard, stats_cb=taken.append
    )
    time.sleep(0.2)
    measured.poll(0)
    assert len(taken) > 10
