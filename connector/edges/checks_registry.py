"""``check`` of the registry: reached, the schemas registered and equal, pinned ids what they are taken for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from connector.core.check_outcomes import Outcome, good, note, problem, warning
from connector.core.errors import ConfigurationError, ConnectorError
from connector.core.schema_judge import judge_compatibility, judge_pinned, judge_registered
from connector.edges.registry import Registry

_ADDRESS = (
    "see registry.url: the whole path belongs to it (as https://host:8081, or https://host/apis/ccompat/v7), "
    "that it begins with http or https as the registry does, that the registry runs and this machine may connect to it"
)
_PROPERTIES = (
    "names have dots: url, timeout, basic.auth.user.info, ssl.ca.location, ssl.certificate.location, "
    "ssl.key.location, bearer.auth.… (docs/security.md)"
)
MOST_TIMEOUT_S = 6.0


@dataclass(frozen=True, slots=True)
class Pinned:
    """An id that is configured for a subject."""

    option: str
    id: int


@dataclass(frozen=True, slots=True)
class RegistryQuestions:
    """What ``check`` asks the registry about."""

    properties: Mapping[str, str | int | float | bool]
    subjects: Mapping[str, str]
    """The text of the schema that each subject needs."""
    pinned: Mapping[str, Pinned] = field(default_factory=dict)
    """By subject."""

    @property
    def is_needed(self) -> bool:
        """Whether ``run`` asks it: not where every id is pinned."""
        return not self.pinned or not self.pinned.keys() >= self.subjects.keys()


def look_at_registry(questions: RegistryQuestions) -> Iterator[Outcome]:
    """Nothing is raised."""
    if "url" not in questions.properties:
        yield note(
            "registry", "registry.url", "not set, and not needed to run: the ids are pinned; they are not compared"
        )
        return
    timeout_s = min(float(questions.properties.get("timeout", MOST_TIMEOUT_S)), MOST_TIMEOUT_S)
    try:
        registry = Registry({**questions.properties, "timeout": timeout_s})
    except ConfigurationError as error:
        yield problem("registry", "[registry]", str(error).removeprefix("[registry]: "), _PROPERTIES)
        return
    try:
        yield from _look(registry, questions)
    finally:
        registry.close()


def _look(registry: Registry, questions: RegistryQuestions) -> Iterator[Outcome]:
    for number, (subject, text) in enumerate(questions.subjects.items()):
        try:
            found = list(_look_at_subject(registry, subject, text, questions.pinned.get(subject)))
        except ConnectorError as error:
            what = str(error).removeprefix(f"registry {registry.address}: ")
            if questions.is_needed:
                yield problem("registry", registry.address, what, _ADDRESS)
            else:
                run = "the ids are pinned, so that run goes without it, but no reader does"
                yield warning("registry", registry.address, f"{what} ({run})", _ADDRESS)
            return
        if number == 0:
            yield good("registry", registry.address, "answers")
        yield from found


def _look_at_subject(registry: Registry, subject: str, text: str, pinned: Pinned | None) -> Iterator[Outcome]:
    latest = registry.latest(subject)
    if pinned is not None:
        yield judge_pinned(pinned.option, pinned.id, subject, text, registry.text_of(pinned.id))
    else:
        id = registry.find(subject, text) if latest is not None else None
        can_follow = id is None and latest is not None and registry.is_compatible(subject, text)
        yield judge_registered(subject, id, latest.id if latest is not None else None, can_follow=can_follow)
    if latest is not None:
        yield from judge_compatibility(subject, registry.compatibility(subject))
