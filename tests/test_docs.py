"""What the pages name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from connector.cli import COMMANDS
from connector.edges.log_events import LINES
from tests.chaos.cases import CASES

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_and_every_file_named_is_there(page: Path) -> None:
    text = page.read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in link]
    missing = [link for link in links if not (page.parent / link).exists()]
    named = re.findall(r"`((?:tests|connector|core|edges|schemas|docker|docs|examples)/[\w./-]+)`", text)
    missing += [name for name in named if not any((ROOT / top / name).exists() for top in ("", "connector"))]
    assert missing == []


def test_every_fault_of_the_guarantees_page_is_a_case_and_every_case_is_on_the_page() -> None:
    text = (ROOT / "docs" / "guarantees.md").read_text()
    table = text.partition("| fault | promise | shown by |\n")[2].partition("\n\n")[0]
    named = {name for line in table.splitlines() for name in re.findall(r"`(\w+)`", line.rsplit("|", 2)[-2])}
    assert named == {case.__name__ for row in CASES.values() for case in row}


def test_every_command_is_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    assert [name for name in COMMANDS if f"`{name}" not in text] == []


def test_every_warning_is_in_the_handbook() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    table = text.partition("## Log events that need somebody")[2].partition("## ")[0]
    warnings = [line.event for line in LINES.values() if line.event and line.level != "info"]
    assert [event for event in warnings if f"`{event}`" not in table] == []
