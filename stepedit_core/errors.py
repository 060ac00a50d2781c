"""Exceptions of stepedit: each message is one line that names the cause, the place and the cure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError

__all__ = [
    "AlignmentError",
    "AudioError",
    "BudgetError",
    "CheckpointError",
    "EditError",
    "EngineError",
    "ForeignWordsError",
    "InvalidChainError",
    "MissingDependencyError",
    "PluginError",
    "RouteError",
    "StepeditError",
    "UnknownEditError",
    "counted",
    "explain_validation",
    "printable",
    "suggest",
]


_LONGEST_NAME = 80


class StepeditError(Exception):
    """Base of all errors that a user may see as one line, without a traceback."""


class AudioError(StepeditError):
    """A recording is missing, unreadable, empty, or not what an edit can work on."""


class AlignmentError(StepeditError):
    """An aligner cannot tell when the words of a recording are spoken."""


class ForeignWordsError(AlignmentError):
    """The transcript is another recording's: its words are not those that are heard."""


class PluginError(StepeditError):
    """A plugin is broken, clashes with another one, or breaks the hook contract."""


class UnknownEditError(StepeditError):
    """No loaded plugin brings the edit that was asked for."""


class RouteError(StepeditError):
    """An edit cannot be carried out by the route that was asked for."""


class InvalidChainError(StepeditError):
    """A chain, or its JSON form, is not valid; nothing of it was run."""


class MissingDependencyError(StepeditError):
    """An optional library or program is needed and absent; the text names the cure."""


class EngineError(StepeditError):
    """An engine could not be found, loaded or run."""


class CheckpointError(EngineError):
    """A file of a checkpoint is missing, truncated, foreign or refused; the text names it."""


class BudgetError(EngineError):
    """A prompt or an output does not fit into the model's context."""


class EditError(StepeditError):
    """A step of a chain failed while it ran.

    Attributes:
        steps: the records (`Step`) of what was finished before the failure, in order.
        tries: the tries of the step that failed, each with the reasons, where limits were set.
    """

    def __init__(
        self, message: str, steps: tuple[Any, ...] = (), tries: tuple[Any, ...] = ()
    ) -> None:
        """Keep the finished steps and the tries of the failed one beside the message."""
        super().__init__(message)
        self.steps, self.tries = steps, tries


_JOINERS = "\u200c\u200d"
"""Marks that letters of some scripts are written with."""


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with what it counts: "1 cue", "2 cues".

    Args:
        number: how many there are.
        one: what stands after 1.
        many: what stands after any other number; by default ``one`` with an s.
    """
    return f"{number} {one if number == 1 else many or one + 's'}"


def printable(text: str, limit: int | None = None) -> str:
    """Return a text in one line that a terminal shows as it is.

    Control characters, which could move the cursor, change colours or hide what was said, and
    marks of writing direction are written as escapes; blanks are joined.

    Args:
        text: what a file, a corpus or a user gave.
        limit: characters to keep; what is left out lies in the middle, because an error begins
            with the file and ends with the cure.
    """
    line = " ".join(text.split())
    line = "".join(
        mark if mark.isprintable() or mark in _JOINERS
        else mark.encode("unicode_escape").decode("ascii")
        for mark in line
    )  # fmt: skip
    if limit is None or len(line) <= limit:
        return line
    half = (limit - 5) // 2
    return f"{line[: limit - 5 - half]} ... {line[-half:]}"


def _shown(value: object, limit: int = 80) -> str:
    """Return a value as Python writes it, cut where it is long."""
    text = repr(value[:limit]) if isinstance(value, str) and len(value) > limit else repr(value)
    return text if len(text) <= limit else f"{text[:limit]}…"


def suggest(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for a near miss, otherwise an empty text."""
    if len(name) > _LONGEST_NAME:  # comparing takes the product of the lengths
        return ""
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def explain_validation(error: ValidationError, known: Iterable[str] = ()) -> str:
    """Turn pydantic's report into one line: parameter, what is wrong, what was given.

    Args:
        error: the report.
        known: names of the parameters that exist, for near misses.
    """
    names, parts = sorted(known), []
    for item in error.errors():
        where = ".".join(map(str, item["loc"])) or "parameters"
        if item["type"] == "extra_forbidden":
            hint = suggest(where, names) or f"; it takes {', '.join(names) or 'none'}"
            parts.append(f"no parameter {where!r}{hint}")
            continue
        given = item.get("input")
        shown = f", got {_shown(given)}" if isinstance(given, str | int | float) else ""
        near = ""
        if item["type"] == "literal_error" and isinstance(given, str):
            near = suggest(given, re.findall(r"'([^']+)'", item["ctx"]["expected"]))
        parts.append(f"{where}: {item['msg'].removeprefix('Value error, ')}{shown}{near}")
    return "; ".join(parts)
