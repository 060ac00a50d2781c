"""WORLD transformations against the figures that were asked for."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from stepedit_core import Utterance
from stepedit_core.dsp.acoustics import AcousticShift, difference, measure
from stepedit_core.dsp.prosody import ProsodyRecipe, transform, transform_with_facts
from stepedit_core.recordings import packaged_speech

NAMES = ("wind", "surpassed")


@cache
def shift(name: str, recipe: ProsodyRecipe) -> AcousticShift:
    speech = packaged_speech(name)
    return difference(speech, transform(speech, recipe, np.random.default_rng(0)))


@pytest.mark.parametrize("name", NAMES)
def test_the_empty_recipe_keeps_what_is_measured(name: str) -> None:
    speech = packaged_speech(name)
    out = transform(speech, ProsodyRecipe(), np.random.default_rng(0))
    found = difference(speech, out)
    assert len(out.samples) == len(speech.samples)
    assert out.sample_rate == speech.sample_rate
    assert (out.transcript, out.language) == (speech.transcript, speech.language)
    assert abs(found.f0) < 0.45 and abs(found.tilt) < 0.5 and abs(found.level) < 0.5
    assert abs(found.voiced) < 0.08
    assert found.f0_range == pytest.approx(1.0, abs=0.15)


def median_shift(feature: str, recipe: ProsodyRecipe) -> float:
    """Median over recordings: creak at phrase ends makes single ranges unsteady."""
    names = ("office", "romance", "surpassed")
    return float(np.median([getattr(shift(name, recipe), feature) for name in names]))


def test_pitch_and_range_are_those_asked_for() -> None:
    wide = ProsodyRecipe(f0_ratio=2 ** (4 / 12), f0_range=1.5)
    assert median_shift("f0", wide) == pytest.approx(4.0, abs=0.4)
    assert median_shift("f0_range", wide) == pytest.approx(1.5, abs=0.15)
    assert median_shift("f0_range", ProsodyRecipe(f0_range=0.3)) == pytest.approx(0.3, abs=0.12)


@pytest.mark.parametrize("tilt", [-2.0, 2.0])
def test_tilt_is_the_one_asked_for(tilt: float) -> None:
    assert shift("books", ProsodyRecipe(tilt=tilt)).tilt == pytest.approx(tilt, abs=0.6)


def formant(utterance: Utterance) -> float:
    """Centroid of the spectrum between 200 Hz and 6 kHz on a logarithmic scale, in Hz."""
    power = np.abs(np.fft.rfft(utterance.resample(16_000).samples)) ** 2
    freqs = np.fft.rfftfreq(len(utterance.resample(16_000).samples), 1 / 16_000)
    band = (freqs > 200) & (freqs < 6000)
    return float(np.exp(np.average(np.log(freqs[band]), weights=power[band])))


def test_formants_move_without_the_pitch() -> None:
    rng = np.random.default_rng(0)
    rate, times = 16_000, np.arange(16_000) / 16_000
    source = sum(np.sin(2 * np.pi * 100 * k * times + k * k) for k in range(1, 70))
    spectrum, freqs = np.fft.rfft(source), np.fft.rfftfreq(rate, 1 / rate)
    peak = 1 / (1 + ((freqs - 1000) / 100) ** 2)
    vowel = Utterance((0.002 * np.fft.irfft(spectrum * peak)).astype(np.float32), rate)
    moved = transform(vowel, ProsodyRecipe(formant_ratio=1.2), rng)
    assert formant(moved) / formant(vowel) == pytest.approx(1.2, abs=0.03)
    assert difference(vowel, moved).f0 == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize("rate", [0.8, 1.25])
def test_tempo_changes_length_and_not_pitch(rate: float) -> None:
    speech = packaged_speech("doctor")
    out = transform(speech, ProsodyRecipe(rate=rate), np.random.default_rng(0))
    assert len(out.samples) == round(len(speech.samples) / rate)
    found = difference(speech, out)
    assert abs(found.f0) < 0.5
    assert found.syllable_rate == pytest.approx(rate, rel=0.15)


@pytest.mark.parametrize("name", NAMES)
def test_whisper_has_no_voice_left(name: str) -> None:
    speech = packaged_speech(name)
    out = measure(transform(speech, ProsodyRecipe(aperiodicity=1.0), np.random.default_rng(0)))
    assert out.voiced < 0.06
    assert out.f0 is None


def test_half_aperiodic_is_breathier() -> None:
    assert shift("garden", ProsodyRecipe(aperiodicity=0.3)).hnr < -3.0


def test_vibrato_has_the_rate_and_depth_asked_for() -> None:
    times = np.arange(32_000) / 16_000
    tone = sum(np.sin(2 * np.pi * 150 * k * times) / k for k in range(1, 30))
    voice = Utterance((0.1 * tone).astype(np.float32), 16_000)
    recipe = ProsodyRecipe(vibrato_cents=60.0, vibrato_hz=6.0)
    out = transform(voice, recipe, np.random.default_rng(0))
    import pyworld

    samples = out.samples.astype(np.float64)
    coarse, at = pyworld.dio(samples, 16_000)
    f0 = pyworld.stonemask(samples, coarse, at, 16_000)[40:-40]
    cents = 1200 * np.log2(f0 / np.median(f0))
    assert np.ptp(np.percentile(cents, [2, 98])) / 2 == pytest.approx(60.0, rel=0.15)
    spectrum = np.abs(np.fft.rfft(cents - cents.mean()))
    assert np.fft.rfftfreq(len(cents), 0.005)[spectrum.argmax()] == pytest.approx(6.0, abs=0.4)


def test_final_rise_and_inflection_move_the_ends() -> None:
    assert shift("books", ProsodyRecipe(final_rise=10.0)).f0_slope > 0.5
    speech = packaged_speech("garden")
    glide = ProsodyRecipe(inflection_cents=(-400.0, 0.0, 0.0), inflection_seconds=0.4)
    out = transform(speech, glide, np.random.default_rng(0))
    head, tail = (0.2, 0.55), (1.4, 2.5)
    assert difference(speech.slice(head), out.slice(head)).f0 < -0.7
    assert abs(difference(speech.slice(tail), out.slice(tail)).f0) < 0.4


def test_level_is_added_and_peaks_are_held() -> None:
    speech = packaged_speech("garden")
    rng = np.random.default_rng(0)
    soft, facts = transform_with_facts(speech, ProsodyRecipe(level=-8.0), rng)
    assert difference(speech, soft).level == pytest.approx(-8.0, abs=0.5)
    assert facts["limited_db"] == 0.0
    loud, facts = transform_with_facts(speech, ProsodyRecipe(level=30.0), rng)
    assert np.abs(loud.samples).max() <= 0.97 + 1e-3
    assert facts["limited_db"] < -5.0


def test_silence_stays_silent_inside_speech() -> None:
    speech = packaged_speech("garden")
    gap = np.zeros(speech.sample_rate, np.float32)
    samples = np.concatenate([speech.samples, gap, speech.samples])
    out = transform(
        speech.replace(samples=samples), ProsodyRecipe(f0_ratio=1.3), np.random.default_rng(0)
    )
    middle = slice(len(speech.samples) + 2000, len(speech.samples) + len(gap) - 2000)
    assert np.sqrt(np.mean(out.samples[middle] ** 2)) < 10 ** (-70 / 20)


@pytest.mark.parametrize("rate", [8_000, 11_025, 24_000, 96_000])
@pytest.mark.parametrize("seconds", [0.02, 0.1, 0.7])
def test_any_rate_and_length(rate: int, seconds: float) -> None:
    speech = packaged_speech("surpassed").resample(rate)
    piece = speech.slice((0.3, 0.3 + seconds))
    before = piece.samples.copy()
    recipe = ProsodyRecipe(f0_ratio=1.2, formant_ratio=0.9, jitter_cents=20.0, tilt=1.0)
    out = transform(piece, recipe, np.random.default_rng(1))
    assert out.sample_rate == rate and len(out.samples) == len(before)
    assert out.samples.dtype == np.float32 and np.isfinite(out.samples).all()
    assert np.array_equal(piece.samples, before)


def test_silence_and_clipping_survive() -> None:
    silent = Utterance(np.zeros(8000, np.float32), 16_000)
    out, facts = transform_with_facts(silent, ProsodyRecipe(rate=0.5), np.random.default_rng(0))
    assert facts["silent"] and len(out.samples) == 16_000 and not out.samples.any()
    speech = packaged_speech("surpassed")
    clipped = speech.replace(samples=np.clip(speech.samples * 30, -1, 1))
    made = transform(clipped, ProsodyRecipe(tilt=3.0), np.random.default_rng(0))
    assert np.abs(made.samples).max() <= 1.0 + 1e-6


def test_seeded_jitter() -> None:
    speech = packaged_speech("surpassed")
    recipe = ProsodyRecipe(jitter_cents=30.0)
    first = transform(speech, recipe, np.random.default_rng(5))
    assert first == transform(speech, recipe, np.random.default_rng(5))
    assert first != transform(speech, recipe, np.random.default_rng(6))


@pytest.mark.parametrize("wrong", [{"f0_ratio": 0.0}, {"rate": 9.0}, {"aperiodicity": 2.0}])
def test_impossible_factors_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="outside"):
        ProsodyRecipe(**wrong)


def test_changes_lists_only_what_differs() -> None:
    assert ProsodyRecipe().changes() == {}
    recipe = ProsodyRecipe(tilt=1.0, inflection_cents=(-200.0, 140.0, 0.0))
    assert recipe.changes() == {"tilt": 1.0, "inflection_cents": [-200.0, 140.0, 0.0]}
