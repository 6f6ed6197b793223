"""Looking at processes from outside: a server and its watcher are a session of their own."""

from __future__ import annotations

import time
from pathlib import Path


def members(session: int) -> list[int]:
    """The living processes of a session; those that only wait to be collected are not among them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            # pid (name) state parent group session …; the name may hold spaces and brackets
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # ended while we looked
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def children(pid: int) -> list[int]:
    """The processes that a process, by whichever of its threads, has started."""
    lists = (path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children"))
    return [int(child) for text in lists for child in text.split()]


def all_gone(sessions: list[int], timeout_s: float = 5.0) -> bool:
    """Whether none of the sessions has a living process, now or soon."""
    deadline = time.monotonic() + timeout_s
    while any(members(session) for session in sessions):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
