"""``replay``: frames from a file through the same path as live ones."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from connector.commands.sources import Sources, with_sources
from connector.core.errors import ConfigurationError

if TYPE_CHECKING:
    from connector.config import Config
    from connector.core.happenings import Happening
    from connector.core.values import Frame
    from connector.edges.frame_file import FrameFile
    from connector.runner import Connector

MOST_FRAMES_AHEAD = 4000
"""Frames in the journal that the topic does not hold yet; reading the file waits for it."""
MOST_BYTES_AHEAD = 4 * 1024 * 1024
"""Of frames not written yet: what the journal still has in memory need not be read from its file again."""
WRITER_WITHIN_S = 30.0
TOPIC_RESTS_S = 10.0
"""For how long the topic must not have advanced: longer than the pauses that a live feed makes."""
TOPIC_WRITTEN_S = 2.0
"""A topic that is seen to advance over this time is being written."""
AGE_WITHOUT_BOUND_S = 1e9
BYTES_A_STEP = 1024 * 1024


@click.command("replay")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@with_sources
@click.option("--speed", default="1", show_default=True, help="max, or how many times as fast as it was received.")
def command(sources: Sources, file: Path, speed: str) -> int:
    """Write the frames in FILE to the topic, as `run` would have. FILE is what `record` wrote, or one message a line.

    It takes no topic from a running connector: it has a transactional.id of its own and waits for the topic to rest.
    """
    config = for_replay(sources.load("log.level=warning").config)
    return Replay(config, file, _factor(speed)).run()


def _factor(speed: str) -> float | None:
    if speed == "max":
        return None
    try:
        factor = float(speed)
    except ValueError:
        factor = 0.0
    if not factor > 0:
        raise ConfigurationError(f"--speed {speed}: say max or a number above 0, as 1 or 10")
    return factor


def for_replay(config: Config) -> Config:
    """The same, with a lock, a journal and a port of its own."""
    from connector.option_types import Properties

    replace = msgspec.structs.replace
    return replace(
        config,
        kafka=Properties({**config.kafka, "transactional.id": f"{config.transactional_id}-replay"}),
        journal=replace(config.journal, path=f"{config.journal.path}.replay", max_age=AGE_WITHOUT_BOUND_S),
        http=replace(config.http, port=0),
        takeover=replace(config.takeover, after=max(config.takeover.after, TOPIC_RESTS_S)),
    )


class Replay:
    """One run, its progress and its sum."""

    def __init__(self, config: Config, path: Path, factor: float | None) -> None:
        from connector.edges.frame_file import FrameFile

        self._config = config
        self._path = path
        self._file: FrameFile = FrameFile(path)
        self._factor = factor
        self._accepted = 0
        self._first_seq = 0
        self._read_bytes = 0
        self._advances_s: tuple[float, float] | None = None
        self._written_frames = 0
        self.records = self.rejects = self.late = self.duplicates = 0

    def run(self) -> int:
        from rich.console import Console

        from connector.runner import Connector

        self._remove_journal()
        connector = Connector(self._config, historical=True, also=self._count)
        self._refuse_what_would_not_stay(connector)
        started = time.monotonic()
        code = connector.run(self.source)
        took_s = time.monotonic() - started
        self._remove_journal()
        Console(stderr=True).print(self._summary(took_s, complete=not code), highlight=False, soft_wrap=True)
        return code

    def _refuse_what_would_not_stay(self, connector: Connector) -> None:
        """Retention goes by event time: the broker deletes what is older within minutes, and nobody sees why."""
        from connector.core.check_topics import duration
        from connector.edges.topic_facts import kept_for_ms

        topic = self._config.topic
        kept_ms = kept_for_ms(self._config.kafka, topic.name)
        if kept_ms is None:
            kept_ms = int(topic.config.get("retention.ms", topic.retention_ms))
        age_ms = time.time_ns() // 1_000_000 - self._first_event_time_ms(connector)
        if 0 <= kept_ms < age_ms:
            raise ConfigurationError(
                f"topic {topic.name} keeps records for {duration(kept_ms)} of event time, and the first tick of the "
                f"file is {duration(age_ms)} old: the broker would delete it soon after; replay into a topic that "
                "keeps it (--set topic.name=… --set topic.retention_ms=-1)"
            )

    def _first_event_time_ms(self, connector: Connector) -> int:
        from connector.edges.frame_file import FrameFile

        now_ns = time.time_ns()
        with FrameFile(self._path) as file:
            for frame, _ in file.frames(now_ns):
                if (event_time_ms := event_time_of(connector, frame)) is not None:
                    return event_time_ms
        return now_ns // 1_000_000

    def _summary(self, took_s: float, *, complete: bool) -> str:
        parts = [
            f"{self.records:,} records",
            f"{self.rejects:,} rejects" + (f" ({self.late:,} late)" if self.late else ""),
            f"{self.duplicates:,} duplicates",
        ]
        if complete and (passed := self._accepted - self._written_frames) > 0:
            parts.append(f"{passed:,} frames with nothing newer than the topic held")
        rate = f"{self.records / took_s:,.0f} records a second"
        return f"{self._accepted:,} frames: {', '.join(parts)}, in {took_s:.1f} s: {rate}"

    def _count(self, happening: Happening) -> None:
        from connector.core.happenings import Committed, Followed, Rejected
        from connector.core.values import Reason

        if isinstance(happening, Followed) and not self.records:
            now_s = time.monotonic()
            self._advances_s = (self._advances_s[0] if self._advances_s else now_s, now_s)
        elif isinstance(happening, Committed):
            self._written_frames += happening.frames
            self.records += happening.records
            self.duplicates += happening.duplicates
        elif isinstance(happening, Rejected) and not happening.repeated:
            self.rejects += 1
            self.late += happening.reject.reason is Reason.LATE

    def _remove_journal(self) -> None:
        """That of an earlier replay belongs to its file, not to this one."""
        path = Path(self._config.journal.path)
        for each in path.parent.glob(f"{path.name}*"):
            each.unlink()

    async def source(self, connector: Connector, asked: asyncio.Event) -> None:
        """The frames of the file, as fast as asked; ends when the topic holds them."""
        self._first_seq = connector.journal.newest_seq
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True)) as progress, self._file as file:
            task = progress.add_task("replay", total=file.size_bytes)
            pace = Pace(connector, self._factor)
            for frame, position in file.frames(time.time_ns()):
                if asked.is_set():
                    return
                delay_s = pace.delay_s(frame, time.monotonic())
                if delay_s:
                    await asyncio.sleep(delay_s)
                connector.accept(frame)
                self._accepted += 1
                if delay_s or self._accepted == 1 or position - self._read_bytes > BYTES_A_STEP:
                    self._read_bytes = position
                    progress.update(task, completed=position)
                    await asyncio.sleep(0)
                    await self._let_the_topic_follow(connector, asked)
            await self._let_the_topic_follow(connector, asked, to_the_end=True)
            progress.update(task, completed=file.size_bytes)

    def _delivered(self, connector: Connector) -> bool:
        return connector.journal.newest_seq - self._first_seq >= self._accepted and connector.sink.delivered()

    async def _let_the_topic_follow(
        self, connector: Connector, asked: asyncio.Event, *, to_the_end: bool = False
    ) -> None:
        """Wait until the topic holds all, or this process has the lock and the topic is not far behind."""
        deadline = time.monotonic() + WRITER_WITHIN_S
        while not asked.is_set() and self._is_behind(connector, to_the_end):
            waits = bool(connector.sink.state().waiting)
            if not connector.is_writer() and (self._others_write() or (not waits and time.monotonic() > deadline)):
                raise ConfigurationError(
                    f"topic {self._config.topic.name} is being written; stop the connector that writes it, or replay "
                    "into a topic of its own (--set topic.name=…)"
                )
            await asyncio.sleep(0.01)

    def _is_behind(self, connector: Connector, to_the_end: bool) -> bool:
        if connector.is_writer() and not to_the_end:
            unwritten = self._first_seq + self._accepted - connector.sink.state().written_through
            unwritten_bytes = unwritten * self._read_bytes / self._accepted
            return unwritten_bytes > MOST_BYTES_AHEAD or connector.journal.frames > MOST_FRAMES_AHEAD
        return not self._delivered(connector)

    def _others_write(self) -> bool:
        """Whether the topic went on advancing before this process wrote anything."""
        return self._advances_s is not None and self._advances_s[1] - self._advances_s[0] > TOPIC_WRITTEN_S


def event_time_of(connector: Connector, frame: Frame) -> int | None:
    """As a first look at the frame has it; ``None`` where it has no tick."""
    return getattr(connector.normalizer.inspect(frame.data), "event_time_ms", None)


class Pace:
    """Holds frames apart as their event times are, ``factor`` times as fast; not at all where it is ``None``."""

    def __init__(self, connector: Connector, factor: float | None) -> None:
        self._connector = connector
        self._factor = factor
        self._began: tuple[int, float] | None = None

    def delay_s(self, frame: Frame, now_s: float) -> float:
        if self._factor is None:
            return 0.0
        event_time_ms = event_time_of(self._connector, frame)
        if event_time_ms is None:
            return 0.0
        if self._began is None:
            self._began = (event_time_ms, now_s)
        first_ms, first_s = self._began
        behind_s: float = first_s + (event_time_ms - first_ms) / 1000 / self._factor - now_s
        return max(0.0, behind_s)
