"""``schema check`` and ``schema register`` against a real registry."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from connector.cli import exit_code_of
from connector.local.stack import LocalStack
from tests.edges.test_registry import peer

pytestmark = pytest.mark.stack

SCHEMA = Path(__file__).parents[2] / "schemas" / "asset_index.avsc"


@pytest.fixture
def options(stack: LocalStack, topic_name: str) -> list[str]:
    return ["--set", f"registry.url={stack.registry_url}", "--set", f"topic.name={topic_name}"]


def test_check_register_check(options: list[str], topic_name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code_of(["schema", "check", *options]) == 2
    assert f"{topic_name}-value: not registered; run schema register" in capsys.readouterr().out

    assert exit_code_of(["schema", "register", *options]) == 0
    registered = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in registered] == [f"{topic_name}-value", f"{topic_name}.events-value"]

    assert exit_code_of(["schema", "check", "--json", *options]) == 0
    records, events = json.loads(capsys.readouterr().out)
    assert f"{records['subject']}: id {records['id']}" == registered[0]
    assert records["compatibility"] == events["compatibility"] == "FULL_TRANSITIVE"


def test_the_latest_topic_has_a_subject_too(
    options: list[str], topic_name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code_of(["schema", "register", *options, "--set", "latest.enabled=true"]) == 0
    ids = dict(line.split(": id ") for line in capsys.readouterr().out.splitlines())
    assert ids[f"{topic_name}.latest-value"] == ids[f"{topic_name}-value"]


def test_a_schema_that_cannot_follow(options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code_of(["schema", "register", *options]) == 0
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    schema["fields"] = [field for field in schema["fields"] if field["name"] != "ask_rate"]
    del schema["quality"]  # it names the field
    other = tmp_path / "asset_index.avsc"
    other.write_text(json.dumps(schema), encoding="utf-8")
    with_other = [*options, "--set", f"schema.file={other}"]
    assert exit_code_of(["schema", "check", *with_other]) == 2
    assert "differs from version 1, NOT compatible" in capsys.readouterr().out
    assert exit_code_of(["schema", "register", *with_other]) == 2
    assert "not compatible" in capsys.readouterr().err


def test_a_registry_that_is_not_up_yet_is_waited_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connector.commands.schema.ASKED_AGAIN_AFTER_S", 0.01)
    nothing_yet = (404, {"error_code": 40401, "message": "no such subject"})
    registered = [nothing_yet, (200, {"compatibility": "FULL_TRANSITIVE"}), (200, {"id": 7})]
    with peer((503, b""), (502, b"<html>"), *registered, *registered) as registry:
        command = ["schema", "register", "--set", f"registry.url={registry.url}", "--set", "topic.name=t"]
        assert exit_code_of([*command, "--wait", "20"]) == 0
    assert capsys.readouterr().out.splitlines() == ["t-value: id 7", "t.events-value: id 7"]
    with peer((503, b"")) as registry:
        command = ["schema", "register", "--set", f"registry.url={registry.url}", "--set", "topic.name=t"]
        assert exit_code_of(command) == 4, "not without being told to"
    assert "HTTP 503" in capsys.readouterr().err
