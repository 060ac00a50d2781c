"""Numbers of the command line as people write them: digits, no text that Python takes for one.

Python reads ``1_000``, Arabic digits, blanks and ``nan`` as numbers. A slip of the hand would
become a seed or a limit without a word, and NaN passes every range, so that they are refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import click

__all__ = [
    "PlainFloat",
    "PlainFloatRange",
    "PlainInt",
    "PlainIntRange",
    "parameters_of",
    "take_plain_numbers",
]

_WHOLE = re.compile(r"[-+]?[0-9]+")
_REAL = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_MOST = 2**63 - 1
"""Largest whole number: what shards, seeds and journals hold."""
_SHOWN = 40


class _Plain(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A number type of click's that takes plain numbers alone."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Convert a text; fail where it is no plain number, or one that nothing can hold."""
        whole = isinstance(self, click.types.IntParamType)
        pattern, name = (_WHOLE, "whole number") if whole else (_REAL, "number")
        if isinstance(value, str):
            shown = value if len(value) <= _SHOWN else f"{value[:_SHOWN]}..."
            if not pattern.fullmatch(value):
                self.fail(f"{shown!r} is no {name}; write digits, such as 10", param, ctx)
            if whole and (len(value) > _SHOWN or abs(int(value)) > _MOST):
                self.fail(f"{shown} is too large; {_MOST} is the most", param, ctx)
            if not whole and not math.isfinite(float(value)):
                self.fail(f"{shown} is too large", param, ctx)
        return super().convert(value, param, ctx)


class PlainInt(_Plain, click.types.IntParamType):
    """A whole number, written in digits."""


class PlainFloat(_Plain, click.types.FloatParamType):
    """A finite number, written in digits."""


class PlainIntRange(_Plain, click.IntRange):
    """A whole number within bounds, written in digits."""


class PlainFloatRange(_Plain, click.FloatRange):
    """A number within bounds, written in digits."""


def _plain(kind: Any) -> Any:
    """Return click's number types as those that take plain numbers; others as they are."""
    if isinstance(kind, _Plain):
        return kind
    if isinstance(kind, click.IntRange):
        return PlainIntRange(kind.min, kind.max, kind.min_open, kind.max_open, kind.clamp)
    if isinstance(kind, click.FloatRange):
        return PlainFloatRange(kind.min, kind.max, kind.min_open, kind.max_open, kind.clamp)
    if isinstance(kind, click.types.IntParamType):
        return PlainInt()
    return PlainFloat() if isinstance(kind, click.types.FloatParamType) else kind


def parameters_of(command: click.Command) -> Iterator[click.Parameter]:
    """Yield the parameters of a command and of those below it."""
    yield from command.params
    for below in getattr(command, "commands", {}).values():
        yield from parameters_of(below)


def take_plain_numbers(command: click.Command) -> None:
    """Let all numbers of a command, and of those below it, be plain ones."""
    for parameter in parameters_of(command):
        parameter.type = _plain(parameter.type)
