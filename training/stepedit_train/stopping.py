"""The exception of runs that are stopped because of their figures."""

from __future__ import annotations

from stepedit_core.errors import StepeditError

__all__ = ["TrainingStopped"]


class TrainingStopped(StepeditError):
    """A run was stopped because of what its figures say; its checkpoints are kept."""
