import io
import json

import pytest

from connector.edges.log_format import LONGEST_TEXT, LogFormat, LogLevel, cleaner, open_log


def logged(log_format: LogFormat, log_level: LogLevel = "info", **fields: object) -> str:
    stream = io.StringIO()
    open_log(log_format, log_level, stream).warning("it_happened", **fields)
    return stream.getvalue()


def test_json_has_time_level_event_and_fields() -> None:
    line = json.loads(logged("json", text='a "b"\n', number=7, ratio=0.5, flag=True, several=["x", "y"]))
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "warning",
        "event": "it_happened",
        "text": 'a "b"\n',
        "number": 7,
        "ratio": 0.5,
        "flag": True,
        "several": ["x", "y"],
    }


def test_text_is_one_line_that_can_be_read() -> None:
    line = logged("text", connection="ws-1", detail="it went away", number=7)
    time, rest = line.split(" ", 1)
    assert time.endswith("Z")
    assert rest == 'warning it_happened            connection=ws-1 detail="it went away" number=7\n'


@pytest.mark.parametrize(
    "hostile", ["a\nb", "a\rb", "a\x1b[31mb", "a\u2028b", "a\x85b", 'a" level="error', "a=b", "", "\0"]
)
def test_no_value_can_pass_for_another_field_or_line(hostile: str) -> None:
    line = logged("text", value=hostile, last=1)
    assert len(line.splitlines()) == 1
    assert "\x1b" not in line
    shown = line.rstrip().removesuffix(" last=1").split("value=", 1)[1]
    assert json.loads(shown) == hostile


def test_levels_below_the_configured_one_are_left_out() -> None:
    assert logged("text", "error") == ""


def test_secrets_and_user_info_are_masked_and_long_texts_cut() -> None:
    clean = cleaner(["s3cr3t!", "s3cr3t!-longer", "abc"])
    assert clean("before s3cr3t! after s3cr3t!-longer") == "before ******** after ********"
    assert clean("https://user:word@host:1/x and wss://u@h/") == "https://********@host:1/x and wss://********@h/"
    assert clean("someone@example.org abc") == "someone@example.org abc"
    assert clean("token eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0. is wrong") == "token ******** is wrong"
    assert len(clean("x" * 5_000)) == LONGEST_TEXT
    assert clean("half \ud800") == "half \\ud800"
