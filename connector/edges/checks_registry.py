"""``check`` of the registry: reached, the schemas registered and equal, pinned ids what they are taken for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from connector.core.check_outcomes import Outcome, good, note, problem, warning
from connector.core.errors import ConfigurationError, ConnectorError, RetryableError
from connector.core.schema_judge import first_difference, judge_compatibility, judge_pinned, judge_registered, parsed
from connector.edges.registry import NoRegistryError, Registry, RegistryDeniedError

_PATH = "see registry.url: the whole path belongs to it (as https://host:8081, or https://host/apis/ccompat/v7)"
_REMEDIES: Mapping[type[ConnectorError], str] = {
    NoRegistryError: _PATH,
    RegistryDeniedError: 'see registry."basic.auth.user.info" (user:password), and what that user may do: '
    "Rights in the registry, docs/security.md",
    RetryableError: "see that the registry runs and this machine may connect to it, and registry.url: that it begins "
    "with http or https as the registry does, and has the right port and the whole path",
    ConfigurationError: "see the [registry] table; TLS and credentials: docs/security.md",
}
_PROPERTIES = (
    "see the [registry] table. Names have dots: url, timeout, basic.auth.user.info (user:password), ssl.ca.location, "
    "ssl.certificate.location, ssl.key.location (PEM files), bearer.auth.… (docs/security.md)"
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
                yield problem("registry", registry.address, what, _remedy(error))
            else:
                run = "the ids are pinned, so that run goes without it, but no reader does"
                yield warning("registry", registry.address, f"{what} ({run})", _remedy(error))
            return
        if number == 0:
            yield good("registry", registry.address, "answers")
        yield from found


def _remedy(error: ConnectorError) -> str:
    return next((_REMEDIES[kind] for kind in type(error).__mro__ if kind in _REMEDIES), _PATH)


def _look_at_subject(registry: Registry, subject: str, text: str, pinned: Pinned | None) -> Iterator[Outcome]:
    latest = registry.latest(subject)
    id: int | None = None
    can_follow = False
    if pinned is not None:
        yield judge_pinned(pinned.option, pinned.id, subject, text, registry.text_of(pinned.id))
    else:
        id = registry.find(subject, text) if latest is not None else None
        can_follow = id is None and latest is not None and registry.is_compatible(subject, text)
        newest = latest.id if latest is not None else None
        difference = first_difference(parsed(text), parsed(latest.text)) if latest is not None else ""
        yield judge_registered(subject, id, newest, can_follow=can_follow, difference=difference)
    # Where another schema stands in the way, its level is not what is to be changed.
    if latest is not None and (pinned is not None or id is not None or can_follow):
        yield from judge_compatibility(subject, registry.compatibility(subject))
