"""Channels mixed down: nothing cancels, nothing is lost, and what is done is said."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from stepedit_core.dsp.channels import mix_down
from stepedit_core.recordings import packaged_speech

SPEECH = packaged_speech("garden")
RATE = SPEECH.sample_rate
ONE = SPEECH.samples
NOISE = np.random.default_rng(0).standard_normal(len(ONE)).astype(np.float32)
OTHER = packaged_speech("surpassed").resample(RATE).samples
Samples = npt.NDArray[np.float32]


def _level(samples: Samples) -> float:
    return float(10 * np.log10(np.mean((samples - samples.mean()).astype(np.float64) ** 2)))


def _late(samples: Samples, seconds: float) -> Samples:
    return np.roll(samples, round(seconds * RATE))


@pytest.mark.parametrize(
    ("channels", "note"),
    [
        ((ONE, ONE), "averaged"),
        ((ONE, -ONE), "channel 2 is upside down and flipped, averaged"),
        ((ONE, -0.8 * ONE + 1e-3 * NOISE), "upside down and flipped"),
        ((ONE, 0 * ONE), "channel 2 is silent and left out, channel 1 taken alone"),
        ((0 * ONE + 0.2, ONE), "channel 1 is silent and left out, channel 2 taken alone"),
        ((1e-4 * NOISE, ONE), "dB below the loudest and left out, channel 2 taken alone"),
        ((ONE, 0.9 * _late(ONE, 0.004)), "the same sound 4.0 ms apart and left out"),
        ((ONE, _late(ONE, 0.0023)), "channel 2 is the same sound 2.3 ms apart and left out"),
        ((ONE, -_late(ONE, 0.0007)), "channel 2 is the same sound 0.7 ms apart and left out"),
        ((ONE, -ONE, ONE, -ONE, 0 * ONE, ONE), "channel 2 is upside down"),
        ((ONE, np.nan * ONE), "channel 2 holds values that are no sound and is left out"),
        ((1e30 * ONE, ONE), "channel 1 holds values that are no sound"),
        ((np.where(NOISE > 3, np.inf, ONE), ONE, -ONE), "channel 3 is upside down and flipped"),
        ((ONE + 0.3, ONE - 0.3), "averaged"),
    ],
)
def test_speech_keeps_its_level(channels: tuple[Samples, ...], note: str) -> None:
    mono, said = mix_down(np.stack(channels, axis=1).astype(np.float32), RATE)
    assert note in (said or "")
    assert mono.dtype == np.float32 and mono.shape == ONE.shape
    assert _level(mono) == pytest.approx(_level(ONE), abs=1.0)
    assert abs(np.corrcoef(mono, ONE)[0, 1]) > 0.98


def test_two_speakers_are_both_kept() -> None:
    size = min(len(ONE), len(OTHER))
    two = np.stack([ONE[:size], OTHER[:size]], axis=1)
    mono, said = mix_down(two, RATE)
    assert said == "2 channels mixed down to mono: averaged"
    assert np.array_equal(mono, two.mean(axis=1))


def _call(leak: float, noise: float, quiet: float) -> tuple[Samples, list[slice]]:
    """Return a call of two who take turns, shape (n, 2), and when each speaks."""
    both, gap = OTHER * quiet, RATE // 4
    call = np.zeros((len(ONE) + gap + len(both), 2), np.float32)
    call[: len(ONE), 0] = ONE
    call[len(ONE) + gap :, 1] = both
    call += leak * call[:, ::-1]
    call += noise * np.random.default_rng(1).standard_normal(call.shape).astype(np.float32)
    return call, [slice(0, len(ONE)), slice(len(ONE) + gap, None)]


@pytest.mark.parametrize(
    ("leak", "noise", "quiet"),
    [(0, 0, 1.0), (0.03, 0, 1.0), (0.1, 1e-3, 1.0), (0, 1e-3, 0.25), (0, 1e-3, 0.08)],
)
def test_speakers_of_a_call_keep_their_levels(leak: float, noise: float, quiet: float) -> None:
    call, turns = _call(leak, noise, quiet)
    mono, said = mix_down(call, RATE)
    assert said == ("2 channels mixed down to mono: speakers in channels of their own added")
    for turn, channel in zip(turns, (0, 1), strict=True):
        assert _level(mono[turn]) == pytest.approx(_level(call[turn, channel]), abs=1.0)


def test_a_dead_channel_of_a_call_is_left_out() -> None:
    call, turns = _call(0, 1e-4, 1.0)
    mono, said = mix_down(np.column_stack([call, 1e-4 * call[:, 0]]), RATE)
    assert "channel 3 has no speaker and is left out, speakers in channels" in (said or "")
    assert _level(mono[turns[1]]) == pytest.approx(_level(call[turns[1], 1]), abs=0.5)


def test_speakers_that_are_loud_at_once_do_not_clip() -> None:
    call, turns = _call(0, 0, 1.0)
    call *= 0.9 / np.abs(call).max(axis=0)
    call[:100] = 0.9
    mono, said = mix_down(call, RATE)
    assert "added, 5.1 dB softer so that nothing clips" in (said or "")
    assert np.abs(mono).max() == pytest.approx(1.0, abs=1e-3)
    spoken = slice(100, turns[0].stop)
    assert _level(mono[spoken]) == pytest.approx(_level(call[spoken, 0]) - 5.1, abs=0.1)


def test_one_channel_is_left_alone() -> None:
    mono, said = mix_down(ONE[:, None], RATE)
    assert said is None and np.array_equal(mono, ONE)


def test_whole_numbers_as_floats_are_sound() -> None:
    two = np.stack([32768 * ONE, 32768 * ONE], axis=1)
    assert np.array_equal(mix_down(two, RATE)[0], 32768 * ONE)


def test_damage_in_all_channels_stays() -> None:
    mono, _ = mix_down(np.stack([np.nan * ONE, np.nan * ONE], axis=1), RATE)
    assert not np.isfinite(mono).any()
