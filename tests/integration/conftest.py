"""A second stack, for the tests that break a server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from connector.local.stack import LocalStack, prepare


@pytest.fixture(scope="package")
def stack_to_break() -> Iterator[LocalStack]:
    """Whoever breaks a server of it mends it again."""
    prepare()
    with LocalStack() as running:
        yield running


@pytest.fixture
def running() -> Iterator[ExitStack]:
    """What is entered or called back here ends with the test."""
    with ExitStack() as stack:
        yield stack
