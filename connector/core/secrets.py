"""What may be shown of values that may hold secrets."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator

_SECRET_NAME = re.compile(r"passw|secret|token|user\.?info|credential|(^|[._-])key([._-]|$)|^sasl\.|api\.?key")
_NO_SECRET_NAME = re.compile(r"\.location$|^sasl\.mechanisms?$|credentials\.source$|\.endpoint\.url$")
MASK = "********"


def is_secret(name: str) -> bool:
    """Whether a passed-through property of this name holds a secret. Rather one too many than one too few."""
    lowered = name.lower()
    return bool(_SECRET_NAME.search(lowered)) and not _NO_SECRET_NAME.search(lowered)


def without_userinfo(text: str) -> str:
    """An address as it may be shown: what stands before its last ``@`` is masked, and what a query or a fragment adds,
    as in ``http://user:password@host/path?key=secret``."""
    before, at, after = text.rpartition("@")
    scheme, separator, rest = (before if at else text).partition("://")
    user = f"{MASK}@" if at else ""
    if not separator:
        return f"{user}{after}"
    address, mark, _ = re.split(r"([?#]|$)", after if at else rest, maxsplit=1)
    return f"{scheme}://{user}{address}{mark}{MASK if mark else ''}"


def masked(name: str, value: object) -> object:
    """*value* as it may be shown, for a passed-through property called *name* (or an option, whose name is empty)."""
    if name and is_secret(name):
        return MASK
    return without_userinfo(value) if isinstance(value, str) else value


def secrets_in(name: str, value: str, *, is_hidden: bool = False) -> Iterator[str]:
    """The texts in a value that no output may show, for a property called *name* (empty: an option).

    *is_hidden*: whatever it is called. Who we are is none: it is what a missing right is about.
    """
    lowered = name.lower()
    if lowered.endswith("username"):
        return
    if is_hidden or (name and is_secret(name)):
        yield value
        if "info" in lowered:
            yield from _of_login(value)
    before, at, _ = value.rpartition("@")
    if at:
        yield from _of_login(before.rpartition("://")[2])


def _of_login(login: str) -> Iterator[str]:
    """Of ``user:password``; also as HTTP sends it."""
    yield login.partition(":")[2]
    yield b64encode(login.encode()).decode()
