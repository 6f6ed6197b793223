"""Free TCP ports on loopback that stay ours while the server behind them is down."""

from __future__ import annotations

import fcntl
import os
import random
import socket
from pathlib import Path

from connector.core.errors import RetryableError

# Below every usual ephemeral range: a client that keeps connecting to a stopped server on an ephemeral port may be
# given that very port as its own end, connect to itself, and keep the server from coming back.
_PORTS = range(20_000, 32_000)


class Ports:
    """Hands out ports; reserved against other processes of ours until :meth:`release` or the end of this process."""

    def __init__(self, folder: Path) -> None:
        """``folder`` holds the lock files and must be the same for all who share the machine's ports."""
        self._folder = folder
        self._locks: list[int] = []

    def take(self) -> int:
        """A port, at random. Raises RetryableError where none is left."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for port in random.sample(_PORTS, len(_PORTS)):
            lock = os.open(self._folder / str(port), os.O_CREAT | os.O_RDWR, 0o666)
            if _locked(lock) and _is_free(port):
                self._locks.append(lock)
                return port
            os.close(lock)
        raise RetryableError(f"found no free port between {_PORTS.start} and {_PORTS.stop}")

    def release(self) -> None:
        """Give back all that were taken."""
        while self._locks:
            os.close(self._locks.pop())


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the servers do: ports in TIME_WAIT count as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
