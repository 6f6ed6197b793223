"""The product itself: ``replay`` at full speed, in both modes.

Everything a live tick goes through: journal, decode, normalize, admit, encode,
write, follow back, trim.
"""

from __future__ import annotations

from pathlib import Path

from connector.commands.replay import Replay, for_replay
from connector.config import Config, load_config
from connector.core.happenings import Followed, Happening, RoleChanged
from connector.runner import Connector
from tests.benchmarks.job import Job, Measured
from tests.benchmarks.stopwatch import Stopwatch


class Watch:
    """Wall time from holding the lock until the last record was read back."""

    def __init__(self, records: int) -> None:
        self._awaited = records
        self._watch = Stopwatch()
        self.followed = 0
        self.wall_s = 0.0

    def __call__(self, happening: Happening) -> None:
        """Told on the sink's thread, as it happens."""
        if isinstance(happening, RoleChanged) and happening.role == "writer":
            self._watch = Stopwatch()
        elif isinstance(happening, Followed):
            self.followed += happening.records
            if self.followed >= self._awaited and not self.wall_s:
                self.wall_s = self._watch.wall_s()

    def cpu_s(self) -> float:
        return self._watch.cpu_s()


def run(job: Job) -> Measured:
    """CPU time is counted until everything is tidied up."""
    config = for_replay(configuration(job, job.subject))
    watch = Watch(job.records)
    replay = Replay(config, Path(job.frames), None)
    connector = Connector(config, historical=True, also=watch)
    exit_code = connector.run(replay.source)
    measured = Measured(records=watch.followed, wall_s=watch.wall_s, cpu_s=watch.cpu_s())
    assert exit_code == 0, f"ended with {exit_code}"
    assert watch.followed == job.records, f"{watch.followed} of {job.records} records read back"
    return measured


def configuration(job: Job, delivery: str) -> Config:
    return load_config(
        overrides=[
            f"delivery={delivery}",
            f"topic.name={job.topic}",
            f"kafka.bootstrap.servers={job.bootstrap}",
            f"registry.url={job.registry_url}",
            f"journal.path={job.folder}/journal",
            f"feed.url={job.feed_url or 'ws://127.0.0.1:1'}",
            f"feed.rest_url={job.rest_url or 'http://127.0.0.1:1'}",
            "http.port=0",
            "log.level=warning",
        ]
    ).config
