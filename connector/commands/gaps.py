"""``gaps``: the ledger of a time, and whether it agrees with the topic."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from connector.commands.sources import Sources, with_sources

if TYPE_CHECKING:
    from connector.config import Config
    from connector.core.ledger_audit import Disagreement, Observed

EXIT_DISAGREE = 2
STANDS_STILL_PERIODS = 15
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d)")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def moment(text: str) -> int:
    """A time as ``2026-01-31T12:00:00`` (UTC unless it says), or how long ago, as ``90m``; in milliseconds.

    Raises :class:`click.BadParameter`.
    """
    if ago := _DURATION.fullmatch(text):
        now_ms = time.time_ns() // 1_000_000
        return now_ms - round(min(float(ago[1]) * _UNIT_S[ago[2]] * 1000, now_ms))
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter(
            f"{text!r} is neither a time, as 2026-01-31T12:00:00, nor how long ago, as 30s, 90m, 24h, 7d"
        ) from error
    return round((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)


def _as_moment(_context: click.Context, _parameter: click.Parameter, text: str | None) -> int | None:
    return None if text is None else moment(text)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the ledger; times in milliseconds."""

    kind: str
    about: str
    time: int
    first_missing: int | None
    last_missing: int | None
    periods: int
    reason: str
    detail: str
    replica: str


@dataclass(frozen=True, slots=True)
class Report:
    """What the command shows."""

    since_ms: int
    until_ms: int
    entries: tuple[Entry, ...]
    disagreements: tuple[Disagreement, ...]
    observed: Observed

    @property
    def agree(self) -> bool:
        return not self.disagreements


@click.command("gaps")
@with_sources
@click.option(
    "--since",
    "since_ms",
    metavar="TIME",
    callback=_as_moment,
    default="24h",
    show_default=True,
    help="A time, or how long ago.",
)
@click.option(
    "--until", "until_ms", metavar="TIME", callback=_as_moment, help="A time, or how long ago; without it: now."
)
@click.option("--json", "as_json", is_flag=True, help="For machines; times in milliseconds since 1970.")
def command(sources: Sources, since_ms: int, until_ms: int | None, as_json: bool) -> int:
    """Show the ledger of a time (event time), and whether it names exactly what the topic does not have.

    Times are as 2026-01-31T12:00:00 (UTC), or as 30s, 90m, 24h, 7d: so long ago.
    Exit code 0: ledger and topic agree; 2: they do not.
    """
    now_ms = time.time_ns() // 1_000_000
    until_ms = now_ms if until_ms is None else until_ms
    if since_ms >= until_ms:
        raise click.UsageError("--since must be before --until")
    report = _report(sources.load().config, since_ms, until_ms)
    if as_json:
        click.echo(json.dumps(_document(report), indent=2, ensure_ascii=False))
    else:
        (_show_table if sys.stdout.isatty() else _show_lines)(report.entries)
        for line in _verdict(report, now_ms):
            click.echo(line)
    return 0 if report.agree else EXIT_DISAGREE


def _report(config: Config, since_ms: int, until_ms: int) -> Report:
    from connector.core.ledger_audit import LedgerGap, Observed, disagreements
    from connector.core.ledger_events import EventKind
    from connector.edges.schema_files import load_schema
    from connector.edges.topic_times import read_times

    observed = Observed(load_schema(config.schema.file).feed.cadence_ms)
    # The topic first: what the ledger gets meanwhile is about later times.
    observed.whole_since_ms = read_times(config.kafka, config.topic.name, since_ms, until_ms, observed.add)
    entries = _ledger(config, since_ms)
    gaps = [
        LedgerGap(each.about, each.first_missing, each.last_missing, each.periods)
        for each in entries
        if each.kind == EventKind.GAP and each.first_missing is not None and each.last_missing is not None
    ]
    shown = tuple(each for each in entries if _is_within(each, since_ms, until_ms))
    return Report(since_ms, until_ms, shown, tuple(disagreements(gaps, observed, since_ms, until_ms)), observed)


def _is_within(entry: Entry, since_ms: int, until_ms: int) -> bool:
    first_ms = entry.time if entry.first_missing is None else entry.first_missing
    last_ms = entry.time if entry.last_missing is None else entry.last_missing
    return last_ms >= since_ms and first_ms < until_ms


def _ledger(config: Config, since_ms: int) -> list[Entry]:
    """Every entry from then on. A gap's own time is that of the tick that ended it, so none is overlooked."""
    from connector.edges.ledger_reader import read_ledger

    found = read_ledger(config.kafka, config.registry, config.events_topic, config.schema.events_id, since_ms)
    return sorted(map(_entry, found), key=lambda entry: entry.time)


def _entry(value: dict[str, Any]) -> Entry:
    found: dict[str, Any] = {name: value[name] for name in Entry.__slots__}
    for name in ("time", "first_missing", "last_missing"):
        if found[name] is not None:
            found[name] = round(found[name].timestamp() * 1000)
    return Entry(**found)


# Output


def _document(report: Report) -> dict[str, Any]:
    observed = report.observed
    return {
        "since": report.since_ms,
        "until": report.until_ms,
        "agree": report.agree,
        "entries": [{name: getattr(each, name) for name in Entry.__slots__} for each in report.entries],
        "disagreements": [
            {
                "about": each.about,
                "difference": each.difference.value,
                "first": each.first_ms,
                "last": each.last_ms,
                "periods": each.periods,
            }
            for each in report.disagreements
        ],
        "topic": {
            "records_read": observed.records,
            "oldest": observed.oldest_ms,
            "newest": observed.newest_ms,
            "whole_since": observed.whole_since_ms,
        },
    }


def _verdict(report: Report, now_ms: int) -> list[str]:
    observed = report.observed
    lines = [f"{len(report.entries)} entries from {_moment(report.since_ms)} to {_moment(report.until_ms)}"]
    if observed.newest_ms is None:
        lines.append("the topic holds nothing of this time: there is nothing to compare")
    elif report.until_ms >= now_ms and now_ms - observed.newest_ms > STANDS_STILL_PERIODS * observed.cadence_ms:
        lines.append(
            f"the newest tick in the topic is of {_moment(observed.newest_ms)}: a gap is open; it stands in the "
            "ledger once a tick has ended it"
        )
    if observed.whole_since_ms > report.since_ms:
        lines.append(
            f"of before {_moment(observed.whole_since_ms)} the topic has lost records (retention): there only what "
            "single symbols miss is compared"
        )
    if report.agree:
        lines.append(f"ledger and topic agree ({observed.records:,} records read)")
        return lines
    lines.append(f"ledger and topic DISAGREE in {len(report.disagreements)} stretches:")
    for each in report.disagreements:
        about = "all symbols" if each.about == "*" else each.about
        lines.append(
            f"  {about}: {_moment(each.first_ms)} to {_moment(each.last_ms)} ({each.periods} periods): "
            f"{each.difference.value}"
        )
    return lines


def _moment(ms: int) -> str:
    text = datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z").replace(".000Z", "Z")


def _columns(entry: Entry) -> tuple[str, ...]:
    missing = ""
    if entry.first_missing is not None and entry.last_missing is not None:
        missing = f"{_moment(entry.first_missing)} to {_moment(entry.last_missing)} ({entry.periods})"
    return _moment(entry.time), entry.kind, entry.about, missing, entry.reason, entry.detail, entry.replica


def _show_lines(entries: Sequence[Entry]) -> None:
    for entry in entries:
        click.echo("  ".join(part for part in _columns(entry) if part))


def _show_table(entries: Sequence[Entry]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("time", "kind", "about", "missing (periods)", "reason", "detail", "replica"):
        table.add_column(name, overflow="fold")
    for entry in entries:
        table.add_row(*map(Text, _columns(entry)))
    if entries:
        Console().print(table)
