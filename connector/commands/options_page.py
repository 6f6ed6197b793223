"""``docs/options.md``, made from the table of options."""

from __future__ import annotations

import inspect
import json
from itertools import groupby

from connector.config import OPTIONS, Config
from connector.option_rules import KEPT_PROPERTIES, KEPT_TOPIC_CONFIG
from connector.option_types import Option, Table, type_words

_INTRODUCTION = """\
# Options

<!-- Made from the table in connector/config.py by `make docs`; a test compares. -->

Options come from these sources; the later one wins:

1. the defaults below;
2. a TOML file: `--config FILE`, or the environment variable `BKS_CONFIG`;
3. environment variables: `BKS_`, then the path in capitals with two underscores between its parts.
   `BKS_FEED__URL` is `feed.url`. In `[kafka]`, `[registry]` and `[topic.config]` single underscores become dots:
   `BKS_KAFKA__BOOTSTRAP_SERVERS` is `kafka."bootstrap.servers"`;
4. `--set KEY=VALUE`, as often as wanted: `--set feed.connections=3`, `--set kafka.bootstrap.servers=broker:9092`.

In the environment and in `--set`, text stands as it is, a list is parted by commas (or written as in TOML), and
`null` unsets an option that may be unset.

Unknown options, wrong types and values out of bounds are refused, all at once, each with its source and the nearest
known name. `config show` prints what is in force and where it came from.

## Secrets

In the file `${NAME}` stands for the environment variable `NAME`, and `${file:/path}` for the content of a file
without its last line break; `$${` is a plain `${`. In the environment
and in `--set` it is taken as it stands.

```toml
[kafka]
"bootstrap.servers" = "broker:9093"
"security.protocol" = "SASL_SSL"
"sasl.mechanism" = "SCRAM-SHA-512"
"sasl.username" = "connector"
"sasl.password" = "${file:/run/secrets/kafka-password}"
```

Nothing that is printed or logged holds a secret: masked are properties with `password`, `secret`, `token`, `key`,
`credential` or `user.info` in their name, all of `sasl.*` but the mechanism, whatever comes from `${file:…}`, and
user and password inside an address. What `[kafka]` and `[registry]` take from files is looked at again while the
connector runs: [security.md](security.md#renewed-without-a-restart).
"""

_KEPT = """\
## Not to be set

What these properties say is part of what this connector promises, so they are refused:

| property | why |
|---|---|
"""


def options_page() -> str:
    """The whole page."""
    tables = [_table(heading, list(group)) for heading, group in groupby(OPTIONS, key=_heading)]
    kept = {
        **{f'kafka."{name}"': why for name, why in KEPT_PROPERTIES.items()},
        **{f'topic.config."{name}"': why for name, why in KEPT_TOPIC_CONFIG.items()},
    }
    rows = "".join(f"| `{name}` | {why} |\n" for name, why in kept.items())
    return "\n".join([_INTRODUCTION, *tables, _KEPT + rows])


def _heading(option: Option) -> str:
    return option.path[0] if len(option.path) > 1 or option.passes_through else ""


def _table(heading: str, options: list[Option]) -> str:
    lines = [f"## [{heading}]" if heading else "## At the top level", ""]
    inner = getattr(Config(), heading, None)
    if isinstance(inner, Table):
        lines += [inspect.cleandoc(type(inner).__doc__ or ""), ""]
    lines += ["| option | type | default | meaning |", "|---|---|---|---|", *(_row(each) for each in options), ""]
    return "\n".join(lines)


def _row(option: Option) -> str:
    kind = ", ".join(part for part in (type_words(option.type), option.unit, option.bounds) if part)
    default = "" if option.passes_through else f"`{json.dumps(option.default, ensure_ascii=False)}`"
    return f"| `{option.key}` | {kind} | {default} | {option.help} |"
