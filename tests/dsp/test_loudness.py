from __future__ import annotations

import numpy as np
import pytest
import soxr

from stepedit_core import Utterance
from stepedit_core.dsp.likeness import likeness
from stepedit_core.dsp.loudness import LOOK_AHEAD, limited, loudness, true_peak
from stepedit_core.recordings import packaged_speech


def _sine(hertz: float, rate: int, amplitude: float, seconds: float = 2.0, phase: float = 0.0):  # noqa: ANN202
    times = np.arange(round(seconds * rate)) / rate
    return (amplitude * np.sin(2 * np.pi * hertz * times + phase)).astype(np.float32)


def _measured_peak(samples: np.ndarray, rate: int) -> float:
    dense = soxr.resample(np.pad(samples, 200), rate, 16 * rate, quality="VHQ")
    return 20 * float(np.log10(np.abs(dense).max()))


def test_loudness_of_a_sine_at_full_scale() -> None:
    # BS.1770-4: 997 Hz at 0 dBFS in one channel reads -3.01 LKFS.
    assert loudness(Utterance(_sine(997, 48_000, 1.0), 48_000)) == pytest.approx(-3.01, abs=0.05)


def test_loudness_of_silence_and_of_a_moment() -> None:
    assert loudness(Utterance(np.zeros(48_000, np.float32), 48_000)) is None
    moment = Utterance(_sine(997, 48_000, 1.0, 0.1), 48_000)
    assert loudness(moment) == pytest.approx(-3.01, abs=0.2)


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 44_100, 48_000, 96_000])
def test_true_peak_between_samples(rate: int) -> None:
    # A quarter of the rate at 45 degrees: samples reach 0.707 of the peak between them.
    sine = _sine(rate / 4, rate, 0.5, 0.5, np.pi / 4)
    faded = sine * np.hanning(len(sine)).astype(np.float32)
    assert np.abs(faded).max() == pytest.approx(0.354, abs=0.001)
    assert true_peak(faded, rate) == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize("rate", [8_000, 22_050, 48_000])
@pytest.mark.parametrize("gain", [2.0, 10.0])
def test_limiter_holds_the_true_peak(rate: int, gain: float) -> None:
    speech = packaged_speech("garden").resample(rate)
    held, reduced = limited(speech.samples * np.float32(gain), rate, 0.5)
    assert _measured_peak(held, rate) <= 20 * np.log10(0.5) + 0.1
    assert reduced > 0
    assert len(held) == len(speech.samples)


def test_limiter_leaves_what_is_soft_or_far_from_a_peak() -> None:
    speech = packaged_speech("garden")
    same, reduced = limited(speech.samples, 24_000, 1.0)
    np.testing.assert_array_equal(same, speech.samples)
    assert reduced == 0.0
    loud = speech.samples * np.float32(0.5)
    place = len(loud) // 2
    loud[place] = 1.5
    held, _ = limited(loud, 24_000, 0.8)
    reach = round(2 * LOOK_AHEAD * 24_000) + 64
    np.testing.assert_array_equal(held[: place - reach], loud[: place - reach])
    np.testing.assert_array_equal(held[place + reach :], loud[place + reach :])


def test_long_recordings_are_measured_in_pieces() -> None:
    rng = np.random.default_rng(0)
    long = (0.1 * rng.standard_normal(3_000_000)).astype(np.float32)
    place = 1 << 20
    long[place - 1 : place + 1] = 0.9
    alone = true_peak(long[place - 500 : place + 500], 48_000)
    assert true_peak(long, 48_000) == pytest.approx(alone, rel=1e-3)


def test_likeness_tells_speech_from_other_sounds() -> None:
    speech = packaged_speech("doubt")
    own = likeness(speech, speech.replace(samples=speech.samples * np.float32(0.1)))
    assert own is not None
    assert own.level == pytest.approx(1.0, abs=1e-3)
    assert own.timbre == pytest.approx(1.0, abs=1e-3)
    noise = np.random.default_rng(0).normal(0, 0.1, len(speech.samples)).astype(np.float32)
    other = likeness(speech, speech.replace(samples=noise))
    assert other is not None
    assert abs(other.level) < 0.3
    assert other.timbre < 0.3
    assert likeness(speech, speech.replace(samples=np.zeros(100, np.float32))) is None
