from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.signal import resample_poly
from stepedit_masked import Masked
from stepedit_volume import Volume
from stepedit_volume.dsp import MOST_LIMITED_DB
from stepedit_volume.pairs import VolumePairs, margin_of
from stepedit_volume.scorer import VolumeScorer

from stepedit_core import (
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
from stepedit_core.dsp.loudness import loudness, true_peak
from stepedit_core.recordings import packaged, packaged_speech
from stepedit_core.testing import FakeMeasures

CEILING = 10 ** (-1 / 20)


def _changed(edit: Volume, speech: Utterance) -> tuple[Utterance, dict[str, object]]:
    done = edit.render(speech, np.random.default_rng(0))
    return done.utterance, dict(done.details)


def _other_peak(sound: Utterance) -> float:
    """True peak in dB by another filter than the limiter's."""
    dense = resample_poly(np.pad(sound.samples.astype(float), 400), 16, 1, window=("kaiser", 12))
    return 20 * float(np.log10(np.abs(dense).max()))


@pytest.mark.parametrize("rate", [8_000, 24_000, 48_000])
@pytest.mark.parametrize("lufs", [-30.0, -23.0, -16.0])
def test_loudness_within_a_fifth_and_no_true_peak_above_the_ceiling(lufs: float, rate: int) -> None:
    for clip in ("garden", "surpassed"):
        speech = packaged_speech(clip).resample(rate)
        out, details = _changed(Volume(lufs=lufs), speech)
        assert loudness(out) == pytest.approx(lufs, abs=0.2)
        assert true_peak(out.samples, rate) <= CEILING
        assert details["notes"] == []
        assert len(out.samples) == len(speech.samples)


@pytest.mark.slow
@pytest.mark.parametrize("clip", list(packaged()))
def test_figures_on_every_packaged_recording(clip: str) -> None:
    for rate in (8_000, 16_000, 44_100):
        speech = packaged_speech(clip).resample(rate)
        for edit in (Volume(lufs=-16), Volume(lufs=-23), Volume(db=9), Volume(peak=-1)):
            out, _ = _changed(edit, speech)
            assert _other_peak(out) <= -0.95
            if edit.lufs is not None:
                assert loudness(out) == pytest.approx(edit.lufs, abs=0.2)


def test_decibels_are_a_gain_and_nothing_else() -> None:
    speech = packaged_speech("garden")
    out, details = _changed(Volume(db=-6), speech)
    np.testing.assert_allclose(out.samples, speech.samples * 10 ** (-6 / 20), atol=1e-7)
    assert details["limited_db"] == 0.0


def test_peak_is_met() -> None:
    out, _ = _changed(Volume(peak=-3), packaged_speech("garden"))
    assert 20 * np.log10(true_peak(out.samples, 24_000)) == pytest.approx(-3, abs=0.02)


def test_what_is_asked_too_loud_is_said() -> None:
    out, details = _changed(Volume(lufs=-8), packaged_speech("garden"))
    assert true_peak(out.samples, 24_000) <= CEILING
    assert details["limited_db"] == pytest.approx(MOST_LIMITED_DB, abs=1.0)
    assert "needs more than 15 dB of limiting" in str(details["notes"])


@pytest.mark.parametrize(
    ("gain", "db", "cure"),
    [(100.0, -3, "reaches 20 dB above full scale: give peak=-1"), (1.0, 40, "ask for less")],
)
def test_much_limiting_is_said_with_its_cause(gain: float, db: float, cure: str) -> None:
    speech = packaged_speech("garden")
    loud = speech.replace(samples=speech.samples * gain * 0.1 / np.abs(speech.samples).max())
    _, details = _changed(Volume(db=db), loud)
    assert "the limiter took" in details["notes"][0] and cure in details["notes"][0]


def test_beyond_full_scale_comes_down_and_an_offset_stays() -> None:
    speech = packaged_speech("garden")
    loud = speech.replace(samples=speech.samples * 5)
    out, _ = _changed(Volume(lufs=-20), loud)
    assert loudness(out) == pytest.approx(-20, abs=0.2)
    shifted = speech.replace(samples=speech.samples + np.float32(0.05))
    out, _ = _changed(Volume(lufs=-16), shifted)
    assert float(out.samples.mean()) == pytest.approx(0.05, abs=0.003)
    assert loudness(out) == pytest.approx(-16, abs=0.2)
    assert true_peak(out.samples, 24_000) <= CEILING


def test_inside_a_mask_all_else_is_kept() -> None:
    speech = packaged_speech("garden")
    span = Span(1.0, 2.0)
    result = Chain([Masked(inner=Volume(db=-12), spans=(span,))])(speech)
    out = result.utterance.samples
    start, end = 24_000, 48_000
    np.testing.assert_array_equal(out[:start], speech.samples[:start])
    np.testing.assert_array_equal(out[end:], speech.samples[end:])
    inner = speech.samples[start + 300 : end - 300]
    np.testing.assert_allclose(out[start + 300 : end - 300], inner * 10 ** (-12 / 20), atol=1e-6)


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({}, "exactly one"),
        ({"db": 3, "lufs": -16}, "exactly one"),
        ({"db": 0}, "changes nothing"),
        ({"peak": 0}, "less than or equal to -1"),
        ({"lufs": -3}, "less than or equal to -8"),
        ({"db": 90}, "less than or equal to 40"),
    ],
)
def test_bad_parameters(params: dict[str, float], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Volume(**params)


def test_silence_is_refused() -> None:
    silent = Utterance(np.zeros(24_000, np.float32), 24_000)
    assert "silent" in str(Volume(db=3).problem(silent))
    faint = Utterance(np.random.default_rng(0).normal(0, 1e-5, 24_000).astype(np.float32), 24_000)
    assert "-70 LUFS" in str(Volume(lufs=-16).problem(faint))
    assert Volume(db=3).problem(faint) is None


def _score(edit: Volume, output: Utterance, speech: Utterance) -> bool | None:
    case = Case(id="x", edit=edit, audio="speech:garden")
    return VolumeScorer().score(case, Prepared(speech), output, FakeMeasures()).reached


def test_scorer() -> None:
    speech = packaged_speech("garden")
    for edit in (Volume(lufs=-16), Volume(db=-12), Volume(db=12), Volume(peak=-12)):
        out, _ = _changed(edit, speech)
        assert _score(edit, out, speech) is True
        assert _score(edit, speech, speech) is False
        louder = out.replace(samples=out.samples * np.float32(10 ** (0.5 / 20)))
        assert _score(edit, louder, speech) is False
    edit = Volume(lufs=-20)
    backwards, _ = _changed(edit, speech.replace(samples=speech.samples[::-1]))
    assert _score(edit, backwards, speech) is False
    part, _ = _changed(edit, speech.slice((0.0, 2.0)).replace(transcript=speech.transcript))
    assert _score(edit, part, speech) is False


def test_pairs(tmp_path: Path) -> None:
    path = packaged_speech("garden").write(tmp_path / "garden.wav", subtype="FLOAT")
    builder = VolumePairs()
    options = {"each": "4"}
    (job,) = builder.jobs([CorpusItem("garden", str(path), "words")], options)
    pairs = list(builder.build(job, BuildContext(np.random.default_rng(3), options)))
    kept = [pair for pair in pairs if isinstance(pair, EditPair)]
    assert len(pairs) == 12
    assert len(kept) >= 8
    for pair in kept:
        before, after = loudness(pair.source), loudness(pair.target)
        assert before is not None
        assert after is not None
        assert pair.margin == pytest.approx(margin_of(after - before))
        assert abs(after - before) >= 6
    with pytest.raises(StepeditError, match="kinds: there are db"):
        list(builder.jobs([], {"kinds": "loud"}))
