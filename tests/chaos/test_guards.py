"""Each guard matters: the same case holds for the product, and fails for a build without the guard."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from connector.local.stack import LocalStack
from tests.chaos.harness import Scene
from tests.chaos.proxy import Api
from tests.chaos.replica import CONNECTOR

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

Entry = Sequence[str]


Case = Callable[[Scene, Entry], None]
SIDE_BY_SIDE = 4


def killed_with_a_backlog(scene: Scene, entry: Entry) -> None:
    """Accepted while the broker could not be reached, then ``kill -9``: the journal has it."""
    replica = scene.replica("one", entry=entry)
    scene.run_on(1)
    with scene.proxies["one"].refuse():
        time.sleep(3)
        replica.kill()
    replica.wait_until_ready(30)
    outcome = scene.finish()
    # Half of the three seconds: a process that got no processor has not read what came just before its death.
    outcome.assert_missing_only_at_deaths(before_s=1.5)
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


GUARDS: dict[str, tuple[Case, str]] = {
    "journal": (killed_with_a_backlog, "away from deaths"),
    "fence": (a_write_from_the_past, "duplicates [1-9]"),
    "high-water-mark": (a_follower_with_an_old_view, "duplicates [1-9]"),
    "second-socket": (a_stalled_socket, r"about='\*'"),
}
"""The case that needs the guard, and what the judge says where it is missing."""


@pytest.fixture(scope="module")
def running(
    request: pytest.FixtureRequest, stack: LocalStack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[tuple[str, str], Future[None]]]:
    """Each selected case with the product and without the guard, side by side: they mostly wait."""
    folder = tmp_path_factory.mktemp("guards")

    def run(guard: str, build: str) -> None:
        entry = CONNECTOR if build == "with" else ("-m", "tests.chaos.unguarded", f"no-{guard}")
        with Scene(stack, folder / f"{build}-{guard}") as scene:
            GUARDS[guard][0](scene, entry)

    selected = [
        str(item.callspec.params["guard"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.function is test_guard
    ]
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        try:
            yield {
                (guard, build): pool.submit(run, guard, build) for guard in selected for build in ("with", "without")
            }
        finally:
            pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("guard", GUARDS)
def test_guard(guard: str, running: dict[tuple[str, str], Future[None]]) -> None:
    running[guard, "with"].result()
    with pytest.raises(AssertionError, match=GUARDS[guard][1]):
        running[guard, "without"].result()
