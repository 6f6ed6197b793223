"""What every command takes: where its options come from."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, TypeVar

import click

from connector.config import KAFKA_AND_REGISTRY, Loaded, load_config
from connector.core.errors import ConfigurationError, ConnectorError, FatalError
from connector.option_sources import CONFIG_VARIABLE

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Sources:
    """``--config`` and ``--set`` as given."""

    file: Path | None
    overrides: tuple[str, ...]

    loaded: list[Loaded] = field(default_factory=list)
    """What was read so far: what went wrong may not be said with a secret in it."""

    def load(self, *more: str, needs: Collection[str] = KAFKA_AND_REGISTRY) -> Loaded:
        """The options; *more* are overrides that options of the command itself stand for."""
        found = load_config(self.file, os.environ, (*self.overrides, *more), needs=needs)
        self.loaded.append(found)
        return found


def with_sources(command: Callable[Concatenate[Sources, ...], _Result]) -> Callable[..., _Result]:
    """Give *command* the options ``--config`` and ``--set``; it receives them as :class:`Sources`."""

    @click.option(
        "--config",
        "config_file",
        type=click.Path(dir_okay=False, path_type=Path),
        envvar=CONFIG_VARIABLE,
        show_envvar=True,
        help="TOML file of options.",
    )
    @click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="One option; may be repeated.")
    @wraps(command)
    def with_both(config_file: Path | None, overrides: tuple[str, ...], **others: Any) -> _Result:
        sources = Sources(config_file, overrides)
        try:
            return command(sources, **others)
        except ConnectorError as error:
            raise _masked(error, sources) from error

    return with_both


def _masked(error: ConnectorError, sources: Sources) -> ConnectorError:
    """What servers and libraries say is repeated in it; they may say too much."""
    from connector.edges.log_format import cleaner

    clean = cleaner(secret for each in sources.loaded for secret in each.secret_values())
    if isinstance(error, ConfigurationError):
        return ConfigurationError(*map(clean, error.problems))
    return FatalError(clean(str(error)))
