"""What a table of options is.

The table is a tree of :class:`Table` (msgspec) classes. Each option is one
annotated line: type, bounds, unit, help and default. From that line come
parsing, the problems reported, ``config show`` and the reference page.

A field of type :class:`Properties` is *passed through*: it takes any key, and
everything after its own path is the key (``kafka."bootstrap.servers"`` and
``kafka.bootstrap.servers`` are the same).

Reading a table from its sources is :mod:`connector.option_sources`; the table of
this program is :mod:`connector.config`.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from connector.core.secrets import MASK, masked, secrets_in

Property = str | int | float | bool


class Properties(Mapping[str, Property]):
    """Properties passed through to a client library; only :meth:`renew` changes them. Its ``repr`` masks secrets."""

    __slots__ = ("_references", "_secret", "_values")

    def __init__(
        self,
        values: Mapping[str, Property] = types.MappingProxyType({}),
        *,
        secret: Collection[str] = (),
        references: Mapping[str, Callable[[], Property]] = types.MappingProxyType({}),
    ) -> None:
        """*secret* names those to be masked whatever they are called. *references* read anew what came from files, and
        raise :class:`~connector.core.errors.ConfigurationError` where it cannot be read."""
        self._values = dict(values)
        self._secret = frozenset(secret)
        self._references = dict(references)

    @property
    def can_change(self) -> bool:
        """Whether anything came from a file."""
        return bool(self._references)

    def changes(self) -> dict[str, Property]:
        """What the files say now and these properties do not. Raises as the references do."""
        now = {name: read() for name, read in self._references.items()}
        return {name: value for name, value in now.items() if value != self._values[name]}

    def renew(self, changes: Mapping[str, Property]) -> None:
        """Take *changes* over. Whoever holds these properties sees all of them at once."""
        self._values = {**self._values, **changes}

    def secret_values(self) -> list[str]:
        """The texts among the values that no output may show."""
        return [
            secret
            for name, value in self._values.items()
            for secret in secrets_in(name, str(value), is_hidden=name in self._secret)
        ]

    def __getitem__(self, key: str) -> Property:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(frozenset(self._values))

    def __repr__(self) -> str:
        shown = {name: MASK if name in self._secret else masked(name, value) for name, value in self._values.items()}
        return f"Properties({shown})"


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the tables. Their ``repr`` masks user info in addresses."""

    def __repr__(self) -> str:
        shown = ((name, getattr(self, name)) for name in self.__struct_fields__)
        inside = ", ".join(f"{name}={masked('', value)!r}" for name, value in shown)
        return f"{type(self).__name__}({inside})"


def option(help: str, *, unit: str = "", form: str = "", **bounds: Any) -> msgspec.Meta:
    """What the table says about an option. *bounds* are msgspec's (``ge``, ``gt``, ``le``, ``pattern`` …).

    *form* is for people what ``pattern`` is for the program.
    """
    return msgspec.Meta(description=help, extra={"unit": unit, "form": form}, **bounds)


@dataclass(frozen=True, slots=True)
class Option:
    """One line of the table."""

    path: tuple[str, ...]
    type: Any
    """With its :class:`msgspec.Meta`; :class:`Properties` where any key is taken."""
    default: Any
    help: str
    unit: str
    bounds: str

    @property
    def key(self) -> str:
        return ".".join(self.path)

    @property
    def passes_through(self) -> bool:
        return plain(self.type) is Properties


def options_of(table: type[Table], above: tuple[str, ...] = ()) -> tuple[Option, ...]:
    """Every option of *table* and the tables in it, in the order they are written in."""
    found: list[Option] = []
    hints = typing.get_type_hints(table, include_extras=True)
    for field in msgspec.structs.fields(table):
        path = (*above, field.name)
        hint = hints[field.name]
        if isinstance(plain(hint), type) and issubclass(plain(hint), Table):
            found.extend(options_of(plain(hint), path))
            continue
        meta = next((each for each in getattr(hint, "__metadata__", ()) if isinstance(each, msgspec.Meta)), None)
        if meta is None:
            raise TypeError(f"option {'.'.join(path)} has no help: annotate it with option(…)")
        default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
        unit = (meta.extra or {}).get("unit", "")
        found.append(Option(path, hint, default, meta.description or "", unit, _bounds(hint)))
    return tuple(found)


def plain(hint: Any) -> Any:
    """*hint* without its annotations."""
    return typing.get_args(hint)[0] if hasattr(hint, "__metadata__") else hint


_BOUND_WORDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}


def _bounds(hint: Any) -> str:
    """The bounds that msgspec holds a value of this type to, in words."""
    metas = [each for each in getattr(hint, "__metadata__", ()) if isinstance(each, msgspec.Meta)]
    own = [
        f"{words} {getattr(meta, name)}"
        for meta in metas
        for name, words in _BOUND_WORDS.items()
        if getattr(meta, name) is not None
    ]
    own += [f"in the form {meta.extra['form']}" for meta in metas if meta.extra and meta.extra["form"]]
    inside = [_bounds(each) for each in typing.get_args(plain(hint)) if hasattr(each, "__metadata__")]
    return ", ".join([*own, *inside])


_TYPE_WORDS: dict[Any, str] = {
    str: "text",
    bool: "true or false",
    int: "whole number",
    float: "number",
    types.NoneType: "null",
    Properties: "table of properties",
}


def type_words(hint: Any) -> str:
    """The type of an option in words, as the problems and the reference page name it."""
    bare = plain(hint)
    if bare in _TYPE_WORDS:
        return _TYPE_WORDS[bare]
    arguments = typing.get_args(bare)
    if typing.get_origin(bare) is typing.Literal:
        return " or ".join(f'"{each}"' for each in arguments)
    if typing.get_origin(bare) is tuple:
        return f"list of {type_words(arguments[0])}"
    return " or ".join(type_words(each) for each in arguments)
