"""The schema registry: looking an id up, registering, checking.

The client library costs 22 MiB, so it is imported when a :class:`Registry` is
made and not before: with a pinned id none is.
"""

from __future__ import annotations

import json
import ssl
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from connector.core.errors import ConfigurationError, ConnectorError, FatalError, RetryableError
from connector.core.schema_judge import first_difference, first_misreading, parsed
from connector.core.secrets import without_userinfo

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
    from confluent_kafka.schema_registry.error import SchemaRegistryError

COMPATIBILITY = "FULL_TRANSITIVE"
"""Any reader, old or new, reads any record, old or new."""

_DEFAULTS: Mapping[str, str | int | float | bool] = {
    "timeout": 10,  # seconds; the library's own is none at all
    "max.retries": 0,  # we wait and try again ourselves, and tell
}


def subject_of(topic: str) -> str:
    """The subject of a topic's values, by the usual naming (``TopicNameStrategy``)."""
    return f"{topic}-value"


class NoRegistryError(ConfigurationError):
    """What answers at the address is no registry."""


class RegistryDeniedError(ConfigurationError):
    """The registry refuses a credential, or this user lacks the right."""


@dataclass(frozen=True, slots=True)
class Registered:
    """A schema as the registry has it."""

    subject: str
    version: int
    id: int
    text: str


class Registry:
    """A Confluent-compatible registry. Every call blocks, for as long as ``timeout`` says.

    Each raises :class:`ConfigurationError` where the registry refuses (a wrong address, credential or right, a schema
    that is not registered, not compatible or not valid) and :class:`RetryableError` where it does not answer.
    """

    def __init__(self, properties: Mapping[str, str | int | float | bool]) -> None:
        """*properties* are the client library's own; ``url`` keeps its path."""
        from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
        from confluent_kafka.schema_registry.error import OAuthTokenError, SchemaRegistryError

        self.address = without_userinfo(str(properties.get("url", "")))
        self._schema: type[Schema] = Schema
        self._refusal: type[SchemaRegistryError] = SchemaRegistryError
        self._no_token: type[Exception] = OAuthTokenError
        # Versions of the library differ in the HTTP client they come with; the one they imported is loaded by now.
        clients = [sys.modules[name] for name in ("httpx2", "httpx") if name in sys.modules]
        self._no_answer: tuple[type[Exception], ...] = tuple(each.TransportError for each in clients)
        # What the library and its HTTP and TLS layers raise for properties and files that they cannot take.
        unusable: tuple[type[Exception], ...] = (ValueError, TypeError, OSError, *(each.InvalidURL for each in clients))
        try:
            self._client: SchemaRegistryClient = SchemaRegistryClient({**_DEFAULTS, **properties})
        except unusable as error:
            raise ConfigurationError(f"[registry]: {error}") from error

    def close(self) -> None:
        self._client.close()

    def lookup(self, subject: str, schema_text: str) -> int:
        """The id of a schema that is registered under *subject*."""
        found = self.find(subject, schema_text)
        if found is None:
            raise ConfigurationError(
                f"registry {self.address}: schema of subject {subject}: not registered; "
                "run: binance-kafka-source schema register"
            )
        return found

    def find(self, subject: str, schema_text: str) -> int | None:
        """The id of a schema under *subject*; ``None`` where it is not registered there.

        A registry looks the whole text up. What differs in documentation and attributes of ours alone makes the same
        bytes, and is this schema too: a new word in a ``doc`` is no reason to register again.
        """
        with self._asking(f"schema of subject {subject}"):
            try:
                found = self._client.lookup_schema(subject, self._avro(schema_text))
            except self._refusal as refusal:
                if refusal.error_code not in _NOT_REGISTERED:
                    raise
                if refusal.error_code == _NO_SUBJECT:
                    return None
            else:
                return int(found.schema_id)  # type: ignore[arg-type]  # an answer without an id is met by _asking
        own = json.loads(schema_text)
        alike = [each.id for each in self.versions(subject) if not first_difference(own, parsed(each.text))]
        return alike[-1] if alike else None

    def latest(self, subject: str) -> Registered | None:
        """The newest version under *subject*; ``None`` where there is none."""
        with self._asking(f"latest schema of subject {subject}"):
            try:
                found = self._client.get_latest_version(subject)
            except self._refusal as refusal:
                if refusal.error_code in _NOT_REGISTERED:
                    return None
                raise
            return Registered(subject, int(found.version), int(found.schema_id), str(found.schema.schema_str))  # type: ignore[arg-type]

    def versions(self, subject: str) -> tuple[Registered, ...]:
        """Every version under *subject*, oldest first; none where there is no such subject."""
        with self._asking(f"schemas of subject {subject}"):
            try:
                numbers = sorted(self._client.get_versions(subject))
            except self._refusal as refusal:
                if refusal.error_code in _NOT_REGISTERED:
                    return ()
                raise
            found = [self._client.get_version(subject, number) for number in numbers]
            return tuple(
                Registered(subject, int(each.version), int(each.schema_id), str(each.schema.schema_str))  # type: ignore[arg-type]
                for each in found
            )

    def text_of(self, id: int) -> str | None:
        """The schema with this id, whatever its subject; ``None`` where there is none."""
        with self._asking(f"schema of id {id}"):
            try:
                return str(self._client.get_schema(id).schema_str)
            except self._refusal as refusal:
                if refusal.error_code in _NOT_REGISTERED:
                    return None
                raise

    def compatibility(self, subject: str) -> str:
        """The level in force for *subject*, its own or the registry's."""
        with self._asking(f"compatibility level of subject {subject}"):
            try:
                return str(self._client.get_compatibility(subject))
            except self._refusal as refusal:
                if refusal.error_code not in _NOT_REGISTERED and refusal.error_code != _NO_LEVEL:
                    raise
            return str(self._client.get_compatibility())

    def is_compatible(self, subject: str, schema_text: str) -> bool:
        """Whether *schema_text* may follow every version under *subject*, by the level in force, and no reader of one
        would take values of the other for something else."""
        if self._misreading(subject, schema_text):
            return False
        with self._asking(f"compatibility with subject {subject}"):
            return bool(self._client.test_compatibility_all_versions(subject, self._avro(schema_text)))

    def register(self, subject: str, schema_text: str) -> int:
        """Hold *subject* to :data:`COMPATIBILITY`, then register. Returns the id, new or as it was."""
        if misreading := self._misreading(subject, schema_text):
            raise ConfigurationError(
                f"registry {self.address}: subject {subject} has a version whose values would be misread beside this "
                f"one ({misreading}); a changed field needs a topic of its own: see topic.name and schema.file"
            )
        with self._asking(f"setting the compatibility level of subject {subject}"):
            self._client.set_compatibility(subject, COMPATIBILITY)
        with self._asking(f"registering under subject {subject}"):
            return int(self._client.register_schema(subject, self._avro(schema_text)))

    def _misreading(self, subject: str, schema_text: str) -> str:
        """What readers would take for something else; empty where nothing, or where this schema is registered."""
        own = json.loads(schema_text)
        versions = [(each.version, parsed(each.text)) for each in self.versions(subject)]
        if any(not first_difference(own, other) for _, other in versions):
            return ""
        found = ((version, first_misreading(own, other)) for version, other in versions)
        return next((f"version {version}: {misreading}" for version, misreading in found if misreading), "")

    def _avro(self, text: str) -> Schema:
        return self._schema(text, "AVRO")

    @contextmanager
    def _asking(self, doing: str) -> Iterator[None]:
        """Translate everything the library raises."""
        where = f"registry {self.address}: {doing}"
        try:
            yield
        except self._refusal as refusal:
            raise _translated(where, refusal) from refusal
        except self._no_token as error:
            raise RetryableError(f"{where}: no access token could be had; see registry.bearer.auth") from error
        except self._no_answer as error:
            if _is_untrusted(error):
                raise ConfigurationError(
                    f"{where}: its certificate is not trusted: {error}; see registry.ssl.ca.location"
                ) from error
            raise RetryableError(f"{where}: {error or type(error).__name__}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            # The library takes an answer apart unchecked: a page of HTML, another JSON.
            raise NoRegistryError(
                f"{where}: what answers is no schema registry; registry.url needs its whole path"
            ) from error


_NOT_REGISTERED = frozenset({40401, 40402, 40403})
"""The registry's codes for: no such subject, version, schema."""
_NO_SUBJECT = 40401
_NO_LEVEL = 40408
"""The registry's code for a subject without a compatibility level of its own."""

_BY_STATUS: Mapping[int, tuple[type[ConnectorError], str]] = {
    401: (RegistryDeniedError, 'the credentials are refused; see registry."basic.auth.user.info"'),
    403: (RegistryDeniedError, "this user lacks the right"),
    404: (NoRegistryError, "nothing at this address; registry.url needs its whole path"),
    405: (NoRegistryError, "not a registry's address; registry.url needs its whole path"),
    408: (RetryableError, "timed out"),
    409: (ConfigurationError, "the schema is not compatible with those before it"),
    422: (ConfigurationError, "it cannot be taken"),
    429: (RetryableError, "too many requests"),
}


def _translated(where: str, refusal: SchemaRegistryError) -> ConnectorError:
    status = refusal.http_status_code
    said = f": {refusal.error_message}" if refusal.error_code not in {None, refusal.UNKNOWN} else ""
    if status >= 500:
        return RetryableError(f"{where}: HTTP {status}{said}")
    kind, meaning = _BY_STATUS.get(status, (FatalError, "an answer that no registry gives"))
    return kind(f"{where}: {meaning} (HTTP {status}){said}")


def _is_untrusted(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False
