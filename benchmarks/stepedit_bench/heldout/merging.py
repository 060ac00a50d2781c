"""``stepedit bench merge``: join the figures of runs into those of an engine's folder.

A figure is one row of ``figures.json`` for one kind of speech. Where folder and run have the same,
the one that was measured on more utterances stays, and the run's where they are as many. What else
the folder has stays as it is, so that a run of some rows loses nothing. The same holds for the
better route of each edit. Whose weights are others, or who heard by another recogniser, does not
fit: such figures would not be of one kind.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from stepedit_bench.heldout.figures import COSTS
from stepedit_bench.heldout.gates import GATES
from stepedit_bench.heldout.speech import KINDS, LENGTHS, SHORT
from stepedit_bench.store import write_text
from stepedit_core.errors import StepeditError
from stepedit_core.storage.stored_json import read_json

__all__ = ["merge", "merge_figures"]

FIGURES, ROUTES = "figures.json", "routes.json"
_CURE = "measure it again by stepedit bench figures"
_ORDER = [gate.name for gate in GATES] + [f"cost.{name}" for name in COSTS]

Data = dict[str, Any]


@click.command("merge", short_help="Join the figures of runs into an engine's folder.")
@click.argument(
    "runs", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@click.option(
    "--into",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the engine, with its figures.json.",
)
def merge(runs: Sequence[Path], into: Path) -> None:
    """Join the figures of RUNS, folders of ``stepedit bench figures``, into an engine's folder.

    A figure that both have is the one with more utterances, the run's where they are as many.
    Then ``stepedit train card`` writes the model card.
    """
    for run in runs:
        for line in merge_figures(run, into):
            click.echo(line)


def merge_figures(run: Path, into: Path) -> list[str]:
    """Join figures and routes of a run into those of an engine's folder.

    A folder without figures, or with those of other weights, takes the run's as they are.

    Args:
        run: folder with ``figures.json`` and ``routes.json``.
        into: folder of the engine; both files are written there.

    Returns:
        A line for what was taken, and one for what stayed.

    Raises:
        StepeditError: if a file is damaged, or was heard by another recogniser.
    """
    new = {name: _read(run / name) for name in (FIGURES, ROUTES)}
    there = into / FIGURES
    old = _read(there) if there.is_file() else None
    if old is None or old["model"] != new[FIGURES]["model"]:
        for name in new:
            shutil.copyfile(run / name, into / name)
        why = "there were none" if old is None else f"those there were of {old['model']}"
        return [f"{into}: took the figures of {run} as they are; {why}"]
    figures, taken, kept = _merged(old, new[FIGURES], f"{run}")
    path = into / ROUTES
    routes = _routes(_read(path) if path.is_file() else None, new[ROUTES])
    for name, data in ((ROUTES, routes), (FIGURES, figures)):
        write_text(into / name, json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    told = [f"{into}: took {len(taken)} figures of {run}: {_listed(taken)}"]
    if kept:
        told.append(f"{into}: {len(kept)} of more utterances stay: {_listed(kept)}")
    return told


def _read(path: Path) -> Data:
    """Return a file of figures or routes; raises StepeditError where it is none."""
    if not path.is_file():
        raise StepeditError(f"{path} is not there; {_CURE}")
    data = read_json(path, _CURE)
    rows = data.get("rows", data.get("edits")) if isinstance(data, dict) else None
    if not isinstance(rows, list | dict) or not isinstance(data.get("model"), str):
        raise StepeditError(f"{path} says no model, rows or edits; {_CURE}")
    return data


def _merged(old: Data, new: Data, run: str) -> tuple[Data, list[str], list[str]]:
    """Return the joined figures, and the names of what was taken and of what stayed."""
    _check_ears(old.get("measured") or {}, new.get("measured") or {}, run)
    rows = {_key(row): row for row in old["rows"]}
    taken: list[str] = []
    kept: list[str] = []
    for row in new["rows"]:
        key = _key(row)
        fewer = key in rows and (row.get("n") or 0) < (rows[key].get("n") or 0)
        (kept if fewer else taken).append(f"{key[0]} ({key[1]})")
        if not fewer:
            rows[key] = row
    measured = dict(old.get("measured") or {})
    if taken:
        measured["merged"] = [
            *measured.get("merged", []),
            {**(new.get("measured") or {}), "rows": taken},
        ]
    joined = {**old, "rows": sorted(rows.values(), key=_place), "measured": measured}
    return joined, taken, kept


def _check_ears(old: Mapping[str, Any], new: Mapping[str, Any], run: str) -> None:
    """Refuse figures that another recogniser heard."""
    before, now = old.get("heard_by") or {}, new.get("heard_by") or {}
    for language in before.keys() & now.keys():
        if set(before[language]) != set(now[language]):
            raise StepeditError(
                f"{run}: heard by {', '.join(now[language])}, the folder's figures by "
                f"{', '.join(before[language])}; measure all of them by the same recogniser"
            )


def _key(row: Mapping[str, Any]) -> tuple[str, str]:
    return str(row["row"]), str(row.get("kind", "all"))


def _place(row: Mapping[str, Any]) -> tuple[int, int, int]:
    """Return the place of a figure in the table; what is not known comes last."""
    name, kind = _key(row)
    speech, _, length = kind.partition(", ")
    labels = [one.label for one in LENGTHS.values()]
    kinds = (*KINDS, "all")
    return (
        _ORDER.index(name) if name in _ORDER else len(_ORDER),
        labels.index(length or SHORT.label) if (length or SHORT.label) in labels else len(labels),
        kinds.index(speech) if speech in kinds else len(kinds),
    )


def _routes(old: Data | None, new: Data) -> Data:
    """Return the better route of each edit, by whichever measured more cases."""
    if old is None or old["model"] != new["model"]:
        return new
    edits = dict(old["edits"])
    for name, row in new["edits"].items():
        if (row.get("n") or 0) >= (edits.get(name, {}).get("n") or 0):
            edits[name] = row
    return {**old, "edits": dict(sorted(edits.items()))}


def _listed(names: Iterable[str]) -> str:
    """Return some names and how many more there are."""
    all_names = list(names)
    more = len(all_names) - 4
    return ", ".join(all_names[:4]) + (f" and {more} more" if more > 0 else "")
