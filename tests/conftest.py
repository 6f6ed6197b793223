"""What several test folders share: the one local stack, and names that do not collide on it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from connector.local.stack import LocalStack, prepare


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    """A broker and a registry for the whole session. Tests that break or reconfigure a server start their own."""
    prepare()
    with LocalStack(sasl=True) as running:
        yield running


@pytest.fixture
def topic_name() -> str:
    """A topic nobody else uses; nothing creates it here."""
    return f"test-{uuid.uuid4().hex[:12]}"
