"""``docs/metrics.md``, made from the tables of metrics and of log events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from connector.edges.log_events import LINES, Line
from connector.edges.metrics import Metrics

_INTRODUCTION = """\
# Metrics and log events

<!-- Made from connector/edges/metrics.py and connector/edges/log_events.py by `make docs`; a test compares. -->

## Metrics

`/metrics` on `http.host` and `http.port`, in Prometheus' text format. The names and labels below are stable. Ages are
computed when the page is asked for, so they grow while nothing else moves. With them come the `process_*` metrics
of the Prometheus client: processor time, memory, open files.

| metric | kind | labels | meaning |
|---|---|---|---|
"""

_EVENTS = """\

## Log events

One line an event on standard error: `log.format = "text"` for people, `"json"` for machines (with `time`, `level`,
`event` and the fields below). In normal running nothing is logged for a single message. Events marked with `times`
repeat: the first of a kind is logged at once, the others once a minute, as the last of them with their number in
`times`. Text in fields is cut at 1,000 characters and holds no secret.

| event | level | fields | meaning |
|---|---|---|---|
"""


def metrics_page() -> str:
    """The whole page."""
    metrics = "".join(
        f"| `{line.name}` | {line.kind} | {_codes(line.labels)} | {line.help} |\n" for line in Metrics().lines
    )
    events = "".join(_event(line) for line in LINES.values() if line.event)
    return _INTRODUCTION + metrics + _EVENTS + events


def _event(line: Line[Any]) -> str:
    names = [*line.field_names(), *(["times"] if line.repeats_by is not None else [])]
    return f"| `{line.event}` | {line.level_words()} | {_codes(names)} | {line.meaning} |\n"


def _codes(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
