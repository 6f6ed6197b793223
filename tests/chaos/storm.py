"""Row 14: faults of every kind, drawn at random, while two replicas write what the exchange sends.

One replica at a time: the other is healthy, so nothing may be lost. Broker
and registry have their own turns.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from connector.local.stack import LocalStack
from tests.chaos.harness import Outcome, Scene
from tests.chaos.moments import MOMENTS
from tests.chaos.proxy import Api
from tests.chaos.replica import Replica
from tests.soak import MIB

MAY_GROW = 1.10
"""Largest memory in the last quarter of a run against that of the quarter before. Restarts begin a process anew, and
what it remembers of the topic reaches back ten minutes, so a run shorter than twenty says nothing."""
TELLING_S = 1200.0


class Storm:
    """Make the scene, then draw faults until the time is over."""

    def __init__(
        self, stack: LocalStack, folder: Path, *, minutes: float, rate_hz: float, every_s: float, seed: int
    ) -> None:
        self._stack = stack
        self._seconds = minutes * 60
        self._every_s = every_s
        self._random = random.Random(seed)
        self._scene = Scene(stack, folder, rate_hz=rate_hz, truth_path=folder / "sent.jsonl")
        self._drawn: Counter[str] = Counter()
        self._memory: dict[tuple[str, int], list[tuple[float, float]]] = {}
        self._over = threading.Event()
        self._faults: dict[str, Callable[[], None]] = {
            "writer killed": self._writer_killed,
            "follower killed": self._follower_killed,
            "writer frozen": self._writer_frozen,
            "replica restarted": self._restarted,
            "broker frozen": self._broker_frozen,
            "broker killed": self._broker_killed,
            "broker slow": self._broker_slow,
            "broker refuses one": self._broker_refuses_one,
            "connections cut": self._connections_cut,
            "answers lost": self._answers_lost,
            "registry frozen": self._registry_frozen,
            "socket dropped": self._socket_dropped,
            "socket stalled": self._socket_stalled,
            "feed of one refused": self._feed_refused,
            "old frames on one socket": self._old_frames,
            "journal overwritten": self._journal_overwritten,
            "partitions added": self._partitions_added,
        }

    def run(self) -> Outcome:
        with self._scene as scene:
            scene.replica("one")
            scene.replica("two")
            sampler = threading.Thread(target=self._sample_memory, daemon=True)
            sampler.start()
            ends = time.monotonic() + self._seconds
            while time.monotonic() < ends:
                due = time.monotonic() + self._every_s
                self._draw()
                time.sleep(max(0.0, due - time.monotonic()))
                self._all_well()
            self._over.set()
            sampler.join()
            outcome = scene.finish(timeout_s=120)
        outcome.assert_nothing_lost()
        assert not any(outcome.journaled.values()), f"left in the journals: {dict(outcome.journaled)}"
        self._assert_memory_flat()
        return outcome

    def notes(self) -> tuple[str, ...]:
        peak_mib = max(mib for samples in self._memory.values() for _, mib in samples)
        return (
            "Faults drawn: " + ", ".join(f"{name} {count}" for name, count in sorted(self._drawn.items())) + ".",
            f"Memory of a connector process: at most {peak_mib:.0f} MiB.",
        )

    def _draw(self) -> None:
        # The rarest first, so that each kind has its turn in any run that is long enough.
        fewest = min(self._drawn[name] for name in self._faults)
        name = self._random.choice([name for name in self._faults if self._drawn[name] == fewest])
        self._drawn[name] += 1
        self._faults[name]()

    def _all_well(self) -> None:
        """Both run and are ready before the next fault, or a second one would be more than is promised."""
        for replica in self._scene.replicas.values():
            replica.wait_until_ready(90)
        self._scene.run_on(0)

    # Faults

    def _writer_killed(self) -> None:
        writer = self._scene.writer(30)
        self._random.choice(MOMENTS)(writer, self._scene.proxies[writer.name])

    def _follower_killed(self) -> None:
        self._follower().kill()

    def _writer_frozen(self) -> None:
        writer = self._scene.writer(30)
        when = self._random.choice(["between", "within"])
        if when == "within":
            with self._scene.proxies[writer.name].hold(Api.PRODUCE, when="response", transactional=True) as held:
                held.wait(15)
                writer.freeze()
        else:
            writer.freeze()
        time.sleep(self._random.uniform(1, 8))
        writer.thaw()

    def _restarted(self) -> None:
        replica = self._any_replica()
        exit_code = replica.stop()
        assert exit_code == 0, f"{replica.name} ended with {exit_code}\n{replica.log()}"
        replica.start()

    def _broker_frozen(self) -> None:
        self._stack.kafka.freeze()
        time.sleep(self._random.uniform(1, 8))
        self._stack.kafka.thaw()

    def _broker_killed(self) -> None:
        self._stack.kafka.kill()
        time.sleep(self._random.uniform(0, 4))
        self._stack.kafka.start()

    def _broker_slow(self) -> None:
        one, two = self._scene.proxies.values()
        by_s = self._random.uniform(0.2, 2)
        with one.delay(by_s), two.delay(by_s):
            time.sleep(8)

    def _broker_refuses_one(self) -> None:
        with self._scene.proxies[self._scene.writer(30).name].refuse():
            time.sleep(self._random.uniform(1, 8))

    def _connections_cut(self) -> None:
        for proxy in self._scene.proxies.values():
            proxy.cut()

    def _answers_lost(self) -> None:
        proxy = self._scene.proxies[self._scene.writer(30).name]
        with proxy.lose(self._random.choice([Api.PRODUCE, Api.END_TXN]), when="response") as lost:
            lost.wait(15)

    def _registry_frozen(self) -> None:
        self._stack.registry.freeze()
        time.sleep(3)
        self._stack.registry.thaw()

    def _socket_dropped(self) -> None:
        self._scene.exchange.drop(0)

    def _socket_stalled(self) -> None:
        self._scene.exchange.stall(0, duration_s=8)

    def _feed_refused(self) -> None:
        label = f"~{self._any_replica().name}"
        self._scene.exchange.refuse(429, label, retry_after_s=1, duration_s=8)
        self._scene.exchange.drop(label)
        time.sleep(8)

    def _old_frames(self) -> None:
        self._scene.exchange.late(3, 0)

    def _journal_overwritten(self) -> None:
        path = self._any_replica().journal_path
        path.write_bytes(os.urandom(path.stat().st_size))

    def _partitions_added(self) -> None:
        scene = self._scene
        count = scene.partitions[-1] + 1
        if count > 12:
            return
        admin = AdminClient({"bootstrap.servers": self._stack.bootstrap_servers})
        admin.create_partitions([NewPartitions(scene.topic, count)])[scene.topic].result(20)
        scene.partitions.append(count)

    def _any_replica(self) -> Replica:
        return self._random.choice(list(self._scene.replicas.values()))

    def _follower(self) -> Replica:
        return self._scene.other(self._scene.writer(30))

    # Memory

    def _sample_memory(self) -> None:
        started = time.monotonic()
        while not self._over.wait(2):
            for name, replica in self._scene.replicas.items():
                life = (name, len(replica.runs))
                try:
                    mib = replica.rss_bytes() / MIB
                except (OSError, AssertionError):
                    continue  # between two lives
                self._memory.setdefault(life, []).append((time.monotonic() - started, mib))

    def _assert_memory_flat(self) -> None:
        if self._seconds < TELLING_S:
            return
        samples = sorted(sample for life in self._memory.values() for sample in life)
        half, three_quarters = self._seconds / 2, self._seconds * 3 / 4
        before = max(mib for at_s, mib in samples if half <= at_s < three_quarters)
        after = max(mib for at_s, mib in samples if three_quarters <= at_s)
        assert after <= before * MAY_GROW, f"memory grew from {before:.1f} to {after:.1f} MiB"
