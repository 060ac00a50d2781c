"""Take a room's reverberation away: linear prediction, spectral subtraction, and a network.

1. Weighted prediction error: what the last third of a second predicts of each frequency is
   reverberation (Nakatani et al., "Speech dereverberation based on variance-normalized delayed
   linear prediction", IEEE TASLP 2010; by nara_wpe, Drude et al., ITG Speech 2018).
2. What one channel cannot predict: late reverberation is taken to decay exponentially with the
   reverberation time, so that its power follows from the power 50 ms before, and is subtracted
   (Lebart, Boucher & Denbigh, "A new method based on spectral subtraction for speech
   dereverberation", Acta Acustica 2001).
3. DeepFilterNet, where it is installed, with a share of what it was given.

The reverberation time is estimated from the slopes of decays: in a room nothing falls faster than
the room lets it (after Wen, Habets & Naylor, "Blind estimation of reverberation time based on the
distribution of signal decay rates", ICASSP 2008).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from stepedit_core import Utterance
from stepedit_core.dsp.enhancement import NetName, enhanced_by_net
from stepedit_core.dsp.loudness import active_level
from stepedit_core.dsp.offset import around_offset

__all__ = ["dereverberated", "estimate_rt60", "has_predictor"]

FloatArray = npt.NDArray[np.float64]
Spectra = npt.NDArray[np.complex128]

_WINDOW, _SHIFT = 0.032, 0.008
# Linear prediction: from 24 ms back over a third of a second; three rounds of its weights.
_TAPS, _DELAY, _ROUNDS = 40, 3, 3
# A room may change within a recording, and a filter needs speech to be learned from.
_PIECE_SECONDS, _MARGIN_SECONDS, _LEAST_FRAMES = 60.0, 1.0, 2 * _TAPS
_LATE_SECONDS = 0.05
_MEMORY, _SMOOTHING = 0.8, 0.5
_NET: NetName = "deepfilternet"
_NET_SHARE = 0.7
_MAX_MAKEUP_DB = 6.0
# A tenth of the decays of 0.1 s is steeper than this (as a time for 60 dB), measured on six
# packaged voices in simulated rooms; dry speech is the first.
_STEEP = (0.20, 0.29, 0.41, 0.49, 0.56, 0.62)
_RT60 = (0.15, 0.3, 0.5, 0.7, 1.0, 1.3)
_DECAY_SECONDS, _STEEP_SHARE = 0.1, 0.1
_BANDS = tuple(250.0 * 2 ** (step / 3) for step in range(14))


def has_predictor() -> bool:
    """Say whether nara_wpe is installed."""
    from importlib.util import find_spec

    return find_spec("nara_wpe") is not None


def dereverberated(
    utterance: Utterance, strength: float, network: bool = False
) -> tuple[Utterance, dict[str, Any]]:
    """Return speech with less of its room, as long and as loud as before, and what was done.

    Args:
        utterance: any rate and length.
        strength: 0..1; late reverberation keeps ``1 - strength`` of its amplitude.
        network: whether DeepFilterNet goes last.

    Raises:
        MissingDependencyError: if the network is asked for and not installed.
    """
    if not utterance.samples.any():
        return utterance, {"backend": "wpe", "rt60": None}
    return around_offset(utterance, lambda flat: _drier(flat, strength, network))


def _drier(
    utterance: Utterance, strength: float, network: bool
) -> tuple[Utterance, dict[str, Any]]:
    """Dereverberate an utterance without a constant offset."""
    rate, source = utterance.sample_rate, utterance.samples.astype(np.float64)
    made = np.zeros(len(source))
    times: list[float] = []
    piece, margin = round(_PIECE_SECONDS * rate), round(_MARGIN_SECONDS * rate)
    for start in range(0, max(1, len(source) - margin), piece):
        first, end = max(0, start - margin), min(len(source), start + piece + margin)
        part = source[first:end]
        times.append(estimate_rt60(utterance.replace(samples=part.astype(np.float32))))
        dry = _without_late(_unpredicted(_spectra(part, rate)), times[-1], 1 - strength)
        heard = _sound(dry, rate, len(part))[start - first :]
        # The piece before reaches a second into this one.
        fade = np.ones(end - start)
        if start:
            fade[:margin] = np.linspace(0, 1, margin)[: len(fade)]
            made[start : start + margin] *= 1 - fade[:margin]
        made[start:end] += fade * heard
    if network:
        drier = utterance.replace(samples=made.astype(np.float32))
        made = _NET_SHARE * enhanced_by_net(drier, _NET) + (1 - _NET_SHARE) * made
    gain = _makeup_db(utterance, made)
    made = made * 10 ** (gain / 20)
    ceiling = max(1.0, float(np.abs(source).max()))
    made *= min(1.0, ceiling / max(1e-9, float(np.abs(made).max())))
    details = {
        "backend": f"wpe and {_NET}" if network else "wpe",
        "strength": strength,
        "rt60": round(float(np.median(times)), 2),
        "gain_db": round(gain, 2),
    }
    return utterance.replace(samples=made.astype(np.float32)), details


def estimate_rt60(utterance: Utterance) -> float:
    """Return the reverberation time that a recording seems to have, 0.15 to 1.3 s.

    Where there is no decay to measure, such as in steady sound, it is the middle, 0.5 s.
    """
    at_16k = utterance.resample(16_000)
    power = np.abs(_spectra(at_16k.samples.astype(np.float64), 16_000)) ** 2
    hertz = np.fft.rfftfreq(2 * (len(power) - 1), 1 / 16_000)
    bands = [
        power[(hertz >= c * 2 ** (-1 / 6)) & (hertz < c * 2 ** (1 / 6))].mean(axis=0)
        for c in _BANDS
    ]
    levels = 10 * np.log10(np.stack(bands) + 1e-12)
    top = levels.max(axis=1, keepdims=True)
    frames = round(_DECAY_SECONDS / _SHIFT)
    if levels.shape[1] <= frames:
        return _RT60[2]
    runs = np.lib.stride_tricks.sliding_window_view(np.maximum(levels, top - 45), frames, axis=1)
    steps = np.arange(frames) - (frames - 1) / 2
    slopes = (runs * steps).sum(axis=-1) / np.sum(steps**2) / _SHIFT
    # Decays of speech: they begin near the loudest, end above the floor, and fall 20 dB a second.
    used = (runs.max(axis=-1) > top - 30) & (runs.min(axis=-1) > top - 44) & (slopes < -20)
    if np.count_nonzero(used) < frames:
        return _RT60[2]
    steep = 60 / -float(np.quantile(slopes[used], _STEEP_SHARE))
    return float(np.interp(steep, _STEEP, _RT60))


def _spectra(samples: FloatArray, rate: int) -> Spectra:
    """Return spectra of frames, shape ``(bins, frames)``."""
    from scipy.signal import stft

    size, shift = _sizes(rate)
    padded = np.pad(samples, (0, max(0, size - len(samples))))
    return np.asarray(stft(padded, rate, nperseg=size, noverlap=size - shift)[2])


def _sound(spectra: Spectra, rate: int, count: int) -> FloatArray:
    """Return the samples of spectra, ``count`` of them."""
    from scipy.signal import istft

    size, shift = _sizes(rate)
    _, samples = istft(spectra, rate, nperseg=size, noverlap=size - shift)
    return np.asarray(np.pad(samples, (0, max(0, count - len(samples))))[:count])


def _sizes(rate: int) -> tuple[int, int]:
    """Return window and shift in samples, four shifts to a window."""
    shift = round(_SHIFT * rate)
    return round(_WINDOW / _SHIFT) * shift, shift


def _unpredicted(spectra: Spectra) -> Spectra:
    """Return spectra without what their past predicts."""
    from nara_wpe.wpe import wpe

    if spectra.shape[1] < _LEAST_FRAMES:
        return spectra
    sounding = np.abs(spectra).max(axis=1) > 1e-7
    if not sounding.any():
        return spectra
    found = wpe(
        spectra[sounding][:, None],
        taps=min(_TAPS, spectra.shape[1] // 6),
        delay=_DELAY,
        iterations=_ROUNDS,
        statistics_mode="full",
    )[:, 0]
    made = spectra.copy()
    # A bin that is nearly empty may have no filter.
    made[sounding] = np.where(np.isfinite(found), found, spectra[sounding])
    return made


def _without_late(spectra: Spectra, rt60: float, floor: float) -> Spectra:
    """Return spectra without late reverberation; each bin keeps ``floor`` of its amplitude.

    The power of late reverberation is what was there 50 ms before, decayed by the time since.
    """
    from scipy.signal import lfilter

    power = np.abs(spectra) ** 2
    slow, fast = (
        lfilter([1 - memory], [1, -memory], power, axis=1) for memory in (_MEMORY, _SMOOTHING)
    )
    back = round(_LATE_SECONDS / _SHIFT)
    late = np.zeros_like(power)
    late[:, back:] = slow[:, :-back] * 10 ** (-6 * _LATE_SECONDS / rt60)
    gains = np.sqrt(np.clip(1 - late / np.maximum(fast, 1e-20), floor**2, 1.0))
    return np.asarray(spectra * gains)


def _makeup_db(before: Utterance, after: FloatArray) -> float:
    """Return the gain in dB that brings active speech to its level, within 6 dB."""
    old = active_level(before)
    new = active_level(before.replace(samples=after.astype(np.float32)))
    if old is None or new is None:
        return 0.0
    return float(np.clip(old - new, -_MAX_MAKEUP_DB, _MAX_MAKEUP_DB))
