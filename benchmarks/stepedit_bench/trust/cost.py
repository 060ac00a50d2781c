"""What limits cost: processor time of the same edits by an engine, with and without them.

Each edit is carried out twice, without limits and with them, and each time as the first one that
the engine meets: neither finds what the other, or an earlier edit of the same recording, left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from stepedit_bench.heldout.requests import HeldOut, Pools
from stepedit_bench.produce import prepare
from stepedit_bench.trust.families import FAMILIES, family_units
from stepedit_bench.trust.timing import timed
from stepedit_core.chain.accept import Accept
from stepedit_core.chain.chain import Chain
from stepedit_core.engine import SpeechEngine
from stepedit_core.errors import EditError, StepeditError

__all__ = ["COST_FAMILIES", "CostUnit", "cost_units", "measure_cost", "summarise_costs"]

COST_FAMILIES = (*FAMILIES, "paralinguistic")
"""Rows of the figures whose edits are timed."""


@dataclass(frozen=True)
class CostUnit:
    """One request by the llm route.

    Attributes:
        held: the request and its recording.
    """

    part: ClassVar[Literal["cost"]] = "cost"
    held: HeldOut

    @property
    def name(self) -> str:
        """Unique name."""
        return f"{self.held.edit}/{self.held.name}"


def cost_units(pools: Pools, seed: int, count: int) -> Iterator[CostUnit]:
    """Yield up to ``count`` requests, families in turn; arguments as of `family_units`."""
    asked = family_units(pools, seed, 10**6, COST_FAMILIES)
    by_engine = [unit for unit in asked if unit.route == "llm"]
    for unit in by_engine[:count]:
        yield CostUnit(unit.held)


def measure_cost(unit: CostUnit, engine: SpeechEngine, limits: Accept) -> dict[str, Any]:
    """Return the seconds that an edit takes without and with limits; JSON data."""
    held = unit.held
    source = prepare(held, held.start()).source

    def carried_out(accept: Accept | None) -> dict[str, Any]:
        try:
            made = Chain(held.edits)(source, engine, seed=held.seed, route="llm", accept=accept)
        except EditError as error:
            return {"accepted": False, "drawn": len(error.tries)}
        except StepeditError as error:
            return {"accepted": False, "error": str(error)}
        step = made.steps[-1]
        return {"accepted": step.accepted, "drawn": step.judged.get("drawn", 1)}

    row: dict[str, Any] = {"family": held.edit, "edit": held.edits[0].name}
    for name, accept in (("off", None), ("on", limits)):
        found, seconds = timed(engine, lambda accept=accept: carried_out(accept))  # type: ignore[misc]
        row[name] = {**found, "seconds": round(seconds, 3)}
    return row


def summarise_costs(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return seconds and their ratio, of all and by family; edits that no engine did are left out.

    ``all`` divides the sums, so that families count by what their edits take; ``even`` is the mean
    of the families' ratios.
    """
    done = [row for row in rows if "error" not in row["off"]]
    parts: dict[str, list[Mapping[str, Any]]] = {"all": done}
    for row in done:
        parts.setdefault(row["family"], []).append(row)
    found: dict[str, Any] = {}
    for name, own in parts.items():
        off, on = (sum(row[which]["seconds"] for row in own) for which in ("off", "on"))
        found[name] = {
            "edits": len(own),
            "accepted": sum(bool(row["on"]["accepted"]) for row in own),
            "seconds": {"off": round(off, 2), "on": round(on, 2)},
            "cost": round(on / max(off, 1e-6), 2),
        }
    ratios = [one["cost"] for name, one in found.items() if name != "all"]
    return {**found, "even": round(sum(ratios) / len(ratios), 2) if ratios else None}
