"""Each guard matters: the same case holds for the product, and fails for a build without the guard."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from connector.local.stack import LocalStack
from tests.chaos.harness import Scene
from tests.chaos.proxy import Api
from tests.chaos.replica import CONNECTOR

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]

Entry = Sequence[str]


def without(guard: str) -> Entry:
    return ("-m", "tests.chaos.unguarded", f"no-{guard}")


def killed_with_a_backlog(scene: Scene, entry: Entry) -> None:
    """Accepted while the broker could not be reached, then ``kill -9``: the journal has it."""
    replica = scene.replica("one", entry=entry)
    scene.run_on(1)
    with scene.proxies["one"].refuse():
        time.sleep(3)
        replica.kill()
    replica.wait_until_ready(30)
    outcome = scene.finish()
    outcome.assert_missing_only_at_deaths()
    outcome.assert_intact()


def a_write_from_the_past(scene: Scene, entry: Entry) -> None:
    """The writer pauses with records on their way, and goes on when the other has taken over: the fence refuses it."""
    scene.replica("one", entry=entry)
    scene.replica("two", entry=entry)
    scene.run_on(1)
    writer = scene.writer()
    with scene.proxies[writer.name].hold(Api.PRODUCE, transactional=True) as held:
        held.wait(10)
        writer.freeze()
        scene.tail.wait_for_records(1, 20)
        time.sleep(1)
        held.release()
        writer.thaw()
    scene.run_on(3)
    scene.finish().assert_nothing_lost()


def a_follower_with_an_old_view(scene: Scene, entry: Entry) -> None:
    """The writer dies while the follower has not seen its last commits: reading to the end shows them."""
    scene.replica("one", entry=entry, supervised=False)
    scene.replica("two", entry=entry)
    scene.run_on(1)
    writer = scene.writer()
    writer.supervised = False
    follower = scene.other(writer)
    proxy = scene.proxies[follower.name]
    with proxy.hold(Api.FETCH, when="response") as held, proxy.hold(Api.INIT_PRODUCER_ID, transactional=True) as took:
        held.wait(10)
        scene.tail.wait_for_records(600, 15)
        writer.kill()
        took.wait(30)
        took.release()
        time.sleep(1)
    scene.run_on(3)
    scene.finish().assert_nothing_lost()


def a_stalled_socket(scene: Scene, entry: Entry) -> None:
    """A socket that says nothing for a while: the second one has it all."""
    scene.replica("one", entry=entry, options={"feed": {"rest_fill": False}})
    scene.run_on(1)
    scene.exchange.stall(0, duration_s=3)
    scene.run_on(5)
    scene.finish().assert_nothing_lost()


@pytest.mark.parametrize(
    ("guard", "case", "complaint"),
    [
        ("journal", killed_with_a_backlog, "away from deaths"),
        ("fence", a_write_from_the_past, "duplicates [1-9]"),
        ("high-water-mark", a_follower_with_an_old_view, "duplicates [1-9]"),
        ("second-socket", a_stalled_socket, "about='\\*'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_guard(
    guard: str, case: Callable[[Scene, Entry], None], complaint: str, stack: LocalStack, tmp_path: Path
) -> None:
    def run(name: str, entry: Entry) -> None:
        with Scene(stack, tmp_path / name) as scene:
            case(scene, entry)

    with ThreadPoolExecutor(2) as side_by_side:
        product = side_by_side.submit(run, "with", CONNECTOR)
        unguarded = side_by_side.submit(run, "without", without(guard))
        product.result()
        with pytest.raises(AssertionError, match=complaint):
            unguarded.result()
