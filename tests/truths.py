"""What the fake exchange says it sent, in the judge's words."""

from __future__ import annotations

from collections.abc import Iterator

from connector.local.truth import Truth
from tests.judge import Sent


def everything_sent(truth: Truth) -> Iterator[Sent]:
    """Every element that at least one socket was handed, and every row that REST answered."""
    for element in truth.elements():
        yield Sent(element.symbol, element.event_time_ms, element.values)
    for reply in truth.rest_replies:
        for row in reply.rows:
            yield Sent(str(row["symbol"]), int(row["time"]), row, by_rest=True)
