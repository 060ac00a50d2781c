from __future__ import annotations

import csv
from pathlib import Path

import pytest
import stepedit_emotion
from click.testing import CliRunner
from stepedit_pairs.cli import pairs, pairs_settings
from stepedit_pairs.row_commands import pairs_prefer, pairs_validate

from stepedit_core.config import EngineConfig
from stepedit_core.errors import StepeditError
from stepedit_core.registry.registry import Registry
from stepedit_core.storage.pair_rows import read_rows
from stepedit_core.testing import FakeEngine, speech_like
from tests.pairs.making import make_corpus, registry, run_toy

__all__ = ["registry"]


def _call(command: object, *given: object) -> str:
    done = CliRunner().invoke(command, [str(item) for item in given])  # type: ignore[arg-type]
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_pairs_chooses_by_label_and_says_what_it_did(registry: Registry, tmp_path: Path) -> None:
    manifest, _ = make_corpus(tmp_path / "c", 9)
    out = tmp_path / "out"
    given = [pairs, "quieter", "--corpus", manifest, "--out", out, "--min-margin", "1"]
    given += ["--where", "speaker=s1", "--set", "copies=1", "--licence", "mine"]
    said = _call(*given)
    assert "3 pairs" in said and "report.html" in said
    rows = list(read_rows(out))
    assert {row["speaker"] for row in rows} == {"s1"} and {row["licence"] for row in rows} == {
        "CC0-1.0"
    }
    assert "3 pairs" in _call(
        *given, "--where", "speaker=s1", "--set", "copies=1", "--licence", "mine"
    )
    with pytest.raises(StepeditError, match="--set takes name=value, got 'copies'"):
        _call(*given, "--set", "copies")


@pytest.mark.parametrize(
    "given, why",
    [
        (["--split", "dev"], "--split dev: none of 5 recordings has a label 'split'; there is cor"),
        (["--where", "speaker=s11"], "--where speaker=s11: .* has that speaker; did you mean 's1'"),
        (["--where", "speeker=s1"], "has a label 'speeker'; did you mean 'speaker'?"),
        (["--where", "speaker=s9", "--include", "*"], "has that speaker; there is s0, s1, s2"),
        (["--include", "x/*"], "--include x/.: fits the id of none of 5 recordings; an id here"),
        (["--include", "000*", "--include", "y"], "--include y: fits the id of none"),
        (["--include", "0000*", "--where", "speaker=s1"], "fits --where .* --include .* together"),
    ],
)
def test_a_filter_that_fits_nothing_is_named(
    registry: Registry, tmp_path: Path, given: list[str], why: str
) -> None:
    manifest, _ = make_corpus(tmp_path / "c", 5)
    with pytest.raises(StepeditError, match=why):
        _call(pairs, "quieter", "--corpus", manifest, "--out", tmp_path / "out", *given)
    assert not (tmp_path / "out").exists()


def test_an_engine_that_is_none_may_be_corrected(registry: Registry, tmp_path: Path) -> None:
    manifest, _ = make_corpus(tmp_path / "c", 2)
    given = [pairs, "quieter", "--corpus", manifest, "--out", tmp_path / "out"]
    with pytest.raises(StepeditError, match="no engine 'nosuch'"):
        _call(*given, "--engine", "nosuch")
    assert not (tmp_path / "out").exists()
    assert "pairs (" in _call(*given)


def test_a_name_that_no_file_may_have_costs_its_row_alone(
    registry: Registry, tmp_path: Path
) -> None:
    manifest, _ = make_corpus(tmp_path / "c", 2)
    with manifest.open("a") as file:
        file.write("硸" * 400 + ",words,s1,CC0-1.0\n")
    said = _call(pairs, "quieter", "--corpus", manifest, "--out", tmp_path / "out")
    assert "rejected 1: bad file" in said and len(list(read_rows(tmp_path / "out"))) > 1


def test_settings_and_failed_plan(registry: Registry, tmp_path: Path) -> None:
    said = _call(pairs_settings, "quieter")
    assert "QuieterPairs version 1" in said and "--set copies=...  pairs of each" in said
    assert "--margin judge:loudness" in said and "crema_d" in said
    manifest, _ = make_corpus(tmp_path / "c", 2)
    given = [pairs, "quieter", "--corpus", manifest, "--out", tmp_path / "out"]
    with pytest.raises(StepeditError, match="--split dev"):
        _call(*given, "--split", "dev")
    assert "pairs (" in _call(*given)


def test_a_candidate_is_one_draw(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[EngineConfig] = []

    def loading(config: EngineConfig) -> FakeEngine:
        asked.append(config)
        return FakeEngine()

    monkeypatch.setattr("stepedit_core.registry.registry.load_engine", loading)
    manifest, _ = make_corpus(tmp_path / "c", 1)
    run_toy(tmp_path / "run", manifest, min_margin=1.0, options={"copies": "1"})
    given = (pairs_prefer, tmp_path / "run", "--out", tmp_path / "out", "--engine", "fake")
    _call(*given, "--candidates", "3")
    assert [config.generation.best_of for config in asked] == [1]


def test_prefer_refuses_a_judge_and_a_run_before_candidates_are_made(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepedit_core.registry.registry.load_engine", None)
    manifest, _ = make_corpus(tmp_path / "c", 1)
    run_toy(tmp_path / "run", manifest, min_margin=1.0, options={"copies": "1"})
    given = ("--out", tmp_path / "out", "--engine", "fake")
    with pytest.raises(StepeditError, match="no judge 'loudnes'"):
        _call(pairs_prefer, tmp_path / "run", *given, "--judge", "loudnes")
    (tmp_path / "empty").mkdir()
    with pytest.raises(StepeditError, match="no shards"):
        _call(pairs_prefer, tmp_path / "empty", *given)
    assert not (tmp_path / "out").exists()


def test_prefer_waits_for_people_and_goes_on(registry: Registry, tmp_path: Path) -> None:
    manifest, _ = make_corpus(tmp_path / "c", 1)
    run_toy(tmp_path / "run", manifest, min_margin=1.0, options={"copies": "1"})
    given = (pairs_prefer, tmp_path / "run", "--out", tmp_path / "out", "--engine", "fake")
    said = _call(*given, "--candidates", "3")
    assert "1 row waits for scores: fill in" in said and "0 preference pairs kept" in said
    sheet = tmp_path / "out" / "scores.csv"
    with sheet.open(newline="") as file:
        rows = list(csv.reader(file))
    for row, score in zip(rows[1:], ("1", "5", "2"), strict=True):
        row[2] = score
    with sheet.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    assert "1 preference pair kept, 0 rows rejected" in _call(*given, "--candidates", "3")
    judged = (pairs_prefer, tmp_path / "run", "--out", tmp_path / "judged", "--engine", "fake")
    said = _call(*judged, "--candidates", "8", "--judge", "loudness")
    assert "1 preference pair kept" in said


def test_validate_prints_a_row_for_each_label(registry: Registry, tmp_path: Path) -> None:
    registry.register(stepedit_emotion, "emotion")
    with (tmp_path / "set.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "text", "speaker", "emotion"])
        for emotion, f0 in (("neutral", 120.0), ("happy", 170.0), ("sad", 95.0)):
            speech_like(1.5, 16_000, f0=f0).write(tmp_path / f"{emotion}.wav")
            table.writerow([f"{emotion}.wav", "hi", "s", emotion])
    said = _call(pairs_validate, "emotion", "--corpus", tmp_path / "set.csv")
    lines = said.splitlines()
    assert lines[0].startswith("label") and [line.split()[0] for line in lines[1:]] == [
        "happy", "sad",
    ]  # fmt: skip
    assert lines[1].split()[3] == "1.00"
    as_json = _call(pairs_validate, "emotion", "--corpus", tmp_path / "set.csv", "--json")
    assert '"auc": 1.0' in as_json
