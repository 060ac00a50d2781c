"""Benchmark newly taught edits by both routes, and write the better one into ``routes.json``."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from stepedit_core.atomic import write_atomically
from stepedit_core.config import EngineConfig
from stepedit_core.errors import StepeditError, counted
from stepedit_core.models.checkpoint.layout import find_folders
from stepedit_core.models.checkpoint.load import fingerprint
from stepedit_core.models.checkpoint.model_files import ROUTES_FILE
from stepedit_core.storage.stored_json import json_lines, read_json

__all__ = ["measure_routes"]

_COMMAND = "from stepedit_core.cli import main; main()"


def _bench(edit: str, engine: str, route: str, cases: int, out: Path) -> str | None:
    """Run the benchmark of one edit in a process of its own; return why it gave nothing."""
    given = ["bench", "run", edit, "--engine", engine, "--route", route, "--limit", str(cases)]
    command = [sys.executable, "-c", _COMMAND, *given, "--out", str(out), "--no-report"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    return lines[-1].removeprefix("error: ") if lines else f"exit code {done.returncode}"


def _joint(out: Path) -> tuple[float | None, int]:
    """Return the joint success of the edited cases of a run, and how many were measured."""
    rows = [row for _, row in json_lines(out / "results.jsonl", encoding="utf-8")]
    edited = [row for row in rows if row.get("condition") == "edit"]
    if all(row.get("status") == "unsupported" for row in edited):
        return None, 0
    known = [bool(row["joint"]) for row in edited if row.get("joint") is not None]
    return (sum(known) / len(known) if known else None), len(known)


def measure_routes(model: Path, edits: Sequence[str], cases: int) -> Iterator[str]:
    """Bench edits by both routes, and write them into ``routes.json``; yield a line for each.

    Args:
        model: engine folder.
        edits: registered names.
        cases: at most so many of each edit's cases.
    """
    path = model / ROUTES_FILE
    table: dict[str, Any] = read_json(path, "delete it") if path.is_file() else {"edits": {}}
    for edit in edits:
        row: dict[str, Any] = {"n": 0}
        for route, engine in (("llm", str(model)), ("dsp", "dsp")):
            out = model.parent / "bench" / f"{edit}-{route}"
            try:
                why = _bench(edit, engine, route, cases, out)
                row[route], count = (None, 0) if why else _joint(out)
            except StepeditError as error:
                why, row[route], count = str(error), None, 0
            row["n"] = max(row["n"], count)
            if why:
                yield f"{edit} by {route} is not measured: {why}"
            elif row[route] is None:
                yield f"{edit} by {route} is not measured: none of its cases could be scored"
        known = [name for name in ("llm", "dsp") if row[name] is not None]
        if not known:
            yield f"{edit} is not in {ROUTES_FILE}: neither route could be measured"
            continue
        table.setdefault("edits", {})[edit] = row
        told = ", ".join(f"{name} {row[name]:.0%}" for name in known)
        yield f"{edit}: joint success by {told} of {counted(row['n'], 'case')}, listed in {path}"
    table["model"] = fingerprint(find_folders(EngineConfig(name_or_path=str(model))))
    write_atomically(path, json.dumps(table, indent=1) + "\n")
