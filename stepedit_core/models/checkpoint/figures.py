"""Figures that were measured with a model, and the gates that they are held to.

``figures.json`` lies beside the weights. A benchmark writes it; core reads these keys::

    {"model": "fingerprint of the weights",
     "rows": [{"row": "identity.added_wer", "unit": "points", "kind": "real", "value": 14.2,
               "low": 11.0, "high": 17.5, "n": 48, "gate": 20, "goal": 8,
               "higher_is_better": false, "beside": {"dsp": 0.4, "world": 1.1}}, ...]}

``kind`` says whose speech it is (``real``, ``synthetic`` or ``all``); ``beside`` holds the same
figure for other ways. A row without a gate is only reported; one whose value is null was not
measured, and passes no gate.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stepedit_core.errors import CheckpointError

__all__ = ["FIGURES_FILE", "Figure", "experimental", "read_figures"]

FIGURES_FILE = "figures.json"
_NAMED = 4


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        name: what was measured.
        kind: whose speech: ``real``, ``synthetic`` or ``all``.
        unit: of value, gate and goal.
        value: or None where it was not measured.
        low: lower end of its 95 % interval, or None.
        high: upper end of it, or None.
        n: cases.
        gate: worst value with which the model is not called experimental, or None.
        goal: value that was aimed at, or None.
        is_higher_better: direction.
        beside: the same for other ways, by name.
    """

    name: str
    kind: str = "all"
    unit: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    gate: float | None = None
    goal: float | None = None
    is_higher_better: bool = True
    beside: Mapping[str, float] = field(default_factory=dict)

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


def _figure(row: Mapping[str, Any]) -> Figure:
    numbers = {key: _number(row, key) for key in ("value", "low", "high", "gate", "goal")}
    beside = row.get("beside") or {}
    return Figure(
        name=str(row["row"]),
        kind=str(row.get("kind", "all")),
        unit=str(row.get("unit", "")),
        n=int(row.get("n") or 0),
        is_higher_better=bool(row.get("higher_is_better", True)),
        beside={name: float(value) for name, value in beside.items() if value is not None},
        **numbers,
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
        return [_figure(row) for row in content["rows"]]
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is not a list of figures ({error})") from error


def experimental(figures: Sequence[Figure]) -> str | None:
    """Return why a model with these figures is experimental, or None where it passes every gate.

    A figure counts as missed if it is for any kind of speech.
    """
    gated = [figure for figure in figures if figure.passes is not None]
    if not gated:
        return "its figures have not been measured yet"
    missed = list(dict.fromkeys(figure.name for figure in gated if not figure.passes))
    if not missed:
        return None
    together = len({figure.name for figure in gated})
    named = ", ".join(missed[:_NAMED]) + (", ..." if len(missed) > _NAMED else "")
    return f"it misses {len(missed)} of {together} gates ({named})"
