"""How names and texts stand in SQL."""

from __future__ import annotations


def quoted_name(name: str) -> str:
    """As Flink and ksqlDB quote names."""
    return "`" + name.replace("`", "``") + "`"


def quoted_text(text: str) -> str:
    """A literal, on one line."""
    return "'" + " ".join(text.split()).replace("'", "''") + "'"
