"""The machine and the packages that were measured."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

import confluent_kafka
import msgspec

PACKAGES = ("confluent-kafka", "fastavro", "msgspec", "websockets")


class Machine(msgspec.Struct, frozen=True):
    processor: str
    cores: int
    memory_gib: int
    system: str
    python: str
    librdkafka: str
    packages: dict[str, str]
    load_at_start: float
    """Processes that wanted to run, averaged over a minute: what else kept the cores busy."""


def this_machine() -> Machine:
    return Machine(
        processor=_named("/proc/cpuinfo", "model name") or platform.processor(),
        cores=os.cpu_count() or 1,
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        librdkafka=confluent_kafka.libversion()[0],
        packages={name: version(name) for name in PACKAGES},
        load_at_start=round(os.getloadavg()[0], 1),
    )


def _named(path: str, name: str) -> str:
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""
