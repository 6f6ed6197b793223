"""A Kafka broker that is its own controller (KRaft), on one node."""

from __future__ import annotations

import shutil
import socket
import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from connector.core.errors import ConfigurationError
from connector.local.jars import jars
from connector.local.java import java, java_options, prepare_quick_start
from connector.local.ports import Ports
from connector.local.processes import Server

SASL_USER = "connector"
SASL_PASSWORD = "connector-secret"
SASL_LISTENER = {"SASL": "SASL_PLAINTEXT"}
SASL_PROPERTIES = {
    "listener.name.sasl.sasl.enabled.mechanisms": "PLAIN",
    "listener.name.sasl.plain.sasl.jaas.config": (
        f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{SASL_USER}="{SASL_PASSWORD}";'
    ),
}

_FORMAT_TIMEOUT_S = 30.0
_ANSWER_TIMEOUT_S = 2.0

# What differs from the broker's defaults.
_PROPERTIES = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    # There is one node, so one copy of everything.
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # With the default of 50 partitions the first transaction takes seconds.
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.num.partitions": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "group.initial.rebalance.delay.ms": "0",
    # A killed broker is let in again when its old session has ended; with the default of 9 s a start takes 13 s.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    # The default is 128 MiB, all of it taken at the start.
    "log.cleaner.dedupe.buffer.size": "4194304",
    "auto.create.topics.enable": "false",
}


class Broker(Server):
    """A broker with a listener ``PLAINTEXT``, and others by name, all on loopback."""

    def __init__(
        self,
        folder: Path,
        ports: Ports,
        listeners: Mapping[str, str],
        properties: Mapping[str, str],
        options: Sequence[str] | None = None,
    ) -> None:
        """``listeners``: name to security protocol. ``properties`` win over all others. ``options``: for Java.

        Fetches what it needs; raises as :func:`~connector.local.jars.jars` does.
        """
        super().__init__("Kafka", folder / "kafka.log")
        self._folder = folder
        self._data = folder / "kafka"
        self._addresses = {name: f"127.0.0.1:{ports.take()}" for name in ("PLAINTEXT", *listeners)}
        self._properties = self._all_properties(f"127.0.0.1:{ports.take()}", listeners, properties)
        self._jars = jars("kafka")
        self._java_options = options or java_options("kafka", self._jars)

    @classmethod
    def prepare(cls, ports: Ports) -> None:
        """Fetch everything and make later starts quick. Raises as starting does."""
        prepare_quick_start("kafka", jars("kafka"), lambda folder, options: cls(folder, ports, {}, {}, options))

    def address(self, listener: str = "PLAINTEXT") -> str:
        """``host:port`` of a listener. Raises KeyError for one that was not asked for."""
        return self._addresses[listener]

    def _all_properties(
        self, controller: str, listeners: Mapping[str, str], properties: Mapping[str, str]
    ) -> dict[str, str]:
        protocols = {"PLAINTEXT": "PLAINTEXT", **listeners, "CONTROLLER": "PLAINTEXT"}
        advertised = [f"{name}://{address}" for name, address in self._addresses.items()]
        return {
            **_PROPERTIES,
            "controller.quorum.voters": f"1@{controller}",
            "listeners": ",".join([*advertised, f"CONTROLLER://{controller}"]),
            "advertised.listeners": ",".join(advertised),
            "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in protocols.items()),
            "log.dirs": str(self._data),
            **properties,
        }

    def _command(self) -> list[str]:
        path = self._folder / "server.properties"
        lines = [f"{key}={value}\n" for key, value in self._properties.items()]
        path.write_text("".join(lines).replace("\\", "\\\\"), "utf-8")
        if not (self._data / "meta.properties").exists():
            self._format(path)
        return self._java("kafka.Kafka", str(path))

    def _java(self, *arguments: str) -> list[str]:
        log = files("connector.local").joinpath("log4j2.properties")
        classpath = ":".join(str(path) for path in self._jars)
        return [java(), *self._java_options, f"-Dlog4j2.configurationFile={log}", "-cp", classpath, *arguments]

    def _format(self, properties_path: Path) -> None:
        shutil.rmtree(self._data, ignore_errors=True)  # of a start that was cut short
        cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        command = self._java(
            "kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id}", "-c", str(properties_path)
        )
        done = subprocess.run(command, capture_output=True, text=True, timeout=_FORMAT_TIMEOUT_S, check=False)
        if done.returncode != 0:
            raise ConfigurationError(f"Kafka cannot make its folder {self._data}:\n{done.stdout}{done.stderr}")

    def _answers(self) -> bool:
        """Whether it tells its topics, and each partition has a leader."""
        host, port = self.address().split(":")
        try:
            socket.create_connection((host, int(port)), _ANSWER_TIMEOUT_S).close()
            metadata = AdminClient({"bootstrap.servers": self.address(), "log_level": 0}).list_topics(
                timeout=_ANSWER_TIMEOUT_S
            )
        except (OSError, KafkaException):  # not there yet; whether it ended is looked at elsewhere
            return False
        partitions = [partition for topic in metadata.topics.values() for partition in topic.partitions.values()]
        return bool(metadata.brokers) and all(partition.leader >= 0 for partition in partitions)
