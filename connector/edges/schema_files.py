"""Schema files: a bundled one by name, or anyone's by path."""

from __future__ import annotations

from pathlib import Path

from connector.core.errors import SchemaFileError
from connector.core.schema import StreamSchema, parse_schema

_SUFFIX = ".avsc"
_PACKAGE = Path(__file__).resolve().parent.parent


def load_schema(name_or_path: str) -> StreamSchema:
    """The stream that a schema file declares; ``feed``'s and everybody's way to it.

    Raises SchemaFileError where the file is not there, cannot be read, or declares no stream.
    """
    path = find_schema_file(name_or_path)
    return parse_schema(read_schema_file(path), str(path))


def find_schema_file(name_or_path: str) -> Path:
    """``asset_index`` is a bundled schema; what has a slash or ends in ``.avsc`` is a path."""
    if "/" in name_or_path or name_or_path.endswith(_SUFFIX):
        path = Path(name_or_path).expanduser()
        if not path.is_file():
            raise SchemaFileError(str(path), None, "there is no such file; schema.file is a path, or a bundled name")
        return path
    path = bundled_folder() / f"{name_or_path}{_SUFFIX}"
    if not path.is_file():
        names = ", ".join(bundled_names()) or "none"
        found = f"is no bundled schema (there are: {names}), and no path to a file: see schema.file"
        raise SchemaFileError(name_or_path, None, found)
    return path


def read_schema_file(path: Path) -> str:
    """The text of any schema file, be it of a stream or of our own topics."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SchemaFileError(str(path), None, f"cannot be read: {error}") from error


def bundled_names() -> tuple[str, ...]:
    """What the package comes with, sorted."""
    return tuple(sorted(path.stem for path in bundled_folder().glob(f"*{_SUFFIX}")))


def bundled_folder() -> Path:
    """``connector/schemas`` where the package is installed; the top-level ``schemas`` in a checkout of the source."""
    installed = _PACKAGE / "schemas"
    return installed if installed.is_dir() else _PACKAGE.parent / "schemas"
