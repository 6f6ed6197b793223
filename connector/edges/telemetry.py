"""Log, metrics, and what the status page shows of the past.

What becomes of each happening stands in :mod:`connector.edges.log_events`.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, TextIO

from connector.core.happenings import Committed, FrameReceived, Happening, JournalDropped, LogLinesLost, Rejected
from connector.core.log_repeats import Repeats
from connector.core.process_status import Refused, Status, why_not_ready
from connector.core.told_groups import Group, Groups
from connector.edges.log_events import LINES, Fields, Line
from connector.edges.log_format import LogFormat, LogLevel, cleaner, open_log
from connector.edges.log_writer import LineWriter, standard_error
from connector.edges.metrics import Metrics

_RECENT = 10
_RATE_WINDOW_S = 60.0
_FLUSH_S = 1.0
_KINDS = ("reason", "status", "what", "state")
"""The fields whose stable words tell log lines of one event apart."""
_MOST_SECRETS = 200
"""Those that were renewed are masked too, until so many came after them."""


@dataclass(frozen=True, slots=True)
class Logged:
    """What was logged, kept for the status page."""

    at_s: float
    level: str
    event: str
    fields: Fields


@dataclass(frozen=True, slots=True)
class Rates:
    """Per second, over the last minute."""

    frames: float = 0.0
    bytes: float = 0.0
    ticks: float = 0.0
    dead_letters: float = 0.0
    rejects: float = 0.0


@dataclass(frozen=True, slots=True)
class _Sample:
    at_s: float
    frames: int = 0
    bytes: int = 0
    ticks: int = 0
    dead_letters: int = 0
    rejects: int = 0


class Telemetry:
    """Log, metrics and what the status page shows of the past. Any thread may call; nothing is raised.

    ``secrets`` are values that must not be shown wherever they turn up. The log goes to *stream*, which is waited
    for; without one to standard error, which is not.
    """

    def __init__(
        self,
        *,
        log_format: LogFormat = "text",
        log_level: LogLevel = "info",
        secrets: Iterable[str] = (),
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.metrics = Metrics(clock)
        self._secrets = tuple(secrets)
        self.clean = cleaner(self._secrets)
        self._clock_s = clock
        self._monotonic_s = monotonic
        target = LineWriter(standard_error()) if stream is None else stream
        self._lines = target if isinstance(target, LineWriter) else None
        self._log = open_log(log_format, log_level, target)
        self._lock = threading.Lock()
        self._repeats: Repeats[Happening] = Repeats()
        self._recent: dict[type[Happening], deque[Logged]] = {}
        self._notable: Groups[Logged] = Groups()
        self._rejects: Groups[Logged] = Groups()
        self._ticks_written_at_ms: int | None = None
        self._dropped_frames = 0
        self._totals = _Sample(monotonic())
        self._samples: deque[_Sample] = deque([self._totals])

    def mask(self, secrets: Iterable[str]) -> None:
        """These must not be shown either, from here on."""
        with self._lock:
            self._secrets = (*self._secrets, *secrets)[-_MOST_SECRETS:]
            self.clean = cleaner(self._secrets)

    def tell(self, happening: Happening) -> None:
        """Counts it, and logs it where its line says so."""
        line = LINES[type(happening)]
        line.count(self.metrics, happening)
        now_s = self._monotonic_s()
        with self._lock:
            self._add_up(happening)
            told = line.repeats_by is None or self._repeats.is_first(
                (line.event, line.repeats_by(happening)), happening, now_s
            )
        if line.event:
            logged = self._logged(line, happening)
            with self._lock:
                self._recent.setdefault(line.kind, deque(maxlen=_RECENT)).append(logged)
                if logged.level != "info":
                    kind = (logged.event, *(str(logged.fields.get(name, "")) for name in _KINDS))
                    self._notable.add(kind, logged, logged.at_s)
                if line.kind is Rejected:
                    about = (logged.fields["reason"], logged.fields["field"])
                    self._rejects.add(about, logged, logged.at_s, name=logged.fields["symbol"])
            if told:
                self._write(logged)

    def observe(self, status: Status) -> None:
        """To be called each second: gauges, rates, and what was held back from the log."""
        self.metrics.observe(status, ready=not why_not_ready(status))
        now_s = self._monotonic_s()
        with self._lock:
            sample = replace(self._totals, at_s=now_s)
            self._samples.append(sample)
            while now_s - self._samples[0].at_s > _RATE_WINDOW_S:
                self._samples.popleft()
        if self._lines is not None and (lost := self._lines.take_lost()):
            self.tell(LogLinesLost(lost))
        self.sum_up()

    def sum_up(self, *, everything: bool = False) -> None:
        """Logs what was held back and is due; all of it before the end."""
        with self._lock:
            due = self._repeats.due(self._monotonic_s(), all_of_them=everything)
        for summary in due:
            self._write(self._logged(LINES[type(summary.last)], summary.last, times=summary.times))

    def flush(self) -> None:
        """Wait for the log to be written, as long as somebody reads it."""
        if self._lines is not None:
            self._lines.flush(_FLUSH_S)

    def rates(self) -> Rates:
        with self._lock:
            first, last = self._samples[0], self._samples[-1]
        elapsed_s = last.at_s - first.at_s
        if elapsed_s <= 0:
            return Rates()
        return Rates(
            (last.frames - first.frames) / elapsed_s,
            (last.bytes - first.bytes) / elapsed_s,
            (last.ticks - first.ticks) / elapsed_s,
            (last.dead_letters - first.dead_letters) / elapsed_s,
            (last.rejects - first.rejects) / elapsed_s,
        )

    def recent(self, kind: type[Happening]) -> tuple[Logged, ...]:
        """The last few of that class, newest first."""
        with self._lock:
            return tuple(reversed(self._recent.get(kind, ())))

    def notable(self) -> tuple[Group[Logged], ...]:
        """What was told above ``info``, gathered by kind, newest first; also what the log sums up."""
        with self._lock:
            return tuple(self._notable.newest_first())

    def rejects(self) -> tuple[Group[Logged], ...]:
        """The rejects, gathered by reason and field, newest first."""
        with self._lock:
            return tuple(self._rejects.newest_first())

    def refused(self) -> tuple[Refused, ...]:
        """The same, for :class:`Status`."""
        return tuple(
            Refused(
                str(each.last.fields["reason"]),
                str(each.last.fields["field"]),
                each.names,
                round(each.since_s * 1000),
                round(each.last_at_s * 1000),
                each.times,
            )
            for each in self.rejects()
        )

    @property
    def ticks_written_at_ms(self) -> int | None:
        """When a transaction with ticks in it last ended well."""
        return self._ticks_written_at_ms

    @property
    def dropped_frames(self) -> int:
        """Given up at a bound of the journal."""
        return self._dropped_frames

    def _add_up(self, happening: Happening) -> None:
        before = self._totals
        if isinstance(happening, FrameReceived):
            self._totals = replace(before, frames=before.frames + 1, bytes=before.bytes + happening.size_bytes)
        elif isinstance(happening, Committed):
            self._totals = replace(
                before,
                ticks=before.ticks + happening.records,
                dead_letters=before.dead_letters + happening.letters,
            )
            if happening.records:
                self._ticks_written_at_ms = round(self._clock_s() * 1000)
        elif isinstance(happening, Rejected):
            self._totals = replace(before, rejects=before.rejects + 1)
        elif isinstance(happening, JournalDropped):
            self._dropped_frames += happening.frames

    def _logged(self, line: Line[Any], happening: Happening, **more: int) -> Logged:
        shown = {name: self._shown(value) for name, value in line.show(happening).items()}
        return Logged(self._clock_s(), line.level_of(happening), line.event, {**shown, **more})

    def _write(self, logged: Logged) -> None:
        # A reader of our standard error that is gone must not stop the feed; nobody is left to tell.
        with contextlib.suppress(OSError, ValueError):
            getattr(self._log, logged.level)(logged.event, **logged.fields)

    def _shown(self, value: object) -> object:
        if isinstance(value, str):
            return self.clean(value)
        if isinstance(value, float):
            return round(value, 3)
        if isinstance(value, tuple):
            return [self._shown(each) for each in value]
        return value
