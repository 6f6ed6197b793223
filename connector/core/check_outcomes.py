"""What ``check`` found, one value for each thing it looked at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Grade(StrEnum):
    """How a thing stands, from good to bad."""

    OK = "ok"
    NOTE = "note"
    """Worth knowing; nothing to do."""
    WARNING = "warning"
    """It runs, but not as well or as safely as it should."""
    PROBLEM = "problem"
    """It does not run, or breaks a promise: exit code 2."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was found of one thing."""

    area: str
    """A stable word: ``configuration``, ``feed``, ``rest``, ``clock``, ``broker``, ``topic``, ``rights``,
    ``transactions``, ``registry``, ``schema``, ``journal``, ``http``."""
    subject: str
    """What was looked at: an address, a topic, a file."""
    grade: Grade
    found: str
    """What is so, in a sentence."""
    remedy: str = ""
    """What to do; never empty where there is something to do."""


def good(area: str, subject: str, found: str) -> Outcome:
    return Outcome(area, subject, Grade.OK, found)


def note(area: str, subject: str, found: str, remedy: str = "") -> Outcome:
    return Outcome(area, subject, Grade.NOTE, found, remedy)


def warning(area: str, subject: str, found: str, remedy: str) -> Outcome:
    return Outcome(area, subject, Grade.WARNING, found, remedy)


def problem(area: str, subject: str, found: str, remedy: str) -> Outcome:
    return Outcome(area, subject, Grade.PROBLEM, found, remedy)


def will_run(outcomes: Iterable[Outcome]) -> bool:
    """Whether none of them is a problem."""
    return all(each.grade is not Grade.PROBLEM for each in outcomes)
