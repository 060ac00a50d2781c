from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from stepedit_pairs.judging import judge_named
from stepedit_pairs.preference import PreferSettings, choose, generate, open_run
from stepedit_pairs.scoring_sheet import SHEET, judged, read_sheet, write_sheet

from stepedit_core.errors import StepeditError
from stepedit_core.pair_rows import read_rows, row_utterance
from stepedit_core.registry.registry import Registry
from stepedit_core.testing import FakeEngine
from stepedit_core.utterance import Utterance
from tests.pairs.making import make_corpus, registry, run_toy

__all__ = ["registry"]


def _start(tmp_path: Path, **changes: object) -> tuple[Path, PreferSettings]:
    manifest, _ = make_corpus(tmp_path / "c", 3)
    run_toy(tmp_path / "run", manifest, min_margin=1.0, options={"copies": "1"}, block_size=2)
    given = {"run": str(tmp_path / "run"), "engine": "fake", "candidates": 4, **changes}
    settings = PreferSettings.model_validate(given)
    open_run(tmp_path / "out", settings)
    return tmp_path / "out", settings


def _fill(sheet: Path, points: dict[tuple[str, str], str]) -> None:
    with sheet.open(newline="") as file:
        rows = list(csv.DictReader(file))
    with sheet.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        for row in rows:
            table.writerow({**row, "score": points.get((row["row"], row["candidate"]), "")})


def test_people_fill_in_a_sheet_and_large_gaps_are_kept(registry: Registry, tmp_path: Path) -> None:
    out, settings = _start(tmp_path)
    assert list(generate(out, settings, FakeEngine())) == [8, 4]
    sheet = write_sheet(out, settings)
    with sheet.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12 and {row["score"] for row in rows} == {""}
    assert all((out / row["candidate_wav"]).is_file() for row in rows)
    assert Utterance.read(out / rows[0]["source_wav"]).sample_rate == 8000
    waiting = choose(out, settings, read_sheet(out, settings))
    assert (waiting.kept, waiting.rejected, waiting.waiting) == (0, 0, 3)

    first, second, third = dict.fromkeys(row["row"] for row in rows)
    points = {(first, "0"): "3", (first, "1"): "1", (first, "3"): "5", (second, "0"): "1,5"}
    _fill(sheet, {**points, (second, "2"): "4.5", (third, "0"): "5"})
    assert write_sheet(out, settings) == sheet
    chosen = choose(out, settings, read_sheet(out, settings))
    assert (chosen.kept, chosen.rejected, chosen.waiting) == (1, 1, 1)
    (row,) = read_rows(out)
    facts = json.loads(row["details"])["preference"]
    assert (facts["best"]["candidate"], facts["worst"]["candidate"]) == (3, 1)
    best = Utterance.read(out / next(r["candidate_wav"] for r in rows if r["candidate"] == "3"))
    target, rejected = row_utterance(row, "target"), row_utterance(row, "rejected")
    assert target is not None and rejected is not None and target.samples.any()
    assert (target.samples == best.samples).all()
    assert row["target_seconds"] == pytest.approx(best.seconds)
    assert row["target_codes"] != row["rejected_codes"] != None  # noqa: E711
    assert (rejected.samples.shape, rejected.samples.tobytes()) != (
        target.samples.shape, target.samples.tobytes(),
    )  # fmt: skip


def test_a_score_outside_the_scale_names_its_line(registry: Registry, tmp_path: Path) -> None:
    out, settings = _start(tmp_path)
    list(generate(out, settings, FakeEngine()))
    sheet = write_sheet(out, settings)
    with sheet.open(newline="") as file:
        row = next(csv.DictReader(file))["row"]
    for score in ("6", "good"):
        _fill(sheet, {(row, "1"): score})
        with pytest.raises(StepeditError, match=rf"{SHEET}, line 3: score '{score}'; give 1 to 5"):
            list(read_sheet(out, settings))


def test_a_judge_scores_once_even_after_a_kill(registry: Registry, tmp_path: Path) -> None:
    out, settings = _start(tmp_path, judge="loudness", gap=8.0, candidates=6)
    list(generate(out, settings, FakeEngine()))
    judge = judge_named(registry, "loudness")
    type(judge).asked = 0  # type: ignore[attr-defined]
    next(judged(out, settings, judge))  # ended here, after the first shard
    chosen = choose(out, settings, judged(out, settings, judge))
    assert type(judge).asked == 18  # type: ignore[attr-defined]
    assert chosen.kept + chosen.rejected == 3 and chosen.waiting == 0 and chosen.kept > 0
    facts = [json.loads(row["details"])["preference"] for row in read_rows(out)]
    assert all(f["best"]["score"] - f["worst"]["score"] == 9 for f in facts)
    with pytest.raises(StepeditError, match="no judge 'taste'; there is loudness"):
        judge_named(registry, "taste")


def test_candidates_are_seeded_and_kept(registry: Registry, tmp_path: Path) -> None:
    out, settings = _start(tmp_path)
    engine = FakeEngine()
    list(generate(out, settings, engine))
    asked = len(engine.requests)
    index = (out / "candidates" / "part-000000.json").read_bytes()
    list(generate(out, settings, engine))
    assert len(engine.requests) == asked
    (out / "candidates" / "part-000000.json").unlink()
    list(generate(out, settings, engine))
    assert (out / "candidates" / "part-000000.json").read_bytes() == index
    with pytest.raises(StepeditError, match="other settings"):
        open_run(out, settings.model_copy(update={"seed": 9}))


def test_rows_that_the_engine_cannot_answer_are_rejects(registry: Registry, tmp_path: Path) -> None:
    out, settings = _start(tmp_path)
    list(generate(out, settings, FakeEngine(fail_after=4)))
    index = json.loads((out / "candidates" / "part-000000.json").read_text())
    assert len(index["candidates"]) == 4 and len(index["failed"]) == 1
    write_sheet(out, settings)
    chosen = choose(out, settings, read_sheet(out, settings))
    assert (chosen.kept, chosen.rejected, chosen.waiting) == (0, 2, 1)
