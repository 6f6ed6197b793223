"""``check`` of this machine: the journal's place, and the port of the pages."""

from __future__ import annotations

import errno
import ipaddress
import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from connector.core.check_outcomes import Outcome, good, note, problem, warning, will_run
from connector.edges.journal_file import APPLICATION_ID

_NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "glusterfs", "lustre", "gpfs", "beegfs", "afs", "ocfs2", "9p"}
    | {"fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "fuse.gcsfuse", "fuse.juicefs", "fuse.rclone"}
)
"""File systems of other machines: SQLite's locks and its order of writes do not hold there."""
_IN_MEMORY = frozenset({"tmpfs", "ramfs"})
_OF_A_CONTAINER = frozenset({"overlay", "aufs"})
_MOUNTS = Path("/proc/self/mountinfo")
_LOCKS = Path("/proc/locks")
_LEAST_FREE_BYTES = 64 * 1024 * 1024
_APPLICATION_ID_AT = 68
_HEADER_BYTES = 100


def look_at_journal(path: Path, max_bytes: int) -> Iterator[Outcome]:
    """Nothing is changed: where the folder is not there yet, the one above it is looked at."""
    folder = _first_that_is_there(path.absolute().parent)
    found = list(_unwritable(path, folder))
    found += [*(_wrong_file(path) if not found else ()), *_wrong_file_system(path, folder)]
    if will_run(found):
        found += _space(path, folder, max_bytes)
    holder = lock_holder(path)
    if holder is not None:
        found.append(note("journal", str(path), f"in use by process {holder}: a connector that runs here"))
    yield from found or [good("journal", str(path), f"can be written, on {file_system_of(folder) or 'this machine'}")]


def _first_that_is_there(folder: Path) -> Path:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _unwritable(path: Path, folder: Path) -> Iterator[Outcome]:
    remedy = "make the folder writable for the user that runs the connector, or set journal.path to another place"
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        yield problem("journal", str(path), f"{folder} cannot be written: {error.strerror}", remedy)
        return
    for file in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}.lock")):
        try:
            kind = file.stat().st_mode
        except FileNotFoundError:
            continue
        except OSError as error:
            yield problem("journal", str(path), f"{file}: {error.strerror}", "set journal.path to another place")
            return
        if not stat.S_ISREG(kind):
            what = "a folder" if stat.S_ISDIR(kind) else "no file, but a device, pipe or socket"
            yield problem("journal", str(path), f"{file} is {what}", "set journal.path to a file")
        elif not os.access(file, os.R_OK | os.W_OK):
            owner = "make it so for the user that runs the connector; was it made by another one?"
            yield problem("journal", str(path), f"{file} is there and cannot be read and written", owner)


def _wrong_file(path: Path) -> Iterator[Outcome]:
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except OSError:
        return  # not there yet, or told above
    if not header:
        return
    application = int.from_bytes(header[_APPLICATION_ID_AT : _APPLICATION_ID_AT + 4])
    if not header.startswith(b"SQLite format 3\0"):
        if path.with_name(f"{path.name}.lock").exists():
            found = "is damaged: a start would set it aside and go on with a new one"
            yield warning("journal", str(path), found, "keep a copy where frames may be in it that the topic lacks")
        else:
            yield problem("journal", str(path), "is no journal", "set journal.path to a file of its own")
    elif application not in {0, APPLICATION_ID}:
        yield problem("journal", str(path), "is the database of another program", "give journal.path a file of its own")


def _wrong_file_system(path: Path, folder: Path) -> Iterator[Outcome]:
    kind = file_system_of(folder)
    if kind in _NETWORK:
        yield problem(
            "journal",
            str(path),
            f"{folder} is on a network file system ({kind}): locks and the order of writes do not hold there, and a "
            "server that hangs stops the journal",
            "set journal.path to a local disk; each replica has its own",
        )
    elif kind in _IN_MEMORY:
        yield warning(
            "journal",
            str(path),
            f"{folder} is in memory ({kind}): what is in it does not outlive this machine or container",
            "set journal.path to a disk",
        )
    elif kind in _OF_A_CONTAINER:
        yield warning(
            "journal",
            str(path),
            f"{folder} is the container's own layer ({kind}): what is in it is gone with the container",
            "mount a volume, and set journal.path to a file on it",
        )


def _space(path: Path, folder: Path, max_bytes: int) -> Iterator[Outcome]:
    free_bytes = shutil.disk_usage(folder).free
    needed_bytes = max_bytes - (path.stat().st_size if path.is_file() else 0)
    found = f"{_mib(free_bytes)} free in {folder}, journal.max_bytes is {_mib(max_bytes)}"
    remedy = "free space there, set journal.path to another disk, or make journal.max_bytes less"
    if free_bytes < min(_LEAST_FREE_BYTES, needed_bytes):
        yield problem("journal", str(path), found, remedy)
    elif free_bytes < needed_bytes:
        yield warning("journal", str(path), f"{found}: a long outage of the broker fills the disk first", remedy)


def _mib(size_bytes: int) -> str:
    return f"{size_bytes // (1024 * 1024):,} MiB"


def file_system_of(folder: Path, mounts: Path = _MOUNTS) -> str | None:
    """The type of the file system, as ``ext4``; None where the system does not say (it is no Linux)."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    wanted = folder.resolve()
    best, kind = -1, None
    for line in lines:
        before, _, after = line.partition(" - ")
        point = Path(before.split(" ")[4].replace("\\040", " "))
        # Of two mounts on one place the later hides the earlier.
        if wanted.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), after.split(" ")[0]
    return kind


def lock_holder(path: Path, locks: Path = _LOCKS) -> int | None:
    """The process that holds the journal's lock. Looks without taking it: a connector that starts now must not fail."""
    lock = path.with_name(f"{path.name}.lock")
    try:
        inode = lock.stat().st_ino
        lines = locks.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        fields = line.split()
        if len(fields) >= 6 and fields[1] == "FLOCK" and fields[5].rpartition(":")[2] == str(inode):
            return int(fields[4])
    return None


def look_at_port(host: str, port: int, *, is_running: bool) -> Iterator[Outcome]:
    """*is_running*: a connector that runs here explains a port that is taken."""
    subject = f"{host}:{port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that has just ended does not count
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE and is_running:
            yield note("http", subject, "in use, as it seems by the connector that runs here")
            return
        what = (
            "in use by another program"
            if error.errno == errno.EADDRINUSE
            else f"cannot be listened on: {error.strerror}"
        )
        yield problem("http", subject, what, "set http.port to another port (0: any free one), or see http.host")
        return
    if ipaddress.ip_address(address[0]).is_loopback:
        yield good("http", subject, "free")
    else:
        yield note("http", subject, "free; whoever can reach this address can read the pages: they have no password")
