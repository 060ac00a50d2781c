"""Numbers of the command line as people write them: digits, no text that Python takes for one.

Python reads ``1_000``, Arabic digits, blanks and ``nan`` as numbers. A slip of the hand would
become a seed or a limit without a word, and NaN passes every range, so that they are refused.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import click

__all__ = ["take_plain_numbers"]

_WHOLE = re.compile(r"[-+]?[0-9]+")
_REAL = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_MOST = 2**63 - 1
"""Largest whole number: what shards, seeds and journals hold."""
_SHOWN = 40


def _converted(
    kind: click.types.IntParamType | click.types.FloatParamType,
    value: Any,
    param: click.Parameter | None,
    ctx: click.Context | None,
) -> Any:
    """Convert a text; fail where it is no plain number, or one that nothing can hold."""
    whole = isinstance(kind, click.types.IntParamType)
    pattern, name = (_WHOLE, "whole number") if whole else (_REAL, "number")
    if isinstance(value, str):
        shown = value if len(value) <= _SHOWN else f"{value[:_SHOWN]}..."
        if not pattern.fullmatch(value):
            kind.fail(f"{shown!r} is no {name}; write digits, such as 10", param, ctx)
        if whole and (len(value) > _SHOWN or abs(int(value)) > _MOST):
            kind.fail(f"{shown} is too large; {_MOST} is the most", param, ctx)
        if not whole and not math.isfinite(float(value)):
            kind.fail(f"{shown} is too large", param, ctx)
    return kind.convert(value, param, ctx)


def _parameters(command: click.Command) -> Iterator[click.Parameter]:
    yield from command.params
    for below in getattr(command, "commands", {}).values():
        yield from _parameters(below)


def take_plain_numbers(command: click.Command) -> None:
    """Let all numbers of a command, and of those below it, be plain ones."""
    for parameter in _parameters(command):
        kind = parameter.type
        if not isinstance(kind, click.types.IntParamType | click.types.FloatParamType):
            continue
        if "convert" not in vars(kind):
            plain = copy.copy(kind)  # a type may be shared with commands of others
            vars(plain)["convert"] = partial(_converted, kind)
            parameter.type = plain
