"""Figures of the speed, denoise and silence pair builders on real recordings, where at hand."""

from __future__ import annotations

import csv
from collections.abc import Iterator

import numpy as np
import pytest
from stepedit_denoise.pairs import DenoisePairs
from stepedit_speed.pairs import SpeedPairs
from stepedit_trim_silence.pairs import TrimSilencePairs

from stepedit_core import BuildContext, CorpusItem, EditPair, PairBuilder, Rejected
from stepedit_core.dsp.noises import snr_db
from tests.shared_data import need_shared

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def items() -> list[CorpusItem]:
    root = need_shared("speech", "manifest.csv").parent
    with (root / "manifest.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["set"].startswith("librispeech")]
    return [CorpusItem(row["path"], str(root / row["path"]), row["text"]) for row in rows[:160]]


def _build(builder: PairBuilder, items: list[CorpusItem]) -> Iterator[EditPair | Rejected]:
    for number, job in enumerate(builder.jobs(items, {})):
        rng = np.random.default_rng([0, number])
        yield from builder.build(
            job,
            BuildContext(
                rng, sample=lambda rng, n: [items[int(i)] for i in rng.integers(len(items), size=n)]
            ),
        )


def test_speed_ratio_is_right_in_every_pair(items: list[CorpusItem]) -> None:
    errors = []
    for pair in _build(SpeedPairs(), items[:20]):
        assert isinstance(pair, EditPair)
        errors.append(abs(pair.source.seconds / pair.target.seconds / pair.details["asked"] - 1))
    assert len(errors) == 200
    assert max(errors) < 0.02


def test_denoise_snr_is_right_in_every_pair(items: list[CorpusItem]) -> None:
    pytest.importorskip("pyroomacoustics")
    errors, count = [], 0
    for pair in _build(DenoisePairs(), items[:110]):
        if isinstance(pair, EditPair):
            count += 1
            if "snr_db" in pair.details:
                noise = pair.source.samples.astype(float) - pair.target.samples
                errors.append(abs(snr_db(pair.target.samples, noise) - pair.details["snr_db"]))
    assert count >= 200
    assert max(errors) < 0.5


def test_inserted_silence_is_absent_from_every_target(items: list[CorpusItem]) -> None:
    shares, count = [], 0
    for pair in _build(TrimSilencePairs(), items):
        if isinstance(pair, EditPair):
            count += 1
            if "inserted_seconds" in pair.details:
                removed = pair.source.seconds - pair.target.seconds
                shares.append(removed / pair.details["inserted_seconds"])
    assert count >= 200
    assert min(shares) >= 0.95
