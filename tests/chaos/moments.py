"""The moments at which a ``kill -9`` hurts, each found by holding the request or answer that marks it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final

from tests.chaos.proxy import Api, Proxy
from tests.chaos.replica import Replica

CAUGHT_WITHIN_S = 15.0
UNREAD_S = 0.6
"""For how long frames arrive at a process that does not read them."""

Moment = Callable[[Replica, Proxy], None]
"""Kills the replica, whose connections all go through that proxy."""


def before_the_journal(replica: Replica, proxy: Proxy) -> None:
    """Frames have arrived at the machine; the process has not read them."""
    replica.freeze()
    time.sleep(UNREAD_S)
    replica.kill()


def after_the_journal(replica: Replica, proxy: Proxy) -> None:
    """Frames are in the journal; nothing of them has reached the broker."""
    with proxy.hold(Api.ADD_PARTITIONS_TO_TXN, Api.PRODUCE, transactional=True) as held:
        held.wait(CAUGHT_WITHIN_S)
        time.sleep(0.5)
        replica.kill()
        held.drop()


def after_produce(replica: Replica, proxy: Proxy) -> None:
    """Records are in the open transaction; the process has not been told."""
    with proxy.hold(Api.PRODUCE, when="response", transactional=True) as held:
        held.wait(CAUGHT_WITHIN_S)
        replica.kill()
        held.drop()


def end_held(replica: Replica, proxy: Proxy) -> None:
    """The commit was sent and never arrives."""
    with proxy.hold(Api.END_TXN) as held:
        held.wait(CAUGHT_WITHIN_S)
        replica.kill()
        held.drop()


def end_late(replica: Replica, proxy: Proxy) -> None:
    """The commit arrives when its sender is gone already."""
    with proxy.hold(Api.END_TXN) as held:
        held.wait(CAUGHT_WITHIN_S)
        replica.kill()
        time.sleep(0.2)
        held.release()


def end_not_read(replica: Replica, proxy: Proxy) -> None:
    """It is committed; the process has not been told."""
    with proxy.hold(Api.END_TXN, when="response") as held:
        held.wait(CAUGHT_WITHIN_S)
        replica.kill()
        held.drop()


def before_the_trim(replica: Replica, proxy: Proxy) -> None:
    """It is committed and told; what follows the topic has not seen it, so the journal still holds all."""
    with proxy.hold(Api.FETCH, when="response"):
        committed = proxy.committed
        deadline = time.monotonic() + CAUGHT_WITHIN_S
        while proxy.committed < committed + 3:
            if time.monotonic() > deadline:
                raise TimeoutError("no transaction committed while nothing was fetched")
            time.sleep(0.02)
        replica.kill()


def any_time(replica: Replica, proxy: Proxy) -> None:
    """Wherever it stands."""
    time.sleep(random.uniform(0, 0.5))
    replica.kill()


MOMENTS: Final[tuple[Moment, ...]] = (
    before_the_journal,
    after_the_journal,
    after_produce,
    end_held,
    end_late,
    end_not_read,
    before_the_trim,
    any_time,
)
