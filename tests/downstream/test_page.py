"""The page on joins: every block of it is run, and prints what the page says."""

from __future__ import annotations

import re

import pytest

from connector.local.flink import Flink
from connector.local.stack import LocalStack
from tests.downstream.page import PAGE, Page, blocks
from tests.downstream.topics import Topics

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]


def test_the_page_prints_what_it_says(stack: LocalStack, topics: Topics, flink: Flink) -> None:
    page = Page(stack, topics, flink)
    found = list(blocks(PAGE.read_text("utf-8")))
    assert {block.language for block in found} == {"console", "sql", "python"}
    for block in found:
        printed = page.run(block)
        if block.printed is not None:
            assert printed == block.printed.text, f"what this prints has changed:\n{block.text}"


def test_every_query_shows_its_result() -> None:
    text = PAGE.read_text("utf-8")
    assert len(re.findall(r"^```\w+$", text, re.MULTILINE)) == sum(
        1 if block.printed is None else 2 for block in blocks(text)
    ), "a block that is not run"
    for block in blocks(text):
        if block.language != "console" and not block.text.startswith("CREATE"):
            assert block.printed is not None, block.text
            assert block.printed.text, block.text


def test_all_ways_to_value_a_balance_at_its_time_agree() -> None:
    as_of = [
        block.printed.text
        for block in blocks(PAGE.read_text("utf-8"))
        if block.printed and ("FOR SYSTEM_TIME" in block.text or block.language == "python")
    ]
    assert len(as_of) == 3
    assert len(set(as_of)) == 1
