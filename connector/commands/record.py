"""``record``: the stream's messages into a file, as received."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from connector.commands.parameters import length_of_time
from connector.commands.sources import Sources, with_sources
from connector.core.errors import FatalError

if TYPE_CHECKING:
    from connector.config import Config
    from connector.core.values import Frame


@click.command("record")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@with_sources
@click.option("--seconds", type=float, callback=length_of_time, help="End after so long; without it: Ctrl-C.")
def command(sources: Sources, file: Path, seconds: float | None) -> None:
    """Write what the exchange sends to FILE, for `replay`. Kafka is not touched."""
    config = sources.load(needs=()).config
    from connector.edges import event_loop

    frames = event_loop.run(_record(config, file, seconds))
    click.echo(f"{frames:,} frames in {file}", err=True)


async def _record(config: Config, path: Path, seconds: float | None) -> int:
    from connector.core.normalize import Normalizer
    from connector.edges.feed import Feed
    from connector.edges.frame_file import FrameFileWriter
    from connector.edges.schema_files import load_schema
    from connector.edges.telemetry import Telemetry
    from connector.runner import feed_options

    schema = load_schema(config.schema.file)
    normalizer = Normalizer(schema, ahead_ms=None, behind_ms=None)
    telemetry = Telemetry(log_format=config.log.format, log_level=config.log.level)
    file = FrameFileWriter(path)
    failures: list[FatalError] = []

    def write(frame: Frame) -> None:
        try:
            file.write(frame)
        except FatalError as error:
            failures.append(error)
            task.cancel()

    feed = Feed(feed_options(config), schema, normalizer, deliver=write, tell=telemetry.tell)
    task = asyncio.create_task(feed.run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    if seconds is not None:
        loop.call_later(seconds, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        pass
    finally:
        file.close()
        telemetry.flush()
    if failures:
        raise failures[0]
    return file.frames
