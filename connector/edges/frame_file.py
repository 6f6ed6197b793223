"""Frames in a file: what ``record`` writes and ``replay`` reads.

One line of JSON a frame, after a first line that names the format. A file
without that line is taken as plain: one message a line, as received.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Self

import msgspec

from connector.core.errors import ConfigurationError, FatalError
from connector.core.values import Frame, Origin

FORMAT = "binance-kafka-source frames"
VERSION = 1
_READ_BYTES = 1024 * 1024
"""Frames are longer than the usual buffer: with that, each line would be several calls to the system."""


class _Header(msgspec.Struct):
    format: str
    version: int


class _Line(msgspec.Struct, omit_defaults=True):
    received_at_ns: int
    connection: str
    stream: str
    data: str = ""
    base64: str = ""
    """In place of ``data`` for what is no UTF-8."""
    origin: Origin = Origin.WEBSOCKET


class FrameFileWriter:
    """Appends frames to a new file. Raises :class:`ConfigurationError` where the file is there or cannot be made, and
    from then on :class:`FatalError` where it cannot be written (the disk is full)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file: BinaryIO = path.open("xb")
        except FileExistsError as error:
            raise ConfigurationError(f"{path}: is there already; name another file or remove it") from error
        except OSError as error:
            raise ConfigurationError(f"{path}: {error.strerror}") from error
        self._encode = msgspec.json.Encoder().encode
        self.frames = 0
        self._write(_Header(FORMAT, VERSION))

    def write(self, frame: Frame) -> None:
        line = _Line(frame.received_at_ns, frame.connection, frame.stream, origin=frame.origin)
        try:
            line.data = frame.data.decode()
        except UnicodeDecodeError:
            line.base64 = base64.b64encode(frame.data).decode()
        self._write(line)
        self.frames += 1

    def _write(self, line: _Header | _Line) -> None:
        with self._translated():
            self._file.write(self._encode(line) + b"\n")

    def close(self) -> None:
        """Everything is on disk when it returns."""
        with self._translated():
            try:
                self._file.flush()
                os.fsync(self._file.fileno())
            finally:
                self._file.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise FatalError(f"{self._path}: cannot be written: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class FrameFile:
    """A file of frames. Raises :class:`ConfigurationError` where it cannot be read, with the line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = path.open("rb", buffering=_READ_BYTES)
            self.size_bytes = path.stat().st_size
        except OSError as error:
            raise ConfigurationError(f"{path}: {error.strerror}") from error
        try:
            self.recorded = self._is_recorded()
        except BaseException:
            self._file.close()
            raise

    def _is_recorded(self) -> bool:
        """Whether ``record`` wrote it; the file is then behind its first line."""
        try:
            header = msgspec.json.decode(self._file.readline(1000), type=_Header)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._file.seek(0)
            return False
        if header.format != FORMAT:
            self._file.seek(0)
            return False
        if header.version > VERSION:
            raise ConfigurationError(
                f"{self._path}: written by a newer version (format {header.version}); upgrade to replay it"
            )
        return True

    def frames(self, now_ns: int) -> Iterator[tuple[Frame, int]]:
        """Each with the position behind it, in bytes. Frames of a plain file count as received at ``now_ns``."""
        decode = msgspec.json.Decoder(_Line).decode
        position = self._file.tell()
        for number, line in enumerate(self._file, start=2 if self.recorded else 1):
            position += len(line)
            data = line.rstrip(b"\r\n")
            if not data:
                continue
            if not self.recorded:
                yield Frame(data, now_ns, "replay", ""), position
                continue
            try:
                read = decode(data)
                content = base64.b64decode(read.base64, validate=True) if read.base64 else read.data.encode()
            except (msgspec.DecodeError, ValueError) as error:
                raise ConfigurationError(f"{self._path}: line {number}: {error}") from error
            yield Frame(content, read.received_at_ns, read.connection, read.stream, read.origin), position

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
