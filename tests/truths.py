"""What the fake exchange says it sent, in the judge's words."""

from __future__ import annotations

import json
from collections.abc import Iterator

from connector.local.truth import Truth
from tests.judge import Sent


def everything_sent(truth: Truth) -> Iterator[Sent]:
    """Every element that at least one socket was handed, those given another event time by order of a test, and every
    row that REST answered."""
    for sent in truth.elements():
        yield Sent(sent.symbol, sent.event_time_ms, sent.values)
    for fault in truth.faults:
        if fault.kind == "bad_event_time":
            element = json.loads(fault.payload)
            yield Sent(element["s"], element["E"], element)
    for reply in truth.rest_replies:
        for row in reply.rows:
            yield Sent(str(row["symbol"]), int(row["time"]), row, by_rest=True)
