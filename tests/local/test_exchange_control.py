"""Control messages of the fake exchange, answered in the documented shapes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from connector.local.exchange_control import Session, answer


def _ask(session: Session, request: Any) -> Any:
    message = request if isinstance(request, str | bytes) else json.dumps(request)
    return json.loads(answer(message, session))


def test_subscribe_unsubscribe_and_list() -> None:
    session = Session()
    names = ["!assetIndex@arr", "nonsense"]
    assert _ask(session, {"method": "SUBSCRIBE", "params": names, "id": 1}) == {"result": None, "id": 1}
    assert _ask(session, {"method": "LIST_SUBSCRIPTIONS", "id": 2}) == {"result": names, "id": 2}
    assert _ask(session, {"method": "UNSUBSCRIBE", "params": ["nonsense"], "id": 3}) == {"result": None, "id": 3}
    assert list(session.streams) == ["!assetIndex@arr"]


def test_the_combined_property() -> None:
    session = Session()
    assert _ask(session, {"method": "GET_PROPERTY", "params": ["combined"], "id": 1}) == {"result": False, "id": 1}
    _ask(session, {"method": "SET_PROPERTY", "params": ["combined", True], "id": 2})
    assert _ask(session, {"method": "GET_PROPERTY", "params": ["combined"], "id": 3}) == {"result": True, "id": 3}


@pytest.mark.parametrize(
    ("request_", "code", "words"),
    [
        ("{", 3, "Invalid JSON"),
        (b"\xff\xfe\xfd", 3, "Invalid JSON"),
        ("[1]", 2, "expected an object"),
        ({"method": "SUBSCRIBE", "params": ["x"]}, 2, "unsigned integer"),
        ({"method": "SUBSCRIBE", "params": ["x"], "id": "one"}, 2, "unsigned integer"),
        ({"id": 1}, 2, "missing field `method`"),
        ({"method": "SUBSCRIPE", "params": ["x"], "id": 1}, 2, "unknown variant `SUBSCRIPE`"),
        ({"method": "SUBSCRIBE", "params": "x", "id": 1}, 2, "params"),
        ({"method": "SUBSCRIBE", "params": [1], "id": 1}, 2, "params"),
        ({"method": "SUBSCRIBE", "params": ["a", "b", "c"], "id": 1}, 2, "more than 2 streams"),
        ({"method": "GET_PROPERTY", "params": ["other"], "id": 1}, 0, "Unknown property"),
        ({"method": "GET_PROPERTY", "params": [1], "id": 1}, 2, "must be a string"),
        ({"method": "GET_PROPERTY", "params": ["combined", 1], "id": 1}, 2, "too many parameters"),
        ({"method": "SET_PROPERTY", "params": ["combined", "yes"], "id": 1}, 1, "expected Boolean"),
    ],
)
def test_errors_are_flat_or_nested(request_: Any, code: int, words: str) -> None:
    flat = _ask(Session(streams_limit=2), request_)
    assert flat["code"] == code
    assert words in flat["msg"]
    nested = _ask(Session(streams_limit=2, nested_errors=True), request_)
    assert nested["error"] == {"code": code, "msg": flat["msg"]}
    assert nested["id"] == flat.get("id")
