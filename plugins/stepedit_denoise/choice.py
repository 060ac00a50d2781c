"""Which network removes the noise where none is named."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from stepedit_core import Utterance
from stepedit_core.dsp.enhancement import NetName, missing_package

__all__ = ["ENSEMBLE", "best_nets", "chosen_nets", "noise_below", "noise_spread"]

ENSEMBLE: tuple[NetName, ...] = ("rnnoise", "deepfilternet")
"""Networks whose mean ``backend=ensemble`` takes."""
ORDER: tuple[NetName, ...] = ("rnnoise", "deepfilternet", "hush")
"""RNNoise takes a quarter of DeepFilterNet's time and succeeds as often in steady noise."""
CHANGING: tuple[NetName, ...] = ("deepfilternet", *ORDER)
"""Where the noise changes, as a street and other voices do, RNNoise loses more words."""
STEADY_DB = 2.0
"""Spread up to which noise is steady. On training speakers 0 to 10 dB above the noise white, pink
and rain have 0.6 to 1.5 dB, brown up to 2.8, a street 1.4 to 13 (half of them above 4), babble and
music 4.7 and more."""
LOUD_DB = 20.0
"""How far below loud speech noise is that is worth the time of a slower network. On these speakers
the quiet tenth lies 10 to 19 dB below before a street and babble at 5 and 10 dB, and 25 dB and more
in 37 of 40 recordings as they are."""
_LOUD, _QUIET = 95.0, 10.0
"""Percentiles of the level that are held against each other."""
_QUIETEST = (5.0, 25.0)
"""Percentiles of the level between which no frame holds speech, as a rule."""
_FRAME_SECONDS, _OVER_SECONDS, _SHORTEST_SECONDS = 0.032, 0.1, 0.5
_LOWEST_HZ, _HIGHEST_HZ, _BANDS = 200.0, 8_000.0, 12
_STRETCHES, _STRETCH_SECONDS = 6, 10.0
"""What is heard of a recording that lasts longer: stretches all over it."""

Array = npt.NDArray[np.float64]


def best_nets() -> tuple[NetName, ...]:
    """Return the first network whose package is there; empty if none is."""
    return _first(ORDER)


def chosen_nets(utterance: Utterance) -> tuple[NetName, ...]:
    """Return the network for a recording, by whether its noise is steady, and whether it is loud.

    Empty if no network is there.

    Args:
        utterance: without clicks and mains hum, which are taken away as what they are.
    """
    below = noise_below(utterance)
    if below is None or below >= LOUD_DB:
        return _first(ORDER)
    spread = noise_spread(utterance)
    return _first(CHANGING if spread is not None and spread > STEADY_DB else ORDER)


def _first(order: tuple[NetName, ...]) -> tuple[NetName, ...]:
    return tuple(name for name in order if missing_package(name) is None)[:1]


def noise_below(utterance: Utterance) -> float | None:
    """Return by how many dB the quiet tenth of a recording lies below its loud parts.

    Levels are of 0.1 s. None where the recording is too short, or silent.
    """
    rate, samples = utterance.sample_rate, _heard(utterance)
    size = round(_OVER_SECONDS * rate)
    if len(samples) < _SHORTEST_SECONDS * rate or not samples.any():
        return None
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    loud, quiet = np.percentile(_decibels((frames**2).mean(axis=1)), (_LOUD, _QUIET))
    return float(loud - quiet)


def noise_spread(utterance: Utterance) -> float | None:
    """Return by how many dB the quiet frames of a recording differ in level.

    Steady noise fills the pauses evenly: over 0.1 s its level in a band hardly moves. The median
    over bands counts. None where the recording is too short, or silent.
    """
    from scipy.signal import stft

    rate, samples = utterance.sample_rate, _heard(utterance)
    if len(samples) < _SHORTEST_SECONDS * rate or not samples.any():
        return None
    size = round(_FRAME_SECONDS * rate)
    hertz, _, spectra = stft(
        samples, rate, nperseg=size, noverlap=size // 2, boundary=None, padded=False
    )
    power = np.abs(spectra) ** 2
    edges = np.geomspace(_LOWEST_HZ, min(_HIGHEST_HZ, 0.49 * rate), _BANDS + 1)
    over = np.ones(max(1, round(_OVER_SECONDS * rate / (size // 2))))
    spreads = []
    for low, high in pairwise(edges):
        level = np.convolve(power[(hertz >= low) & (hertz < high)].sum(axis=0), over, "valid")
        least, most = np.percentile(_decibels(level), _QUIETEST)
        spreads.append(float(most - least))
    return float(np.median(spreads))


def _decibels(power: Array) -> Array:
    return 10 * np.log10(power + 1e-12)


def _heard(utterance: Utterance) -> Array:
    """Return the samples, or of a long recording stretches all over it, ``(n,)``."""
    samples, rate = utterance.samples, utterance.sample_rate
    size = round(_STRETCH_SECONDS * rate)
    if len(samples) <= _STRETCHES * size:
        return samples.astype(np.float64)
    starts = np.linspace(0, len(samples) - size, _STRETCHES).astype(int)
    return np.concatenate([samples[at : at + size] for at in starts]).astype(np.float64)
