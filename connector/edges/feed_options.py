"""The options of the feed, as its parts take them."""

from __future__ import annotations

from dataclasses import dataclass

from connector.core.addresses import check_base_url, check_proxy, check_rest_url
from connector.core.errors import ConfigurationError
from connector.core.rotation import parse_time_of_day


@dataclass(frozen=True, slots=True)
class FeedOptions:
    """``[feed]`` of the configuration, by the same names; times in seconds. Below the blank line: not for users."""

    url: str = "wss://fstream.binance.com"
    rest_url: str = "https://fapi.binance.com"
    symbols: tuple[str, ...] = ()
    connections: int = 2
    max_frame_bytes: int = 4 * 1024 * 1024
    event_time_ahead: float = 30.0
    event_time_behind: float = 600.0
    first_tick_timeout: float = 10.0
    trailing_timeout: float = 3.0
    silence_timeout: float = 15.0
    rotate_after: float = 84_600.0
    rotate_at: str = ""
    hold: float = 0.5
    rest_fill: bool = True
    proxy: str = ""

    max_attempts: int = 60
    """Connection attempts in ``attempts_window``, over all connections. The exchange's limit for spot is 300
    in 5 minutes for an address; behind one address there may be several of us."""
    attempts_window: float = 300.0
    backoff_first: float = 0.25
    backoff_cap: float = 20.0
    backoff_reset: float = 10.0
    """Data must have advanced for so long before the delays start over."""
    stagger: float = 0.5
    """Between the starts of the connections."""
    open_timeout: float = 10.0
    close_timeout: float = 1.0

    def check(self) -> None:
        """Raise one :class:`ConfigurationError` with every problem that can be seen without connecting."""
        problems: list[str] = []
        for check, value in (
            (check_base_url, self.url),
            (check_rest_url, self.rest_url),
            (check_proxy, self.proxy),
            (parse_time_of_day, self.rotate_at),
        ):
            try:
                check(value)
            except ConfigurationError as error:
                problems.extend(error.problems)
        if self.connections < 1:
            problems.append(f"feed.connections must be at least 1, not {self.connections}")
        if self.rotate_after <= 0:
            problems.append(f"feed.rotate_after must be more than 0 seconds, not {self.rotate_after:g}")
        if problems:
            raise ConfigurationError(*problems)
