"""What is the matter, in one sentence: on whose side, since when, and whether it costs ticks or only time. Pure.

For whoever is told only that data is missing. The sentence is there while all is well, too. The first rule that
speaks is the cause; those behind it are mostly its consequences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from connector.core.process_status import FOLLOWER, WRITER, Refused, SocketStatus, Status, age_ms, why_not_alive
from connector.core.values import Reason
from connector.core.witness import ADVANCING, DOWN, FROZEN, SILENT

OPEN_AFTER_MS = 5_000
"""A topic whose newest tick is older is behind; the exchange sends each second, and pauses now and then."""
ASKED_EVERY_MS = 10_000
ANSWERS_WITHIN_MS = ASKED_EVERY_MS + 5_000
"""The sink asks the brokers something each ten seconds, and waits for five."""
BEHIND_AFTER_MS = 3_000
"""A symbol whose newest tick is so much older than the topic's is missing ticks."""
REFUSED_WITHIN_MS = 10_000
"""Refusals are going on where the last one is no older."""
OFF_AFTER_MS = 30_000
"""Event times that far from our clock are one clock's fault, and no delay."""
_MOST_NAMED = 5
_LOST = "ticks are being lost unless another replica has them"


def diagnosis(status: Status) -> str:
    """One sentence, always."""
    for rule in _RULES:
        if found := rule(status):
            return found
    return f"Nothing is the matter: the newest tick in the topic is {_age(status, status.topic_event_time_ms)} old."


def missing_now(status: Status) -> tuple[str, ...]:
    """What the topic lacks at this moment, which no ledger can hold yet: a gap is written once ticks come again."""
    return tuple(_missing_now(status))


def clock_time(at_ms: int) -> str:
    """``12:17:38``, in UTC."""
    seconds = at_ms // 1000 % 86_400
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _missing_now(status: Status) -> Iterator[str]:
    topic_ms = status.topic_event_time_ms
    if age_ms(status, topic_ms) > OPEN_AFTER_MS:
        yield f"Every symbol: {_no_tick_since(status, topic_ms)}. {_fate(status)}"
        return
    behind = _behind(status)
    if behind:
        oldest_ms = min(event_time_ms for _, event_time_ms in behind)
        yield f"{_named([symbol for symbol, _ in behind])}: {_no_tick_since(status, oldest_ms)}."


def _fate(status: Status) -> str:
    """Whether what the topic lacks is late or lost."""
    if status.feed_state == ADVANCING or _rest_fills(status):
        if _all_refused(status):
            return "What comes is refused, and is in the dead-letter topic."
        return f"What came since waits: {_waiting(status)}."
    return "Nothing comes in; what is not brought by another replica is lost, and will be a gap in the ledger."


# The rules, the gravest cause first


def _of_the_process(status: Status) -> str:
    reasons = why_not_alive(status)
    return f"The connector itself: {', '.join(reasons)}; {_waiting(status)}." if reasons else ""


def _of_kafka(status: Status) -> str:
    kafka = status.kafka
    if status.role not in (FOLLOWER, WRITER):
        if not status.waiting:
            return f"The connector starts: {_waiting(status)}."
        return f"The connector waits for Kafka or the registry to start: {status.waiting}; {_waiting(status)}."
    if kafka.servers and age_ms(status, kafka.answered_at_ms) > ANSWERS_WITHIN_MS:
        return f"Kafka does not answer {_since(status, kafka.answered_at_ms)}: {_waiting(status)}."
    if status.waiting:
        side = "Kafka" if kafka.servers else "The sink"
        return f"{side} cannot be written to or read: {status.waiting}; {_waiting(status)}."
    return ""


def _of_the_clock(status: Status) -> str:
    refused = _all_refused(status)
    if refused is None:
        return ""
    offset = f": {_offset(status)}" if refused == Reason.EVENT_TIME else ""
    since_ms = min(each.since_ms for each in status.refused if _goes_on(status, each))
    return (
        f"Every tick is refused: {refused} {_since(status, since_ms)}{offset}. They are in the dead-letter topic, "
        "and missing in the topic."
    )


def _of_the_exchange(status: Status) -> str:
    if status.feed_state == ADVANCING:
        return ""
    what = {SILENT: "silent", FROZEN: "frozen (they repeat old ticks)", DOWN: "down"}.get(
        status.feed_state, status.feed_state
    )
    closed = [each for each in status.sockets if each.state == DOWN and each.last_end]
    cause = f" ({_last_end(status, closed[0])})" if status.feed_state == DOWN and closed else ""
    return f"The exchange: WebSockets {what} {_since(status, status.feed_advanced_at_ms)}{cause}; {_instead(status)}."


def _instead(status: Status) -> str:
    """What stands in for this replica's connections."""
    if _rest_fills(status):
        return f"REST fills, about {_age(status, status.topic_event_time_ms)} behind"
    if age_ms(status, status.topic_event_time_ms) <= OPEN_AFTER_MS:
        return f"the topic goes on by another replica, {_age(status, status.topic_event_time_ms)} behind"
    rest = status.rest
    if rest is not None and rest.state == "failing":
        same = any(rest.last_end == each.last_end for each in status.sockets)
        return f"REST brings nothing either{f' ({rest.last_end})' if rest.last_end and not same else ''}; {_LOST}"
    return f"nothing fills in; {_LOST}"


def _of_some_symbols(status: Status) -> str:
    behind = {symbol for symbol, _ in _behind(status)}
    in_topic = {symbol for symbol, _ in status.symbols}
    for each in _going_on(status):
        every = [symbol for symbol in each.symbols if symbol in behind or symbol not in in_topic]
        about = f"{each.reason}{f', {each.field}' if each.field else ''}"
        if every:
            return (
                f"{_named(every)}: every tick refused {_since(status, each.since_ms)} ({about}); they are in the "
                "dead-letter topic, all else is in the topic."
            )
    return ""


def _of_a_still_topic(status: Status) -> str:
    if age_ms(status, status.topic_event_time_ms) <= OPEN_AFTER_MS:
        return ""
    is_off = abs(status.feed_ahead_ms or 0) > OFF_AFTER_MS
    answered = f"Kafka last answered {_age(status, status.kafka.answered_at_ms)} ago" if status.kafka.servers else ""
    why = status.kafka.held_back or _last_error(status) or (_offset(status) if is_off else answered)
    return (
        f"The feed advances, and the topic does not: {_no_tick_since(status, status.topic_event_time_ms)}"
        f"{f' ({why})' if why else ''}; {_waiting(status)}."
    )


def _last_error(status: Status) -> str:
    """Where the topic has not gone on since."""
    kafka = status.kafka
    since_ms = max(kafka.committed_at_ms or 0, status.topic_event_time_ms or 0)
    if not kafka.problem or (kafka.problem_at_ms or 0) < since_ms:
        return ""
    return f"the last error, {_age(status, kafka.problem_at_ms)} ago: {kafka.problem}"


def _of_one_connection(status: Status) -> str:
    poor = [each for each in status.sockets if each.state != ADVANCING]
    if not poor:
        return ""
    first = poor[0]
    since = _since(status, status.now_ms - first.since_ms)
    end = f" ({_last_end(status, first)})" if first.last_end else ""
    return f"The exchange: {first.connection} is {first.state} {since}{end}; the other connections bring everything."


def _of_behind(status: Status) -> str:
    behind = _behind(status)
    if not behind:
        return ""
    oldest_ms = min(event_time_ms for _, event_time_ms in behind)
    return (
        f"The exchange: nothing came of {_named([symbol for symbol, _ in behind])} {_since(status, oldest_ms)}; "
        "all else is in the topic."
    )


def _of_some_ticks(status: Status) -> str:
    for each in _going_on(status):
        about = f"{each.reason}{f', {each.field}' if each.field else ''}"
        return (
            f"Some ticks of {_named(each.symbols)} are refused {_since(status, each.since_ms)} ({about}); they are in "
            "the dead-letter topic, all else is in the topic."
        )
    return ""


def _of_the_journal(status: Status) -> str:
    if status.journal_problem is None:
        return ""
    return f"The journal's file cannot be used ({status.journal_problem}); ticks go on, and wait in memory alone."


_RULES: tuple[Callable[[Status], str], ...] = (
    _of_the_process,
    _of_kafka,
    _of_the_clock,
    _of_the_exchange,
    _of_some_symbols,
    _of_a_still_topic,
    _of_one_connection,
    _of_behind,
    _of_some_ticks,
    _of_the_journal,
)


# What they ask


def _going_on(status: Status) -> list[Refused]:
    return [each for each in status.refused if _goes_on(status, each)]


def _goes_on(status: Status, refused: Refused) -> bool:
    return status.now_ms - refused.last_ms <= REFUSED_WITHIN_MS


def _all_refused(status: Status) -> str | None:
    """The reason why no tick is written, where ticks are refused and none was written since that began."""
    for each in _going_on(status):
        if status.ticks_written_at_ms is None or each.last_ms - status.ticks_written_at_ms > BEHIND_AFTER_MS:
            return each.reason
    return None


def _rest_fills(status: Status) -> bool:
    return status.rest is not None and status.rest.state == "filling"


def _behind(status: Status) -> list[tuple[str, int]]:
    newest_ms = status.topic_event_time_ms
    if newest_ms is None:
        return []
    return [each for each in status.symbols if newest_ms - each[1] > BEHIND_AFTER_MS]


# How they say it


def _waiting(status: Status) -> str:
    lost = f"{status.dropped_frames:,} were given up at its bound" if status.dropped_frames else "none lost"
    return f"{status.journal_frames:,} frames wait in the journal, {lost}"


def _no_tick_since(status: Status, event_time_ms: int | None) -> str:
    if event_time_ms is None:
        return f"no tick at all, {_age(status, None)} after the start"
    return f"no tick newer than {clock_time(event_time_ms)} ({_age(status, event_time_ms)})"


def _since(status: Status, at_ms: int | None) -> str:
    """Where it never was otherwise, since the start."""
    since_ms = status.started_at_ms if at_ms is None else at_ms
    return f"since {clock_time(since_ms)} ({_age(status, since_ms)})"


def _offset(status: Status) -> str:
    ahead_s = (status.feed_ahead_ms or 0) / 1000
    where = "ahead of" if ahead_s > 0 else "behind"
    return f"it is {abs(ahead_s):,.1f} s {where} this machine's clock, so that one of the two clocks is off"


def _last_end(status: Status, socket: SocketStatus) -> str:
    at_ms = socket.next_attempt_ms
    return f"{socket.last_end}{f', next attempt {clock_time(at_ms)}' if at_ms else ''}"


def _age(status: Status, at_ms: int | None) -> str:
    seconds = age_ms(status, at_ms) / 1000
    return f"{seconds:.1f} s" if abs(seconds) < 10 else f"{seconds:,.0f} s"


def _named(symbols: Iterable[str]) -> str:
    every = sorted(symbols)
    more = f" and {len(every) - _MOST_NAMED} more" if len(every) > _MOST_NAMED else ""
    return ", ".join(every[:_MOST_NAMED]) + more or "symbols that cannot be told"
