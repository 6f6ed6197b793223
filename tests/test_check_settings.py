"""What ``check`` says of options that are valid and still not as they should be."""

from __future__ import annotations

from pathlib import Path

import pytest

from connector.commands.check_settings import look_at_settings
from connector.config import load_config
from connector.core.check_outcomes import Grade, Outcome


def settings(folder: Path, text: str, environ: dict[str, str] | None = None, *overrides: str) -> list[Outcome]:
    file = folder / "connector.toml"
    file.write_text(text, encoding="utf-8")
    file.chmod(0o600)
    return list(look_at_settings(load_config(file, environ or {}, overrides, needs=()), file))


def test_nothing_to_say(tmp_path: Path) -> None:
    (outcome,) = settings(tmp_path, '[topic]\nname = "ticks"\n')
    assert (outcome.grade, outcome.found) == (Grade.OK, "1 options set, all valid")


@pytest.mark.parametrize(
    ("table", "name", "home"),
    [("kafka", "basic.auth.user.info", "registry"), ("registry", "sasl.password", "kafka")],
)
def test_a_secret_in_the_table_of_another_client(tmp_path: Path, table: str, name: str, home: str) -> None:
    outcome = settings(tmp_path, f'[{table}]\n"{name}" = "hunter2"\n"security.protocol" = "SASL_SSL"\n')[0]
    assert outcome.subject == f'{table}."{name}"'
    assert f'it belongs in [{home}], as {home}."{name}"' in outcome.remedy
    assert f"BKS_{home.upper()}__{name.upper().replace('.', '_')}" in outcome.remedy


@pytest.mark.parametrize("reference", ["${file:/run/secrets/password}", "${PASSWORD}"])
def test_a_reference_outside_of_the_file(tmp_path: Path, reference: str) -> None:
    (outcome,) = settings(tmp_path, "", {"BKS_KAFKA__SSL_KEY_PASSWORD": reference})
    assert (outcome.grade, outcome.subject) == (Grade.WARNING, 'kafka."ssl.key.password"')
    assert "from environment BKS_KAFKA__SSL_KEY_PASSWORD is taken as it stands" in outcome.found
    (outcome,) = settings(tmp_path, "", None, f"feed.proxy=http://{reference}:1")
    assert "from --set is taken as it stands" in outcome.found


def test_a_login_that_nobody_asks_for(tmp_path: Path) -> None:
    (outcome,) = settings(tmp_path, '[kafka]\n"sasl.username" = "connector"\n')
    assert (outcome.grade, outcome.subject) == (Grade.WARNING, 'kafka."sasl.username"')
    assert "security.protocol is PLAINTEXT: nobody logs in" in outcome.found
    (outcome,) = settings(tmp_path, '[kafka]\n"sasl.username" = "connector"\n"security.protocol" = "sasl_ssl"\n')
    assert outcome.grade is Grade.OK
