"""Aggregate the rows of a public test set: sums are pooled, and failures count.

A recording that was not made has reached nothing and has all errors. Only what could not be
measured on a recording that was made is left out, and counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from stepedit_bench.summary import share
from stepedit_core.scoring import Interval

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Count", "count_public", "print_counts"]

Row = Mapping[str, Any]
_RATES = {
    "local_error": ("local_errors", "local_length"),
    "outside_error": ("outside_errors", "outside_length"),
    "error": ("errors", "length"),
    "operations": ("operations_reached", "operations"),
    "pitch_error": ("pitch_error", "pitches"),
    "rate_error": ("rate_error", "rates"),
}
"""Figure to the sums that it is the ratio of."""


@dataclass(frozen=True)
class Count:
    """The figures of one row of a test set in one language, and of all languages.

    Attributes:
        row: of the set.
        language: BCP 47 tag, or an empty text for all.
        n: items.
        failed: items whose edits broke off.
        unsupported: items that no installed edit can express, or that have no such route.
        unscored: recordings that were made and could not be measured; left out of ``reached``.
        reached: share of items in which every target was reached.
        rates: pooled: ``local_error``, ``outside_error`` and ``error`` of the words,
            ``operations`` (share reached), ``pitch_error`` in semitones, ``rate_error`` in seconds.
        reasons: why items were not made or not measured, with counts.
    """

    row: str
    language: str
    n: int
    failed: int
    unsupported: int
    unscored: int
    reached: Interval | None
    rates: Mapping[str, float]
    reasons: Mapping[str, int]

    def to_data(self) -> dict[str, Any]:
        """Return JSON data."""
        return asdict(self)


def count_public(rows: Iterable[Row], seed: int = 0) -> list[Count]:
    """Return the figures of every row and language, those of all languages first."""
    edited = [row for row in rows if row["condition"] == "edit"]
    found = []
    for name in dict.fromkeys(str(row["edit"]) for row in edited):
        own = [row for row in edited if row["edit"] == name]
        languages = sorted({str(row["language"] or "unknown") for row in own})
        found.append(_count(name, "", own, seed))
        if len(languages) > 1:
            parts = {
                one: [row for row in own if str(row["language"] or "unknown") == one]
                for one in languages
            }
            found += [_count(name, one, part, seed) for one, part in parts.items()]
    return found


def _count(name: str, language: str, rows: Sequence[Row], seed: int) -> Count:
    sums: dict[str, float] = {}
    reasons: dict[str, int] = {}
    for row in rows:
        for key, value in row["values"].items():
            sums[key] = sums.get(key, 0.0) + float(value or 0.0)
        why = row.get("problem") or row.get("unscored")
        if why:
            reasons[str(why)] = reasons.get(str(why), 0) + 1
    rates = {
        figure: sums[over] / sums[under]
        for figure, (over, under) in _RATES.items()
        if sums.get(under) and over in sums
    }
    return Count(
        row=name,
        language=language,
        n=len(rows),
        failed=sum(row["status"] == "failed" for row in rows),
        unsupported=sum(row["status"] == "unsupported" for row in rows),
        unscored=sum(row["status"] == "ok" and row["reached"] is None for row in rows),
        reached=share((row["reached"] for row in rows), seed),
        rates=rates,
        reasons=dict(sorted(reasons.items(), key=lambda item: -item[1])),
    )


def print_counts(counts: Sequence[Count], console: Console) -> None:
    """Print one line per row and language."""
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    headings = ("row", "language", "n", "not made", "unscored", "reached, %", "operations, %")
    for heading in (*headings, "local error, %"):
        table.add_column(heading, overflow="fold")
    for one in counts:
        rates = [one.rates.get(name) for name in ("operations", "local_error")]
        table.add_row(
            one.row,
            one.language or "all",
            str(one.n),
            str(one.failed + one.unsupported),
            str(one.unscored),
            "–" if one.reached is None else f"{100 * one.reached.mean:.1f}",
            *("–" if rate is None else f"{100 * rate:.1f}" for rate in rates),
        )
    console.print(table)
