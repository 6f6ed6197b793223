"""Cutting large frames: what is cut, where, and that what is not as it looks is no JSON."""

from __future__ import annotations

import json

import pytest

from connector.core.pieces import Pieces

OBJECTS = [b'{"a":1}', b'{"b":{"c":2}}', b'{"d":[]}', b'{"e":"}"}']
ARRAY = b"[" + b",".join(OBJECTS) + b"]"


def pieces(data: bytes, about_bytes: int = 1) -> list[bytes]:
    found = Pieces.of(data, about_bytes)
    assert found is not None
    return list(found)


@pytest.mark.parametrize(
    ("before", "after", "stream"), [(b"", b"", ""), (b'{"stream":"!a@arr","data":', b"}", "!a@arr")]
)
def test_every_object_may_be_a_piece(before: bytes, after: bytes, stream: str) -> None:
    data = before + ARRAY + after
    found = Pieces.of(data, 1)
    assert found is not None
    assert found.stream == stream
    assert list(found) == [b"[" + each + b"]" for each in OBJECTS]


@pytest.mark.parametrize("about_bytes", range(1, len(ARRAY) + 2))
def test_pieces_of_any_size_have_the_elements_in_order(about_bytes: int) -> None:
    found = pieces(ARRAY, about_bytes)
    assert [each for piece in found for each in json.loads(piece)] == json.loads(ARRAY)
    assert all(len(piece) > about_bytes for piece in found[:-1])


def test_one_object_is_one_piece() -> None:
    assert pieces(b"[{}]") == [b"[{}]"]


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{}", b"[]", b"[7]", b'{"a":1}', b" [{}]", b"[ {}]", b"[{}] ", b"[{}]}", b"[{},7]",
        b'{"data":[{}],"stream":"x"}', b'{"stream":"x","data":{}}', b'{"stream":"x","data":[]}',
        b'{"stream":"x", "data":[{}]}', b'{"stream":"x","more":1,"data":[{}]}', b'{"stream":"x","data":[{}],"more":1}',
        b'{"stream":"x","data":[{}]', b'{"stream":7,"data":[{}]}', b'{"stream":"\\u0041","data":[{}]}',
        b'{"stream":"\xe5\xb8\x81","data":[{}]}', b'{"stream":"\xff","data":[{}]}', b'{"stream":"\n","data":[{}]}',
    ],
)  # fmt: skip
def test_what_is_not_to_the_letter_is_not_cut(data: bytes) -> None:
    assert Pieces.of(data, 1) is None


@pytest.mark.parametrize(
    "data",
    [
        b'[{"a":"},{"}]',
        b'[{"a":[{},{}]}]',
        b'[{"a":1}],"x":[{},{}]',
        b'{"stream":"x","data":[{}],"data":[{},{}]}',
        b'{"stream":"x","data":[{}],"x":[{},{}]}',
        b'{"stream":"x","data":[{}],"x":{"y":[{},{}]}',
        b"[{}},{{}]",
        b"[{}],[{},{}]",
        b'[{"a":1,},{"b":2}]',
    ],
)
def test_where_a_piece_is_not_what_it_looks_like_one_of_them_is_no_array(data: bytes) -> None:
    assert not all(map(is_json, pieces(data)))


def is_json(piece: bytes) -> bool:
    try:
        json.loads(piece)
    except json.JSONDecodeError:
        return False
    return True
