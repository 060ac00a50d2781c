"""Drawing jobs and pairs, unchanged pairs, several corpora."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from stepedit_denoise.pairs import DenoisePairs
from stepedit_pairs.cli import pairs
from stepedit_pairs.work import read_rejects
from stepedit_speed.pairs import SpeedPairs
from stepedit_trim_silence.pairs import TrimSilencePairs

from stepedit_core import BuildContext, CorpusItem, EditPair, PairBuilder, StepeditError
from stepedit_core.recordings import packaged_speech
from stepedit_core.registry.registry import Registry
from stepedit_core.storage.pair_rows import read_rows
from tests.pairs.making import content, make_corpus, registry, run_toy

__all__ = ["registry"]


def test_a_sample_of_jobs_is_drawn_evenly(registry: Registry, tmp_path: Path) -> None:
    manifest, _ = make_corpus(tmp_path / "c", 40)
    totals = run_toy(tmp_path / "out", manifest, sample=8, min_margin=1.0)
    assert totals.jobs == 8
    ids = [row["items"][0] for row in read_rows(tmp_path / "out")]
    numbers = [int(name[:4]) for name in dict.fromkeys(ids)]
    assert numbers == sorted(numbers) and max(numbers) > 20 > min(numbers)
    run_toy(tmp_path / "again", manifest, sample=8, min_margin=1.0)
    assert content(tmp_path / "again") == content(tmp_path / "out")


def test_pairs_per_job(registry: Registry, tmp_path: Path) -> None:
    manifest, _ = make_corpus(tmp_path / "c", 10)
    run_toy(tmp_path / "out", manifest, per_job=1, min_margin=1.0, options={"copies": "3"})
    rows = list(read_rows(tmp_path / "out"))
    assert max(Counter(row["items"][0] for row in rows).values()) == 1 and len(rows) == 10
    assert len({row["id"].rpartition("#")[2] for row in rows}) > 1  # not always the first
    reasons = Counter(reject["reason"] for reject in read_rejects(tmp_path / "out"))
    assert reasons == {"not drawn, 1 of each job are": 20}


def test_corpora_follow_each_other_and_ids_choose(registry: Registry, tmp_path: Path) -> None:
    first, _ = make_corpus(tmp_path / "a", 3)
    second, _ = make_corpus(tmp_path / "b", 6)
    rows = second.read_text().replace("000", "x00")
    second.write_text(rows)
    for path in (tmp_path / "b").glob("000*.wav"):
        path.rename(path.with_name(f"x{path.name[1:]}"))
    command = ["quieter", "--corpus", first, "--corpus", second, "--out", tmp_path / "out"]
    command += ["--include", "x*", "--include", "0001*", "--min-margin", "1"]
    done = CliRunner().invoke(pairs, [str(part) for part in command], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found = {row["items"][0][:4] for row in read_rows(tmp_path / "out")}
    assert found == {"0001", "x000", "x001", "x002", "x003", "x004", "x005"}


def _build(builder: PairBuilder, folder: Path, seed: int, **options: str) -> list[EditPair]:
    path = folder / "speech.wav"
    if not path.exists():
        packaged_speech("wind").write(path, subtype="FLOAT")
    (job,) = builder.jobs([CorpusItem("a", str(path), "words")], options)
    made = list(builder.build(job, BuildContext(np.random.default_rng(seed), options)))
    return [pair for pair in made if isinstance(pair, EditPair)]


@pytest.mark.parametrize(
    ("builder", "options"),
    [
        (DenoisePairs(), {"degradations": "noise", "noises": "white", "draw": "1"}),
        (TrimSilencePairs(), {"kinds": "inserted"}),
    ],
    ids=["denoise", "trim_silence"],
)
def test_a_share_of_clean_recordings_stays_as_it_is(
    builder: PairBuilder, options: dict[str, str], tmp_path: Path
) -> None:
    assert not any("unchanged" in p.details for p in _build(builder, tmp_path, 0, **options))
    every = _build(builder, tmp_path, 0, clean_share="1", **options)
    (clean,) = [pair for pair in every if pair.details.get("unchanged")]
    assert clean.source.digest == clean.target.digest and clean.margin == 1.0
    with pytest.raises(StepeditError, match="clean_share: a number from 0 to 1"):
        _build(builder, tmp_path, 0, clean_share="2", **options)


def test_unchanged_pairs_pass_the_least_margin(registry: Registry, tmp_path: Path) -> None:
    manifest, _ = make_corpus(tmp_path / "c", 4)
    run_toy(tmp_path / "out", manifest, min_margin=10.0, options={"unchanged": "yes"})
    rows = list(read_rows(tmp_path / "out"))
    assert len(rows) == 8 and min(row["margin"] for row in rows) < 10


def test_rates_of_speed_are_drawn_for_each_recording(tmp_path: Path) -> None:
    found: Counter[str] = Counter()
    for seed in range(12):
        made = _build(
            SpeedPairs(), tmp_path, seed, exact="0", draw="1", directions="forward",
            backend="signalsmith",
        )  # fmt: skip
        assert len(made) == 1
        found[str(made[0].edit.to_data()["rate"])] += 1
    assert len(found) > 2
    with pytest.raises(StepeditError, match="draw: a whole number from 1"):
        _build(SpeedPairs(), tmp_path, 0, draw="0")
