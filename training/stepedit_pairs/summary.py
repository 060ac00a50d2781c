"""Summarise a run shard by shard without reading its audio."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from stepedit_core.storage.pair_rows import read_shard, shard_paths
from stepedit_pairs.work import read_rejects

__all__ = ["RunSummary", "reject_counts", "summarise"]

_COLUMNS = [
    "edit_json", "speaker", "language", "corpus", "split", "licence", "margin", "source_seconds",
    "target_seconds", "builder", "builder_version", "plugin", "rejected_codes", "source_codes",
]  # fmt: skip


@dataclass
class RunSummary:
    """Counts of a finished or half-finished run.

    Attributes:
        pairs: rows kept.
        margins: of each that has one; rows of public data have none.
        seconds: source and target duration of each, in seconds.
        counts: by column, how often each value occurs.
        with_codes: rows that carry codes.
        rejects: by reason.
        places: shard and row of each pair, to draw from.
    """

    pairs: int = 0
    margins: list[float] = field(default_factory=list)
    seconds: list[tuple[float, float]] = field(default_factory=list)
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    with_codes: int = 0
    rejects: dict[str, int] = field(default_factory=dict)
    places: list[tuple[Path, int]] = field(default_factory=list)

    def hours(self) -> tuple[float, float]:
        """Return the hours of source and of target audio."""
        total = np.sum(self.seconds, axis=0) / 3600 if self.seconds else np.zeros(2)
        return float(total[0]), float(total[1])


def reject_counts(folder: Path) -> dict[str, int]:
    """Return the numbers of rejected pairs and files, by reason, most first."""
    counts = Counter(str(reject["reason"]) for reject in read_rejects(folder))
    return dict(counts.most_common())


def summarise(folder: Path) -> RunSummary:
    """Count what a run's folder holds."""
    summary = RunSummary(rejects=reject_counts(folder))
    counted = ("edit_json", "speaker", "language", "corpus", "split", "licence", "plugin")
    summary.counts = {name: Counter() for name in (*counted, "builder")}
    for path in shard_paths(folder):
        for number, row in enumerate(read_shard(path, _COLUMNS)):
            summary.pairs += 1
            if row["margin"] is not None:
                summary.margins.append(row["margin"])
            summary.seconds.append((row["source_seconds"] or 0.0, row["target_seconds"] or 0.0))
            summary.with_codes += row["source_codes"] is not None
            summary.places.append((path, number))
            for name in counted:
                summary.counts[name][str(row[name] or "unknown")] += 1
            summary.counts["builder"][f"{row['builder']} version {row['builder_version']}"] += 1
    return summary
