"""Programs that Debian has, fetched without root into the user's cache folder (``debian.sh``)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from connector.local.cache import cache_folder

FETCH = Path(__file__).with_name("debian.sh")


@dataclass(frozen=True, slots=True)
class Package:
    """An unpacked package."""

    folder: Path

    def environment(self) -> Mapping[str, str]:
        """For its programs: where their libraries are."""
        folders = sorted({str(path.parent) for path in self.folder.rglob("lib*.so*")})
        return {**os.environ, "LD_LIBRARY_PATH": ":".join(folders)}


def fetched(package: str) -> Package:
    """A Debian package and all that it needs. Raises AssertionError, saying why, where it cannot be had."""
    folder = cache_folder() / "debian" / package
    done = subprocess.run([FETCH, package, folder], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, f"{package} cannot be had from Debian: {done.stderr.strip()}"
    return Package(folder)
