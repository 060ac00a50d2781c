"""Compute the figures of an engine from the rows of its run: intervals and gates."""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from stepedit_bench.heldout.gates import GATES, Gate, Rows
from stepedit_bench.heldout.requests import HeldOut
from stepedit_bench.heldout.routes import routes_of
from stepedit_bench.heldout.speech import KINDS, LENGTHS, SHORT
from stepedit_bench.store import write_text
from stepedit_bench.summary import heard_by, share
from stepedit_core.engine import SpeechEngine, longest_seconds
from stepedit_core.scoring import Interval, bootstrap_interval

__all__ = ["COSTS", "figure_rows", "unscored_reasons", "write_figures"]

_RESAMPLES = 1000
_NAMES = {"source": "original", "edit": "llm"}
"""Conditions that ``figures.json`` calls otherwise than the rows of a run."""
COSTS: Mapping[str, tuple[str, float, float]] = {
    "rtf": ("CPU s per s", 1.0, 0.4),
    "memory_gb": ("GB", 1.5, 0.8),
}
"""Figure of ``cost`` to unit, gate and goal."""
Row = Mapping[str, Any]


def _units(rows: Sequence[Row]) -> dict[str, list[Rows]]:
    """Return the rows of each unit by condition, for each row of the figures."""
    found: dict[str, dict[str, dict[str, list[Row]]]] = {}
    for row in rows:
        unit = found.setdefault(row["edit"], {}).setdefault(row["case"], {})
        unit.setdefault(row["condition"], []).append(row)
    return {name: list(units.values()) for name, units in found.items()}


def _stratum(unit: Rows) -> tuple[str, str]:
    """Return the kind of speech and the length of a unit."""
    first = next(iter(unit.values()))[0]
    return str(first["kind"]), str(first["length"])


def _strata(units: Sequence[Rows]) -> Iterator[tuple[str, list[Rows]]]:
    """Yield real, synthetic and all units of each length; short ones under their plain names."""
    lengths = {_stratum(unit)[1] for unit in units}
    for length in [one.label for one in LENGTHS.values() if one.label in lengths]:
        own = [unit for unit in units if _stratum(unit)[1] == length]
        suffix = "" if length == SHORT.label else f", {length}"
        for kind in KINDS:
            yield f"{kind}{suffix}", [unit for unit in own if _stratum(unit)[0] == kind]
        yield f"all{suffix}", own


def interval(gate: Gate, numbers: Sequence[Sequence[float]], seed: int) -> Interval:
    """Return a figure; a share that all units agree on has Wilson's interval."""
    if gate.share:
        found = share([bool(one[0]) for one in numbers], seed)
        assert found is not None
        return Interval(100 * found.mean, 100 * found.low, 100 * found.high, found.n)
    rng = np.random.default_rng(seed)
    return bootstrap_interval(numbers, rng, resamples=_RESAMPLES, statistic=gate.statistic)


def figure_rows(rows: Sequence[Row], seed: int) -> Iterator[dict[str, Any]]:
    """Yield one row for each figure and kind of speech that was measured; JSON data.

    Where nothing was made by an engine there is no value, only what stands beside.

    Args:
        rows: of the run.
        seed: of the intervals.
    """
    units = _units(rows)
    for gate in GATES:
        for kind, own in _strata(units.get(gate.row, ())):

            def numbers(condition: str, own: list[Rows] = own, gate: Gate = gate) -> Any:
                found = [gate.measure(unit, condition) for unit in own]
                return [one for one in found if one is not None]

            beside = {
                _NAMES.get(name, name): round(gate.statistic(*np.asarray(found).T), 4)
                for name in gate.beside
                if name != gate.condition and (found := numbers(name))
            }
            judged = numbers(gate.condition)
            if not judged and not beside:
                continue
            measured = interval(gate, judged, seed) if judged else None
            row = {"row": gate.name, "unit": gate.unit, "kind": kind}
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


def _with_lengths(
    routes: dict[str, dict[str, Any]], units: Sequence[HeldOut], engine: SpeechEngine | None
) -> dict[str, dict[str, Any]]:
    """Add how much speech of an edit the engine takes at once: it was measured so."""
    for edit in {type(edit): edit for unit in units for edit in unit.edits}.values():
        longest = longest_seconds(engine, edit) if engine is not None else None
        if longest is not None and edit.name in routes:
            routes[edit.name]["longest_seconds"] = longest
    return routes


def unscored_reasons(rows: Sequence[Row]) -> dict[str, int]:
    """Count what failed or could not be measured, by row, condition and reason."""
    counted: Counter[str] = Counter()
    for row in rows:
        reasons = [row.get("problem"), row.get("unscored"), *(row.get("failures") or {}).values()]
        for reason in filter(None, reasons):
            counted[f"{row['edit']} {row['condition']}: {str(reason)[:160]}"] += 1
    return dict(counted.most_common())


def write_figures(
    folder: Path,
    rows: Sequence[Row],
    units: Sequence[HeldOut],
    engine: SpeechEngine | None,
    cost: Mapping[str, float] | None,
    seed: int,
    command: str,
) -> Path:
    """Write ``figures.json`` and ``routes.json`` of a run, and return the former.

    Args:
        folder: of the run.
        rows: what was measured.
        units: what was asked.
        engine: what was measured; None for the baselines.
        cost: time and memory of an edit, where they were measured.
        seed: of the run.
        command: that measures the same.
    """
    described = {} if engine is None else dict(engine.describe())
    measured = {
        "command": command,
        "machine": f"{platform.machine()} {platform.system()}, {_processor()}",
        "version": version("stepedit"),
        "python": platform.python_version(),
        "day": datetime.now(UTC).date().isoformat(),
        "seed": seed,
        "utterances": _utterances(units),
        "heard_by": heard_by(rows),
    }
    model = described.get("weights") or described.get("name") or "none"
    table = [*figure_rows(rows, seed), *(cost_rows(cost) if cost else ())]
    figures = {"model": model, "rows": table, "measured": measured}
    routes = {"model": model, "edits": _with_lengths(routes_of(rows), units, engine)}
    for name, data in (("routes.json", routes), ("figures.json", figures)):
        write_text(folder / name, json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    return folder / "figures.json"


def _processor() -> str:
    """Return the processor's model name."""
    about = Path("/proc/cpuinfo")
    if about.is_file():
        for line in about.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "processor unknown"


def _utterances(units: Sequence[HeldOut]) -> dict[str, Any]:
    """Return the counts of utterances and speakers of each kind, and the source of their texts."""
    held = {unit.held.id: unit.held for unit in units}.values()
    found = {}
    for kind, length in dict.fromkeys((one.kind, one.length) for one in held):
        own = [one for one in held if (one.kind, one.length) == (kind, length)]
        found[kind if length == SHORT else f"{kind}, {length.label}"] = {
            "utterances": len(own),
            "speakers": len({one.speaker for one in own}),
            "seconds": round(sum(one.speech.seconds for one in own), 1),
            "words_from_whisper": sum(one.text_source == "whisper" for one in own),
        }
    return found
