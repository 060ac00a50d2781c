from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from stepedit_masked import Masked
from stepedit_pitch import Pitch
from stepedit_pitch.dsp import backend_for, shifted
from stepedit_pitch.measuring import formant_ratio, pitch_shift, pitch_track
from stepedit_pitch.pairs import PitchPairs, margin_of
from stepedit_pitch.scorer import PitchScorer

from stepedit_core import (
    AudioError,
    BuildContext,
    Case,
    Chain,
    CorpusItem,
    EditPair,
    Prepared,
    Span,
    StepeditError,
    Utterance,
)
from stepedit_core.recordings import packaged, packaged_speech
from stepedit_core.testing import FakeMeasures


def _check(speech: Utterance, edit: Pitch, backend: str | None = None) -> Utterance:
    out, _ = shifted(speech, edit, np.random.default_rng(0), backend=backend)
    shift = pitch_shift(speech, out, edit.semitones, edit.range)
    assert shift is not None
    assert shift.semitones == pytest.approx(edit.semitones, abs=0.2)
    assert shift.range == pytest.approx(edit.range, abs=0.1)
    asked = edit.ratio if edit.formants == "moved" else 1.0
    assert formant_ratio(speech, out) == pytest.approx(asked, rel=0.02)
    assert len(out.samples) == len(speech.samples)
    assert np.abs(out.samples).max() <= max(1.0, np.abs(speech.samples).max())
    return out


@pytest.mark.parametrize(
    "edit",
    [
        Pitch(semitones=4),
        Pitch(semitones=-5),
        Pitch(semitones=4, formants="moved"),
        Pitch(semitones=-4, formants="moved"),
        Pitch(range=0.5),
        Pitch(semitones=-2, range=1.5),
    ],
    ids=str,
)
def test_pitch_within_20_cents_and_formants_within_2_percent(edit: Pitch) -> None:
    _check(packaged_speech("surpassed"), edit)


@pytest.mark.slow
@pytest.mark.parametrize("clip", list(packaged()))
def test_figures_on_every_packaged_recording(clip: str) -> None:
    speech = packaged_speech(clip)
    for semitones in (-7, -3, 3, 8):
        _check(speech, Pitch(semitones=semitones))
    for semitones in (-4, 4):
        _check(speech, Pitch(semitones=semitones, formants="moved"))
        _check(speech, Pitch(semitones=semitones, formants="moved"), "signalsmith")
    for factor in (0, 0.5, 1.7):
        _check(speech, Pitch(range=factor))


@pytest.mark.parametrize("rate", [8_000, 48_000])
def test_other_rates(rate: int) -> None:
    _check(packaged_speech("surpassed").resample(rate), Pitch(semitones=3))


def test_unvoiced_sounds_and_pauses_are_the_source_s_own() -> None:
    speech = packaged_speech("office")
    out, details = shifted(speech, Pitch(semitones=5), np.random.default_rng(0))
    same = out.samples == speech.samples
    assert float(same.mean()) == pytest.approx(details["kept_seconds"] / speech.seconds, abs=0.2)
    voiced = pitch_track(speech) > 0
    at = np.minimum(
        (np.arange(len(same)) / speech.sample_rate / 0.005).astype(int), len(voiced) - 1
    )
    assert same[voiced[at]].mean() < 0.02
    assert same[~voiced[at]].mean() > 0.5


def test_backends(monkeypatch: pytest.MonkeyPatch) -> None:
    speech = packaged_speech("surpassed")
    moved = Pitch(semitones=4, formants="moved")
    assert backend_for(Pitch(semitones=4)) == "world"
    assert backend_for(Pitch(semitones=4, formants="moved", range=2)) == "world"
    _check(speech, moved, "signalsmith")
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert backend_for(moved) == "signalsmith"
    with pytest.raises(StepeditError, match="no backend 'sox'"):
        shifted(speech, moved, np.random.default_rng(0), backend="sox")
    with pytest.raises(StepeditError, match="use world"):
        shifted(speech, Pitch(range=2), np.random.default_rng(0), backend="signalsmith")


def test_inside_a_mask_all_else_is_kept() -> None:
    speech = packaged_speech("surpassed")
    span = Span(0.4, 1.2)
    result = Chain([Masked(inner=Pitch(semitones=4), spans=(span,))])(speech)
    rate, out = speech.sample_rate, result.utterance.samples
    start, end = round(span.start * rate), round(span.end * rate)
    np.testing.assert_array_equal(out[:start], speech.samples[:start])
    np.testing.assert_array_equal(out[end:], speech.samples[end:])
    shift = pitch_shift(speech.slice(span), result.utterance.slice(span), 4)
    assert shift is not None
    assert shift.semitones == pytest.approx(4, abs=0.2)


def test_noise_and_silence_have_no_pitch() -> None:
    silent = Utterance(np.zeros(24_000, np.float32), 24_000)
    assert "silent" in str(Pitch(semitones=3).problem(silent))
    noise = Utterance(np.random.default_rng(0).normal(0, 0.1, 24_000).astype(np.float32), 24_000)
    with pytest.raises(AudioError, match="no voiced sound"):
        Pitch(semitones=3).render(noise, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({}, "give semitones="),
        ({"semitones": 0, "range": 1}, "give semitones="),
        ({"semitones": 13}, "less than or equal to 12"),
        ({"semitones": 3, "formants": "gone"}, "kept"),
        ({"range": 5}, "less than or equal to 3"),
    ],
)
def test_bad_parameters(params: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Pitch(**params)


def test_scorer() -> None:
    speech = packaged_speech("surpassed")
    edit = Pitch(semitones=4)
    case = Case(id="x", edit=edit, audio="speech:surpassed")

    def reached(output: Utterance) -> bool | None:
        return PitchScorer().score(case, Prepared(speech), output, FakeMeasures()).reached

    rng = np.random.default_rng(0)
    assert reached(shifted(speech, edit, rng)[0]) is True
    assert reached(speech) is False
    assert reached(shifted(speech, Pitch(semitones=4.5), rng)[0]) is False
    assert reached(shifted(speech, Pitch(semitones=4, formants="moved"), rng)[0]) is False
    assert reached(shifted(speech, Pitch(semitones=4, range=0.3), rng)[0]) is False


def test_pairs(tmp_path: Path) -> None:
    path = packaged_speech("surpassed").write(tmp_path / "surpassed.wav", subtype="FLOAT")
    builder = PitchPairs()
    (job,) = builder.jobs([CorpusItem("surpassed", str(path), "words")], {})
    pairs = list(builder.build(job, BuildContext(np.random.default_rng(3), {})))
    assert len(pairs) == 6
    for pair in pairs:
        assert isinstance(pair, EditPair)
        assert isinstance(pair.edit, Pitch)
        assert pair.margin >= 6
        assert pair.margin == pytest.approx(margin_of(pair.edit), abs=0.1)
    with pytest.raises(StepeditError, match="directions"):
        list(builder.jobs([], {"directions": "up"}))
