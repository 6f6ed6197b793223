from __future__ import annotations

from connector.core.dead_letters import MOST_REMEMBERED, REPEAT_WITHIN_NS, RecentRejects
from connector.core.values import Reason, Reject


def reject(data: bytes, reason: Reason = Reason.LATE) -> Reject:
    return Reject(reason, "", "", data, "BTCUSD", "!assetIndex@arr")


def test_the_same_bytes_for_the_same_reason_within_a_minute() -> None:
    recent = RecentRejects()
    assert not recent.is_repeated(reject(b"1"), 0)
    assert recent.is_repeated(reject(b"1"), REPEAT_WITHIN_NS - 1)
    assert not recent.is_repeated(reject(b"2"), 1)
    assert not recent.is_repeated(reject(b"1", Reason.CONFLICT), 1)
    assert not recent.is_repeated(reject(b"1"), REPEAT_WITHIN_NS)


def test_what_a_lost_transaction_told_was_not_told() -> None:
    recent = RecentRejects()
    assert not recent.is_repeated(reject(b"1"), 0)
    recent.forget()
    assert not recent.is_repeated(reject(b"1"), 1)


def test_a_flood_is_not_remembered_for_ever() -> None:
    recent = RecentRejects()
    for number in range(3 * MOST_REMEMBERED):
        assert not recent.is_repeated(reject(b"%d" % number), number)
        assert len(recent._at_ns) <= MOST_REMEMBERED
