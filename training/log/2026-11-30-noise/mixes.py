"""Mixtures of a recording and of what networks leave of it, before the level is given back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float64]
Sounds = Mapping[str, Samples]
Mix = Callable[[Sounds, int], Samples]


def share(strength: float, *names: str) -> Mix:
    """Mix the mean of networks with a dry share."""

    def mixed(sounds: Sounds, rate: int) -> Samples:
        mean = np.mean([sounds[name] for name in names], axis=0)
        return np.asarray(strength * mean + (1 - strength) * sounds["cleaned"])

    return mixed


def spectra(samples: Samples, rate: int) -> npt.NDArray[Any]:
    """Return the transform in windows of 20 ms, ``(bins, frames)``."""
    from scipy.signal import stft

    window = rate // 50
    return np.asarray(stft(samples, rate, nperseg=window, noverlap=window * 3 // 4)[2])


def back(made: npt.NDArray[Any], rate: int, size: int) -> Samples:
    """Return the samples of a transform."""
    from scipy.signal import istft

    window = rate // 50
    found = istft(made, rate, nperseg=window, noverlap=window * 3 // 4)[1]
    return np.asarray(np.pad(found, (0, max(0, size - len(found))))[:size])


def spoken(kept: npt.NDArray[Any], rate: int) -> Samples:
    """Return how much of each frame is speech, 0..1, by the level of what networks leave."""
    from scipy.ndimage import maximum_filter1d, uniform_filter1d

    level = 10 * np.log10(np.sum(np.abs(kept) ** 2, axis=0) + 1e-12)
    top = np.percentile(level, 95)
    sure = np.clip((level - (top - 40)) / 15, 0, 1)
    frames = 200  # of 5 ms in a second
    wide = maximum_filter1d(sure, max(1, int(0.1 * frames)))
    return np.asarray(uniform_filter1d(wide, max(1, int(0.04 * frames))))


def by_speech(speech: float, pause: float, *names: str) -> Mix:
    """Mix with one strength in speech and another in pauses."""

    def mixed(sounds: Sounds, rate: int) -> Samples:
        mean = np.mean([sounds[name] for name in names], axis=0)
        kept, dry = spectra(mean, rate), spectra(sounds["cleaned"], rate)
        sure = spoken(kept, rate)
        strength = pause + (speech - pause) * sure
        made = strength * kept + (1 - strength) * dry
        return back(made, rate, len(mean))

    return mixed


def widest(strength: float) -> Mix:
    """Keep in speech what either network keeps of a bin, in pauses what both keep."""

    def mixed(sounds: Sounds, rate: int) -> Samples:
        one, two = (spectra(sounds[name], rate) for name in ("rnnoise", "deepfilternet"))
        dry = spectra(sounds["cleaned"], rate)
        sure = spoken((one + two) / 2, rate)
        louder = np.abs(one) > np.abs(two)
        most, least = np.where(louder, one, two), np.where(louder, two, one)
        kept = sure * most + (1 - sure) * least
        return back(strength * kept + (1 - strength) * dry, rate, len(sounds["cleaned"]))

    return mixed


def weighted(strength: float, first: float) -> Mix:
    """Mix RNNoise with a weight, DeepFilterNet with the rest."""

    def mixed(sounds: Sounds, rate: int) -> Samples:
        mean = first * sounds["rnnoise"] + (1 - first) * sounds["deepfilternet"]
        return np.asarray(strength * mean + (1 - strength) * sounds["cleaned"])

    return mixed


def geometric(strength: float) -> Mix:
    """Mix with the geometric mean of what the networks keep of each bin."""

    def mixed(sounds: Sounds, rate: int) -> Samples:
        one, two = (spectra(sounds[name], rate) for name in ("rnnoise", "deepfilternet"))
        size = np.sqrt(np.abs(one) * np.abs(two))
        kept = (one + two) / (np.abs(one + two) + 1e-12) * size
        dry = spectra(sounds["cleaned"], rate)
        return back(strength * kept + (1 - strength) * dry, rate, len(sounds["cleaned"]))

    return mixed


BOTH = ("rnnoise", "deepfilternet")
MIXES: dict[str, Mix] = {
    "rnnoise": share(0.9, "rnnoise"),
    "deepfilternet": share(0.9, "deepfilternet"),
    "ensemble": share(0.9, *BOTH),
    "ensemble by speech 0.8": by_speech(0.8, 0.95, *BOTH),
    "widest": widest(0.9),
    "deepfilternet 0.8": share(0.8, "deepfilternet"),
    "deepfilternet by speech 0.8": by_speech(0.8, 0.95, "deepfilternet"),
    "ensemble 0.8": share(0.8, *BOTH),
    "ensemble 0.95": share(0.95, *BOTH),
    "ensemble 0.7": share(0.7, *BOTH),
    "rnnoise 0.8": share(0.8, "rnnoise"),
    "third of rnnoise": weighted(0.9, 1 / 3),
    "geometric": geometric(0.9),
    "geometric 0.8": geometric(0.8),
    "ensemble 0.6": share(0.6, *BOTH),
}
