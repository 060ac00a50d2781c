"""Joint success of an item, by the bench's own checks, and the better route of an edit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stepedit_bench import preservation
from stepedit_bench.figures.families import Item
from stepedit_bench.figures.making import Maker
from stepedit_bench.figures.running import Run
from stepedit_bench.measuring.text_error import TextErrors
from stepedit_bench.preservation import Kept
from stepedit_bench.rows import joint, waived
from stepedit_core.registry.registry import get_registry

__all__ = ["joint_success", "routes_of"]

Line = Mapping[str, Any]


def _kept(line: Line | None) -> Kept | None:
    """Return what a line says of its recording."""
    if line is None or "kept" not in line:
        return None
    values = dict(line["kept"])
    text = values.pop("text")
    errors = None if text is None else TextErrors(text["errors"], text["length"], text["unit"])
    return Kept(errors, values)


def joint_success(
    maker: Maker, item: Item, lines: Mapping[str, Line], condition: str
) -> bool | None:
    """Return whether the target was reached and all else kept; None where it is not known."""
    line = lines.get(condition)
    if line is None or item.case is None:
        return None
    if line.get("problem"):
        return False
    output, source = _kept(line), _kept(lines.get("original"))
    if output is None or source is None:
        return None
    scorer = get_registry().scorer(type(item.case.edit))
    checks = preservation.check(
        output,
        source,
        _kept(lines.get("identity")) if condition == "llm" else None,
        reference=_kept(lines.get("ideal")),
        length_ratio=float(item.case.edit.plan(maker.prepared(item).source).length_ratio),
        same_duration=scorer.expects_same_duration,
        waived=waived(scorer, item.case),
    )
    return joint(line.get("score", {}).get("reached"), preservation.verdict(checks))


def routes_of(run: Run) -> dict[str, dict[str, Any]]:
    """Return for each edit both routes' joint success on the same cases, and the better route.

    A tie goes to dsp. An edit without a dsp route for any case keeps llm.
    """
    both: dict[str, list[tuple[bool, bool | None]]] = {}
    for item in run.items:
        lines = run.lines[item.id]
        if item.case is None or "llm" not in lines:
            continue
        has_dsp = item.case.edit.route_problem("dsp") is None
        llm = joint_success(run.maker, item, lines, "llm")
        dsp = joint_success(run.maker, item, lines, "dsp") if has_dsp else None
        if llm is not None and (dsp is not None or not has_dsp):
            both.setdefault(item.case.edit.name, []).append((llm, dsp))
    return {name: _choice(pairs) for name, pairs in sorted(both.items())}


def _choice(pairs: list[tuple[bool, bool | None]]) -> dict[str, Any]:
    """Compare the routes over cases that both can carry out, or over all where dsp has none."""
    known = [(llm, dsp) for llm, dsp in pairs if dsp is not None]
    llm = sum(pair[0] for pair in known or pairs) / len(known or pairs)
    dsp = sum(bool(pair[1]) for pair in known) / len(known) if known else None
    better = dsp is None or llm > dsp
    return {
        "llm": round(llm, 4),
        "dsp": None if dsp is None else round(dsp, 4),
        "n": len(known or pairs),
        "route": "llm" if better else "dsp",
    }
