"""The real broker and the real registry: they work, break as ordered, and come back with their data."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from connector.core.errors import ConfigurationError, RetryableError
from connector.local.broker import SASL_PASSWORD, SASL_USER
from connector.local.stack import LocalStack, prepare
from tests.local.sessions import all_gone, children, members

pytestmark = pytest.mark.stack

CLIENT_TIMEOUT_S = 20.0
SCHEMA = Schema('{"type": "record", "name": "R", "fields": [{"name": "a", "type": "string"}]}', "AVRO")


@pytest.fixture(scope="module")
def own() -> Iterator[LocalStack]:
    """A stack that these tests may break."""
    prepare()
    with LocalStack(sasl=True) as running:
        yield running


@pytest.fixture
def topic(own: LocalStack, topic_name: str) -> str:
    create(own, topic_name)
    return topic_name


def create(stack: LocalStack, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": stack.bootstrap_servers, "log_level": 0})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(CLIENT_TIMEOUT_S)


def write(stack: LocalStack, topic: str, *values: str) -> None:
    """In one transaction."""
    producer = Producer({"bootstrap.servers": stack.bootstrap_servers, "transactional.id": topic, "log_level": 0})
    producer.init_transactions(CLIENT_TIMEOUT_S)
    producer.begin_transaction()
    for value in values:
        producer.produce(topic, value=value, partition=0)
    producer.commit_transaction(CLIENT_TIMEOUT_S)


def read(stack: LocalStack, topic: str) -> list[str]:
    """What is committed, from the beginning to the end."""
    consumer = Consumer(
        {
            "bootstrap.servers": stack.bootstrap_servers,
            "group.id": "nobody",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "log_level": 0,
        }
    )
    consumer.assign([TopicPartition(topic, 0, 0)])
    found: list[str] = []
    try:
        while not is_end(message := consumer.poll(CLIENT_TIMEOUT_S)):
            found.append(message.value().decode())  # type: ignore[union-attr]
    finally:
        consumer.close()
    return found


def is_end(message: Message | None) -> bool:
    assert message is not None, "the broker did not answer"
    error = message.error()
    if error is not None and error.code() != KafkaError._PARTITION_EOF:
        raise KafkaException(error)
    return error is not None


def test_transactions_work_and_survive_a_stop_and_a_kill(own: LocalStack, topic: str) -> None:
    write(own, topic, "1", "2")
    address, pid = own.bootstrap_servers, own.kafka.pid
    own.kafka.restart()
    write(own, topic, "3")
    own.kafka.kill()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])))
    own.kafka.start()
    write(own, topic, "4")
    assert read(own, topic) == ["1", "2", "3", "4"]
    assert own.bootstrap_servers == address
    assert own.kafka.pid != pid


def test_a_frozen_broker_answers_nobody_until_it_is_thawed(own: LocalStack, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": own.bootstrap_servers, "log_level": 0})
    own.kafka.freeze()
    try:
        with pytest.raises(KafkaException):
            admin.list_topics(timeout=1)
    finally:
        own.kafka.thaw()
    write(own, topic, "1")
    assert read(own, topic) == ["1"]


def test_a_wrong_password_is_refused_and_the_right_one_is_not(own: LocalStack) -> None:
    errors: list[KafkaError] = []

    def client(password: str) -> AdminClient:
        settings: dict[str, Any] = {
            "bootstrap.servers": own.sasl_bootstrap_servers,
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username": SASL_USER,
            "sasl.password": password,
            "error_cb": errors.append,
            "log_level": 0,
        }
        return AdminClient(settings)

    assert client(SASL_PASSWORD).list_topics(timeout=CLIENT_TIMEOUT_S).brokers
    wrong = client("wrong")
    with pytest.raises(KafkaException):
        wrong.list_topics(timeout=2)
    wrong.poll(1)
    assert KafkaError._AUTHENTICATION in [error.code() for error in errors]


def test_topics_are_not_made_by_asking_for_them(own: LocalStack, topic_name: str) -> None:
    admin = AdminClient({"bootstrap.servers": own.bootstrap_servers})
    metadata = admin.list_topics(topic_name, timeout=CLIENT_TIMEOUT_S)
    assert metadata.topics[topic_name].error == KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)


def test_the_registry_keeps_schemas_and_ids_over_a_kill_and_a_restart(own: LocalStack) -> None:
    with SchemaRegistryClient({"url": own.registry_url}) as client:
        known = client.register_schema("keep-value", SCHEMA)
        own.registry.kill()
        with pytest.raises(httpx.ConnectError):
            httpx.get(own.registry_url)
        own.registry.start()
        own.registry.restart()
        assert client.lookup_schema("keep-value", SCHEMA).schema_id == known
        other = client.register_schema("other-value", Schema('{"type": "string"}', "AVRO"))
        assert other > known


def test_only_loopback_is_listened_on(own: LocalStack) -> None:
    inodes = {
        link.rpartition("[")[2].rstrip("]")
        for server in (own.kafka, own.registry)
        for link in (os.readlink(path) for path in Path(f"/proc/{server.pid}/fd").iterdir())
        if link.startswith("socket:")
    }
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    listening = [row[1].rpartition(":")[0] for row in rows if row[3] == "0A" and row[9] in inodes]
    assert len(listening) == 5  # plain, SASL, controller; registry and its management
    assert all(address.endswith("0100007F") for address in listening)


def test_a_folder_is_kept_and_used_again_and_by_one_at_a_time(tmp_path: Path) -> None:
    with LocalStack(tmp_path, registry=False) as first:
        create(first, "kept")
        with pytest.raises(RetryableError, match="another local stack uses this folder"):
            LocalStack(tmp_path, registry=False).__enter__()
        with pytest.raises(RuntimeError, match="no registry"):
            _ = first.registry_url
    with LocalStack(tmp_path, registry=False) as second:
        admin = AdminClient({"bootstrap.servers": second.bootstrap_servers})
        assert "kept" in admin.list_topics(timeout=CLIENT_TIMEOUT_S).topics


def test_what_the_broker_refuses_is_told() -> None:
    stack = LocalStack(registry=False, properties={"log.retention.ms": "for long"})
    with pytest.raises(ConfigurationError, match=r"log\.retention\.ms"):
        stack.__enter__()
    assert not stack.folder.exists()


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda end: end.name)
def test_as_a_command_it_tells_its_addresses_and_leaves_nothing_running(tmp_path: Path, end: signal.Signals) -> None:
    command = [sys.executable, "-m", "connector.local.stack", "--folder", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        addresses = dict(line.strip().split(" = ") for line in (process.stdout.readline(), process.stdout.readline()))
        assert httpx.get(f"{addresses['registry.url']}/subjects").json() == []
        admin = AdminClient({"bootstrap.servers": addresses["bootstrap.servers"], "log_level": 0})
        assert admin.list_topics(timeout=CLIENT_TIMEOUT_S).brokers
        servers = children(process.pid)
        assert len(servers) == 2
        assert all(len(members(server)) == 2 for server in servers)  # itself and its watcher
        started = time.monotonic()
        process.send_signal(end)
        code = process.wait(10)
    assert all_gone(servers)
    assert time.monotonic() - started < 5
    assert code == (-signal.SIGKILL if end is signal.SIGKILL else 0)
