"""Preference pairs: candidates from an engine for the rows of a run, the best against the worst.

After Step-Audio-EditX (arXiv:2511.03601): people give 20 candidates 1 to 5 points and a gap
above 3 makes a pair; or a judge gives 1 to 10 and the gap is to be above 8. Each shard of the
run is a unit of work whose files appear when they are complete, so that a killed run goes on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from stepedit_core import __version__
from stepedit_core.atomic import lasting_names, write_atomically
from stepedit_core.edit import Edit
from stepedit_core.engine import SpeechEngine
from stepedit_core.errors import StepeditError, explain_validation
from stepedit_core.llm_route.batching import AllAtOnce
from stepedit_core.llm_route.carrying_out import apply_by_llm
from stepedit_core.storage.pair_rows import read_shard, row_edit, row_utterance, shard_paths
from stepedit_core.storage.stored_json import read_json
from stepedit_core.utterance import Utterance
from stepedit_pairs.jsonl import parse_codes
from stepedit_pairs.settings import RunSettings, job_rng
from stepedit_pairs.shards import flac_bytes, write_shard

__all__ = ["Candidate", "PreferSettings", "candidates_of", "choose", "generate", "open_run"]

FILE = "prefer.json"
GAPS = {"people": 3.0, "judge": 8.0}
"""Gap between best and worst that must be exceeded, on scales of 1 to 5 and 1 to 10."""


class PreferSettings(BaseModel):
    """Settings that decide which preference pairs a run gives."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    run: str
    """Folder of the pairs whose sources and edits are used."""
    engine: str
    """Engine that makes the candidates."""
    judge: str | None = None
    """Judge that scores them; None: people."""
    candidates: int = 20
    """Candidates for each row."""
    gap: float = GAPS["people"]
    """Best minus worst score must exceed this."""
    seed: int = 0
    """Seeds every candidate, together with its row's id."""
    limit: int | None = None
    """Only so many rows of each shard."""


@dataclass(frozen=True)
class Candidate:
    """One answer of the engine to a row's request.

    Attributes:
        row: id of the row.
        number: 0, 1, ... within the row.
        path: FLAC file, relative to the run's folder.
        codes: its codes as ``<audio_N>`` marks, or None.
        seed: what it was drawn with.
    """

    row: str
    number: int
    path: str
    codes: str | None
    seed: int


def open_run(out: Path, settings: PreferSettings) -> None:
    """Start a folder of preference pairs, or check that the same one goes on.

    Raises:
        StepeditError: if the folder holds something else.
    """
    path = out / FILE
    if path.exists():
        cure = "choose another --out"
        try:
            before = PreferSettings.model_validate(read_json(path, cure))
        except ValidationError as error:
            why = explain_validation(error)
            raise StepeditError(f"{path}: not settings of pairs-prefer ({why}); {cure}") from error
        if before != settings:
            raise StepeditError(f"{out} holds preference pairs made with other settings ({before})")
        return
    if lasting_names(out) - {".lock"}:
        raise StepeditError(f"{out} is not empty and holds no preference pairs; choose another")
    source = RunSettings.load(Path(settings.run))
    write_atomically(path, settings.model_dump_json(indent=2))
    source.model_copy(
        update={"engine": settings.engine, "seed": settings.seed, "stepedit": __version__}
    ).save(out)


def _index_path(out: Path, shard: Path) -> Path:
    return out / "candidates" / f"{shard.stem}.json"


def generate(out: Path, settings: PreferSettings, engine: SpeechEngine) -> Iterator[int]:
    """Make the candidates of all rows, a batch for each row; yield how many after each shard.

    A row that the engine cannot answer is listed in the shard's index with the reason.
    """
    for shard in shard_paths(Path(settings.run)):
        path = _index_path(out, shard)
        if not path.exists():
            made: list[dict[str, Any]] = []
            failed: dict[str, str] = {}
            for number, row in enumerate(read_shard(shard)[: settings.limit]):
                try:
                    made += _candidates(out, settings, engine, row, f"{shard.stem}/{number:03d}")
                except StepeditError as error:
                    failed[row["id"]] = str(error)
            index = {"candidates": made, "failed": failed}
            write_atomically(path, json.dumps(index, ensure_ascii=False))
        yield sum(map(len, candidates_of(out, shard).values()))


def _candidates(
    out: Path, settings: PreferSettings, engine: SpeechEngine, row: Mapping[str, Any], place: str
) -> list[dict[str, Any]]:
    """Draw a row's candidates in one batch and write their audio."""
    source = row_utterance(row, "source")
    if source is None:
        raise StepeditError("the row has no source audio")
    n = settings.candidates
    edit = row_edit(row)
    seeds = [int(seed) for seed in job_rng(settings.seed, row["id"]).integers(2**31, size=n)]
    outcomes = apply_by_llm(
        [edit] * n, [source] * n, AllAtOnce(engine), seeds, [parse_codes(row["source_codes"])] * n
    )
    made = []
    for number, (outcome, seed) in enumerate(zip(outcomes, seeds, strict=True)):
        path = f"candidates/{place}-{number:02d}.flac"
        write_atomically(out / path, flac_bytes(outcome.utterance))
        codes = outcome.codes.token_string() if outcome.codes is not None else None
        made.append(
            {"row": row["id"], "number": number, "path": path, "codes": codes, "seed": seed}
        )
    return made


def candidates_of(out: Path, shard: Path) -> dict[str, list[Candidate]]:
    """Return the candidates of a shard by row, in order.

    Raises:
        StepeditError: if their index is damaged.
    """
    path = _index_path(out, shard)
    cure = "delete it and call the same command again: the candidates are made again"
    found: dict[str, list[Candidate]] = {}
    try:
        for data in read_json(path, cure)["candidates"]:
            found.setdefault(data["row"], []).append(Candidate(**data))
    except (KeyError, TypeError) as error:
        raise StepeditError(f"{path}: damaged (no candidates: {error}); {cure}") from error
    return found


Scores = Mapping[tuple[str, int], float]
"""Score by row and number of the candidate."""


@dataclass
class Chosen:
    """Numbers of rows: kept as pairs, rejected, and waiting for scores."""

    kept: int = 0
    rejected: int = 0
    waiting: int = 0


def choose(out: Path, settings: PreferSettings, scored: Iterable[tuple[Path, Scores]]) -> Chosen:
    """Write the rows whose best candidate is far enough ahead of the worst, and the rejects.

    The best becomes ``target``, the worst ``rejected``. Rows with fewer than two scores wait.

    Args:
        out: folder of the preference pairs.
        settings: of this run.
        scored: shards of the run of pairs with the scores of their candidates.
    """
    total = Chosen()
    for index, (shard, scores) in enumerate(scored):
        rows, rejects = [], []
        by_row = candidates_of(out, shard)
        for row in read_shard(shard)[: settings.limit]:
            candidates = by_row.get(row["id"], [])
            known = [c for c in candidates if (c.row, c.number) in scores]
            if candidates and len(known) < 2 and settings.judge is None:
                total.waiting += 1
                continue
            made = _preferred(out, settings, row, known, scores) if len(known) > 1 else None
            if made is not None:
                rows.append(made)
                continue
            rejects.append(_reject(settings, row, known, scores))
        write_shard(out, index, rows)
        lines = "".join(json.dumps(reject, ensure_ascii=False) + "\n" for reject in rejects)
        write_atomically(out / "rejects" / f"block-{index:06d}.jsonl", lines)
        total.kept += len(rows)
        total.rejected += len(rejects)
    return total


def _reject(
    settings: PreferSettings, row: Mapping[str, Any], known: list[Candidate], scores: Scores
) -> dict[str, Any]:
    points = [scores[c.row, c.number] for c in known]
    reason = f"gap not above {settings.gap:g}" if len(points) > 1 else "fewer than two scores"
    return {"key": row["id"], "paths": [], "reason": reason, "details": {"scores": points}}


def _preferred(
    out: Path,
    settings: PreferSettings,
    row: Mapping[str, Any],
    known: list[Candidate],
    scores: Scores,
) -> dict[str, Any] | None:
    """Return a row with the best candidate as target and the worst as rejected, or None."""
    # Among equals the first one counts, so that the same scores give the same rows.
    best = max(known, key=lambda c: (scores[c.row, c.number], -c.number))
    worst = min(known, key=lambda c: (scores[c.row, c.number], c.number))
    high, low = scores[best.row, best.number], scores[worst.row, worst.number]
    if high - low <= settings.gap:
        return None
    edit: Edit = row_edit(row)
    chosen = Utterance.read(out / best.path)
    source = row_utterance(row, "source")
    facts = {
        "preference": {
            "by": settings.judge or "people",
            "best": {"candidate": best.number, "score": high, "seed": best.seed},
            "worst": {"candidate": worst.number, "score": low, "seed": worst.seed},
            "scored": len(known),
            "engine": settings.engine,
        },
        "pair": json.loads(row["details"]),
    }
    return {
        **row,
        "target_audio": _sound(out, best),
        "target_codes": best.codes,
        "target_seconds": chosen.seconds,
        "target_text": edit.transcript_after(source) if source else row["target_text"],
        "rejected_audio": _sound(out, worst),
        "rejected_codes": worst.codes,
        "details": json.dumps(facts, ensure_ascii=False),
        "seed": settings.seed,
        "stepedit": __version__,
    }


def _sound(out: Path, candidate: Candidate) -> dict[str, Any]:
    return {"bytes": (out / candidate.path).read_bytes(), "path": Path(candidate.path).name}
