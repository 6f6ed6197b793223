"""What a message is, by its shape alone, whatever its bytes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core.envelope import Acknowledged, Number, Payload, Refused, ServerShutdown, Unreadable, classify

SAMPLES = Path(__file__).parent.parent / "samples"

CONTROL = [
    (b'{"result":null,"id":1}', Acknowledged(1)),
    (b'{"id":1,"result":["!assetIndex@arr"]}', Acknowledged(1)),
    (b'{"result":true,"id":null}', Acknowledged(None)),
    (b'{"result":null,"id":"one"}', Acknowledged(None)),
    (b'{"code":2,"msg":"Invalid request"}', Refused(2, "Invalid request")),
    (b'{"code":-1121,"msg":"Invalid symbol.","id":3}', Refused(-1121, "Invalid symbol.")),
    (b'{"error":{"code":2,"msg":"no"},"id":3}', Refused(2, "no")),
    (b'{"code":1e400,"msg":"odd"}', Refused(0, "odd")),
    (b'{"e":"serverShutdown","E":1791285204000}', ServerShutdown()),
    (b'{"event":{"e":"serverShutdown","E":1791285204000}}', ServerShutdown()),
    (b'{"stream":"!assetIndex@arr","data":{"e":"serverShutdown"}}', ServerShutdown()),
    (b'{"stream":"!assetIndex@arr","data":{"event":{"e":"serverShutdown"}}}', ServerShutdown()),
    (b'{"event":"serverShutdown"}', ServerShutdown()),
]


@pytest.mark.parametrize(("data", "expected"), CONTROL, ids=[data.decode() for data, _ in CONTROL])
def test_control_messages(data: bytes, expected: object) -> None:
    assert classify(data) == expected


@pytest.mark.parametrize("line", (SAMPLES / "control.jsonl").read_bytes().splitlines())
def test_the_samples_of_control_messages(line: bytes) -> None:
    assert isinstance(classify(line), Acknowledged | Refused | ServerShutdown)


PAYLOADS: list[tuple[bytes, str, list[bytes]]] = [
    (b'[{"s":"A"},{"s":"B"}]', "", [b'{"s":"A"}', b'{"s":"B"}']),
    (b' [ {"s" : "A"} ,\n7,null ,[1, 2] ] ', "", [b'{"s" : "A"}', b"7", b"null", b"[1, 2]"]),
    (b"[]", "", []),
    (b"[ ]", "", []),
    (b"{}", "", [b"{}"]),
    (b' {"s":"A"} ', "", [b'{"s":"A"}']),
    (b"7", "", [b"7"]),
    (b'"text"', "", [b'"text"']),
    (b"null", "", [b"null"]),
    (b'{"stream":"x","data":[{"s":"A"}]}', "x", [b'{"s":"A"}']),
    (b'{"stream":"x","data":[]}', "x", []),
    (b'{ "data" : {"s":"A"} , "stream" : "x" }', "x", [b'{"s":"A"}']),
    (b'{"stream":"x","data":null}', "x", [b"null"]),
    (b'{"stream":"x","data":[1],"data":[2]}', "x", [b"2"]),
    (b'{"stream":7,"data":[1]}', "", [b'{"stream":7,"data":[1]}']),
    (b'{"stream":"x"}', "", [b'{"stream":"x"}']),
    ('[{"s":"币安"},1]'.encode(), "", ['{"s":"币安"}'.encode(), b"1"]),
    (b'[{"s":NaN},{"s":-Infinity}]', "", [b'{"s":NaN}', b'{"s":-Infinity}']),
]


@pytest.mark.parametrize(("data", "stream", "elements"), PAYLOADS, ids=[repr(data) for data, _, _ in PAYLOADS])
def test_elements_and_their_bytes(data: bytes, stream: str, elements: list[bytes]) -> None:
    message = classify(data)
    assert isinstance(message, Payload)
    assert message.stream == stream
    assert [element.data for element in message.elements] == elements


def test_numbers_are_their_literal_text() -> None:
    message = classify(b'{"a":1.10,"b":1e400,"c":-0,"d":NaN,"e":123456789012345678901234567890}')
    assert isinstance(message, Payload)
    value = message.elements[0].value
    assert value == {"a": "1.10", "b": "1e400", "c": "-0", "d": "NaN", "e": "123456789012345678901234567890"}
    assert all(isinstance(number, Number) for number in value.values())


UNREADABLE = [
    b"", b" ", b"not json", b"[", b"{", b'{"a"', b'{"a":', b'{"a":1', b'{"a":1,', b'{"a":1,}', b"{a:1}", b'{"a" 1}',
    b"[1,]", b"[1 2]", b"[1", b"[1],", b"{} {}", b"7 7", b'"open', b'"\x01"', b'"\\q"', b"\xff", b'["\xff"]', b"tru",
    b"-", b"\xef\xbb\xbf[]", b"\x00", "[]".encode("utf-16"), b"[" * 20_000, b"[" * 20_000 + b"]" * 20_000,
    b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
]  # fmt: skip


@pytest.mark.parametrize("data", UNREADABLE, ids=[repr(data[:20]) for data in UNREADABLE])
def test_unreadable(data: bytes) -> None:
    message = classify(data)
    assert isinstance(message, Unreadable)
    assert 0 < len(message.problem) < 200


@given(st.binary() | st.text(alphabet='[]{}",:0123456789.eE-nultrfas\\ "stream""data"').map(str.encode))
def test_any_bytes(data: bytes) -> None:
    message = classify(data)
    try:
        json.loads(data.decode())
    except (ValueError, RecursionError):
        assert isinstance(message, Unreadable)
    else:
        assert not isinstance(message, Unreadable)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


@given(st.lists(VALUES, max_size=5), st.sampled_from([None, 0, 2]), st.booleans())
def test_every_element_of_an_array_is_told_apart(values: list[object], indent: int | None, enveloped: bool) -> None:
    document = {"stream": "x", "data": values} if enveloped else values
    message = classify(json.dumps(document, indent=indent).encode())
    assert isinstance(message, Payload)
    assert [json.loads(element.data) for element in message.elements] == values
