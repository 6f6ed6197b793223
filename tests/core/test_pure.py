"""The core is pure: it imports nothing that does I/O, asks a clock, rolls dice, logs, or waits."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import connector.core

CORE = Path(connector.core.__file__).parent
PURE_MODULES = {
    "__future__",
    "array",
    "base64",
    "bisect",
    "collections",
    "contextlib",
    "dataclasses",
    "decimal",
    "difflib",
    "enum",
    "fastavro",
    "functools",
    "hashlib",
    "heapq",
    "itertools",
    "json",
    "math",
    "msgspec",
    "operator",
    "re",
    "string",
    "struct",
    "types",
    "typing",
    "urllib.parse",
    "zlib",
}
PURE_NAMES = {
    ("io", ""),
    ("io", "BytesIO"),
    ("email.utils", "parsedate_to_datetime"),
    ("datetime", "datetime"),
    ("datetime", "date"),
    ("datetime", "time"),
    ("datetime", "timedelta"),
    ("datetime", "timezone"),
    ("datetime", "UTC"),
}
IMPURE_CALLS = {"open", "print", "input", "exec", "eval", "__import__"}
IMPURE_METHODS = {"now", "utcnow", "today", "open", "read_text", "read_bytes", "write_text", "write_bytes"}


def imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Every (module, name) imported anywhere in the file; the name is empty for ``import module``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "the project imports by full names"
            yield from ((node.module or "", alias.name) for alias in node.names)


def is_pure(module: str, name: str) -> bool:
    if module == "connector.core" or module.startswith("connector.core."):
        return True
    if (module, name) in PURE_NAMES or module in PURE_MODULES:
        return True
    parent = module.partition(".")[0]
    return parent in PURE_MODULES and parent != "urllib"


@pytest.mark.parametrize("path", sorted(CORE.rglob("*.py")), ids=lambda path: path.name)
def test_a_core_module_is_pure(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    impure = [f"{module} {name}".strip() for module, name in imports(tree) if not is_pure(module, name)]
    assert impure == []
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert [call.id for call in calls if isinstance(call, ast.Name) and call.id in IMPURE_CALLS] == []
    assert [call.attr for call in calls if isinstance(call, ast.Attribute) and call.attr in IMPURE_METHODS] == []


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "import os.path",
        "import asyncio",
        "import logging",
        "import threading",
        "import urllib.request",
        "from random import random",
        "from io import open",
        "from datetime import tzinfo",
        "from connector.edges import kafka",
    ],
)
def test_the_check_sees_what_is_not(source: str) -> None:
    assert [found for found in imports(ast.parse(source)) if not is_pure(*found)] != []
