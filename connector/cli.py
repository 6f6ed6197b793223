"""The command line: ``binance-kafka-source``, also ``python -m connector``.

Exit codes: 0 clean · 1 a bug of ours · 2 configuration · 3 stopped with accepted ticks undelivered · 4 the other side
refuses or does not answer · 130 interrupted.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

import click

from connector.core.errors import ConfigurationError, ConnectorError

NAME = "binance-kafka-source"

EXIT_BUG = 1
EXIT_CONFIGURATION = 2
EXIT_FATAL = 4
EXIT_INTERRUPTED = 130

COMMANDS = (
    "run",
    "check",
    "gaps",
    "demo",
    "tail",
    "record",
    "replay",
    "config",
    "schema",
    "ddl",
    "join-check",
    "join-demo",
)
"""Each is ``command`` in the module of that name in :mod:`connector.commands`, in the order of the help."""


class _NobodyReadsError(Exception):
    """Whoever read our output has enough of it, as in ``… | head``."""


class _Commands(click.Group):
    """Imports a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"connector.commands.{cmd_name.replace('-', '_')}").command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            # click would end the process itself, with the exit code of a bug.
            raise _NobodyReadsError from error


@click.group(NAME, cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name=NAME)
def cli() -> None:
    """Binance USDⓈ-M futures market streams to Kafka as Avro: exact, exactly once, with no silent gap."""


def main() -> NoReturn:
    """Run the command of this process and end it."""
    sys.exit(exit_code_of(sys.argv[1:]))


def exit_code_of(arguments: Sequence[str]) -> int:
    """Run one command. Whatever goes wrong is said on standard error, and what kind it is by the exit code."""
    try:
        code = cli.main(list(arguments), prog_name=NAME, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return EXIT_CONFIGURATION
    except (click.Abort, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    except ConfigurationError as error:
        _say(error.problems)
        return EXIT_CONFIGURATION
    except ConnectorError as error:
        _say([str(error)])
        return EXIT_FATAL
    except _NobodyReadsError:
        # Python would complain once more at its end, when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:
        traceback.print_exc()
        _say(["this is a bug; please report it with the lines above"])
        return EXIT_BUG
    return code if isinstance(code, int) else 0


def _say(problems: Sequence[str]) -> None:
    if len(problems) == 1:
        click.echo(f"{NAME}: {problems[0]}", err=True)
        return
    click.echo(f"{NAME}: {len(problems)} problems:", err=True)
    for problem in problems:
        click.echo(f"  {problem}", err=True)
