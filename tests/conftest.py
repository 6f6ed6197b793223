"""What several test folders share: the one local stack, and names that do not collide on it."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Iterator

import pytest

from connector.local.stack import LocalStack, prepare


def pytest_configure() -> None:
    """Under ``nohup`` or behind ``&`` some signals are ignored, and whatever a test starts would inherit that. One that
    has a handler is inherited as it is by default, so this run ignores them still, and its children do not."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


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
