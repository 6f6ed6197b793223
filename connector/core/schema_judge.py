"""Whether the registry's schemas are the ones that records are written with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from connector.core.check_outcomes import Outcome, good, note, problem, warning

REGISTER = "run, with the same options: binance-kafka-source schema register"
FULL_TRANSITIVE = "FULL_TRANSITIVE"
_SEEN_BY_READERS = frozenset(
    {"type", "name", "namespace", "fields", "items", "values", "symbols", "size", "default"}
    | {"logicalType", "precision", "scale"}
)


def judge_registered(
    subject: str, id: int | None, newest: int | None, *, can_follow: bool, difference: str = ""
) -> Outcome:
    """*id* of this very schema under the subject and of the *newest* version there; unset where there is none.
    *difference* is what the newest has otherwise."""
    if id is None and newest is None:
        return problem("schema", subject, "nothing is registered under this subject", REGISTER)
    if id is None and can_follow:
        found = f"another schema is registered (newest id {newest}: {difference}); this one is compatible with it"
        return problem("schema", subject, found, REGISTER)
    if id is None:
        return problem(
            "schema",
            subject,
            f"another schema is registered (newest id {newest}: {difference}), and this one is not compatible with it",
            "see schema.file, and topic.name: is it another stream's topic? A changed field needs a topic of its own",
        )
    if id != newest:
        return note("schema", subject, f"registered, id {id}; the newest version there is id {newest}")
    return good("schema", subject, f"registered and equal, id {id}")


def judge_compatibility(subject: str, level: str) -> Iterator[Outcome]:
    if level != FULL_TRANSITIVE:
        yield warning(
            "schema",
            subject,
            f"the compatibility level is {level}: somebody can register a version that readers of older or newer "
            "records cannot read",
            f"{REGISTER} (it sets {FULL_TRANSITIVE})",
        )


def judge_pinned(option: str, id: int, subject: str, own: str, registered: str | None) -> Outcome:
    """*registered* is the text that the registry has under *id*; unset where it has none."""
    if registered is None:
        return problem(
            "schema",
            subject,
            f"{option} = {id}: the registry has no schema of this id, so no reader could decode a record",
            f"{REGISTER}, and set {option} to the id that it prints (or leave it out)",
        )
    difference = first_difference(parsed(own), parsed(registered))
    if difference:
        return problem(
            "schema",
            subject,
            f"{option} = {id} is the id of another schema ({difference}): readers would decode records wrongly",
            f"set {option} to the id that `binance-kafka-source schema check` prints, or leave it out",
        )
    return good("schema", subject, f"{option} = {id} is this schema")


def parsed(text: str) -> Any:
    """What a registry has as a schema; the text itself where it is no JSON, as of Protobuf."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def first_misreading(own: Any, other: Any) -> str:
    """The first field of both whose bytes mean another value in each: a decimal of another scale, a time of another
    unit. Empty where there is none.

    Registries compare names and bare types: to theirs such schemas are compatible.
    """
    if not isinstance(own, dict) or not isinstance(other, dict):
        return ""
    theirs = {field.get("name"): field.get("type") for field in other.get("fields", ())}
    for field in own.get("fields", ()):
        name = field.get("name")
        if name in theirs and (found := first_difference(_meaning(field.get("type")), _meaning(theirs[name]))):
            return f"field {name}: {found}"
    return ""


def _meaning(type: Any) -> dict[str, Any]:
    """What makes a value of the bytes, of a type or of the one in a union that has such a thing."""
    if isinstance(type, list):
        return next((found for each in type if (found := _meaning(each))), {})
    if not isinstance(type, dict) or "logicalType" not in type:
        return {}
    scale = type.get("scale", 0) if type["logicalType"] == "decimal" else None
    return {"logicalType": type["logicalType"], "scale": scale}


def first_difference(own: Any, other: Any, where: str = "") -> str:
    """Where two schemas first differ in what a reader sees; empty where they do not. Documentation does not count."""
    if isinstance(own, dict) and isinstance(other, dict):
        return _difference_of_tables(own, other, where)
    if isinstance(own, list) and isinstance(other, list):
        for mine, theirs in zip(own, other, strict=False):
            if found := first_difference(mine, theirs, where):
                return found
        return _difference_of_length(own, other, where)
    return "" if own == other else f"{where or 'it'} is {_short(other)}, not {_short(own)}"


def _difference_of_length(own: list[Any], other: list[Any], where: str) -> str:
    if len(own) == len(other):
        return ""
    is_shorter = len(other) < len(own)
    rest = own[len(other) :] if is_shorter else other[len(own) :]
    names = [each.get("name") for each in rest if isinstance(each, dict)]
    if where != "fields" or len(names) < len(rest):
        return f"{where or 'it'} has {len(other)} parts, not {len(own)}"
    return f"{'it lacks' if is_shorter else 'it also has'} {', '.join(map(str, names))}"


def _difference_of_tables(own: dict[str, Any], other: dict[str, Any], where: str) -> str:
    name = own.get("name")
    inside = f"field {name}" if isinstance(name, str) and where == "fields" else where
    for key in sorted((own.keys() | other.keys()) & _SEEN_BY_READERS, key=lambda key: (key != "name", key)):
        below = "fields" if key == "fields" else f"{inside}: {key}" if inside else key
        if found := first_difference(own.get(key), other.get(key), below):
            return found
    return ""


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
