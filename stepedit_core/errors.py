"""Errors that stepedit raises on purpose: each text says what, where and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stepedit_core.result import Step

__all__ = [
    "AlignmentError",
    "AudioError",
    "BudgetError",
    "CheckpointError",
    "EditError",
    "EngineError",
    "InvalidChainError",
    "MissingDependencyError",
    "PluginError",
    "RouteError",
    "StepeditError",
    "UnknownEditError",
]


class StepeditError(Exception):
    """Base of all errors that a user may see as one line, without a traceback."""


class AudioError(StepeditError):
    """A recording is missing, unreadable, empty, or not what an edit can work on."""


class AlignmentError(StepeditError):
    """An aligner cannot tell when the words of a recording are spoken."""


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
        steps: the steps that were finished before the failure, in order.
    """

    def __init__(self, message: str, steps: tuple[Step, ...] = ()) -> None:
        """Keep the finished steps beside the message."""
        super().__init__(message)
        self.steps = steps
