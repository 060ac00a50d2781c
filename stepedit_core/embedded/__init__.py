"""The embedded model: a small Step-Audio-EditX in the public layout, as package data.

``config.json`` and the other files beside this one are there where the installation ships the
model; ``MODEL_CARD.md`` says what it is. ``Engine.load()`` finds them.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stepedit_core.edit import Edit, Route

__all__ = ["FOLDER", "MAX_BYTES", "is_shipped", "preferred_routes", "shipped_bytes", "state"]

FOLDER = Path(__file__).resolve().parent
"""Where the model's files lie."""
MAX_BYTES = 60_000_000
"""What all of its files together may weigh."""


def is_shipped() -> bool:
    """Return whether this installation brings the embedded model."""
    return (FOLDER / "config.json").is_file()


def shipped_bytes() -> int:
    """Return the size of the model's files together, in bytes; 0 where there is no model."""
    files = (
        path for path in FOLDER.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    )
    return sum(path.stat().st_size for path in files) if is_shipped() else 0


def state() -> str | None:
    """Return in a sentence why the shipped model is experimental, or None where it is not.

    Raises:
        CheckpointError: if its ``figures.json`` is damaged.
    """
    from stepedit_core.models.checkpoint.model_files import experimental, read_figures

    reason = experimental(read_figures(FOLDER)) if is_shipped() else None
    return f"The embedded model is experimental: {reason}." if reason else None


def preferred_routes(folder: Path, edits: Iterable[Edit]) -> list[Route | None]:
    """Return the route that a model's folder prefers for each edit, without loading the model.

    Raises:
        CheckpointError: if its ``routes.json`` is damaged.
    """
    from stepedit_core.models.checkpoint.model_files import RouteTable

    table = RouteTable.load(folder)
    return [table.preferred(edit) for edit in edits]
