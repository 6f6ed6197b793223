"""Whether the exchange's answers can become records here: the clock, and the shape of the REST rows."""

from __future__ import annotations

from connector.core.check_outcomes import Outcome, good, note, problem, warning
from connector.core.normalize import Normalizer
from connector.core.values import Frame, Origin

AHEAD_WORTH_TELLING_MS = 1_000
"""Nothing arrives before it was made: more than this is a clock that is slow."""
BEHIND_WORTH_TELLING_MS = 5_000
CLOCK = "this machine's clock"


def judge_clock(stream_ms: int | None, rest_ms: int | None, *, ahead_s: float, behind_s: float) -> Outcome:
    """Arguments: by how much the event times of stream and REST are ahead of this clock, and ``feed.event_time_*``.

    Unset where no event time was seen.
    """
    off_ms = stream_ms if stream_ms is not None else rest_ms
    if off_ms is None:
        return note("clock", CLOCK, "not looked at: no event time came")
    words = f"the exchange's time is {_seconds(abs(off_ms))} {'ahead of' if off_ms > 0 else 'behind'} {CLOCK}"
    remedy = "set the clock (chronyc tracking, timedatectl)"
    if not -behind_s * 1000 <= off_ms <= ahead_s * 1000:
        if rest_ms is not None and _is_well(rest_ms):
            return problem(
                "clock",
                CLOCK,
                f"{words} on the stream, and not on REST: the stream is off, and every tick of it would be refused",
                "wait for the exchange, or see where feed.url leads",
            )
        return problem(
            "clock",
            CLOCK,
            f"{words}: every tick would be refused, by feed.event_time_{'ahead' if off_ms > 0 else 'behind'}",
            remedy,
        )
    if not _is_well(off_ms):
        return warning("clock", CLOCK, f"{words}: received times and latencies would be wrong by as much", remedy)
    return good("clock", CLOCK, words)


def _is_well(off_ms: int) -> bool:
    return -BEHIND_WORTH_TELLING_MS <= off_ms <= AHEAD_WORTH_TELLING_MS


def judge_rest_rows(subject: str, body: bytes, normalizer: Normalizer) -> tuple[Outcome, int | None]:
    """Of an answer with status 200; with the newest event time in it. *normalizer* should let any event time pass."""
    normalized = normalizer.normalize(Frame(body, 0, "rest", subject, Origin.REST))
    newest_ms = max((tick.event_time_ms for tick in normalized.ticks), default=None)
    if normalized.rejects:
        first = normalized.rejects[0]
        where = f"{first.field}: " if first.field else ""
        many = f"{len(normalized.rejects)} of {len(normalized.rejects) + len(normalized.ticks)} rows cannot be read"
        make = warning if normalized.ticks else problem
        return (
            make(
                "rest",
                subject,
                f"{many}, the first because of {where}{first.reason.value} ({first.detail})",
                "see feed.rest_url, and the rest names in schema.file; or set feed.rest_fill = false",
            ),
            newest_ms,
        )
    if not normalized.ticks:
        return (
            problem(
                "rest",
                subject,
                f"answers, but with no rows ({body[:60].decode('utf-8', 'replace')!r})",
                "see feed.rest_url (the base only) and rest.path in schema.file; or set feed.rest_fill = false",
            ),
            newest_ms,
        )
    return good("rest", subject, f"answers with {len(normalized.ticks)} rows"), newest_ms


def _seconds(ms: int) -> str:
    return f"{ms / 1000:.1f} s" if ms < 10_000 else f"{ms // 1000} s"
