"""How much of the exchange's request weight may still be used."""

from __future__ import annotations

_MINUTE_S = 60.0


class WeightBudget:
    """Spreads requests so that the weight used in a minute of the clock stays below a limit.

    The exchange counts by address, so what others behind the same address use is
    in its count too. Times are seconds since the Unix epoch.
    """

    def __init__(self, limit_per_minute: int) -> None:
        self._limit = limit_per_minute
        self._minute = -1.0
        self._used = 0

    def told(self, used: int, now_epoch_s: float) -> None:
        """Take in the exchange's own count for this minute, as an answer gave it."""
        self._minute = now_epoch_s // _MINUTE_S
        self._used = used

    def pause_s(self, cost: int, now_epoch_s: float) -> float:
        """Seconds to leave before a request of weight *cost*.

        What is left is spread over what is left of the minute; where it does not
        suffice for one more, the next minute is waited for.
        """
        if now_epoch_s // _MINUTE_S != self._minute:
            return 0.0
        left_s = _MINUTE_S - now_epoch_s % _MINUTE_S
        left = self._limit - self._used
        return left_s if left < cost else left_s * cost / left
