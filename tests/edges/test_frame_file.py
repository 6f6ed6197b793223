from __future__ import annotations

from pathlib import Path

import pytest

from connector.core.errors import ConfigurationError, FatalError
from connector.core.values import Frame, Origin
from connector.edges.frame_file import FrameFile, FrameFileWriter

FRAMES = [
    Frame(b'[{"e":"x"}]', 1_791_285_204_000_000_001, "ws-1", "!assetIndex@arr"),
    Frame(b"\xff\x00\n broken", 1_791_285_205_000_000_002, "ws-2", "!assetIndex@arr"),
    Frame('{ "text": "ä" }\n'.encode(), 1_791_285_206_000_000_003, "rest", "", Origin.REST),
]


def test_what_is_written_is_read_back_to_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "frames"
    with FrameFileWriter(path) as writer:
        for frame in FRAMES:
            writer.write(frame)
    with FrameFile(path) as file:
        read = list(file.frames(now_ns=0))
    assert [frame for frame, _ in read] == FRAMES
    assert read[-1][1] == file.size_bytes
    assert file.recorded


def test_a_plain_file_is_one_frame_a_line(tmp_path: Path) -> None:
    path = tmp_path / "plain"
    path.write_bytes(b'[{"a":1}]\r\n\n{"b":2}\nno json\n')
    with FrameFile(path) as file:
        assert not file.recorded
        assert [frame.data for frame, _ in file.frames(now_ns=7)] == [b'[{"a":1}]', b'{"b":2}', b"no json"]


def test_a_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "frames"
    path.write_bytes(b"precious")
    with pytest.raises(ConfigurationError, match="is there already"):
        FrameFileWriter(path)
    assert path.read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'{"format":"binance-kafka-source frames","version":2}\n', "newer version"),
        (b'{"format":"binance-kafka-source frames","version":1}\n{"received_at_ns":1}\n', "line 2"),
        (
            b'{"format":"binance-kafka-source frames","version":1}\n'
            b'{"received_at_ns":1,"connection":"a","stream":"","base64":"%"}\n',
            "line 2",
        ),
    ],
)
def test_a_file_that_cannot_be_read_says_where(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "frames"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=problem), FrameFile(path) as file:
        list(file.frames(now_ns=0))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        FrameFile(tmp_path / "none")


def test_a_disk_that_is_full_is_named(tmp_path: Path) -> None:
    path = tmp_path / "frames"
    file = FrameFileWriter(path)
    with Path("/dev/full").open("wb", buffering=0) as full:
        file._file, whole = full, file._file
        with pytest.raises(FatalError, match=f"{path}: cannot be written: No space left"):
            file.write(Frame(b"[]", 1, "ws-1", "x"))
    whole.close()
