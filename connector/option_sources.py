"""Reading a table of options from a TOML file, the environment and ``--set``; the later one wins.

Environment: ``BKS_FEED__URL`` is ``feed.url``: two underscores part the path.
In a passed-through table single underscores become dots, so
``BKS_KAFKA__BOOTSTRAP_SERVERS`` is ``kafka."bootstrap.servers"``.

Text from the environment and ``--set`` is read by the option's type: text as
it stands; numbers, ``true`` and ``false`` as in TOML; a list as in TOML or
parted by commas; ``null`` (or nothing) where an option may be unset.

In the file ``${NAME}`` stands for an environment variable and
``${file:/path}`` for the content of a file, without its last line break;
``$${`` is a plain ``${``. Properties keep the way to read such a file again.
"""

from __future__ import annotations

import difflib
import math
import re
import tomllib
import types
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from connector.core.errors import ConfigurationError
from connector.core.secrets import is_secret, masked
from connector.option_types import Option, Properties, plain, type_words

ENVIRONMENT_PREFIX = "BKS_"
CONFIG_VARIABLE = "BKS_CONFIG"
"""Names the file itself (the command line reads it), so it is no option."""

_PROPERTY_WORDS = {
    "kafka": {"batch", "bootstrap", "client", "compression", "linger", "sasl", "security", "ssl"}
    | {"transaction", "transactional"},
    "registry": {"basic", "bearer", "ssl"},
}
"""What the names of properties that are often set begin with, by their table."""

_REFERENCE = re.compile(r"\$\$\{|\$\{([^}]*)\}")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Given:
    """One value as some source gives it."""

    path: tuple[str, ...]
    value: object = field(repr=False)
    source: str
    is_text: bool
    """The source knows text only, so the option's type says what it means."""
    from_file: bool = False
    """Read through ``${file:…}``: never shown."""
    from_reference: bool = False
    """Read through any ``${…}``: not repeated in a problem."""
    dotted: bool = True
    """The path is in the option's own words; not so in an environment variable's."""
    read_again: Callable[[], str] | None = field(default=None, repr=False)
    """Where it is read through ``${file:…}``. Raises as reading it did."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One value in force that is no default."""

    path: tuple[str, ...]
    """Of the option; a property's key is the last part."""
    value: object = field(repr=False)
    source: str
    from_file: bool
    from_reference: bool = False
    """Read through ``${…}``: its text does not stand in the file itself."""
    read_again: Callable[[], Any] | None = field(default=None, repr=False)
    """Of a property from a file: what it is now. Raises :class:`ConfigurationError` where that cannot be read."""


def read(
    options: Sequence[Option], path: Path | None, environ: Mapping[str, str], overrides: Iterable[str]
) -> tuple[dict[tuple[str, ...], Setting], list[str]]:
    """The settings that the sources give, by path, and every problem found in them."""
    problems: list[str] = []
    given = [*_from_file(path, environ, problems), *_from_environment(environ), *_from_overrides(overrides, problems)]
    settings: dict[tuple[str, ...], Setting] = {}
    for each in given:
        found = _find(options, each)
        if found is None:
            problems.append(_unknown(options, each))
            continue
        option, target = found
        try:
            value = _convert(option, target[-1], each)
        except _WrongValueError as error:
            problems.append(f"{quoted(option, target)}: {error} (from {each.source})")
            continue
        again = _read_again(option, target, each) if option.passes_through and each.from_file else None
        settings[target] = Setting(target, value, each.source, each.from_file, each.from_reference, again)
    return settings, problems


def quoted(option: Option, path: tuple[str, ...]) -> str:
    """*path* as one writes it in TOML: a property's key in quotes where it has dots."""
    if not option.passes_through:
        return option.key
    name = path[-1]
    return f'{option.key}."{name}"' if "." in name else f"{option.key}.{name}"


# Sources


def _from_file(path: Path | None, environ: Mapping[str, str], problems: list[str]) -> Iterator[Given]:
    if path is None:
        return
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: not a TOML file: {error}") from error
    for key, value in _flatten(content):
        if not isinstance(value, str) or "${" not in value:
            yield Given(key, value, str(path), is_text=False)
            continue
        try:
            text = _resolve(value, environ)
        except _WrongValueError as error:
            problems.append(f"{'.'.join(key)}: {error} (from {path})")
            continue
        yield Given(
            key,
            text,
            str(path),
            is_text=True,
            from_file="${file:" in value,
            from_reference=True,
            read_again=partial(_resolve, value, environ),
        )


def _flatten(table: Mapping[str, object], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flatten(value, (*above, key))
        else:
            yield (*above, key), value


def _resolve(text: str, environ: Mapping[str, str]) -> str:
    def replacement(match: re.Match[str]) -> str:
        name = match[1]
        if name is None:
            return "${"
        if name.startswith("file:"):
            return _content_of(Path(name.removeprefix("file:")))
        if name not in environ:
            raise _WrongValueError(f"${{{name}}} names an environment variable that is not set")
        return environ[name]

    return _REFERENCE.sub(replacement, text)


def _content_of(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise _WrongValueError(f"${{file:{path}}} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _WrongValueError(f"${{file:{path}}} is not UTF-8 text") from error
    if not text:
        raise _WrongValueError(f"${{file:{path}}} is empty: is it being written?")
    return text


def _from_environment(environ: Mapping[str, str]) -> Iterator[Given]:
    for name in sorted(environ):
        if name.startswith(ENVIRONMENT_PREFIX) and name != CONFIG_VARIABLE:
            path = tuple(name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__"))
            yield Given(path, environ[name], f"environment {name}", is_text=True, dotted=False)


def _from_overrides(overrides: Iterable[str], problems: list[str]) -> Iterator[Given]:
    for override in overrides:
        key, separator, value = override.partition("=")
        try:
            ((path, _),) = _flatten(tomllib.loads(f"{key.strip()} = 0"))
        except (tomllib.TOMLDecodeError, ValueError):
            path = ()
        if not separator or not path:
            problems.append(f"--set {key}: write it as --set a.b=value")
            continue
        yield Given(path, value.strip(), "--set", is_text=True)


# Options


def _find(options: Sequence[Option], given: Given) -> tuple[Option, tuple[str, ...]] | None:
    for option in options:
        length = len(option.path)
        if given.path[:length] != option.path:
            continue
        rest = given.path[length:]
        if option.passes_through and rest:
            name = ".".join(rest)
            return option, (*option.path, name if given.dotted else name.replace("_", "."))
        if not option.passes_through and not rest:
            return option, option.path
    return None


def _unknown(options: Sequence[Option], given: Given) -> str:
    key = ".".join(given.path)
    tables = {option.path[:length] for option in options for length in range(1, len(option.path))}
    tables |= {option.path for option in options if option.passes_through}
    if given.path in tables:
        return f"{key}: is a table, not {_words_for(given.value)} (from {given.source})"
    known = [option.key for option in options]
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.7)
    if not near and (places := _as_property(options, tables, given)):
        return f"{key}: no such option; did you mean {' or '.join(places)}? (from {given.source})"
    near = near or [each for each in known if each.rpartition(".")[2] == given.path[-1]]
    hint = f'; did you mean "{near[0]}"?' if near else ""
    if not given.dotted and len(given.path) == 1:
        hint += f" (two underscores part a table from its option, as in {ENVIRONMENT_PREFIX}FEED__URL)"
    return f"{key}: no such option{hint} (from {given.source})"


def _as_property(options: Sequence[Option], tables: Collection[tuple[str, ...]], given: Given) -> list[str]:
    """Where what was given may belong: properties have dots in their names, and no option has."""
    tops = [option for option in options if option.passes_through and len(option.path) == 1]
    table, *rest = given.path
    if rest and (table,) not in tables:
        near = difflib.get_close_matches(table, [option.key for option in tops], n=1, cutoff=0.7)
        if near:
            return [quoted(option, (*option.path, ".".join(rest))) for option in tops if option.key == near[0]]
    name = ".".join(rest if (table,) in tables else given.path)
    word, dot, _ = name.partition(".")
    return [
        quoted(option, (*option.path, name)) for option in tops if dot and word in _PROPERTY_WORDS.get(option.key, ())
    ]


# Values


class _WrongValueError(Exception):
    """Says what is wrong with a value, without its key."""


def _convert(option: Option, name: str, given: Given) -> object:
    if option.passes_through:
        return _property(name, given)
    value = _read_text(str(given.value), option.type) if given.is_text else given.value
    if isinstance(value, float) and not math.isfinite(value):
        raise _WrongValueError(f"{value} is no number to work with")
    try:
        return msgspec.convert(value, option.type)
    except msgspec.ValidationError as error:
        bounds = f" {option.bounds}" if option.bounds else ""
        shown = _shown(option, given, value)
        expected = type_words(option.type)
        # A number of the right kind is out of bounds.
        is_kind = (type(value) is int and "number" in expected) or (type(value) is float and expected == "number")
        kind = "" if is_kind and shown else _words_for(value)
        found = f"{kind} ({shown})" if kind and shown else kind or shown
        raise _WrongValueError(f"expected {expected}{bounds}, not {found}") from error


def _shown(option: Option, given: Given, value: object) -> str:
    """A wrong value, for the problem's text. Free text may be a secret in the wrong place, so its type must do."""
    is_choice = typing.get_origin(plain(option.type)) is typing.Literal
    if given.from_reference or (isinstance(value, str) and not is_choice) or isinstance(value, list):
        return ""
    return str(masked("", value))


def _read_again(option: Option, target: tuple[str, ...], given: Given) -> Callable[[], object]:
    def read() -> object:
        try:
            text = given.read_again() if given.read_again is not None else ""
            value = _convert(option, target[-1], replace(given, value=text))
        except _WrongValueError as error:
            raise ConfigurationError(f"{quoted(option, target)}: {error} (from {given.source})") from error
        return value

    return read


def _property(name: str, given: Given) -> object:
    if not isinstance(given.value, str | int | float | bool):
        raise _WrongValueError(f"expected text, number, or true or false, not {_words_for(given.value)}")
    if not given.is_text or is_secret(name):
        return given.value
    text = str(given.value)
    return tomllib.loads(f"v = {text}")["v"] if text in {"true", "false"} or _NUMBER.fullmatch(text) else text


def _read_text(text: str, hint: Any) -> object:
    """*text* as the type means it; as it stands where it does not fit, for the conversion to refuse."""
    bare = plain(hint)
    arguments = typing.get_args(bare)
    if bare is str or typing.get_origin(bare) is typing.Literal:
        return text
    if types.NoneType in arguments and text in {"", "null"}:
        return None
    if typing.get_origin(bare) is tuple and not text.startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        return text


def _words_for(value: object) -> str:
    if isinstance(value, list):
        return "a list"
    return {str: "text", bool: "a boolean", int: "a whole number", float: "a number"}.get(
        type(value), type(value).__name__
    )


def build_properties(settings: Sequence[Setting]) -> Properties:
    """The passed-through properties among *settings*, by name."""
    values = {setting.path[-1]: typing.cast(Any, setting.value) for setting in settings}
    return Properties(
        values,
        secret=[setting.path[-1] for setting in settings if setting.from_file],
        references={setting.path[-1]: again for setting in settings if (again := setting.read_again) is not None},
    )
