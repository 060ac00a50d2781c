"""Which route is better for an engine, edit by edit: a table that lies beside its weights.

``routes.json`` in the model's folder holds what a benchmark measured::

    {"model": "fingerprint of the weights",
     "edits": {"speed": {"llm": 0.61, "dsp": 0.94, "n": 48, "route": "dsp"}, ...}}

``llm`` and ``dsp`` are joint success (0..1) or null where the route does not exist, ``n`` is the
number of cases. ``route`` may be left out: then the better score decides, and ``llm`` a tie.
``longest_seconds`` may say how much speech the model edits well at once: longer utterances are
generated in stretches. A row may say that alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stepedit_core.edit import Edit, Route
from stepedit_core.errors import CheckpointError

__all__ = ["ROUTES_FILE", "RouteTable"]

ROUTES_FILE = "routes.json"


@dataclass(frozen=True)
class RouteTable:
    """The better route of each edit that was measured.

    Attributes:
        routes: name of an edit to its better route.
        longest: name of an edit to the longest stretch, in seconds, that the model edits well.
    """

    routes: Mapping[str, Route] = field(default_factory=dict)
    longest: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> RouteTable:
        """Read the table of a model's folder; a folder without one gives an empty table.

        Raises:
            CheckpointError: if the file is damaged, or a row says nothing about a route.
        """
        path = folder / ROUTES_FILE
        if not path.is_file():
            return cls()
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise CheckpointError(f"{path} is not readable JSON ({error})") from error
        edits = content.get("edits") if isinstance(content, dict) else None
        if not isinstance(edits, dict):
            raise CheckpointError(f"{path} has no object under 'edits'")
        better = {name: _better(row, f"{path}, {name!r}") for name, row in edits.items()}
        routes = {name: route for name, route in better.items() if route is not None}
        longest = {name: row.get("longest_seconds") for name, row in edits.items()}
        wrong = [n for n, value in longest.items() if not _is_length(value)]
        if wrong:
            raise CheckpointError(f"{path}, {wrong[0]!r}: longest_seconds is a number from 1")
        return cls(routes, {n: float(value) for n, value in longest.items() if value is not None})

    def preferred(self, edit: Edit) -> Route | None:
        """Return the better route of an edit's type, or None where none was measured."""
        return self.routes.get(edit.name)


def _is_length(value: object) -> bool:
    """Say whether a value is a number of seconds, from 1, or absent."""
    return value is None or (
        isinstance(value, int | float) and not isinstance(value, bool) and 1 <= value < 1e5
    )


def _better(row: Any, where: str) -> Route | None:
    """Return the route that a row names, or whose score is higher; None of a length alone."""
    if not isinstance(row, Mapping):
        raise CheckpointError(f"{where}: expected an object with llm, dsp and route")
    if set(row) == {"longest_seconds"}:
        return None
    named = row.get("route")
    if named == "llm" or named == "dsp":
        return "llm" if named == "llm" else "dsp"
    scores = {route: row.get(route) for route in ("llm", "dsp")}
    known = {route: s for route, s in scores.items() if isinstance(s, int | float)}
    if named is not None or not known:
        raise CheckpointError(f"{where}: names no route, llm or dsp, and no score of either")
    return "llm" if known.get("llm", -1.0) >= known.get("dsp", -1.0) else "dsp"
