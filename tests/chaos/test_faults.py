"""Every row of the guarantees' table, short; ``python -m tests.chaos.run`` has them long."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from connector.local.stack import LocalStack
from tests.chaos.cases import BREAKS_A_SERVER, CASES, SHORT, Case

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

ALL = [case for cases in CASES.values() for case in cases]


@pytest.fixture(scope="module")
def stack_to_break() -> Iterator[LocalStack]:
    with LocalStack() as running:
        yield running


@pytest.mark.parametrize("case", [case for case in ALL if case not in BREAKS_A_SERVER], ids=lambda case: case.__name__)
def test_fault(case: Case, stack: LocalStack, tmp_path: Path) -> None:
    case(stack, tmp_path, SHORT)


@pytest.mark.parametrize("case", [case for case in ALL if case in BREAKS_A_SERVER], ids=lambda case: case.__name__)
def test_server_fault(case: Case, stack_to_break: LocalStack, tmp_path: Path) -> None:
    case(stack_to_break, tmp_path, SHORT)
