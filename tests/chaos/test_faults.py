"""Every row of the guarantees' table, short; ``python -m tests.chaos.run`` has them long.

A case mostly waits, so those that leave the servers alone run side by side:
the first test to be asked starts them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import cast

import pytest

from connector.local.stack import LocalStack
from tests.chaos.cases import BREAKS_A_SERVER, CASES, SHORT, Case
from tests.chaos.harness import Outcome

pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]

SIDE_BY_SIDE = 3
ALL = sorted((case for cases in CASES.values() for case in cases), key=lambda case: case in BREAKS_A_SERVER)


@pytest.fixture(scope="module")
def running(
    request: pytest.FixtureRequest, stack: LocalStack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Case, Future[Outcome]]]:
    """What was started, by case: those that this session has selected."""
    selected: list[Case] = [
        cast(Case, item.callspec.params["case"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.function is test_fault
    ]
    folder = tmp_path_factory.mktemp("faults")

    def run(case: Case) -> Outcome:
        return case(stack, folder / case.__name__, SHORT)

    def run_alone(case: Case) -> Outcome:
        with LocalStack() as own:
            return case(own, folder / case.__name__, SHORT)

    with ThreadPoolExecutor(SIDE_BY_SIDE) as together, ThreadPoolExecutor(1) as alone:
        try:
            yield {
                case: alone.submit(run_alone, case) if case in BREAKS_A_SERVER else together.submit(run, case)
                for case in selected
            }
        finally:
            together.shutdown(cancel_futures=True)
            alone.shutdown(cancel_futures=True)


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.__name__)
def test_fault(case: Case, running: dict[Case, Future[Outcome]]) -> None:
    running[case].result()
