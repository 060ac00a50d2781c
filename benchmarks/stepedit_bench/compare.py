"""Paired differences between two runs over the cases that both have.

The mean difference comes with a percentile bootstrap interval over cases, its p value from a
paired permutation test (signs of the differences are flipped; all flips where there are few
cases, 9,999 random ones otherwise; scipy). Since many metrics are compared at once, p values are
also given adjusted by Benjamini and Hochberg (1995).
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from stepedit_bench.measuring.extras import need
from stepedit_bench.store import read_results, read_run
from stepedit_core.errors import StepeditError, printable
from stepedit_core.scoring import bootstrap_interval

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Difference", "compare_runs", "compare_values", "print_comparison", "refuse_unlike"]

SAME_SETTINGS = ("suite", "measures", "judges", "thresholds")
"""Settings that must be equal for figures to be comparable."""
_VERDICTS = ("joint", "reached", "preserved")
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Difference:
    """Difference of a metric between two runs, second minus first.

    Attributes:
        edit: name of the edit.
        iteration: which edit of the chain.
        metric: name of the metric; shares are 0..1.
        first: mean of the first run.
        second: mean of the second run.
        mean: mean paired difference.
        low: lower end of its 95 % interval.
        high: upper end.
        p: two-sided p value of the permutation test.
        p_adjusted: p value after Benjamini and Hochberg, over all differences.
        n: cases that both runs have measured.
        left_out: cases that only one of them has, or that one could not measure.
    """

    edit: str
    iteration: int
    metric: str
    first: float
    second: float
    mean: float
    low: float
    high: float
    p: float
    p_adjusted: float
    n: int
    left_out: int

    def to_data(self) -> dict[str, Any]:
        """Return the difference as JSON data."""
        return asdict(self)


def compare_values(
    first: Sequence[float], second: Sequence[float], seed: int
) -> tuple[float, float, float, float]:
    """Return mean difference, both ends of its interval, and the p value.

    Raises:
        ValueError: if there are no pairs, or the lengths differ.
    """
    if len(first) != len(second) or not first:
        raise ValueError("paired values are needed, as many of the one as of the other")
    stats = need("scipy.stats", "scipy", "comparison")
    differences = np.asarray(second, dtype=np.float64) - np.asarray(first, dtype=np.float64)
    rng = np.random.default_rng(seed)
    interval = bootstrap_interval(list(differences), rng)
    if not differences.any():
        return interval.mean, interval.low, interval.high, 1.0
    result = stats.permutation_test(
        (differences, np.zeros_like(differences)),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=9_999,
        batch=1_000,
        rng=rng,
    )
    return interval.mean, interval.low, interval.high, float(result.pvalue)


def _metrics(row: Row) -> dict[str, float | None]:
    """Return all that is compared in a row; None for what was not measured."""
    found: dict[str, float | None] = {
        name: None if row.get(name) is None else float(row[name]) for name in _VERDICTS
    }
    found.update(row.get("values", {}))
    kept = dict(row.get("kept") or {})
    text = kept.pop("text", None)
    if text:
        found[f"{text['unit']}_error_rate"] = text["rate"]
    found.update(kept)
    return found


def _by_case(folder: str | os.PathLike[str]) -> dict[tuple[str, int], dict[str, Row]]:
    """Return the edited rows by edit and iteration, then case."""
    found: dict[tuple[str, int], dict[str, Row]] = {}
    for row in read_results(folder):
        if row["condition"] == "edit":
            found.setdefault((row["edit"], row["iteration"]), {})[row["case"]] = row
    return found


def refuse_unlike(first: str | os.PathLike[str], second: str | os.PathLike[str]) -> None:
    """Refuse to compare runs that were measured in different ways; raises StepeditError."""
    one, two = read_run(first), read_run(second)
    for name in SAME_SETTINGS:
        if one.get(name) != two.get(name):
            raise StepeditError(
                f"{first} and {second} differ in {name}: their figures cannot be compared"
            )


def compare_runs(
    first: str | os.PathLike[str], second: str | os.PathLike[str], seed: int = 0
) -> list[Difference]:
    """Compare two runs metric by metric.

    Raises:
        StepeditError: if they were measured in different ways, or share no cases.
    """
    refuse_unlike(first, second)
    one, two = _by_case(first), _by_case(second)
    found: list[Difference] = []
    for key in [key for key in one if key in two]:
        _refuse_other_scorer(one[key], two[key], key[0])
        found.extend(_compare_group(key, one[key], two[key], seed))
    if not found:
        raise StepeditError(f"{first} and {second} have no cases in common")
    stats = need("scipy.stats", "scipy", "comparison")
    adjusted = stats.false_discovery_control([item.p for item in found])
    return [replace(item, p_adjusted=float(p)) for item, p in zip(found, adjusted, strict=True)]


def _refuse_other_scorer(one: Mapping[str, Row], two: Mapping[str, Row], edit: str) -> None:
    scorers = {
        f"{row.get('scorer')} version {row.get('scorer_version')}"
        for rows in (one, two)
        for row in rows.values()
    }
    if len(scorers) > 1:
        names = " and ".join(sorted(scorers))
        raise StepeditError(f"{edit}: scored by {names}; run one of them again")


def _compare_group(
    key: tuple[str, int], one: Mapping[str, Row], two: Mapping[str, Row], seed: int
) -> list[Difference]:
    """Compare the metrics of one edit and iteration."""
    every = {*one, *two}
    shared = [case for case in one if case in two]
    pairs = [(_metrics(one[case]), _metrics(two[case])) for case in shared]
    names = dict.fromkeys(name for pair in pairs for values in pair for name in values)
    found: list[Difference] = []
    for name in names:
        both = [
            (a, b)
            for first, second in pairs
            if (a := first.get(name)) is not None and (b := second.get(name)) is not None
        ]
        if not both:
            continue
        before, after = [a for a, _ in both], [b for _, b in both]
        own_seed = zlib.crc32(f"{seed}/{key}/{name}".encode())
        mean, low, high, p = compare_values(before, after, own_seed)
        found.append(
            Difference(
                *key,
                name,
                float(np.mean(before)),
                float(np.mean(after)),
                mean,
                low,
                high,
                p,
                p,
                len(both),
                len(every) - len(both),
            )
        )
    return found


def print_comparison(differences: Sequence[Difference], console: Console) -> None:
    """Print one line per metric; a star marks p < 0.05 after adjustment."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="second minus first, paired by case", title_justify="left")
    for name in ("edit", "it", "metric", "first", "second", "difference [95 %]", "p", "adj.", "n"):
        table.add_column(name, justify="left" if name in {"edit", "metric"} else "right")
    for item in differences:
        star = "*" if item.p_adjusted < 0.05 else " "
        table.add_row(
            escape(printable(item.edit)),
            str(item.iteration),
            escape(printable(item.metric)),
            f"{item.first:.3f}",
            f"{item.second:.3f}",
            f"{item.mean:+.3f} [{item.low:+.3f}, {item.high:+.3f}]",
            f"{item.p:.4f}",
            f"{item.p_adjusted:.4f}{star}",
            f"{item.n}" + (f" (-{item.left_out})" if item.left_out else ""),
        )
    console.print(table)
