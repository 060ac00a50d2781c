from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from stepedit_speed import Speed
from stepedit_speed.dsp import stretch
from stepedit_speed.edit import FACTORS
from stepedit_speed.pairs import SpeedPairs, margin_of
from stepedit_speed.scorer import SpeedScorer, nearest_rate

from stepedit_core import (
    BuildContext,
    Case,
    CorpusItem,
    EditPair,
    Prepared,
    Rejected,
    StepeditError,
)
from stepedit_core.recordings import packaged_speech
from stepedit_core.testing import FakeMeasures


def _item(folder: Path, name: str, seconds: float | None = None) -> CorpusItem:
    speech = packaged_speech(name)
    if seconds is not None:
        speech = speech.slice((0.5, 0.5 + seconds))
    path = speech.write(folder / f"{name}.wav", subtype="FLOAT")
    return CorpusItem(name, str(path), packaged_speech(name).transcript)


def _build(item: CorpusItem, **options: str) -> list[EditPair | Rejected]:
    builder = SpeedPairs()
    (job,) = builder.jobs([item], options)
    return list(builder.build(job, BuildContext(np.random.default_rng(1), options)))


def test_all_rates_and_exact_factors_both_ways(tmp_path: Path) -> None:
    pairs = _build(_item(tmp_path, "surpassed"), exact="2")
    assert len(pairs) == 12
    natural = packaged_speech("surpassed")
    for pair in pairs:
        assert isinstance(pair, EditPair)
        assert isinstance(pair.edit, Speed)
        ratio = pair.source.seconds / pair.target.seconds
        assert ratio == pytest.approx(pair.edit.tempo, rel=0.02)
        assert pair.source.transcript == pair.target.transcript == natural.transcript
        assert pair.margin >= 6
        side = pair.source if pair.details["direction"] == "forward" else pair.target
        np.testing.assert_array_equal(side.samples, natural.samples)
    rates = {p.edit.rate for p in pairs if isinstance(p, EditPair) and isinstance(p.edit, Speed)}
    assert rates == {*FACTORS, None}


def test_same_seed_same_pairs_and_options(tmp_path: Path) -> None:
    item = _item(tmp_path, "surpassed")
    first, again = (_build(item, rates="faster", backend="signalsmith") for _ in range(2))
    assert [(p.source, p.target, p.edit) for p in first if isinstance(p, EditPair)] == [
        (p.source, p.target, p.edit) for p in again if isinstance(p, EditPair)
    ]
    assert len(first) == 4
    only = _build(item, rates="slower", exact="0", directions="backward", backend="signalsmith")
    assert [p.edit for p in only if isinstance(p, EditPair)] == [Speed(rate="faster")]
    assert only[0].details["backend"] == "signalsmith"


def test_too_short_is_rejected_with_reason(tmp_path: Path) -> None:
    (rejected,) = _build(_item(tmp_path, "office", 0.2))
    assert isinstance(rejected, Rejected)
    assert "shorter than" in rejected.reason


@pytest.mark.parametrize(
    "options",
    [{"rates": "quick"}, {"exact": "-1"}, {"directions": "up"}, {"backend": "tape"}],
)
def test_wrong_options_are_named(options: dict[str, str]) -> None:
    with pytest.raises(StepeditError, match=next(iter(options))):
        list(SpeedPairs().jobs([CorpusItem("a", "a.wav")], options))


def test_margin_counts_noticeable_steps() -> None:
    assert margin_of(1.05**7) == pytest.approx(7)
    assert margin_of(1.05**-7) == pytest.approx(7)
    assert margin_of(1.0) == 1
    assert all(margin_of(factor) >= 6 for factor in FACTORS.values())


def _score(edit: Speed, factor: float) -> tuple[bool | None, dict[str, float | None]]:
    speech = packaged_speech("doctor")
    output, _ = stretch(speech, factor, backend="signalsmith")
    case = Case(id="a", edit=edit, audio="speech:doctor")
    score = SpeedScorer().score(case, Prepared(speech), output, FakeMeasures())
    return score.reached, dict(score.values)


def test_scorer_measures_a_known_tempo_back() -> None:
    reached, values = _score(Speed(factor=1.5), 1.5)
    assert reached is True
    assert values["factor_total"] == pytest.approx(1.5, rel=0.005)
    assert values["factor_speech"] == pytest.approx(1.5, rel=0.06)
    assert values["f0_ratio"] == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(
    ("edit", "factor", "expected"),
    [
        (Speed(factor=1.5), 1.0, False),
        (Speed(factor=1.5), 1.35, False),
        (Speed(rate="faster"), 1.0, False),
        (Speed(rate="faster"), 1.35, True),
        (Speed(rate="faster"), 1.8, False),
        (Speed(rate="more_faster"), 1.35, False),
        (Speed(rate="slower"), 1.35, False),
        (Speed(rate="slower"), 0.8, True),
    ],
)
def test_scorer_verdicts(edit: Speed, factor: float, expected: bool) -> None:
    assert _score(edit, factor)[0] is expected


def test_scorer_padding_and_voice() -> None:
    speech = packaged_speech("doctor")
    case = Case(id="a", edit=Speed(rate="slower"), audio="speech:doctor")
    room = np.zeros(round(0.35 * len(speech.samples)), np.float32)
    padded = speech.replace(samples=np.concatenate([speech.samples, room]))
    score = SpeedScorer().score(case, Prepared(speech), padded, FakeMeasures())
    assert nearest_rate(speech.seconds / padded.seconds) == "slower"
    assert score.reached is False
    # Playing slower, as a tape does, lowers the pitch with the tempo.
    tape = speech.resample(round(speech.sample_rate * 1.35)).replace(sample_rate=24_000)
    score = SpeedScorer().score(case, Prepared(speech), tape, FakeMeasures())
    assert score.values["factor_total"] == pytest.approx(1 / 1.35, rel=0.01)
    assert score.reached is False
