"""The REST end point of the fake exchange: the asset index, the weight budget, and the refusals."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from http import HTTPStatus
from random import Random
from typing import Final
from urllib.parse import parse_qs, urlsplit

from connector.local.market import Snapshot
from connector.local.truth import RestReply, Truth

ASSET_INDEX_PATH: Final = "/fapi/v1/assetIndex"
PING_PATH: Final = "/fapi/v1/ping"
TIME_PATH: Final = "/fapi/v1/time"
_SYMBOL_WEIGHT: Final = 1
_ALL_WEIGHT: Final = 10


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer before it is put on the wire."""

    status: HTTPStatus
    body: str
    headers: tuple[tuple[str, str], ...] = ()


def refusal(status: int, retry_after_s: int | None, banned_until_ms: int | None) -> Reply:
    """A refused request in the exchange's words: 403, 418, 429, 451, or a failure of its own."""
    headers = () if retry_after_s is None else (("Retry-After", str(retry_after_s)),)
    if status == HTTPStatus.FORBIDDEN:
        return Reply(HTTPStatus.FORBIDDEN, "<html><body><h1>403 Forbidden</h1></body></html>", headers)
    if status == HTTPStatus.IM_A_TEAPOT:
        until = "" if banned_until_ms is None else f" banned until {banned_until_ms}"
        message = f"Way too many requests; IP(127.0.0.1){until}. Please use the websocket for live updates."
        return _error(status, -1003, message, headers)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        until = "." if banned_until_ms is None else f"; IP banned until {banned_until_ms}."
        return _error(status, -1003, f"Too many requests; current limit of IP(127.0.0.1) is exceeded{until}", headers)
    if status == HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS:
        return _error(status, 0, "Service unavailable from a restricted location.", headers)
    return _error(status, -1000, "An unknown error occurred while processing the request.", headers)


def _error(status: int, code: int, message: str, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    return Reply(HTTPStatus(status), json.dumps({"code": code, "msg": message}, separators=(",", ":")), headers)


class RestEndpoint:
    """Answers requests from the newest snapshot; counts weights by the minute of the clock."""

    def __init__(self, truth: Truth, weight_limit: int, seed: int) -> None:
        self._truth = truth
        self._weight_limit = weight_limit
        self._random = Random(seed)
        self._minute = 0
        self._weight_used = 0

    def reply(self, path: str, snapshot: Snapshot) -> Reply:
        parts = urlsplit(path)
        query = parse_qs(parts.query)
        symbol = query["symbol"][0] if "symbol" in query else None
        weight = _ALL_WEIGHT if parts.path == ASSET_INDEX_PATH and symbol is None else _SYMBOL_WEIGHT
        headers, left_s = self._charge(weight)
        if self._weight_used > self._weight_limit:
            over = refusal(429, left_s, None)
            return Reply(over.status, over.body, (*over.headers, *headers))
        if parts.path == PING_PATH:
            return Reply(HTTPStatus.OK, "{}", headers)
        if parts.path == TIME_PATH:
            return Reply(HTTPStatus.OK, json.dumps({"serverTime": round(time.time() * 1000)}), headers)
        if parts.path != ASSET_INDEX_PATH:
            return _error(404, -1, "Not found.", headers)
        return self._asset_index(symbol, snapshot, headers)

    def _charge(self, weight: int) -> tuple[tuple[tuple[str, str], ...], int]:
        minute, second = divmod(int(time.time()), 60)
        if minute != self._minute:
            self._minute, self._weight_used = minute, 0
        self._weight_used += weight
        return (("X-MBX-USED-WEIGHT-1M", str(self._weight_used)),), 60 - second

    def _asset_index(self, symbol: str | None, snapshot: Snapshot, headers: tuple[tuple[str, str], ...]) -> Reply:
        # Its own times, as seen: aligned like the stream's, and then off by 1 to 4 ms.
        time_ms = snapshot.event_time_ms + self._random.randint(1, 4)
        rows = tuple(row.rest(time_ms) for row in snapshot.rows if symbol in (None, row.symbol))
        if not rows and symbol is not None:
            return _error(400, -1121, "Invalid symbol.", headers)
        self._truth.add_rest_reply(RestReply(time_ms, rows))
        body = json.dumps(rows if symbol is None else rows[0], separators=(",", ":"))
        return Reply(HTTPStatus.OK, body, headers)
