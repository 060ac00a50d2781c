"""Measured figures against signals of known pitch, level, tilt and rhythm."""

from __future__ import annotations

import math

import numpy as np
import pytest
from stepedit_emotion.profiles import PROFILES as EMOTIONS
from stepedit_style.profiles import PROFILES as STYLES

from stepedit_core import Utterance
from stepedit_core.dsp.acoustics import (
    Acoustics,
    AcousticShift,
    agreement,
    difference,
    margin,
    measure,
)
from stepedit_core.labels.profile import Cue, Profile
from stepedit_core.recordings import packaged_speech

RATE = 16_000


def voice(
    f0: np.ndarray | float = 150.0,
    *,
    seconds: float = 2.0,
    tilt: float = -9.0,
    noise: float = 0.0,
    rate: int = RATE,
    seed: int = 0,
) -> np.ndarray:
    """Harmonics of a fundamental whose amplitudes fall by ``tilt`` dB per octave."""
    count = round(seconds * rate)
    track = np.broadcast_to(np.asarray(f0, dtype=float), (count,))
    phase = 2 * np.pi * np.cumsum(track) / rate
    top = int(0.45 * rate / track.max())
    rng = np.random.default_rng(seed)
    out = np.zeros(count)
    for k in range(1, top):
        out += 10 ** (tilt * math.log2(k) / 20) * np.sin(k * phase + rng.uniform(0, 2 * np.pi))
    out /= np.sqrt(np.mean(out**2))
    out += noise * rng.standard_normal(count)
    return (0.1 * out / np.sqrt(np.mean(out**2))).astype(np.float32)


def syllables(count: int, period: float, f0: float = 150.0) -> np.ndarray:
    """Voice whose level swells ``count`` times, a valley every ``period`` seconds."""
    seconds = count * period
    times = np.arange(round(seconds * RATE)) / RATE
    swell = 0.15 + 0.85 * np.sin(np.pi * times / period) ** 2
    return (voice(f0, seconds=seconds) * swell).astype(np.float32)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
@pytest.mark.parametrize("f0", [90.0, 220.0, 420.0])
def test_median_f0_is_right_at_every_rate(f0: float, rate: int) -> None:
    found = measure(Utterance(voice(f0, seconds=0.8, rate=rate), rate))
    assert found.f0 == pytest.approx(f0, rel=0.01)
    assert found.voiced is not None and found.voiced > 0.9


def test_f0_range_slope_and_movement() -> None:
    times = np.arange(2 * RATE) / RATE
    rising = 120 * 2 ** (times * 3 / 12)  # 3 semitones a second for 2 s
    found = measure(Utterance(voice(rising), RATE))
    assert found.f0_slope == pytest.approx(3.0, abs=0.15)
    assert found.f0_range == pytest.approx(0.9 * 6, abs=0.4)
    assert found.f0_variability == pytest.approx(3.0, abs=0.6)


def test_level_is_of_active_speech_alone() -> None:
    tone = voice(seconds=1.0)
    padded = np.concatenate([np.zeros(RATE, np.float32), tone, np.zeros(RATE, np.float32)])
    assert measure(Utterance(tone, RATE)).level == pytest.approx(-20.0, abs=0.5)
    assert measure(Utterance(padded, RATE)).level == pytest.approx(-20.0, abs=0.7)
    assert difference(
        Utterance(tone, RATE), Utterance((tone * 0.5).astype(np.float32), RATE)
    ).level == pytest.approx(-6.02, abs=0.05)


def test_tilt_is_measured_back() -> None:
    steep = measure(Utterance(voice(110.0, tilt=-12.0), RATE))
    flat = measure(Utterance(voice(110.0, tilt=-6.0), RATE))
    # Partials of constant spacing: density falls by the amplitudes' own tilt.
    assert steep.tilt == pytest.approx(-12.0, abs=0.8)
    assert flat.tilt == pytest.approx(-6.0, abs=0.8)
    assert difference(steep, flat).tilt == pytest.approx(6.0, abs=0.6)
    assert difference(steep, flat).hammarberg < -8


def test_white_noise_is_flat_and_unvoiced() -> None:
    noise = 0.1 * np.random.default_rng(3).standard_normal(2 * RATE)
    found = measure(Utterance(noise.astype(np.float32), RATE))
    assert found.tilt == pytest.approx(0.0, abs=0.5)
    assert found.voiced < 0.05
    assert (found.f0, found.f0_range, found.hnr, found.syllable_rate) == (None,) * 4


def test_breathiness_lowers_hnr_by_the_noise_added() -> None:
    clear = measure(Utterance(voice(noise=0.1), RATE)).hnr
    breathy = measure(Utterance(voice(noise=0.3), RATE)).hnr
    assert clear == pytest.approx(20.0, abs=2.5)
    assert clear - breathy == pytest.approx(20 * math.log10(3), abs=2.0)


@pytest.mark.parametrize(("count", "period"), [(8, 0.2), (10, 0.3)])
def test_syllable_nuclei_are_counted(count: int, period: float) -> None:
    found = measure(Utterance(syllables(count, period), RATE))
    assert found.syllable_rate == pytest.approx(1 / period, rel=0.15)
    assert found.pauses == 0


def test_speech_and_articulation_rate() -> None:
    half = syllables(6, 0.25)
    joined = np.concatenate([half, np.zeros(round(0.6 * RATE), np.float32), half])
    without, paused = measure(Utterance(half, RATE)), measure(Utterance(joined, RATE))
    assert paused.pauses == 1
    assert paused.pause_share == pytest.approx(0.6 / 3.6, abs=0.04)
    assert paused.articulation_rate == pytest.approx(without.articulation_rate, rel=0.1)
    assert paused.syllable_rate < 0.9 * without.syllable_rate


@pytest.mark.parametrize("seconds", [0.0, 0.003, 0.02, 1.0])
def test_silence_and_scraps_give_none_and_never_nan(seconds: float) -> None:
    silent = Utterance(np.zeros(round(seconds * RATE), np.float32), RATE)
    found = measure(silent)
    assert found == Acoustics(silent.seconds)
    scrap = Utterance(voice(seconds=max(seconds, 0.001)), RATE)
    values = [value for value in vars(measure(scrap)).values() if value is not None]
    assert np.isfinite(values).all()
    assert difference(silent, scrap).f0 is None


def test_difference_of_the_same_is_nothing() -> None:
    speech = packaged_speech("garden")
    assert set(difference(speech, speech).steps().values()) == {0.0}


def test_tempo_of_the_same_words_ignores_silence_around() -> None:
    slow, fast = syllables(8, 0.3), syllables(8, 0.2)
    silence = np.zeros(RATE, np.float32)
    padded = Utterance(np.concatenate([silence, fast, silence]), RATE)
    found = difference(Utterance(slow, RATE), padded)
    assert found.tempo == pytest.approx(1.5, rel=0.03)
    assert found.syllable_rate == pytest.approx(1.5, rel=0.15)


def test_level_of_a_clipped_recording_stays_finite() -> None:
    found = measure(Utterance(np.sign(voice()).astype(np.float32), RATE))
    assert found.level == pytest.approx(0.0, abs=0.1)


PROFILE = Profile("test", {"f0": Cue(4.0), "f0_range": Cue(2.0), "level": Cue(-6.0)}, "made up")


def test_margin_maps_usual_sizes() -> None:
    usual = AcousticShift(f0=4.0, f0_range=2.0, level=-6.0)
    opposite = AcousticShift(f0=-4.0, f0_range=0.5, level=6.0)
    assert agreement(usual, PROFILE) == pytest.approx(1.0)
    assert margin(usual, PROFILE) == pytest.approx(8.0)
    assert margin(AcousticShift(f0=0.0, f0_range=1.0, level=0.0), PROFILE) == 1.0
    assert agreement(opposite, PROFILE) == pytest.approx(-1.0)
    assert margin(opposite, PROFILE) == 1.0
    assert margin(AcousticShift(f0=9.0, f0_range=4.0, level=-20.0), PROFILE) == 10.0


def test_one_exaggerated_cue_is_not_enough() -> None:
    assert margin(AcousticShift(f0=24.0, f0_range=1.0, level=0.0), PROFILE) == pytest.approx(4.5)


def test_margin_needs_half_of_the_cues() -> None:
    assert margin(AcousticShift(f0=4.0), PROFILE) is None
    assert margin(AcousticShift(f0=4.0, level=-6.0), PROFILE) == pytest.approx(8.0)


@pytest.mark.parametrize("profile", [*EMOTIONS.values(), *STYLES.values()], ids=lambda p: p.label)
def test_profiles_are_usable_and_sourced(profile: Profile) -> None:
    assert profile.cues and profile.source
    usual = AcousticShift(**{name: cue.size for name, cue in profile.cues.items()})
    assert margin(usual, profile) == pytest.approx(8.0)
    for other in {**EMOTIONS, **STYLES}.values():
        assert agreement(usual, other) is None or agreement(usual, other) <= 1.5
