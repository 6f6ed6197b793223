"""A Kafka broker that is its own controller (KRaft), on one node."""

from __future__ import annotations

import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from connector.core.errors import ConfigurationError
from connector.local.jars import jars
from connector.local.java import OPTIONS, java
from connector.local.ports import Ports
from connector.local.processes import Server

SASL_USER = "connector"
SASL_PASSWORD = "connector-secret"
_FORMAT_TIMEOUT_S = 30.0
_READY_ANSWER_TIMEOUT_S = 1.0

SASL_LISTENER = {"SASL": "SASL_PLAINTEXT"}
SASL_PROPERTIES = {
    "listener.name.sasl.sasl.enabled.mechanisms": "PLAIN",
    "listener.name.sasl.plain.sasl.jaas.config": (
        f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{SASL_USER}="{SASL_PASSWORD}";'
    ),
}

# What differs from the broker's defaults because there is one node. One partition for each internal topic: with the
# default 50 the first transaction is slow.
_ONE_NODE = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "group.initial.rebalance.delay.ms": "0",
    "auto.create.topics.enable": "false",
}


class Broker(Server):
    """A broker with one plain listener, and others by name."""

    def __init__(self, folder: Path, ports: Ports, listeners: Mapping[str, str], properties: Mapping[str, str]) -> None:
        """``listeners``: name to security protocol, besides ``PLAINTEXT``. ``properties`` win over all others."""
        self._addresses = {name: f"127.0.0.1:{ports.take()}" for name in ("PLAINTEXT", *listeners)}
        controller = f"127.0.0.1:{ports.take()}"
        protocols = {"PLAINTEXT": "PLAINTEXT", **listeners, "CONTROLLER": "PLAINTEXT"}
        advertised = [f"{name}://{address}" for name, address in self._addresses.items()]
        self._data = folder / "kafka"
        self._properties_path = folder / "server.properties"
        self._properties = {
            **_ONE_NODE,
            "controller.quorum.voters": f"1@{controller}",
            "listeners": ",".join([*advertised, f"CONTROLLER://{controller}"]),
            "advertised.listeners": ",".join(advertised),
            "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in protocols.items()),
            "log.dirs": str(self._data),
            **properties,
        }
        self._java = [
            java(),
            *OPTIONS,
            f"-Dlog4j2.configurationFile={files('connector.local').joinpath('log4j2.properties')}",
            "-cp",
            ":".join(str(path) for path in jars("kafka")),
        ]
        command = [*self._java, "kafka.Kafka", self._properties_path]
        super().__init__("Kafka", command, folder / "kafka.log", self._answers)

    def address(self, listener: str = "PLAINTEXT") -> str:
        """``host:port`` of a listener."""
        return self._addresses[listener]

    def _prepare(self) -> None:
        lines = [f"{key}={value}\n" for key, value in self._properties.items()]
        self._properties_path.write_text("".join(lines).replace("\\", "\\\\"), "utf-8")
        if not (self._data / "meta.properties").exists():
            self._format()

    def _format(self) -> None:
        cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        tool = ["kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", self._properties_path]
        done = subprocess.run(
            [*self._java, *tool], capture_output=True, text=True, timeout=_FORMAT_TIMEOUT_S, check=False
        )
        if done.returncode != 0:
            raise ConfigurationError(f"Kafka cannot format {self._data}: {done.stdout}{done.stderr}")

    def _answers(self) -> bool:
        """Whether it tells its topics, and each partition has a leader."""
        admin = AdminClient({"bootstrap.servers": self.address(), "log_level": 0})
        try:
            metadata = admin.list_topics(timeout=_READY_ANSWER_TIMEOUT_S)
        except KafkaException:
            return False
        partitions = [partition for topic in metadata.topics.values() for partition in topic.partitions.values()]
        return bool(metadata.brokers) and all(partition.leader >= 0 for partition in partitions)
