"""Credentials that are renewed while the process runs.

A thread looks again at the files that ``[kafka]`` and ``[registry]`` name. What they say anew is masked in every output
first and then in force: for clients that are made from then on, and, where it is user and password, for those that
there are, at their next login. What librdkafka reads only once (keys, certificates, a client's secret) needs new
clients.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from connector.core.errors import ConfigurationError
from connector.core.happenings import CredentialsKept, CredentialsRenewed, Tell
from connector.core.secrets import secrets_in

LOOKED_AT_EVERY_S = 5.0

USERNAME, PASSWORD = "sasl.username", "sasl.password"
TAKEN_BY_RUNNING_CLIENTS = frozenset({USERNAME, PASSWORD})

KEY_FILES = ("ssl.key.location", "ssl.certificate.location", "ssl.keystore.location", "ssl.ca.location")
"""Files that librdkafka reads by itself, when a client is made."""


class Renewable(Protocol):
    """A table of properties some of which came from files."""

    @property
    def can_change(self) -> bool: ...

    def changes(self) -> Mapping[str, Any]:
        """What the files say now. Raises :class:`ConfigurationError` where one cannot be read."""

    def renew(self, changes: Mapping[str, Any]) -> None: ...

    def get(self, name: str, default: Any, /) -> Any: ...

    def items(self) -> Iterable[tuple[str, Any]]: ...


class Credentials:
    """See the module.

    *mask* is given values before anything uses them. *log_in* gives user and password to the clients that there are.
    *try_out* raises :class:`ConfigurationError` where no client can be made from properties; *start_over* makes those
    that there are anew. All of them are called on the thread that looks.
    """

    def __init__(
        self,
        kafka: Renewable,
        registry: Renewable,
        *,
        mask: Callable[[Iterable[str]], None],
        log_in: Callable[[str, str], None],
        try_out: Callable[[Mapping[str, Any]], None],
        start_over: Callable[[], None],
        tell: Tell,
    ) -> None:
        self._kafka = kafka
        self._registry = registry
        self._mask = mask
        self._log_in = log_in
        self._try_out = try_out
        self._start_over = start_over
        self._tell = tell
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="credentials", daemon=True)
        self._files = self._key_files()

    def start(self) -> None:
        """Looks from here on, where there is anything to look at."""
        if self._kafka.can_change or self._registry.can_change or self._files:
            self._thread.start()

    @property
    def is_looking(self) -> bool:
        return self._thread.is_alive()

    def stop(self) -> None:
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(LOOKED_AT_EVERY_S):
            self.look()

    def look(self) -> None:
        """Once. A file that cannot be used as it is leaves everything as it was, and is told."""
        try:
            self._look_at("registry", self._registry)
            self._look_at("kafka", self._kafka)
        except ConfigurationError as error:
            self._tell(CredentialsKept(str(error)))
        username, password = self._kafka.get(USERNAME, ""), self._kafka.get(PASSWORD, "")
        if self._kafka.can_change and username and password:
            # Again each time: a client that was being made while they changed has the old ones.
            self._log_in(str(username), str(password))

    def _look_at(self, table: str, properties: Renewable) -> None:
        changes = properties.changes()
        self._mask(text for name, value in changes.items() for text in secrets_in(name, str(value), is_hidden=True))
        properties_renewed = set(changes)
        if table == "kafka":
            files = self._key_files()
            properties_renewed |= {name for name in KEY_FILES if files.get(name) != self._files.get(name)}
            needs_new_clients = bool(properties_renewed - TAKEN_BY_RUNNING_CLIENTS)
            if needs_new_clients:
                self._try_out({**dict(properties.items()), **changes})
            self._files = files
        else:
            needs_new_clients = False  # each is made for one question
        properties.renew(changes)
        if properties_renewed:
            self._tell(CredentialsRenewed(tuple(f"{table}.{name}" for name in sorted(properties_renewed))))
        if needs_new_clients:
            self._start_over()

    def _key_files(self) -> dict[str, bytes]:
        """A digest of each key and certificate file, by the name of its property; none of one that cannot be read."""
        return {name: digest for name in KEY_FILES for digest in _digests(Path(str(self._kafka.get(name, ""))))}


def _digests(path: Path) -> Iterator[bytes]:
    try:
        if path.is_file():
            yield hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return  # between two versions, or not for us to read: making a client says so
