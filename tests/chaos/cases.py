"""The faults of the guarantees page, one function each: made, survived, judged.

Each takes the stack, a folder and a :class:`Scale`, and raises AssertionError
where a promise is broken. ``test_faults.py`` runs them short, ``run.py`` long.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from connector.local.stack import LocalStack
from tests.chaos.harness import Outcome, Scene, ticks_of
from tests.chaos.moments import MOMENTS
from tests.chaos.proxy import Api
from tests.chaos.replica import Options, Replica


@dataclass(frozen=True, slots=True)
class Scale:
    """How long and how often. ``rate_hz`` and ``symbols`` are the feed's."""

    rate_hz: float = 5
    symbols: int = 60
    kills: int = 20
    broker_frozen_s: float = 60
    broker_down_s: float = 20
    broker_slow_s: float = 60
    broker_slow_by_s: float = 4
    writer_frozen_s: float = 15
    restarts: int = 5
    rotate_after_s: float = 5
    rotating_s: float = 60
    socket_fault_s: float = 20
    feed_refused_s: float = 60
    registry_gone_s: float = 60
    clock_off_s: float = 10
    restart_late_s: float = 5
    """How late a tick of a rolling restart may be. The short form runs beside other cases on the same processors."""
    settle_s: float = 5
    """Between one fault and the next."""


LONG = Scale()
SHORT = Scale(
    kills=len(MOMENTS),
    broker_frozen_s=6,
    broker_down_s=3,
    broker_slow_s=6,
    broker_slow_by_s=1,
    writer_frozen_s=5,
    restarts=2,
    rotate_after_s=2,
    rotating_s=7,
    socket_fault_s=3.5,
    feed_refused_s=6,
    registry_gone_s=4,
    clock_off_s=3,
    restart_late_s=10,
    settle_s=1,
)

Case = Callable[[LocalStack, Path, Scale], Outcome]


def scene_of(stack: LocalStack, folder: Path, scale: Scale) -> Scene:
    return Scene(stack, folder, rate_hz=scale.rate_hz, symbols=scale.symbols)


def one_replica_killed(stack: LocalStack, folder: Path, scale: Scale) -> Outcome:
    """One replica, ``kill -9`` at every moment, started again by a supervisor."""
    with scene_of(stack, folder, scale) as scene:
        replica = scene.replica("one")
        for number in range(scale.kills):
            scene.run_on(scale.settle_s)
            MOMENTS[number % len(MOMENTS)](replica, scene.proxies["one"])
            replica.wait_until_ready(40)
        outcome = scene.finish()
    outcome.assert_intact()
    outcome.assert_missing_only_at_deaths(before_s=1.0)
    assert outcome.gaps
    return outcome


def two_replicas_killed(stack: LocalStack, folder: Path, scale: Scale) -> Outcome:
    """Two replicas, the writer killed at every moment, so that they alternate."""
    with scene_of(stack, folder, scale) as scene:
        scene.replica("one")
        scene.replica("two")
        for number in range(scale.kills):
            scene.run_on(scale.settle_s)
            writer = scene.writer()
            MOMENTS[number % len(MOMENTS)](writer, scene.proxies[writer.name])
            writer.wait_until_ready(40)
        outcome = scene.finish()
    outcome.assert_nothing_lost(late_max_s=10)
    return outcome


def broker_in_trouble(stack: LocalStack, folder: Path, scale: Scale) -> Outcome:
    """The broker frozen; killed and started again; slow in every answer."""
    with scene_of(stack, folder, scale) as scene:
        scene.replica("one")
        scene.replica("two")
        scene.run_on(scale.settle_s)
        stack.kafka.freeze()
        time.sleep(scale.broker_frozen_s)
        stack.kafka.thaw()
        scene.run_on(scale.settle_s)
        stack.kafka.kill()
        time.sleep(scale.broker_down_s)
        stack.kafka.start()
        scene.run_on(scale.settle_s)
        with (
            scene.proxies["one"].delay(scale.broker_slow_by_s),
            scene.proxies["two"].delay(scale.broker_slow_by_s),
        ):
            time.sleep(scale.broker_slow_s)
        scene.run_on(scale.settle_s)
        outcome = scene.finish(timeout_s=60)
    outcome.assert_nothing_lost()
    _assert_reading_never_paused(outcome)
    # Three troubles, at most two takeovers in each, and the one at the start.
    assert outcome.takeovers <= 7, f"{outcome.takeovers} takeovers"
    return outcome


def killed_while_the_broker_is_frozen(stack: LocalStack, folder: Path, scale: Scale) -> Outcome:
    """The broker frozen, the writer killed twice within; then both have a backlog and the other takes over."""
    with scene_of(stack, folder, scale) as scene:
        scene.replica("one")
        scene.replica("two")
        scene.run_on(scale.settle_s)
        writer = scene.writer()
        stack.kafka.freeze()
        for _ in range(2):
            time.sleep(scale.broker_frozen_s / 3)
            writer.wait_until_started_again(10)
            writer.kill()
        time.sleep(scale.broker_frozen_s / 3)
        with scene.proxies[writer.name].refuse():
            stack.kafka.thaw()
            scene.run_on(scale.broker_frozen_s / 3, within_s=60)
        scene.run_on(scale.settle_s)
        outcome = scene.finish(timeout_s=60)
    outcome.assert_intact()
    _assert_missing_are_letters(outcome)
    return outcome


def writer_frozen(stack: LocalStack, folder: Path, scale: Scale) -> Outcome:
    """The writer frozen in the middle of a transaction, and between two; then woken."""
    with scene_of(stack, folder, scale) as scene:
        scene.replica("one")
        scene.replica("two")
        scene.run_on(scale.settle_s)
        writer = scene.writer()
        with scene.proxies[writer.name].hold(Api.PRODUCE, when="response", transactional=True) as held:
            held.wait(10)
            writer.freeze()
        time.sleep(scale.writer_frozen_s)
        writer.thaw()
        scene.run_on(scale.settle_s)
        second = scene.writer()
        assert second is not writer, "the other replica should have taken over"
        second.freeze()
        time.sleep(scale.writer_frozen_s)
        second.thaw()
        scene.run_on(scale.settle_s)
        outcome = scene.finish()
    outcome.assert_nothing_lost()
    assert all(len(runs) == 1 for runs in outcome.runs.values()), "both should have gone on"
    return outcome


def rolling_restart(stack: LocalStack, folder: Path, scale: Scale) -> Outcome:
    """Both replicas restarted by SIGTERM, one after the other, under load."""
    with scene_of(stack, folder, scale) as scene:
        replicas = [scene.replica("one"), scene.replica("two")]
        for _ in range(scale.restarts):
            for replica in replicas:
                scene.run_on(scale.settle_s)
                _restart(replica)
        outcome = scene.finish()
    outcome.assert_nothing_lost(late_max_s=scale.restart_late_s)
    return outcome


def _restart(replica: Replica) -> None:
    exit_code = replica.stop()
    assert exit_code == 0, f"{replica.name} ended with {exit_code}\n{replica.log()}"
    replica.start()
    replica.wait_until_ready(30)


def rotation(stack: LocalStack, folder: Path, scale: Scale) -> Outcome:
    """Every socket replaced every few seconds."""
    with scene_of(stack, folder, scale) as scene:
        scene.replica("one", options={"feed": {"rotate_after": scale.rotate_after_s}})
        before = scene.exchange.connections()[-1].id
        scene.run_on(scale.rotating_s)
        rotated = scene.exchange.connections()[-1].id - before
        outcome = scene.finish()
    outcome.assert_nothing_lost(late_max_s=2)
    assert rotated >= scale.rotating_s / scale.rotate_after_s, f"only {rotated} new connections"
    return outcome


WATCHFUL: Options = {
    "feed": {"first_tick_timeout": 2.0, "trailing_timeout": 1.0, "silence_timeout": 2.0},
}


def one_socket_in_trouble(stack: LocalStack, folder: Path, scale: Scale) -> Outcome:
    """One of two sockets stalls, repeats itself, drops, is closed at accept, refused, sends old frames."""
    lasts_s = scale.socket_fault_s
    with scene_of(stack, folder, scale) as scene:
        scene.replica("one", options=WATCHFUL)
        exchange = scene.exchange
        for order in (
            lambda: exchange.stall(0, duration_s=lasts_s),
            lambda: exchange.freeze(0, duration_s=lasts_s),
            lambda: exchange.drop(0),
            lambda: (exchange.accept_and_close(duration_s=lasts_s), exchange.drop(0)),
            lambda: (exchange.refuse(429, retry_after_s=1, duration_s=lasts_s), exchange.drop(0)),
            lambda: exchange.time_shift(-5_000, 0, duration_s=lasts_s),
            lambda: exchange.late(3, 0),
        ):
            exchange.wait_for_subscribers(2, 60)
            order()
            scene.run_on(lasts_s + scale.settle_s)
        exchange.wait_for_subscribers(2, 60)
        outcome = scene.finish()
    outcome.assert_nothing_lost(late_max_s=2)
    return outcome


def both_sockets_in_trouble(stack: LocalStack, folder: Path, scale: Scale) -> Outcome:
    """Both stall; both repeat themselves; both are refused: REST fills, and the ledger has the rest with its reason."""
    with scene_of(stack, folder, scale) as scene:
        scene.replica("one", options=WATCHFUL)
        exchange = scene.exchange
        for order in (
            lambda: exchange.stall(duration_s=scale.socket_fault_s),
            lambda: exchange.freeze(duration_s=scale.socket_fault_s),
            lambda: (exchange.refuse(429, retry_after_s=1, duration_s=scale.socket_fault_s), exchange.drop()),
        ):
            exchange.wait_for_subscribers(1, 60)
            scene.run_on(scale.settle_s)
            order()
            scene.run_on(scale.socket_fault_s + 3)
        exchange.wait_for_subscribers(2, 60)
        outcome = scene.finish()
    outcome.assert_intact()
    assert outcome.verdict.lost == 0, outcome.verdict.report()
    assert outcome.verdict.filled > 0, "REST filled nothing"
    reasons = {gap.reason for gap in outcome.gaps}
    assert reasons <= {"feed down", "feed silent", "feed frozen"}, reasons
    assert len(reasons) >= 2, reasons
    return outcome


def feed_of_the_writer_refused(stack: LocalStack, folder: Path, scale: Scale) -> Outcome:
    """The exchange refuses the writer; the other replica is healthy."""
    with scene_of(stack, folder, scale) as scene:
        scene.replica("one")
        scene.replica("two")
        scene.run_on(scale.settle_s)
        label = f"~{scene.writer().name}"
        scene.exchange.refuse(429, label, retry_after_s=1, duration_s=scale.feed_refused_s)
        scene.exchange.drop(label)
        scene.run_on(scale.feed_refused_s + scale.settle_s)
        outcome = scene.finish()
    outcome.assert_nothing_lost(late_max_s=10)
    return outcome


def registry_gone(stack: LocalStack, folder: Path, scale: Scale) -> Outcome:
    """The registry is gone from the start on; it comes back for the judge alone."""
    with scene_of(stack, folder, scale) as scene:
        scene.replica("one")
        scene.replica("two")
        stack.registry.freeze()
        try:
            scene.run_on(scale.registry_gone_s)
            scene.writer().kill()
            scene.run_on(scale.registry_gone_s)
        finally:
            stack.registry.thaw()
        outcome = scene.finish()
    outcome.assert_nothing_lost(late_max_s=10)
    return outcome


def journal_overwritten(stack: LocalStack, folder: Path, scale: Scale) -> Outcome:
    """The journal's file overwritten with random bytes under a running process, then taken away."""
    with scene_of(stack, folder, scale) as scene:
        replica = scene.replica("one")
        scene.run_on(scale.settle_s)
        size_bytes = replica.journal_path.stat().st_size
        replica.journal_path.write_bytes(os.urandom(size_bytes))
        scene.run_on(scale.settle_s + 2)
        _assert_journal_told(replica, 1)
        replica.journal_path.unlink()
        scene.run_on(scale.settle_s + 2)
        _assert_journal_told(replica, 2)
        outcome = scene.finish()
    outcome.assert_nothing_lost(late_max_s=3)
    return outcome


def journal_full(stack: LocalStack, folder: Path, scale: Scale) -> Outcome:
    """A journal whose file may not grow, and one whose file may not be written."""
    with scene_of(stack, folder, scale) as scene:
        full = scene.replica("full", entry=("-m", "tests.chaos.unguarded", "journal-full"))
        scene.run_on(scale.settle_s)
        read_only = scene.replica("read-only", entry=("-m", "tests.chaos.unguarded", "journal-read-only"))
        # A backlog: nothing reaches the broker for a while, so the file would have to grow.
        with scene.proxies["full"].refuse(), scene.proxies["read-only"].refuse():
            time.sleep(scale.socket_fault_s)
        scene.run_on(scale.settle_s)
        _assert_journal_told(full, 1)
        _assert_journal_told(read_only, 1)
        outcome = scene.finish()
    outcome.assert_nothing_lost()
    return outcome


def clock_off(stack: LocalStack, folder: Path, scale: Scale) -> Outcome:
    """The exchange's time an hour off; then one event time 20 s ahead."""
    with scene_of(stack, folder, scale) as scene:
        replica = scene.replica("one", options={"feed": {"rest_fill": False}})
        scene.run_on(scale.settle_s)
        shift = scene.exchange.time_shift(3_600_000)
        time.sleep(scale.clock_off_s)
        shift.stop()
        scene.run_on(scale.settle_s)
        assert "clock" in replica.log(400), replica.log()
        scene.exchange.bad_event_time(20_000 - 37, "BTCUSD")  # at no tick's time
        scene.run_on(25)
        outcome = scene.finish()
    outcome.assert_intact()
    assert outcome.reasons == {"event time", "late"}, outcome.reasons
    assert {gap.reason for gap in outcome.gaps} <= {"rejected"}, outcome.gaps
    # Muted for the ticks that it skipped, all of them in the dead-letter topic, and not longer.
    late = ticks_of(letter.value for letter in outcome.letters if letter.headers["reason"] == "late")
    assert set(outcome.missing()) <= late, sorted(set(outcome.missing()) - late)[:5]
    assert len(late) <= 20 * scale.rate_hz
    return outcome


def partitions_grown(stack: LocalStack, folder: Path, scale: Scale) -> Outcome:
    """The topic's partitions doubled while two replicas run; then one of them started again."""
    with scene_of(stack, folder, scale) as scene:
        scene.replica("one")
        scene.replica("two")
        scene.run_on(scale.settle_s)
        admin = AdminClient({"bootstrap.servers": stack.bootstrap_servers})
        admin.create_partitions([NewPartitions(scene.topic, 12)])[scene.topic].result(20)
        scene.partitions.append(12)
        scene.run_on(14 + scale.settle_s)
        _restart(scene.writer())
        scene.run_on(scale.settle_s)
        outcome = scene.finish()
    outcome.assert_nothing_lost()
    assert any(event["kind"] == "partitions_grown" for event in outcome.events)
    return outcome


def _assert_reading_never_paused(outcome: Outcome) -> None:
    assert outcome.verdict.read_late_max_s < 2, outcome.verdict.report()


def _assert_missing_are_letters(outcome: Outcome) -> None:
    late = ticks_of(letter.value for letter in outcome.letters if letter.headers["reason"] == "late")
    unaccounted = set(outcome.missing()) - late
    assert not unaccounted, f"{len(unaccounted)} ticks unaccounted for: {sorted(unaccounted)[:5]}"


def _assert_journal_told(replica: Replica, times: int) -> None:
    log = replica.log(100_000)
    told = sum("journal" in line.lower() for line in log.splitlines())
    assert told >= times, replica.log()


CASES: dict[int, tuple[Case, ...]] = {
    1: (one_replica_killed,),
    2: (two_replicas_killed,),
    3: (broker_in_trouble,),
    4: (killed_while_the_broker_is_frozen,),
    5: (writer_frozen,),
    6: (rolling_restart,),
    7: (rotation,),
    8: (one_socket_in_trouble, both_sockets_in_trouble),
    9: (feed_of_the_writer_refused,),
    10: (registry_gone,),
    11: (journal_overwritten, journal_full),
    12: (clock_off,),
    13: (partitions_grown,),
}
"""By the row of the guarantees' table."""

BREAKS_A_SERVER = frozenset({broker_in_trouble, killed_while_the_broker_is_frozen, registry_gone})
"""These need a stack of their own."""
