"""Scores of candidates: from people through a CSV file, or from a judge."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stepedit_core.atomic import write_atomically
from stepedit_core.errors import StepeditError
from stepedit_core.scoring import Judge
from stepedit_core.storage.pair_rows import read_shard, row_edit, row_utterance, shard_paths
from stepedit_core.storage.stored_json import read_json
from stepedit_core.storage.tables import original_cell, plain_cell, table_rows
from stepedit_core.utterance import Utterance
from stepedit_pairs.judging import ask
from stepedit_pairs.preference import PreferSettings, Scores, candidates_of

__all__ = ["SHEET", "judged", "read_sheet", "write_sheet"]

SHEET = "scores.csv"
POINTS = (1.0, 5.0)
_HEAD = ["row", "candidate", "score", "edit", "text", "source_wav", "candidate_wav"]


def write_sheet(out: Path, settings: PreferSettings) -> Path:
    """Write the CSV that people fill in: 1 to 5 in ``score``, WAVs to listen to beside it.

    A sheet that exists is left as it is, with the scores that it holds.
    """
    path = out / SHEET
    if path.exists():
        return path
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow(_HEAD)
    for shard in shard_paths(Path(settings.run)):
        by_row = candidates_of(out, shard)
        for number, row in enumerate(read_shard(shard)[: settings.limit]):
            source = row_utterance(row, "source")
            if row["id"] not in by_row or source is None:
                continue
            heard = f"listen/{shard.stem}/{number:03d}-source.wav"
            source.write(out / heard)
            edit = str(row_edit(row))
            for candidate in by_row[row["id"]]:
                wav = f"listen/{shard.stem}/{number:03d}-{candidate.number:02d}.wav"
                Utterance.read(out / candidate.path).write(out / wav)
                text = row["target_text"] or ""
                cells = (row["id"], candidate.number, "", edit, text, heard, wav)
                table.writerow([plain_cell(cell) for cell in cells])
    write_atomically(path, buffer.getvalue())
    return path


def read_sheet(out: Path, settings: PreferSettings) -> Iterator[tuple[Path, Scores]]:
    """Yield each shard with the scores that people gave its candidates; empty ones are waiting.

    Raises:
        StepeditError: naming the line whose score is no number from 1 to 5.
    """
    path, scores = out / SHEET, {}
    needed = {"row", "candidate", "score"}
    for line, row in table_rows(path, needed):
        if not needed <= row.keys():
            raise StepeditError(f"{path}: the columns row, candidate and score are needed")
        value = row["score"].strip()
        if value:
            if not row["candidate"].strip().isdecimal():
                given = row["candidate"]
                raise StepeditError(f"{path}, line {line}: {given!r} is no candidate's number")
            place = (original_cell(row["row"]), int(row["candidate"]))
            scores[place] = _points(value, path, line)
    for shard in shard_paths(Path(settings.run)):
        yield shard, scores


def _points(value: str, path: Path, line: int) -> float:
    try:
        points = float(value.replace(",", "."))
    except ValueError:
        points = -1.0
    if not POINTS[0] <= points <= POINTS[1]:
        raise StepeditError(f"{path}, line {line}: score {value!r}; give 1 to 5, or leave it empty")
    return points


def judged(out: Path, settings: PreferSettings, judge: Judge) -> Iterator[tuple[Path, Scores]]:
    """Yield each shard with the scores, 1 to 10, that a judge gives its candidates.

    A shard's scores are kept, so that a killed run asks nothing twice. Where the judge refuses,
    the candidate has no score.
    """
    for shard in shard_paths(Path(settings.run)):
        path = out / "scores" / f"{shard.stem}.json"
        if not path.exists():
            found = _ask_for_shard(out, settings, judge, shard)
            write_atomically(path, json.dumps(found, ensure_ascii=False))
        yield shard, _kept_scores(path)


def _kept_scores(path: Path) -> Scores:
    """Return the scores of a shard that a judge gave before.

    Raises:
        StepeditError: if the file is damaged.
    """
    cure = "delete it and call the same command again: the judge is asked again"
    data = read_json(path, cure)
    try:
        return {(row, int(number)): float(score) for row, number, score in data["scores"]}
    except (KeyError, TypeError, ValueError) as error:
        raise StepeditError(f"{path}: damaged (no scores: {error}); {cure}") from error


def _ask_for_shard(
    out: Path, settings: PreferSettings, judge: Judge, shard: Path
) -> dict[str, Any]:
    scores: list[tuple[str, int, float]] = []
    refused: list[tuple[str, int, str]] = []
    by_row = candidates_of(out, shard)
    for row in read_shard(shard)[: settings.limit]:
        edit, source = row_edit(row), row_utterance(row, "source")
        for candidate in by_row.get(row["id"], []) if source is not None else []:
            assert source is not None
            score = ask(judge, edit, Utterance.read(out / candidate.path), source)
            if isinstance(score, str):
                refused.append((row["id"], candidate.number, score))
            else:
                scores.append((row["id"], candidate.number, score))
    return {"judge": judge.name, "version": judge.version, "scores": scores, "refused": refused}
