"""JSON files beside a model's weights: figures, routes, rules of sampling.

``figures.json`` lies beside the weights. A benchmark writes it; core reads these keys::

    {"model": "fingerprint of the weights",
     "rows": [{"row": "identity.added_wer", "unit": "points", "kind": "real", "value": 14.2,
               "low": 11.0, "high": 17.5, "n": 48, "gate": 20, "goal": 8,
               "higher_is_better": false, "beside": {"dsp": 0.4, "world": 1.1}}, ...]}

``kind`` says whose speech it is (``real``, ``synthetic`` or ``all``); ``beside`` holds the same
figure for other ways. A row without a gate is only reported; one whose value is null was not
measured, and passes no gate.

``routes.json`` in the model's folder holds what a benchmark measured::

    {"model": "fingerprint of the weights",
     "edits": {"speed": {"llm": 0.61, "dsp": 0.94, "n": 48, "route": "dsp"}, ...}}

``llm`` and ``dsp`` are joint success (0..1) or null where the route does not exist, ``n`` is the
number of cases. ``route`` may be left out: then the better score decides, and ``llm`` a tie.
``longest_seconds`` may say how much speech the model edits well at once: longer utterances are
generated in stretches. A row may say that alone.

``sampling.json`` has the fields of ``SamplingConfig`` and ``GenerationPolicy`` that the model sets.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stepedit_core.config import GenerationPolicy, SamplingConfig, split_rules
from stepedit_core.edit import Edit, Route
from stepedit_core.errors import CheckpointError

__all__ = [
    "FIGURES_FILE",
    "ROUTES_FILE",
    "SAMPLING",
    "Figure",
    "RouteTable",
    "experimental",
    "folder_sampling",
    "read_figures",
]

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


SAMPLING = "sampling.json"
"""File of an engine folder with fields of ``SamplingConfig`` and ``GenerationPolicy``."""


def folder_sampling(folder: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return the fields of sampling and of policy that a model folder sets; none without a file.

    Raises:
        CheckpointError: if the file is damaged or names a field that does not exist.
    """
    path = folder / SAMPLING
    if not path.is_file():
        return {}, {}
    try:
        sampling, policy = split_rules(dict(json.loads(path.read_text(encoding="utf-8"))))
        SamplingConfig.model_validate(sampling)
        GenerationPolicy.model_validate(policy)
    except (OSError, TypeError, ValueError, RecursionError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"{path}: is damaged ({reason}); assemble or download the model again"
        ) from error
    return sampling, policy
