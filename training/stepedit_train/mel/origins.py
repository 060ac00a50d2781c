"""Where targets of pairs lie in their sources: what the engine will be told of an edit.

The engine tells its decoder the place of each code where the edit goes through its source at an
even pace or puts something into it, and the edit's name. Pairs say as much: the starts of both
sides' codes, both durations, and what the builder noted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from stepedit_core.atomic import write_atomically
from stepedit_core.chain.notation import edit_from_data
from stepedit_core.codes import GROUP_SECONDS
from stepedit_core.errors import UnknownEditError
from stepedit_core.llm_route.source_map import Pairs, positions_at
from stepedit_core.utterance import Utterance

__all__ = ["Told", "origins_path", "read_origins", "write_origins"]

_COLUMNS = [
    "id",
    "edit_json",
    "details",
    "source_start",
    "target_start",
    "source_seconds",
    "target_seconds",
]


class Told(NamedTuple):
    """What is known of a target; see `positions_at`.

    Attributes:
        label: as `Plan.label` names it.
        bends: changes of pace; empty: places are not known.
        away: what is put in.
        late: source groups by which the target's codes begin late.
    """

    label: str
    bends: Pairs = ()
    away: Pairs = ()
    late: float = 0.0

    def places(self, rows: int) -> npt.NDArray[np.float32] | None:
        """Return the source rows of a target's ``rows``, or None where they are not known."""
        return positions_at(rows, self.bends, self.away, self.late) if self.bends else None

    def labelled(self, rows: int) -> npt.NDArray[np.bool_]:
        """Return to which rows the label belongs: to what is put in, or to all."""
        places = self.places(rows) if self.away else None
        return np.ones(rows, dtype=bool) if places is None else np.isnan(places)


def _stand_in(seconds: float | None) -> Utterance:
    """Return silence for a source whose sound is not at hand: label and tempo do without."""
    return Utterance(np.zeros(max(1, round(8_000 * (seconds or 1.0))), np.float32), 8_000)


def _told(row: Mapping[str, Any]) -> Told:
    try:
        edit = edit_from_data(json.loads(row["edit_json"]))
    except UnknownEditError:  # its plugin is not at hand: nothing is known of it
        return Told("")
    source, target = row["source_seconds"], row["target_seconds"]
    plan = edit.plan(_stand_in(source))
    label, starts = plan.label, (row["source_start"], row["target_start"])
    if None in starts or not source or not target:
        return Told(label)
    if plan.uniform_tempo:
        pace = source / target
        return Told(label, ((0.0, pace),), (), (pace * starts[1] - starts[0]) / GROUP_SECONDS)
    at = json.loads(row["details"] or "{}").get("at")
    added = (target - source) / GROUP_SECONDS
    if at is None or added <= 0:
        return Told(label)
    begin = (at - starts[1]) / GROUP_SECONDS
    bends = ((0.0, 1.0), (begin, -1.0), (begin + added, 1.0))
    return Told(label, bends, ((begin, added),), (starts[1] - starts[0]) / GROUP_SECONDS)


def origins_path(folder: Path, family: str) -> Path:
    """Return the file of a store that holds what is known of a family's targets."""
    return folder / "origins" / f"{family}.json"


def write_origins(folder: Path, pairs: Path) -> int:
    """Write what is known of the targets of a run of `stepedit pairs`; return how many."""
    told: dict[str, Told] = {}
    for path in sorted((pairs / "shards").glob("part-*.parquet")):
        for row in pq.read_table(path, columns=_COLUMNS).to_pylist():
            told[row["id"]] = _told(row)
    content = json.dumps({key: list(value) for key, value in told.items()})
    write_atomically(origins_path(folder, pairs.name), content.encode())
    return len(told)


def read_origins(folder: Path) -> dict[tuple[str, str], Told]:
    """Return what a store knows of targets, by family and id."""
    found = {}
    for path in sorted((folder / "origins").glob("*.json")):
        for key, (label, bends, away, late) in json.loads(path.read_text("utf-8")).items():
            paces, put_in = (tuple((a, b) for a, b in columns) for columns in (bends, away))
            found[path.stem, key] = Told(label, paces, put_in, late)
    return found
