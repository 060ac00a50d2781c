"""``stepedit bench interpret``: score an interpreter on instructions with known chains."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from stepedit_bench.interpreting.scoring import Row, read_instructions, run

__all__ = ["interpret", "shares"]


def shares(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the figures of some rows: counts, and shares of those that ask for an edit.

    ``exact`` and ``partial`` count over instructions that ask for edits, ``wrong_but_run`` over
    all, ``refused_rightly`` over those that have to be refused or answered with a question.
    """
    edits = [row for row in rows if isinstance(row.instruction.expect, list)]
    others = [row for row in rows if not isinstance(row.instruction.expect, list)]
    times = sorted(row.seconds for row in rows)

    def share(part: int, whole: int) -> float | None:
        return round(part / whole, 4) if whole else None

    return {
        "instructions": len(rows),
        "exact": share(sum(row.right for row in edits), len(edits)),
        "partial": share(sum(row.outcome == "partial" for row in edits), len(edits)),
        "refused_wrongly": share(
            sum(row.outcome in ("refused", "asked") and not row.right for row in edits),
            len(edits),
        ),
        "wrong_but_run": share(sum(row.outcome == "wrong" for row in rows), len(rows)),
        "refused_rightly": share(sum(row.right for row in others), len(others)),
        "median_ms": round(1000 * times[len(times) // 2], 2) if times else None,
        "slowest_ms": round(1000 * times[-1], 2) if times else None,
    }


def _groups(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Return the figures of all rows, and by kind, language and origin."""
    by: list[tuple[str, Callable[[Row], bool]]] = [("all", lambda row: True)]
    for kind in dict.fromkeys(row.instruction.kind for row in rows):
        by.append((kind, lambda row, kind=kind: row.instruction.kind == kind))  # type: ignore[misc]
    for language in ("en", "zh"):
        by.append((language, lambda row, x=language: row.instruction.language == x))  # type: ignore[misc]
    by += [
        ("written before", lambda row: row.instruction.blind),
        ("written after", lambda row: not row.instruction.blind),
    ]
    found = ((name, [row for row in rows if chosen(row)]) for name, chosen in by)
    return {name: shares(some) for name, some in found if some}


@click.command("interpret")
@click.option("--set", "file", type=click.Path(path_type=Path), help="Another set, as JSONL.")
@click.option("--interpreter", default="grammar", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("-v", "--verbose", is_flag=True, help="Show every instruction that is not right.")
def interpret(file: Path | None, interpreter: str, as_json: bool, verbose: bool) -> None:
    """Score an interpreter on instructions with known chains.

    exact: the chain that was asked for; partial: some of its edits and no other; wrong but run:
    a chain that nobody asked for; refused rightly: of those that no edit can do or that are
    ambiguous.
    """
    rows = run(read_instructions(file), interpreter)
    figures = _groups(rows)
    if as_json:
        click.echo(json.dumps(figures, indent=2))
        return
    from stepedit_core.cli.tables import print_table

    names = list(next(iter(figures.values())))
    cells = [
        (group, *("" if one[name] is None else f"{one[name]:g}" for name in names))
        for group, one in figures.items()
    ]
    headings = ("group", *(name.replace("_", " ") for name in names))
    print_table(headings, cells, prose={0})
    for row in rows if verbose else ():
        if not row.right:
            said = row.instruction.say
            click.echo(f"{row.outcome}: {said} -> {row.found}")
