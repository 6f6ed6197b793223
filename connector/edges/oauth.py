"""Tokens for ``sasl.mechanism = "OAUTHBEARER"`` from a function of the operator's own: ``kafka.oauth_cb``.

The function is what confluent-kafka calls ``oauth_cb``: it takes the text of ``sasl.oauthbearer.config`` and returns
the token and when it ends, in seconds since the epoch; after these it may return the principal and a dictionary of
SASL extensions. It is called on any thread, one call at a time; for renewal on one that each client of librdkafka has
for that, so a client need not be polled.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from connector.core.errors import ConfigurationError, ConnectorError, RetryableError

GROUP = "binance_kafka_source.oauth"
"""Of entry points; the name of one stands for its function."""

OPTION = "kafka.oauth_cb"
_SHARED_FOR = 0.5
"""Of a token's life: so long it is given to more clients. Clients ask for a new one at 0.8 of what is left then."""
_LONGEST_LIFE_S = 10 * 365 * 86_400.0

Answer = tuple[str, float] | tuple[str, float, str] | tuple[str, float, str, dict[str, str]]


@dataclass(frozen=True, slots=True)
class _Token:
    answer: Answer = field(repr=False)
    shared_until_s: float


class Tokens:
    """One provider's tokens, shared by every client of this process."""

    def __init__(self, name: str, function: Callable[[str], Any]) -> None:
        self._name = name
        self._function = function
        self._lock = threading.Lock()
        self._kept: dict[str, _Token] = {}

    def token(self, config: str) -> Answer:
        """What the provider returned for this text, now or lately.

        Raises :class:`RetryableError` where the provider fails and :class:`ConfigurationError` where it returns
        something else than a token.
        """
        with self._lock:
            kept = self._kept.get(config)
            now_s = time.time()
            if kept is None or now_s >= kept.shared_until_s:
                with _foreign(f"{OPTION}: {self._name} failed", RetryableError):
                    answer = self._function(config)
                lifetime_s = self._checked(answer) - now_s
                kept = self._kept[config] = _Token(answer, now_s + _SHARED_FOR * lifetime_s)
            return kept.answer

    def _checked(self, answer: Any) -> float:
        """When it ends."""
        match answer:
            case (str(), int() | float(), *more) if answer[0] and _is_rest(more):
                ends_s = float(answer[1])
            case _:
                raise ConfigurationError(
                    f"{OPTION}: {self._name} must return the token (text) and when it ends (seconds since the epoch), "
                    "and after these, where wanted, the principal (text) and extensions (a dictionary of texts)"
                )
        if ends_s > time.time() + _LONGEST_LIFE_S:
            raise ConfigurationError(
                f"{OPTION}: the token of {self._name} ends in more than ten years: is the time in milliseconds? "
                "Seconds since the epoch are wanted"
            )
        if ends_s <= time.time():
            raise RetryableError(f"{OPTION}: the token of {self._name} has ended already: see this machine's clock")
        return ends_s


def _is_rest(more: list[Any]) -> bool:
    principal, extensions = [*more, *["", {}][len(more) :]][:2]
    return (
        len(more) <= 2
        and isinstance(principal, str)
        and isinstance(extensions, Mapping)
        and all(isinstance(each, str) for pair in extensions.items() for each in pair)
    )


@cache
def tokens_of(name: str) -> Tokens:
    """Of an entry point's name, or of ``module:function``. Raises :class:`ConfigurationError` where there is none."""
    return Tokens(name, _function(name))


def _function(name: str) -> Callable[[str], Any]:
    module, separator, path = name.partition(":")
    if not separator:
        installed = {each.name: each for each in entry_points(group=GROUP)}
        if name not in installed:
            there = ", ".join(sorted(installed)) or "none is installed"
            raise ConfigurationError(
                f"{OPTION}: {name!r} is neither module:function nor an entry point of the group {GROUP} ({there})"
            )
        module, path = installed[name].module, installed[name].attr
    with _foreign(f"{OPTION}: the module {module!r} cannot be imported where the connector runs", ConfigurationError):
        found: Any = import_module(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise ConfigurationError(f"{OPTION}: there is no function {path!r} in the module {module!r}")
    function: Callable[[str], Any] = found
    return function


@contextmanager
def _foreign(doing: str, kind: type[ConnectorError]) -> Iterator[None]:
    """Code that is not ours may raise whatever it likes."""
    try:
        yield
    except Exception as error:
        raise kind(f"{doing}: {type(error).__name__}: {error}") from error
