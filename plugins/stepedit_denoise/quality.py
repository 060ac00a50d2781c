"""Quality of speech against a clean reference: SI-SDR, STOI, PESQ."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt

from stepedit_core import Utterance

__all__ = ["aligned", "pesq", "si_sdr", "stoi"]

FloatArray = npt.NDArray[np.float64]

MAX_DB = 100.0
"""Ratios are held to this many dB either way, so that identity stays a number."""
_MAX_DELAY = 0.06


def aligned(reference: Utterance, output: Utterance) -> tuple[FloatArray, FloatArray]:
    """Return reference and output at one rate and length, the output's delay undone.

    The delay is where their cross-correlation is greatest, within 60 ms.
    """
    from scipy.signal import correlate

    rate = reference.sample_rate
    clean = reference.samples.astype(np.float64)
    heard = output.resample(rate).samples.astype(np.float64)
    reach = round(_MAX_DELAY * rate)
    heard = np.pad(heard, (0, max(0, len(clean) - len(heard))))[: len(clean) + reach]
    scores = correlate(heard, clean, mode="full", method="fft")
    zero = len(clean) - 1
    low, high = max(0, zero - reach), zero + reach + 1
    delay = low + int(np.argmax(scores[low:high])) - zero
    shifted = heard[delay:] if delay >= 0 else np.pad(heard, (-delay, 0))
    shifted = np.pad(shifted, (0, max(0, len(clean) - len(shifted))))[: len(clean)]
    return clean, shifted


def si_sdr(reference: FloatArray, estimate: FloatArray) -> float:
    """Return the scale-invariant signal-to-distortion ratio in dB, -100..100.

    Le Roux, Wisdom, Erdogan & Hershey, "SDR - half-baked or well done?", ICASSP 2019, eq. 2.
    """
    power = float(reference @ reference)
    if power == 0:
        return -MAX_DB
    projected = float(estimate @ reference) / power * reference
    kept = float(projected @ projected)
    lost = float(np.sum((estimate - projected) ** 2))
    limit = 10 ** (MAX_DB / 10)
    if lost == 0 or kept / lost > limit:
        return MAX_DB
    return max(-MAX_DB, 10 * float(np.log10(max(kept / lost, 1 / limit))))


def stoi(reference: FloatArray, estimate: FloatArray, rate: int) -> float | None:
    """Return short-time objective intelligibility 0..1 (Taal et al. 2011).

    None where pystoi is not installed, or where there is less than 0.4 s of speech.
    """
    try:
        import pystoi
    except ImportError:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = float(pystoi.stoi(reference, estimate, rate))
    return value if value > 1e-4 else None


def pesq(reference: FloatArray, estimate: FloatArray, rate: int) -> float | None:
    """Return wide-band PESQ MOS-LQO 1.04..4.64 (ITU-T P.862.2) at 16 kHz.

    None where the library pesq is not installed, or finds no speech.
    """
    try:
        import pesq as library
    except ImportError:
        return None
    at_16k = [
        Utterance(sound.astype(np.float32), rate).resample(16_000).samples
        for sound in (reference, estimate)
    ]
    try:
        return float(library.pesq(16_000, *at_16k, "wb"))
    except (RuntimeError, ValueError):
        return None
