"""Shares and means over the rows of a run, with their confidence intervals."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stepedit_bench.preservation import CHECKS
from stepedit_core.errors import printable
from stepedit_core.scoring import Interval, bootstrap_interval

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "KEPT",
    "Group",
    "group_rows",
    "heard_by",
    "print_table",
    "share",
    "summarise",
    "summarise_group",
]

Row = Mapping[str, Any]
KEPT = ("speaker_similarity", "dnsmos_ovrl", "loudness_lufs", "clipped_share", "seconds")
"""Means that are printed beside the checks."""
_ORDER = {"source": 0, "world": 1, "dsp": 2, "identity": 3, "target": 4, "edit": 5}


@dataclass(frozen=True)
class Group:
    """Aggregate of the rows of one edit, condition and iteration.

    Attributes:
        edit: name of the edit.
        condition: as ``stepedit_bench.conditions`` names them.
        iteration: 0 for source and identity.
        part: language, class or speaker that the rows are of, or an empty text for all.
        n: rows.
        unsupported: rows without a route for these parameters; they count as not reached.
        failed: rows whose edit failed; they count as not reached.
        unscored: rows whose target could not be measured; they are left out of ``reached``.
        unmeasured: rows with an open preservation check; left out of ``preserved``.
        reached: share of rows that reached their target.
        preserved: share of rows that kept everything else.
        joint: share of rows that did both.
        joint_bounds: ``joint`` if all rows left out had failed, and if all had succeeded.
        checks: share passed for each preservation check.
        kept: mean of each preservation metric, and the pooled text error rate.
        values: mean of each of the scorer's own metrics.
        reasons: why rows were unscored, unsupported or failed, with counts.
    """

    edit: str
    condition: str
    iteration: int
    part: str
    n: int
    unsupported: int
    failed: int
    unscored: int
    unmeasured: int
    reached: Interval | None
    preserved: Interval | None
    joint: Interval | None
    joint_bounds: tuple[float, float] | None
    checks: Mapping[str, float]
    kept: Mapping[str, float]
    values: Mapping[str, float]
    reasons: Mapping[str, int]

    def to_data(self) -> dict[str, Any]:
        """Return the group as JSON data."""
        return asdict(self)


def heard_by(rows: Iterable[Row]) -> dict[str, list[str]]:
    """Return language to whoever heard the words of its recordings, with versions."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row.get("heard_by"):
            names = found.setdefault(str(row["language"] or "unknown"), [])
            names += [row["heard_by"]] if row["heard_by"] not in names else []
    return dict(sorted(found.items()))


def share(values: Iterable[bool | None], seed: int) -> Interval | None:
    """Return the share of True among what is known, with a 95 % bootstrap interval.

    Where all cases agree, resampling them has no spread, which is not certainty; the Wilson
    score interval (Wilson 1927) takes its place there.
    """
    known = [float(value) for value in values if value is not None]
    if not known:
        return None
    if len(set(known)) == 1:
        return _wilson(known[0], len(known))
    return bootstrap_interval(known, np.random.default_rng(seed))


def _wilson(mean: float, n: int) -> Interval:
    """Return the 95 % Wilson score interval of a share that is 0 or 1."""
    z2 = 1.959964**2
    far = z2 / (n + z2)
    return Interval(mean, 0.0, far, n) if mean == 0 else Interval(mean, 1.0 - far, 1.0, n)


def _means(rows: Sequence[Row], field: str, names: Iterable[str] | None = None) -> dict[str, float]:
    """Return the mean of each number under ``field`` over the rows that have it."""
    found: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.get(field, {}).items():
            if isinstance(value, bool | int | float):
                found.setdefault(name, []).append(float(value))
    wanted = sorted(found) if names is None else [name for name in names if name in found]
    return {name: float(np.mean(found[name])) for name in wanted}


def _text_error(rows: Sequence[Row]) -> dict[str, float]:
    """Return errors over length, pooled over rows of the same unit."""
    pooled: dict[str, list[int]] = {}
    for row in rows:
        text = (row.get("kept") or {}).get("text")
        if text:
            total = pooled.setdefault(f"{text['unit']}_error_rate", [0, 0])
            total[0] += text["errors"]
            total[1] += text["length"]
    return {name: errors / length for name, (errors, length) in sorted(pooled.items())}


def _reasons(rows: Sequence[Row]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for row in rows:
        reason = row.get("unscored") or row.get("problem")
        if reason:
            counts[reason] = counts.get(reason, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def summarise_group(rows: Sequence[Row], part: str, seed: int) -> Group:
    """Summarise rows of one edit, condition and iteration."""
    first = rows[0]
    edited = first["condition"] == "edit" and any("joint" in row for row in rows)
    name = f"{first['edit']}/{first['condition']}/{first['iteration']}/{part}"
    own_seed = zlib.crc32(f"{seed}/{name}".encode())
    joints = [row.get("joint") for row in rows]
    known = [value for value in joints if value is not None]
    hits = sum(map(bool, known))
    open_rows = len(rows) - len(known)
    return Group(
        edit=first["edit"],
        condition=first["condition"],
        iteration=first["iteration"],
        part=part,
        n=len(rows),
        unsupported=sum(row["status"] == "unsupported" for row in rows),
        failed=sum(row["status"] == "failed" for row in rows),
        unscored=sum(row.get("unscored") is not None for row in rows),
        unmeasured=sum(edited and row.get("preserved") is None for row in rows),
        reached=share((row["reached"] for row in rows), own_seed),
        preserved=share((row.get("preserved") for row in rows), own_seed + 1),
        joint=share(joints, own_seed + 2),
        joint_bounds=(hits / len(rows), (hits + open_rows) / len(rows)) if edited else None,
        checks=_means(rows, "checks", CHECKS),
        kept={**_text_error(rows), **_means(rows, "kept", KEPT)},
        values=_means(rows, "values"),
        reasons=_reasons(rows),
    )


def group_rows(rows: Iterable[Row], part: Callable[[Row], str]) -> dict[tuple[Any, ...], list[Row]]:
    """Return rows by edit, condition, iteration and part, in the order of tables."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    edits: dict[str, int] = {}
    for row in rows:
        edits.setdefault(row["edit"], len(edits))
        place = (edits[row["edit"]], part(row), _ORDER[row["condition"]], row["iteration"])
        groups.setdefault(place, []).append(row)
    return dict(sorted(groups.items(), key=lambda item: item[0]))


def summarise(
    rows: Iterable[Row], seed: int = 0, part: Callable[[Row], str] = lambda row: ""
) -> list[Group]:
    """Return one group for each edit, part, condition and iteration.

    Args:
        rows: of ``results.jsonl``.
        seed: of the bootstrap.
        part: splits rows further, such as by language.
    """
    return [
        summarise_group(items, str(place[1]), seed)
        for place, items in group_rows(rows, part).items()
    ]


def percent(interval: Interval | None, digits: int = 1) -> str:
    """Return a share as text with its interval, or a dash."""
    if interval is None:
        return "–"
    low, high = 100 * interval.low, 100 * interval.high
    return f"{100 * interval.mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def print_table(groups: Sequence[Group], console: Console) -> None:
    """Print one line per group: shares in percent with 95 % intervals."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="% of cases, 95 % interval", title_justify="left")
    for name in ("edit", "audio", "n", "reached", "preserved", "joint success", "not measured"):
        table.add_column(name, justify="left" if name in {"edit", "audio"} else "right")
    for group in groups:
        audio = f"iteration {group.iteration}" if group.condition == "edit" else group.condition
        notes = [
            f"{count} {word}"
            for count, word in (
                (group.unscored, "unscored"),
                (group.unmeasured, "open"),
                (group.unsupported, "no route"),
                (group.failed, "failed"),
            )
            if count
        ]
        table.add_row(
            escape(printable(group.edit)),
            audio,
            str(group.n),
            percent(group.reached),
            percent(group.preserved),
            percent(group.joint),
            ", ".join(notes),
        )
    console.print(table)
    for group in groups:
        for reason, count in list(group.reasons.items())[:3]:
            line = printable(f"{group.edit}: {count} x {reason}", 300)
            console.print(line, highlight=False, markup=False, style="dim")
