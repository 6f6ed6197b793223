"""What more than one command asks of its parameters."""

from __future__ import annotations

from typing import TypeVar

import click

LONGEST_S = 1e9
"""Some thirty years: what is longer is a slip, and no clock can add it up."""

_Seconds = TypeVar("_Seconds", float, None)


def length_of_time(_ctx: click.Context, _param: click.Parameter, seconds: _Seconds) -> _Seconds:
    """A callback for seconds: not negative, and not without end."""
    if seconds is not None and not 0 <= seconds <= LONGEST_S:  # nan is neither
        raise click.BadParameter(f"{seconds}: say how many seconds, from 0 to {LONGEST_S:.0f}")
    return seconds
