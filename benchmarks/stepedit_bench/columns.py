"""The columns of a report: every recording of a case side by side, of one run or of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stepedit_bench.summary import share
from stepedit_core.scoring import Interval

__all__ = ["Column", "Pivot", "columns_of", "merge", "pivot", "stratum_of", "tags_of"]

Row = Mapping[str, Any]
_ORDER = ("source", "world", "dsp", "identity", "target", "edit")


@dataclass(frozen=True, order=True)
class Column:
    """One kind of recording.

    Attributes:
        run: place of the run among those compared.
        place: of the condition, in the order of tables.
        iteration: which edit of a chain; 0 where nothing was edited.
        condition: as ``stepedit_bench.conditions`` names it.
        label: of the run; empty for a run alone.
    """

    run: int
    place: int
    iteration: int
    condition: str
    label: str = ""

    @property
    def name(self) -> str:
        """What tables call the column."""
        plain = self.condition
        if self.condition == "edit":
            plain = f"iteration {self.iteration}"
        elif self.iteration > 1:
            plain = f"{self.condition} x {self.iteration}"
        return f"{self.label}: {plain}" if self.label else plain


def column_of(row: Row) -> Column:
    """Return the column that a row stands in."""
    place = _ORDER.index(row["condition"])
    iteration = row["iteration"]
    return Column(row.get("run", 0), place, iteration, row["condition"], row.get("run_label", ""))


def columns_of(rows: Sequence[Row]) -> list[Column]:
    """Return the columns of rows, in the order of tables."""
    return sorted({column_of(row) for row in rows})


def merge(runs: Sequence[tuple[str, Sequence[Row]]]) -> list[dict[str, Any]]:
    """Return the rows of several runs together; the sources are those of the first.

    Args:
        runs: label and rows of each.
    """
    found = [{**row, "run": 0, "run_label": ""} for row in runs[0][1]]
    if len(runs) > 1:
        found = [
            row if row["condition"] == "source" else {**row, "run_label": runs[0][0]}
            for row in found
        ]
    for number, (label, rows) in enumerate(runs[1:], start=1):
        found += [
            {**row, "run": number, "run_label": label}
            for row in rows
            if row["condition"] != "source"
        ]
    return found


def stratum_of(row: Row) -> str:
    """Return the stratum of a case: its kind of speech and its length, where they are known."""
    parts = [row.get("kind"), row.get("length")]
    return ", ".join(str(part) for part in parts if part) or "all"


def tags_of(row: Row) -> dict[str, str]:
    """Return the tags that a reader may filter by."""
    return {"language": str(row.get("language") or "unknown"), "stratum": stratum_of(row)}


@dataclass(frozen=True)
class Pivot:
    """A table of shares: a line for each part of the cases, a column for each recording.

    Attributes:
        verdict: ``reached``, ``preserved`` or ``joint``.
        columns: of the table.
        lines: title and tags of a part, and a share for each column, or None.
    """

    verdict: str
    columns: Sequence[Column]
    lines: Sequence[tuple[str, Mapping[str, str], Sequence[Interval | None]]]


def pivot(rows: Sequence[Row], verdict: str, seed: int) -> Pivot | None:
    """Return a verdict's shares of all cases, per stratum and per language.

    Columns that nobody judged are left out; None is returned where that is all of them.

    Args:
        rows: of one edit.
        verdict: key of the rows.
        seed: of the intervals.
    """
    columns = columns_of([row for row in rows if row.get(verdict) is not None])
    if not columns:
        return None
    parts: list[tuple[str, Mapping[str, str], Sequence[Row]]] = [("all", {}, rows)]
    for name in ("stratum", "language"):
        values = sorted({tags_of(row)[name] for row in rows})
        for value in values if len(values) > 1 else ():
            own = [row for row in rows if tags_of(row)[name] == value]
            parts.append((value, {name: value}, own))
    lines = []
    for title, tags, part in parts:
        cells = [
            share((row.get(verdict) for row in part if column_of(row) == column), seed)
            for column in columns
        ]
        lines.append((title, tags, cells))
    return Pivot(verdict, columns, lines)
