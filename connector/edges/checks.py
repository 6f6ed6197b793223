"""Everything that ``check`` looks at, at the same time and within a bounded time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from connector.core.check_feed import judge_clock, judge_rest_rows
from connector.core.check_outcomes import Grade, Outcome, good, problem
from connector.core.normalize import Normalizer
from connector.core.schema import StreamSchema
from connector.edges.checks_broker import BrokerQuestions, look_at_broker, look_at_transactions
from connector.edges.checks_host import lock_holder, look_at_journal, look_at_port
from connector.edges.checks_registry import RegistryQuestions, look_at_registry
from connector.edges.clock import Clock
from connector.edges.feed_options import FeedOptions
from connector.edges.probe import Finding, probe

LONGEST_S = 20.0
"""What has not answered by then is told as such."""


@dataclass(frozen=True, slots=True)
class Questions:
    """Everything to look at."""

    feed: FeedOptions
    schema: StreamSchema
    broker: BrokerQuestions
    registry: RegistryQuestions
    journal: Path
    journal_max_bytes: int
    http_host: str
    http_port: int


async def look_at_everything(questions: Questions, *, clock: Clock | None = None) -> tuple[Outcome, ...]:
    """All that was found, in a fixed order. Takes as long as the slowest, :data:`LONGEST_S` at most, or as long as
    ``feed.first_tick_timeout`` wants."""
    is_running = lock_holder(questions.journal) is not None
    looks = (
        _look_at_feed(questions, clock or Clock()),
        _in_thread("broker", lambda: look_at_broker(questions.broker)),
        _in_thread("transactions", lambda: look_at_transactions(questions.broker)),
        _in_thread("registry", lambda: look_at_registry(questions.registry)),
        _in_thread("journal", lambda: look_at_journal(questions.journal, questions.journal_max_bytes)),
        _in_thread("http", lambda: look_at_port(questions.http_host, questions.http_port, is_running=is_running)),
    )
    feed, broker, transactions, *others = await asyncio.gather(*looks)
    if any(each.area == "broker" and each.grade is Grade.PROBLEM for each in broker):
        transactions = []  # they would say the same again
    return (*feed, *broker, *transactions, *(each for found in others for each in found))


async def _look_at_feed(questions: Questions, clock: Clock) -> list[Outcome]:
    options, schema = questions.feed, questions.schema
    normalizer = Normalizer(schema, ahead_ms=None, behind_ms=None)
    found = await probe(options, schema, normalizer, clock=clock)
    outcomes: list[Outcome] = []
    rest_ahead_ms: int | None = None
    for each in found:
        if each.answer is not None:
            outcome, newest_ms = judge_rest_rows(each.subject.removeprefix("REST "), each.answer.body, normalizer)
            outcomes.append(outcome)
            if newest_ms is not None:
                rest_ahead_ms = newest_ms - each.answer.received_at_ns // 1_000_000
        else:
            outcomes.append(_outcome(each))
    ahead_ms = next((each.ahead_ms for each in found if each.ahead_ms is not None), None)
    bounds = {"ahead_s": options.event_time_ahead, "behind_s": options.event_time_behind}
    return [*outcomes, judge_clock(ahead_ms, rest_ahead_ms, **bounds)]


def _outcome(found: Finding) -> Outcome:
    area, _, subject = found.subject.partition(" ")
    if found.ok or found.ahead_ms is not None:
        # Where only the time is off, the clock's own outcome says so.
        return good(area.lower(), subject, "sends data, and its event time advances")
    return problem(area.lower(), subject or "feed", found.detail, found.remedy or "see the [feed] table")


async def _in_thread(area: str, look: Callable[[], Iterator[Outcome]]) -> list[Outcome]:
    """What *look* yields within :data:`LONGEST_S`. The thread is left behind where it does not end."""
    found: list[Outcome] = []
    is_done = False
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def work() -> None:
        nonlocal is_done
        try:
            for outcome in look():
                found.append(outcome)
            is_done = True
        finally:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=work, name=f"check-{area}", daemon=True).start()
    try:
        async with asyncio.timeout(LONGEST_S):
            await ended.wait()
    except TimeoutError:
        return [*found, problem(area, area, f"not done within {LONGEST_S:g} s", "try again; see that it is well")]
    if not is_done:
        raise RuntimeError(f"the check of {area} failed; its thread has told why")
    return found
