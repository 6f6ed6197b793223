"""What ``check`` says of the options themselves, once they are valid: secrets in the wrong place, TLS turned off."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from connector.config import Config, Loaded
from connector.core.check_outcomes import Outcome, good, warning
from connector.option_rules import NOT_VERIFIED, VERIFY, unverified
from connector.option_sources import ENVIRONMENT_PREFIX

_REFERENCE = re.compile(r"\$\{(file:[^}]+|\w+)\}")
_SECRET = re.compile(r"passw|passphrase|secret|user\.?info|(^|[._-])key\.pem$|\.token$|sasl\.jaas")


def look_at_settings(loaded: Loaded, file: Path | None) -> Iterator[Outcome]:
    """One good outcome where nothing is to be said."""
    found = [
        *_misplaced_secrets(loaded, file),
        *_not_resolved(loaded),
        *_without_login(loaded.config),
        *_unverified(loaded.config),
    ]
    where = str(file) if file is not None else "options"
    yield from found or [good("configuration", where, f"{len(loaded.settings)} options set, all valid")]


def _misplaced_secrets(loaded: Loaded, file: Path | None) -> Iterator[Outcome]:
    for path, setting in loaded.settings.items():
        table, name = path[0], path[-1]
        if path == ("feed", "proxy") and "@" in str(setting.value) and not setting.from_reference:
            found = "user and password stand in the address of the proxy"
            remedy = 'give it in the environment (BKS_FEED__PROXY), or as "${file:/path}" in the file of options'
            if not setting.source.startswith("environment"):
                yield warning("configuration", "feed.proxy", found, remedy)
        if table not in {"kafka", "registry"}:
            continue
        key = f'{table}."{name}"'
        home = _home_of(table, name)
        variable = f"{ENVIRONMENT_PREFIX}{home}__{name.replace('.', '_')}".upper()
        elsewhere = f'give it in the environment ({variable}), or as "${{file:/path}}" in the file of options'
        if home != table:
            elsewhere = f'it belongs in [{home}], as {home}."{name}"; {elsewhere}'
        if name == "url" and "@" in str(setting.value):
            found = "a user and password stand in the address, which programs in between may log"
            remedy = 'give them as registry."basic.auth.user.info"'
            yield warning("configuration", key, found, remedy)
        elif not _SECRET.search(name.lower()):
            continue
        elif setting.source == "--set":
            found = "a secret on the command line: every user of this machine can see it"
            yield warning("configuration", key, found, elsewhere)
        elif file is not None and setting.source == str(file) and not setting.from_reference:
            readers = (
                "which everybody on this machine can read"
                if _is_open(file)
                else "and goes wherever that file is copied"
            )
            yield warning("configuration", key, f"a secret stands in {file} itself, {readers}", elsewhere)


def _home_of(table: str, name: str) -> str:
    """The table that a property of this name belongs in: Kafka's and the registry's clients log in by others."""
    if name.startswith(("basic.auth.", "bearer.auth.")):
        return "registry"
    return "kafka" if name.startswith(("sasl.", "security.")) else table


def _not_resolved(loaded: Loaded) -> Iterator[Outcome]:
    for path, setting in loaded.settings.items():
        is_outside = setting.source == "--set" or setting.source.startswith("environment")
        if is_outside and isinstance(setting.value, str) and _REFERENCE.search(setting.value):
            yield warning(
                "configuration",
                f'{path[0]}."{path[-1]}"' if path[0] in {"kafka", "registry"} else ".".join(path),
                f"a ${{…}} from {setting.source} is taken as it stands: it is read in the file of options alone",
                "write the ${…} in the file of options, or give the value itself here",
            )


def _without_login(config: Config) -> Iterator[Outcome]:
    protocol = str(config.kafka.get("security.protocol", "plaintext")).upper()
    given = [name for name in config.kafka if name.startswith("sasl.")]
    if given and not protocol.startswith("SASL"):
        yield warning(
            "configuration",
            f'kafka."{given[0]}"',
            f"is set, and security.protocol is {protocol}: nobody logs in, and it is not used",
            'set kafka."security.protocol" = "SASL_SSL" (or "SASL_PLAINTEXT", without TLS), or take it out',
        )


def _is_open(file: Path) -> bool:
    try:
        return bool(file.stat().st_mode & 0o004)
    except OSError:
        return False


def _unverified(config: Config) -> Iterator[Outcome]:
    for name in unverified(config.kafka):
        yield warning("configuration", f'kafka."{name}"', NOT_VERIFIED, VERIFY)
