"""Quality of speech against a clean reference: SI-SDR, STOI, PESQ, bandwidth."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt

from stepedit_core.utterance import Utterance

__all__ = ["aligned", "band_loss", "pesq", "si_sdr", "stoi"]

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
    if kept == 0:  # silence holds nothing of the reference
        return -MAX_DB
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


BANDS = tuple(1000.0 * 2 ** (step / 3) for step in range(-5, 10))
"""Centres of third octaves, 315 Hz to 8 kHz."""
_FLOOR_DB = 45.0


def band_loss(reference: Utterance, output: Utterance, background: bool) -> float | None:
    """Return how much the upper third octaves of speech have lost against the lower ones, in dB.

    Long-term spectra are compared in third octaves, each relative to those of 315 to 1250 Hz, so
    that gain does not matter; the figure is the mean loss over the weaker half of the bands above,
    where speech reaches them. A low-pass filter takes 30 dB and more there.

    Args:
        reference: the clean speech, or the recording before the edit.
        output: after the edit.
        background: whether the reference holds noise: its quietest tenth is then taken off, and
            bands that stand out by less than 3 dB are left out.

    Returns:
        The loss, below 0 for a gain; None where no band can be compared.
    """
    rate = min(reference.sample_rate, output.sample_rate, 16_000)
    old, floor = _bands(reference.resample(rate))
    new, _ = _bands(output.resample(rate))
    usable = np.array(BANDS) * 2 ** (1 / 6) <= rate / 2
    if background:
        usable &= old > 2 * floor
        old = np.maximum(old - floor, 1e-12)
    low = np.array(BANDS) < 1300
    usable &= old > old.max() * 10 ** (-_FLOOR_DB / 10)
    upper = usable & ~low
    if not upper.any() or not (usable & low).any() or new[usable & low].sum() <= 1e-12:
        return None
    gains = 10 * np.log10(np.maximum(new, 1e-12) / old)
    base = float(np.mean(gains[usable & low]))
    losses = np.sort(base - gains[upper])
    return float(np.mean(losses[len(losses) // 2 :]))


def _bands(sound: Utterance) -> tuple[FloatArray, FloatArray]:
    """Return the power of each third octave, over all and over the quietest tenth of frames."""
    size = round(0.032 * sound.sample_rate)
    count = max(1, len(sound.samples) // size)
    samples = np.resize(sound.samples.astype(np.float64), count * size).reshape(count, size)
    power = np.abs(np.fft.rfft(samples * np.hanning(size), axis=1)) ** 2
    hertz = np.fft.rfftfreq(size, 1 / sound.sample_rate)
    edges = [(hertz >= c * 2 ** (-1 / 6)) & (hertz < c * 2 ** (1 / 6)) for c in BANDS]
    bands = np.stack([power[:, edge].sum(axis=1) for edge in edges], axis=1)
    order = np.argsort(power.sum(axis=1))
    return bands.mean(axis=0), bands[order[: max(1, count // 10)]].mean(axis=0)
