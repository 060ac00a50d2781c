"""Figures from lines: values with intervals, gates, and the same beside other conditions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from stepedit_bench.figures.gates import GATES, Gate, Numbers
from stepedit_bench.figures.heldout import KINDS
from stepedit_bench.figures.running import Run
from stepedit_bench.summary import share as share_of
from stepedit_core.scoring import Interval

__all__ = ["COSTS", "cost_rows", "estimate", "figure_rows", "unscored_reasons"]

_RESAMPLES = 1000
COSTS: Mapping[str, tuple[str, float, float]] = {
    "rtf": ("CPU s per s", 1.0, 0.4),
    "memory_gb": ("GB", 1.5, 0.8),
}
"""Figure of ``cost`` to unit, gate and goal."""


def estimate(
    numbers: Sequence[Sequence[float]], statistic: Callable[..., float], seed: int
) -> Interval:
    """Return a statistic with a percentile bootstrap interval over items, 95 %.

    Args:
        numbers: one tuple per item; its places are the statistic's columns.
        statistic: of the columns.
        seed: of the resamples.
    """
    table = np.asarray(numbers, dtype=np.float64)
    rng = np.random.default_rng(seed)
    drawn = [
        statistic(*table[rng.integers(len(table), size=len(table))].T) for _ in range(_RESAMPLES)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(statistic(*table.T), float(low), float(high), len(table))


def _interval(gate: Gate, numbers: Sequence[Sequence[float]], seed: int) -> Interval:
    """Return a figure; a share that all items agree on has Wilson's interval."""
    if gate.share:
        found = share_of([bool(one[0]) for one in numbers], seed)
        assert found is not None
        return Interval(100 * found.mean, 100 * found.low, 100 * found.high, found.n)
    return estimate(numbers, gate.statistic, seed)


def _numbers(run: Run, gate: Gate, condition: str, kind: str) -> list[tuple[float, ...]]:
    """Return what each measured item of a kind adds to a figure."""
    found: list[Numbers] = [
        gate.measure(run, item, run.lines[item.id], condition)
        for item in run.items
        if item.row == gate.row and kind in ("all", item.held.kind)
    ]
    return [numbers for numbers in found if numbers is not None]


def figure_rows(run: Run, seed: int) -> Iterator[dict[str, Any]]:
    """Yield one row for each figure and kind of speech that was measured; JSON data.

    Where nothing was made by an engine there is no value, only what stands beside.
    """
    rows = {item.row for item in run.items}
    for gate in GATES:
        if gate.row not in rows:
            continue
        for kind in (*KINDS, "all"):
            beside = {
                name: round(gate.statistic(*np.asarray(numbers, dtype=np.float64).T), 4)
                for name in gate.beside
                if name != gate.condition and (numbers := _numbers(run, gate, name, kind))
            }
            numbers = _numbers(run, gate, gate.condition, kind)
            if not numbers and not beside:
                continue
            row = {"row": gate.name, "unit": gate.unit, "kind": kind}
            measured = _interval(gate, numbers, seed) if numbers else None
            yield {**row, **_judged(gate, measured), "beside": beside}


def _judged(gate: Gate, found: Interval | None) -> dict[str, Any]:
    """Return value, interval, limits and whether they are met; None where nothing is measured."""
    limits = {"gate": gate.gate, "goal": gate.goal, "higher_is_better": gate.higher}
    if found is None:
        return {"value": None, "low": None, "high": None, "n": 0, **limits} | dict.fromkeys(
            ("gate_met", "goal_met")
        )
    return {
        "value": round(found.mean, 4),
        "low": round(found.low, 4),
        "high": round(found.high, 4),
        "n": found.n,
        **limits,
        "gate_met": gate.meets(found.mean, gate.gate),
        "goal_met": gate.meets(found.mean, gate.goal),
    }


def cost_rows(cost: Mapping[str, float]) -> Iterator[dict[str, Any]]:
    """Yield the rows of time and memory."""
    for name, (unit, gate, goal) in COSTS.items():
        value = round(cost[name], 4)
        yield {
            "row": f"cost.{name}",
            "unit": unit,
            "kind": "all",
            "value": value,
            "low": None,
            "high": None,
            "n": int(cost["n"]),
            "gate": gate,
            "goal": goal,
            "higher_is_better": False,
            "gate_met": value <= gate,
            "goal_met": value <= goal,
            "beside": {},
        }


def unscored_reasons(run: Run) -> dict[str, int]:
    """Count what failed or could not be measured, by row, condition and reason."""
    counted: Counter[str] = Counter()
    for item in run.items:
        for condition, line in run.lines[item.id].items():
            reasons = [line.get("problem"), (line.get("score") or {}).get("unscored")]
            reasons += list((line.get("failures") or {}).values())
            for reason in filter(None, reasons):
                counted[f"{item.row} {condition}: {str(reason)[:160]}"] += 1
    return dict(counted.most_common())
