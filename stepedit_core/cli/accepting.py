"""Options of ``stepedit edit`` for acceptance limits, and the lines printed about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from stepedit_core.chain.accept import LEVELS, Accept, AcceptLevel
from stepedit_core.chain.result import Step
from stepedit_core.errors import InvalidChainError, UnknownEditError

__all__ = ["accept_options", "acceptance", "limits_of", "tried"]

Command = TypeVar("Command", bound=Callable[..., Any])
_NAMES = ("level", "limits", "best", "tries", "seconds", "fallback", "otherwise")
_FIELDS = ("best_of", *_NAMES[3:])
_OPTIONS = (
    click.option(
        "--accept",
        "level",
        default="off",
        show_default=True,
        metavar="strict|normal|off|FILE",
        help="Limits that every step must keep: words, voice, level, length, pitch, clipping, "
        "holes, any change, and the edit's own target; or a JSON file with limits.",
    ),
    click.option(
        "--limit",
        "limits",
        multiple=True,
        metavar="NAME=VALUE",
        help="One limit, such as words=0.1 or voice=off; needs --accept.",
    ),
    click.option(
        "--candidates",
        "best",
        type=click.IntRange(1, 32),
        help="Candidates that a model draws in one batch; needs --accept.",
    ),
    click.option(
        "--tries",
        type=click.IntRange(1, 64),
        help="How many candidates, or settings of what is not drawn, a step gets; needs --accept.",
    ),
    click.option(
        "--try-seconds",
        "seconds",
        type=click.FloatRange(0, min_open=True),
        help="Begin no further batch of candidates after so long; needs --accept.",
    ),
    click.option(
        "--fallback",
        type=click.Choice(["dsp"]),
        help="Where no candidate of a model is accepted, take signal processing; needs --accept.",
    ),
    click.option(
        "--otherwise",
        type=click.Choice(["fail", "keep"]),
        help="Where nothing is accepted: fail, or keep what the step received; needs --accept.",
    ),
)


def accept_options(command: Command) -> Command:
    """Add the options; `limits_of` takes them out of the command's arguments again."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def limits_of(given: dict[str, Any]) -> Accept | None:
    """Take the options out of a command's arguments and return the limits that they ask for.

    Raises:
        InvalidChainError: if a limit or a file does not fit.
    """
    level, texts, *rest = (given.pop(name) for name in _NAMES)
    changes = Accept.parse(texts)
    changes |= {name: value for name, value in zip(_FIELDS, rest, strict=True) if value}
    if "best_of" in changes:  # who asks for so many wants the best of them
        changes = {"first_alone": False, **changes}
    if level == "off" and changes:
        raise click.UsageError(
            f"{', '.join(sorted(changes))}: such limits go with --accept strict, normal or a FILE"
        )
    if level not in LEVELS:
        if not Path(level).is_file():
            names = ", ".join(LEVELS)
            raise click.UsageError(f"--accept {level}: one of {names}, or a JSON file of limits")
        found: Accept | None = Accept.read(Path(level), **changes)
    else:
        found = Accept.of(cast(AcceptLevel, level), **changes)
    if found is not None:
        _check_names(found)
    return found


def _check_names(limits: Accept) -> None:
    """Refuse limits for an edit that there is not: a misspelt name would drop them in silence."""
    from stepedit_core.registry.registry import get_registry

    for name in limits.edits:
        if not (name.isascii() and name.isdigit() and int(name) > 0):
            try:
                get_registry().edit_info(name)
            except UnknownEditError as error:
                raise InvalidChainError(f"limits: edits: {error}; or a step's number") from error


def acceptance(step: Step) -> str:
    """Return the draws and measurements of a step, as a part of its line."""
    if step.accepted is None:
        return ""
    found = step.judged
    drawn = found.get("drawn", 1)
    shown = [
        f"{name.replace('_', ' ')} {found[name]:.2f}"
        for name in ("word_error", "voice", "quality")
        if name in found
    ]
    facts = f" ({', '.join(shown)})" if shown else ""
    if step.accepted:
        again = f" after {len(step.failed_tries)} that failed" if step.failed_tries else ""
        return f" | accepted, best of {drawn}{again}{facts}"
    return f" | not accepted in {drawn} tries{facts}: kept the source"


def tried(tries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each try that failed."""
    lines = []
    for one in tries:
        instead = f" {one['edit']}" if "edit" in one else ""
        route = f" by {one['route']}" if "route" in one else ""
        lines.append(f"  try {one['try']}{instead}{route}: {'; '.join(one['why'])}")
    return lines
