"""How a table reaches broker and registry: our librdkafka properties, said in Flink's words."""

from __future__ import annotations

from collections.abc import Mapping

from connector.core.errors import ConfigurationError

Properties = Mapping[str, str | int | float | bool]

_SHADED = "org.apache.flink.kafka.shaded."
"""Flink's SQL connector brings Kafka's classes under names of its own."""
_LOGIN_MODULES = {
    "PLAIN": "org.apache.kafka.common.security.plain.PlainLoginModule",
    "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule",
}
_PEM_STORES = {
    "ssl.ca.location": ("ssl.truststore.location", "ssl.truststore.type"),
}

BOOTSTRAP_SERVERS = "${KAFKA_BOOTSTRAP_SERVERS}"
USERNAME = "${KAFKA_USERNAME}"
PASSWORD = "${KAFKA_PASSWORD}"
REGISTRY_URL = "${SCHEMA_REGISTRY_URL}"
REGISTRY_USER_INFO = "${SCHEMA_REGISTRY_USER_INFO}"


def flink_connection(kafka: Properties, registry: Properties, *, inline: bool) -> dict[str, str]:
    """Connector options, in order; with the values filled in, or with names that ``envsubst`` fills in.

    Raises ConfigurationError for a way to log in that has no translation.
    """
    options = {"properties.bootstrap.servers": str(kafka.get("bootstrap.servers", "")) if inline else BOOTSTRAP_SERVERS}
    protocol = str(kafka.get("security.protocol", "plaintext")).upper()
    if protocol != "PLAINTEXT":
        options["properties.security.protocol"] = protocol
    if protocol.startswith("SASL"):
        options.update(_sasl(kafka, inline=inline))
    for ours, (location, kind) in _PEM_STORES.items():
        if ours in kafka:
            options[f"properties.{kind}"] = "PEM"
            options[f"properties.{location}"] = str(kafka[ours])
    options["value.avro-confluent.url"] = str(registry.get("url", "")) if inline else REGISTRY_URL
    user_info = registry.get("basic.auth.user.info")
    if user_info is not None:
        options["value.avro-confluent.basic-auth.credentials-source"] = "USER_INFO"
        options["value.avro-confluent.basic-auth.user-info"] = str(user_info) if inline else REGISTRY_USER_INFO
    return options


def _sasl(kafka: Properties, *, inline: bool) -> dict[str, str]:
    mechanism = str(kafka.get("sasl.mechanisms", kafka.get("sasl.mechanism", ""))).upper()
    if mechanism not in _LOGIN_MODULES:
        raise ConfigurationError(
            f"sasl.mechanism {mechanism or 'is not set'}: there is no translation for Flink; "
            "write 'properties.sasl.jaas.config' yourself"
        )
    user = str(kafka.get("sasl.username", "")) if inline else USERNAME
    password = str(kafka.get("sasl.password", "")) if inline else PASSWORD
    return {
        "properties.sasl.mechanism": mechanism,
        "properties.sasl.jaas.config": (
            f"{_SHADED}{_LOGIN_MODULES[mechanism]} required username={_jaas(user)} password={_jaas(password)};"
        ),
    }


def _jaas(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
