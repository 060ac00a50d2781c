"""Figures that were measured with a model, and the gates that they are held to.

``figures.json`` lies beside the weights::

    {"figures": [{"name": "identity edit: added word error, points", "kind": "real",
                  "value": 14.2, "n": 48, "gate": 20, "goal": 8, "better": "lower"}, ...]}

``kind`` says whose speech it is (``real``, ``synthetic`` or ``all``); a figure without a gate is
only reported, and one whose value is null was not measured, which passes no gate.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stepedit_core.errors import CheckpointError

__all__ = ["FIGURES_FILE", "Figure", "missed_gates", "read_figures"]

FIGURES_FILE = "figures.json"


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        name: what was measured, with its unit.
        kind: whose speech: ``real``, ``synthetic`` or ``all``.
        value: or None where it was not measured.
        n: cases.
        gate: worst value with which the model is not called experimental, or None.
        goal: value that was aimed at, or None.
        is_higher_better: direction.
        note: further words.
    """

    name: str
    kind: str = "all"
    value: float | None = None
    n: int | None = None
    gate: float | None = None
    goal: float | None = None
    is_higher_better: bool = True
    note: str = ""

    def _reaches(self, limit: float | None) -> bool | None:
        if limit is None:
            return None
        if self.value is None:
            return False
        return self.value >= limit if self.is_higher_better else self.value <= limit

    @property
    def passes(self) -> bool | None:
        """Whether the gate is passed; None where there is none."""
        return self._reaches(self.gate)

    @property
    def reaches_goal(self) -> bool | None:
        """Whether the goal is reached; None where there is none."""
        return self._reaches(self.goal)


def _number(row: Mapping[str, Any], key: str) -> float | None:
    value = row.get(key)
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    raise ValueError(f"{key} is {value!r}, not a number")


def _figure(row: Any) -> Figure:
    better = row.get("better", "higher")
    if better not in ("higher", "lower"):
        raise ValueError(f"better is {better!r}, not higher or lower")
    n = _number(row, "n")
    return Figure(
        str(row["name"]),
        str(row.get("kind", "all")),
        _number(row, "value"),
        None if n is None else int(n),
        _number(row, "gate"),
        _number(row, "goal"),
        better == "higher",
        str(row.get("note") or ""),
    )


def read_figures(folder: Path) -> list[Figure]:
    """Return the figures of a model's folder; none where it brings no ``figures.json``.

    Raises:
        CheckpointError: if the file is damaged.
    """
    path = folder / FIGURES_FILE
    if not path.is_file():
        return []
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return [_figure(row) for row in content["figures"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is not a list of figures ({error})") from error


def missed_gates(folder: Path) -> list[Figure] | None:
    """Return the figures below their gate, or None where no figure with a gate was measured."""
    gated = [figure for figure in read_figures(folder) if figure.passes is not None]
    return [figure for figure in gated if not figure.passes] if gated else None
