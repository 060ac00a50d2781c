"""The report of a run: one self-contained HTML page, with JSON and CSV beside it."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from stepedit_bench import plots
from stepedit_bench.columns import Column, Pivot, columns_of, merge, pivot, tags_of
from stepedit_bench.compare import refuse_unlike
from stepedit_bench.heldout.speech import SHORT
from stepedit_bench.judging import judge_classes
from stepedit_bench.measuring.extras import need
from stepedit_bench.peers import Peer, peers_for
from stepedit_bench.players import Listening, listen
from stepedit_bench.public_counting import Cell, count, verdict_on
from stepedit_bench.step_audio_edit import SUITE
from stepedit_bench.store import read_results, read_run, write_text
from stepedit_bench.summary import Group, heard_by, percent, summarise
from stepedit_core.errors import StepeditError
from stepedit_core.storage.stored_json import parse_json
from stepedit_core.storage.tables import plain_cell

__all__ = ["confusion", "write_report"]

Row = Mapping[str, Any]


@dataclass(frozen=True)
class _Section:
    """All that the page says about one edit."""

    edit: str
    columns: Sequence[Column]
    pivots: Sequence[Pivot]
    groups: Sequence[Group]
    by_language: Sequence[Group]
    by_class: Sequence[Group]
    figures: Sequence[str]
    ours: Sequence[Cell]
    public: Sequence[Cell]
    public_problem: str | None
    peers: Sequence[Peer]
    judge: str
    listening: Sequence[Listening]


def confusion(rows: Sequence[Row], iteration: int) -> dict[tuple[str, str], int]:
    """Count (class, judged label) at an iteration; refusals are a label of their own.

    Iteration 0 is the source; rows whose judge gives no labels are left out.
    """
    table: dict[tuple[str, str], int] = {}
    for row in rows:
        wanted = "source" if iteration == 0 else "edit"
        verdict = verdict_on(row)
        if row["condition"] != wanted or row["iteration"] != iteration or verdict is None:
            continue
        if verdict.get("refused"):
            label = "(no answer)"
        elif verdict.get("label") is None and verdict.get("score") is not None:
            continue
        else:
            label = str(verdict.get("label"))
        key = (str(row["class"]), label)
        table[key] = table.get(key, 0) + 1
    return table


def _counted(rows: Sequence[Row]) -> tuple[list[Cell], list[Cell], str | None]:
    """Return the tables of the public benchmark: our count, the public one, or why not."""
    try:
        public = count(rows, "public")
    except StepeditError as error:
        return count(rows), [], str(error)
    return count(rows), public, None


def _judge(settings: Mapping[str, Any], edit: str) -> str:
    """Return the judge of an edit with how it was validated."""
    judge = settings["judges"].get(edit) or settings["judges"].get("*")
    if judge is None:
        return ""
    found = judge_classes().get(judge["name"])
    told = found.validation if found is not None else "not installed here"
    model = f", {judge['model']}" if judge.get("model") else ""
    return f"{judge['name']} version {judge['version']}{model}: {told}"


def _section(
    edit: str,
    rows: Sequence[Row],
    settings: Mapping[str, Any],
    folders: Sequence[Path],
    players: bool,
    around: Path | None,
) -> _Section:
    """Gather what the page says about one edit; shares are those of the first run."""
    seed = int(settings["seed"])
    beside = [row for row in rows if row["edit"] == edit]
    own = [row for row in beside if not row.get("run")]
    groups = summarise(own, seed)
    last = max(group.iteration for group in groups)
    figures = []
    if any(group.condition == "edit" for group in groups):
        figures = [plots.iterations_svg(edit, groups), plots.kept_svg(edit, own)]
    for iteration in dict.fromkeys((0, last)):
        table = confusion(own, iteration)
        if table:
            name = "untouched" if iteration == 0 else f"iteration {iteration}"
            figures.append(plots.confusion_svg(f"{edit}, {name}", table))
    suited = settings["suite"] == SUITE
    ours, public, problem = _counted(own) if suited else ([], [], None)
    return _Section(
        edit=edit,
        columns=columns_of(beside),
        pivots=[
            found
            for verdict in ("joint", "reached", "preserved")
            if (found := pivot(beside, verdict, seed)) is not None
        ],
        groups=groups,
        by_language=summarise(own, seed, lambda row: str(row["language"] or "unknown")),
        by_class=summarise(own, seed, lambda row: str(row["class"])),
        figures=figures,
        ours=ours,
        public=public,
        public_problem=problem,
        peers=peers_for(settings, edit),
        judge=_judge(settings, edit),
        listening=listen(beside, folders, seed, around) if players else [],
    )


def _flat(row: Row) -> dict[str, Any]:
    """Return a row as columns of a table."""
    plain = {key: value for key, value in row.items() if not isinstance(value, dict | list)}
    for name in ("values", "kept", "checks"):
        for key, value in (row.get(name) or {}).items():
            if isinstance(value, Mapping):
                plain.update({f"{key}_{part}": item for part, item in value.items()})
            else:
                plain[f"{name}.{key}"] = value
    plain["request"] = json.dumps(row["request"], ensure_ascii=False, sort_keys=True)
    return plain


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as CSV text with all their columns; no text is a formula there."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: plain_cell(value) for name, value in row.items()} for row in rows)
    return buffer.getvalue()


def _flat_group(group: Group) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for key, value in group.to_data().items():
        if key == "reasons":
            continue
        if isinstance(value, dict):
            plain.update({f"{key}.{part}": item for part, item in value.items()})
        elif isinstance(value, list | tuple):
            plain.update(
                {f"{key}.{place}": item for place, item in zip(("low", "high"), value, strict=True)}
            )
        else:
            plain[key] = value
    return plain


def _figures(folder: Path) -> dict[str, Any] | None:
    """Return the figures of a held-out run: rows with gates, routes and what was not measured."""
    found: dict[str, Any] = {}
    for name in ("figures", "routes"):
        path = folder / f"{name}.json"
        if not path.is_file():
            return None
        found[name] = parse_json(path.read_text(encoding="utf-8"))
    for row in found["figures"]["rows"]:
        row["stratum"] = _stratum(row["kind"])
    return found


def _stratum(kind: str) -> str:
    """Return the stratum that a row of the figures is of; ``all`` of several."""
    if kind.startswith("all"):
        return "all"
    return kind if ", " in kind else f"{kind}, {SHORT.label}"


def _options(sections: Sequence[_Section], rows: Sequence[Row]) -> dict[str, list[str]]:
    """Return the page's filters with their values; single values filter nothing."""
    tags = [tags_of(row) for row in rows]
    found = {name: sorted({each[name] for each in tags}) for name in ("stratum", "language")}
    shown = [item for section in sections for item in section.listening]
    found["joint"] = sorted({item.tags["joint"] for item in shown})
    return {name: values for name, values in found.items() if len(values) > 1}


def write_report(
    folder: str | os.PathLike[str],
    *,
    beside: Sequence[str | os.PathLike[str]] = (),
    players: bool = True,
    around: Path | None = None,
) -> Path:
    """Write ``report.html``, ``summary.json``, ``summary.csv`` and ``results.csv``.

    Args:
        folder: of a run, finished or not.
        beside: folders of further runs, whose recordings and shares stand beside.
        players: whether to put recordings into the page.
        around: folder around the run's, where its recordings may lie, too; None: in its own alone.

    Returns:
        The path of the page.

    Raises:
        StepeditError: if there are no results yet, or runs were measured in different ways.
    """
    root = Path(folder)
    folders = [root, *map(Path, beside)]
    for other in folders[1:]:
        refuse_unlike(root, other)
    settings = read_run(root)
    names = _labels(folders)
    rows = merge([(name, read_results(each)) for name, each in zip(names, folders, strict=True)])
    own = [row for row in rows if not row["run"]]
    edits = list(dict.fromkeys(row["edit"] for row in own))
    sections = [_section(edit, rows, settings, folders, players, around) for edit in edits]
    groups = [group for section in sections for group in section.groups]
    summary = {
        "settings": settings,
        "heard_by": heard_by(own),
        "groups": [group.to_data() for group in groups],
    }
    write_text(root / "summary.json", json.dumps(summary, ensure_ascii=False, indent=1) + "\n")
    write_text(root / "summary.csv", _csv([_flat_group(group) for group in groups]))
    write_text(root / "results.csv", _csv([_flat(row) for row in read_results(root)]))
    jinja = need("jinja2", "jinja2", "the report")
    environment = jinja.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["percent"] = percent
    source = files("stepedit_bench").joinpath("report.html").read_text(encoding="utf-8")
    page = environment.from_string(source).render(
        settings=settings,
        cases=len({(row["edit"], row["case"]) for row in own}),
        sections=sections,
        groups=groups,
        runs=list(zip(names, map(str, folders), strict=True)),
        filters=_options(sections, own),
        heard=summary["heard_by"],
        figures=_figures(root),
        finished=(root / "results.jsonl").exists(),
    )
    write_text(root / "report.html", page)
    return root / "report.html"


def _labels(folders: Sequence[Path]) -> list[str]:
    """Return a short name for each run: its folder's, told apart by its parent's where needed."""
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        names = [f"{folder.resolve().parent.name}/{folder.resolve().name}" for folder in folders]
    return names
