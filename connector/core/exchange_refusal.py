"""What a refusal by the exchange means, and how long to stay away.

Source: the exchange's general information on its limits. 429 is "slow down", 418
"banned for going on after 429", 403 its firewall, 451 a country it does not serve.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

MAX_STAY_AWAY_S = 3 * 86_400.0
"""The longest ban the exchange speaks of; what is said beyond that is not believed."""

_DETAIL_CHARS = 300
_BANNED_UNTIL = re.compile(r"banned until (\d{13})\b")
_SECONDS = re.compile(r"[0-9]{1,12}(\s*,\s*[0-9]{1,12})*")


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that says no."""

    status: int
    detail: str
    """One sentence for a person."""
    retry_after_s: float
    """Stay away at least so long; 0 where neither the answer nor its meaning says."""
    concerns_all: bool
    """Whether it is meant for this address of ours, so that every connection must stay away."""


@dataclass(frozen=True, slots=True)
class _Meaning:
    words: str
    unless_told_s: float
    """How long to stay away where the answer does not say."""
    at_least_s: float = 0.0
    concerns_all: bool = True


_MEANINGS = {
    403: _Meaning("forbidden by the exchange's firewall", 60.0),
    418: _Meaning("this address is banned", 120.0),
    429: _Meaning("too many requests from this address", 10.0),
    451: _Meaning(
        "the exchange does not serve the country of this address: "
        "run the connector, or configure feed.proxy, where it may be used",
        900.0,
        at_least_s=600.0,
    ),
    404: _Meaning("not found: check feed.url and feed.rest_url", 0.0, concerns_all=False),
}
_OTHER = _Meaning("refused", 0.0, concerns_all=False)


def refusal(status: int, retry_after: str | None, body: bytes, now_ms: int) -> Refusal:
    """Read a refusal from its status, its ``Retry-After`` header and its body."""
    text = " ".join(body[: 4 * _DETAIL_CHARS].decode("utf-8", "replace").split())
    meaning = _MEANINGS.get(status, _OTHER)
    asked_s = _retry_after_s(retry_after, now_ms)
    if asked_s is None and (banned := _BANNED_UNTIL.search(text)):
        asked_s = (int(banned[1]) - now_ms) / 1000
    wait_s = meaning.unless_told_s if asked_s is None else asked_s
    detail = f"{status}: {meaning.words}"
    if text:
        detail = f"{detail} ({text[:_DETAIL_CHARS]})"
    return Refusal(status, detail, min(max(wait_s, meaning.at_least_s), MAX_STAY_AWAY_S), meaning.concerns_all)


def _retry_after_s(header: str | None, now_ms: int) -> float | None:
    """Seconds (of several, as proxies on the way may add theirs, the longest), or an HTTP date; else None."""
    if header is None:
        return None
    text = header.strip()
    if _SECONDS.fullmatch(text):
        return max(map(float, text.split(",")))
    try:
        return parsedate_to_datetime(text).timestamp() - now_ms / 1000
    except (ValueError, OverflowError):
        return None
