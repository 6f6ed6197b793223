"""The proxy against the real broker and a plain transactional producer."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from connector.local.cache import cache_folder
from connector.local.ports import Ports
from connector.local.stack import LocalStack
from tests.chaos.proxy import Api, Proxy
from tests.readers import read_messages

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    with LocalStack(registry=False) as running:
        yield running


@pytest.fixture
def topic(stack: LocalStack, request: pytest.FixtureRequest) -> str:
    name = str(request.node.name)
    admin = AdminClient({"bootstrap.servers": stack.bootstrap_servers})
    admin.create_topics([NewTopic(name, 1, 1)])[name].result(10)
    return name


@pytest.fixture
def proxy(stack: LocalStack) -> Iterator[Proxy]:
    ports = Ports(cache_folder() / "ports")
    with Proxy(ports.take(), int(stack.bootstrap_servers.rpartition(":")[2])) as running:
        yield running
    ports.release()


def writer(proxy: Proxy, topic: str) -> Producer:
    producer = Producer(
        {
            "bootstrap.servers": proxy.bootstrap_servers,
            "transactional.id": topic,
            "transaction.timeout.ms": 10_000,
            "socket.timeout.ms": 10_000,
            "linger.ms": 0,
            "log_level": 0,
        }
    )
    producer.init_transactions(20)
    return producer


def commit(producer: Producer, topic: str, *values: str, timeout_s: float = 10) -> None:
    producer.begin_transaction()
    for value in values:
        producer.produce(topic, value)
    producer.commit_transaction(timeout_s)


def values(stack: LocalStack, topic: str) -> list[str]:
    return [(message.value() or b"").decode() for message in read_messages(stack.bootstrap_servers, topic)]


def test_clients_stay_with_the_proxy(stack: LocalStack, proxy: Proxy, topic: str) -> None:
    producer = writer(proxy, topic)
    assert {broker.port for broker in producer.list_topics(timeout=10).brokers.values()} == {proxy.port}
    commit(producer, topic, "a", "b")
    commit(producer, topic, "c")
    assert values(stack, topic) == ["a", "b", "c"]
    for api in (Api.INIT_PRODUCER_ID, Api.ADD_PARTITIONS_TO_TXN, Api.PRODUCE):
        assert proxy.seen[api] >= 1
    assert proxy.seen[Api.END_TXN] == 2


def test_a_request_held_has_not_reached_the_broker(stack: LocalStack, proxy: Proxy, topic: str) -> None:
    producer = writer(proxy, topic)
    with proxy.hold(Api.END_TXN) as held:
        with pytest.raises(KafkaException) as raised:
            commit(producer, topic, "a", timeout_s=1)
        assert raised.value.args[0].code() == KafkaError._TIMED_OUT
        caught = held.wait(1).request
        assert (caught.api, caught.transactional_id) == (Api.END_TXN, topic)
        assert values(stack, topic) == []
        held.release()
        producer.commit_transaction(10)
    assert values(stack, topic) == ["a"]


def test_an_answer_held_has_happened_at_the_broker(stack: LocalStack, proxy: Proxy, topic: str) -> None:
    producer = writer(proxy, topic)
    with proxy.hold(Api.END_TXN, when="response") as held:
        with pytest.raises(KafkaException):
            commit(producer, topic, "a", timeout_s=1)
        held.wait(1)
        assert values(stack, topic) == ["a"]
        held.drop()
    producer.commit_transaction(10)  # asks again on a new connection
    commit(producer, topic, "b")
    assert values(stack, topic) == ["a", "b"]


def test_a_late_commit_of_a_fenced_producer_is_refused(stack: LocalStack, proxy: Proxy, topic: str) -> None:
    first = writer(proxy, topic)
    with proxy.hold(Api.END_TXN) as held:
        with pytest.raises(KafkaException):
            commit(first, topic, "a", timeout_s=1)
        held.wait(1)
        second = writer(proxy, topic)
        held.release()
        with pytest.raises(KafkaException) as raised:
            first.commit_transaction(10)
        assert raised.value.args[0].code() in {KafkaError._FENCED, KafkaError.INVALID_TXN_STATE}
    commit(second, topic, "b")
    assert values(stack, topic) == ["b"]


def test_lost_answer_of_a_produce_is_asked_for_again(stack: LocalStack, proxy: Proxy, topic: str) -> None:
    producer = writer(proxy, topic)
    with proxy.lose(Api.PRODUCE, when="response") as lost:
        commit(producer, topic, "a")
        lost.wait(0)
    assert values(stack, topic) == ["a"]
    assert proxy.seen[Api.PRODUCE] == 2


def test_delay_is_a_long_line_not_a_slow_one(stack: LocalStack, proxy: Proxy, topic: str) -> None:
    producer = writer(proxy, topic)
    commit(producer, topic, "warm")
    with proxy.delay(0.5, Api.PRODUCE):
        started = time.monotonic()
        producer.begin_transaction()
        for value in "abcd":
            producer.produce(topic, value)
            producer.poll(0.02)
        producer.commit_transaction(10)
        assert 0.5 <= time.monotonic() - started < 1.5
    assert values(stack, topic) == ["warm", *"abcd"]


def test_only_transactional_produces(stack: LocalStack, proxy: Proxy, topic: str) -> None:
    producer = writer(proxy, topic)
    plain = Producer({"bootstrap.servers": proxy.bootstrap_servers, "enable.idempotence": True, "log_level": 0})
    with proxy.hold(Api.INIT_PRODUCER_ID, Api.PRODUCE, transactional=True) as held:
        plain.produce(topic, "plain")
        assert plain.flush(10) == 0
        assert not held.caught
        with pytest.raises(KafkaException):
            commit(producer, topic, "a", timeout_s=1)
        assert held.wait(1).request.transactional_id == topic
    producer.commit_transaction(10)
    assert values(stack, topic) == ["plain", "a"]


def test_cut_and_refused_connections_come_back(stack: LocalStack, proxy: Proxy, topic: str) -> None:
    producer = writer(proxy, topic)
    proxy.cut()
    commit(producer, topic, "a")
    with proxy.refuse(), pytest.raises(KafkaException):
        commit(producer, topic, "b", timeout_s=1)
    producer.commit_transaction(10)
    assert values(stack, topic) == ["a", "b"]


def test_a_wait_in_vain_says_for_what(proxy: Proxy) -> None:
    with proxy.hold(Api.END_TXN) as held, pytest.raises(TimeoutError, match="no request of END_TXN"):
        held.wait(0.1)


def test_a_port_in_use_is_an_error(proxy: Proxy) -> None:
    with pytest.raises(OSError, match="in use"), Proxy(proxy.port, proxy.upstream_port):
        pass
