"""Noise reduction: spectral gating by noisereduce (Sainburg 2019), or a network with a dry share.

Source of the gate: doi:10.5281/zenodo.3243139.

The gate takes some of the speech with the noise, which lowers its level by up to 4.5 dB; one gain
for the whole recording brings the bins that speech dominates back to where they were. Networks take
some, too, Hush 2 to 4 dB even of clean speech, and RNNoise and DeepFilterNet 3 to 12 dB where other
voices are behind it; one gain brings the level of active speech back.

The gate needs to know the noise. Where the recording has pauses, the noise is what is heard in
them (Silero VAD); where it has none, its spectrum is taken from the quiet frames of each band
(quantile-based noise estimation, Stahl, Fischer & Bippus, ICASSP 2000).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from stepedit_core import Utterance
from stepedit_core.dsp.enhancement import NetName, enhanced_by_net
from stepedit_core.dsp.loudness import active_level
from stepedit_core.dsp.offset import around_offset
from stepedit_core.dsp.vad import gaps, speech_spans
from stepedit_denoise.choice import best_nets, by_agreement
from stepedit_denoise.clicks import without_clicks
from stepedit_denoise.gate import gate
from stepedit_denoise.hum import mains_hum

__all__ = ["reduce_noise", "reduce_noise_by_nets"]

FloatArray = npt.NDArray[np.float64]

# Tuned on the packaged recordings with white, pink and brown noise at 5 dB: figures in README.
_WINDOW_SECONDS = 0.043
_FREQUENCY_SMOOTHING_HZ = 150
_TIME_SMOOTHING_MS = 50
_THRESHOLD_STD = 1.5
# Pauses shorter than this are full of the words around them.
_MIN_PAUSE, _MIN_NOISE = 0.05, 0.15
# A pause this much louder than the quiet frames holds a word that the detector missed.
_MAX_ABOVE_QUIET_DB = 6.0
# The lowest tenth of frames, and the share of frames that speech is taken to cover in a band.
_QUANTILE, _SPEECH_SHARE = 0.1, 0.3
# Speech dominates a bin of ten times the noise's power; what it lost there is given back, within
# 6 dB.
_DOMINANT, _MAX_MAKEUP_DB = 10.0, 6.0
# What networks took of the level is given back within 10 dB; the part of noise in it, as power.
_MOST_LEVEL_DB, _MOST_NOISE = 10.0, 0.16
_FRAMES = 1024
"""Frames that are transformed at a time."""


def reduce_noise(
    utterance: Utterance,
    rng: np.random.Generator,
    *,
    noise: Literal["stationary", "varying"] = "stationary",
    strength: float = 0.9,
) -> tuple[Utterance, dict[str, Any]]:
    """Take noise away and leave speech at its level.

    Args:
        utterance: any rate and length.
        rng: draws the phases of an estimated noise.
        noise: ``stationary`` gates by one noise spectrum, ``varying`` by a floor that follows
            the signal with a time constant of 2 s.
        strength: 0..1; gated bins keep ``1 - strength`` of their amplitude.

    Returns:
        The utterance, as long as before, and what was done.
    """
    return around_offset(utterance, lambda flat: _gated(flat, rng, noise, strength))


def reduce_noise_by_nets(
    utterance: Utterance, nets: Sequence[NetName] = (), *, strength: float = 0.9
) -> tuple[Utterance, dict[str, Any]]:
    """Let networks take noise away, and mix a share of the input in.

    A network takes weak consonants for noise, and what it removes is gone; the dry share keeps
    them audible. Networks err in different places: the mean of several loses less of the speech
    than either, and what one alone leaves of the noise is halved.

    Clicks and mains hum are taken away before, as what they are, and are in no share.

    Args:
        utterance: any rate and length.
        nets: which ones; the mean of several is taken. None: those that `best_nets` says, of
            which there has to be one; if there are two, what they agree on decides
            (`by_agreement`).
        strength: 0..1; the output is ``strength`` of the networks' and ``1 - strength`` of the
            input.

    Returns:
        The utterance, as long as before, and what was done.

    Raises:
        MissingDependencyError: if the network's package is not installed.
    """
    return around_offset(utterance, lambda flat: _mixed(flat, nets, strength))


def _mixed(
    utterance: Utterance, nets: Sequence[NetName], strength: float
) -> tuple[Utterance, dict[str, Any]]:
    """Mix what networks give with the input; all without a constant offset."""
    received = utterance
    found: dict[str, Any] = {}
    if utterance.samples.any():
        utterance, found = _without_clicks_and_hum(utterance)
    chosen = tuple(nets or best_nets())
    if not received.samples.any():
        return received, {**_named(chosen, strength), **found}
    parts = {net: enhanced_by_net(utterance, net) for net in chosen}
    if not nets and len(parts) > 1:
        disagreement = _disagreement_db(*parts.values())
        chosen, strength = by_agreement(disagreement, strength)
        found["disagreement_db"] = round(disagreement, 2)
    details: dict[str, Any] = {**_named(chosen, strength), **found}
    mean = np.zeros(len(utterance.samples))
    for net in chosen:
        mean += parts.pop(net) / len(chosen)
    parts.clear()
    samples = utterance.samples.astype(np.float64)
    made = utterance.replace(samples=(strength * mean + (1 - strength) * samples))
    del mean, samples  # an hour takes a gigabyte in each
    gain = _lost_level(utterance, made)
    before = received.samples.astype(np.float64)
    details["removed_db"] = _removed_db(before, made.samples)
    details["gain_db"] = round(20 * float(np.log10(gain)), 2)
    edited = made.samples * np.float32(gain)
    return received.replace(samples=_limited(edited, before)), details


def _named(nets: tuple[NetName, ...], strength: float) -> dict[str, Any]:
    """Return what details say of the networks and of their share."""
    details = {"backend": nets[0] if len(nets) == 1 else "ensemble", "strength": round(strength, 3)}
    return details if len(nets) == 1 else {**details, "networks": list(nets)}


def _disagreement_db(one: npt.NDArray[np.float32], two: npt.NDArray[np.float32]) -> float:
    """Return the power of the difference of two signals over that of their mean, -120 to 120 dB."""
    first, second, common = (
        float(np.einsum("i,i->", left, right, dtype=np.float64))
        for left, right in ((one, one), (two, two), (one, two))
    )
    apart, mean = first + second - 2 * common, (first + second + 2 * common) / 4
    least = 1e-12 * max(first, second, 1e-12)
    return 10 * float(np.log10(max(apart, least) / max(mean, least)))


def _without_clicks_and_hum(utterance: Utterance) -> tuple[Utterance, dict[str, Any]]:
    """Return a recording without its clicks and mains hum, and what there was of them."""
    found: dict[str, Any] = {}
    utterance, clicks = without_clicks(utterance)
    if clicks:
        found["clicks"] = clicks
    if hum := mains_hum(utterance):
        utterance = utterance.replace(samples=utterance.samples - hum[0])
        found["hum_hz"] = round(hum[1], 2)
    return utterance, found


def _lost_level(before: Utterance, after: Utterance) -> float:
    """Return the gain that gives speech the level back that networks took with the noise.

    The level of active speech before is that of speech and noise. The noise's part in it is taken
    to be what was removed, 0.75 dB at most: speech is removed with it, and where noise fills the
    pauses these count as active, which lowers the level instead.
    """
    levels = active_level(before), active_level(after)
    if levels[0] is None or levels[1] is None:
        return 1.0
    removed = 10 ** (_removed_db(before.samples.astype(np.float64), after.samples) / 10)
    wanted = levels[0] + 10 * float(np.log10(1 - min(removed, _MOST_NOISE)))
    return float(10 ** (np.clip(wanted - levels[1], 0.0, _MOST_LEVEL_DB) / 20))


def _gated(
    utterance: Utterance,
    rng: np.random.Generator,
    noise: Literal["stationary", "varying"],
    strength: float,
) -> tuple[Utterance, dict[str, Any]]:
    """Gate an utterance without a constant offset."""
    rate, samples = utterance.sample_rate, utterance.samples.astype(np.float64)
    window = _window(rate)
    details: dict[str, Any] = {"backend": "noisereduce", "noise": noise, "strength": strength}
    if not samples.any():
        return utterance, {**details, "noise_from": "none"}
    # Shorter input than two windows has no frames to smooth over.
    padded = np.pad(samples, (0, max(0, 2 * window - len(samples))))
    options: dict[str, Any] = {
        "n_fft": window,
        "prop_decrease": strength,
        "freq_mask_smooth_hz": max(_FREQUENCY_SMOOTHING_HZ, 2 * rate / window),
        "time_mask_smooth_ms": max(_TIME_SMOOTHING_MS, 1000 * window / 4 / rate),
    }
    if noise == "stationary":
        profile, origin = _noise_profile(utterance, window, rng)
        options |= {"y_noise": profile, "n_std_thresh_stationary": _THRESHOLD_STD}
        details["noise_from"] = origin
        power = _mean_power(profile, rate, window)
    else:
        power = _quiet_frames_power(utterance, window)
    reduced = gate()(padded, rate, stationary=noise == "stationary", **options)
    edited = np.asarray(reduced, dtype=np.float32)[: len(samples)]
    return _finished(utterance, edited, power, details)


def _finished(
    utterance: Utterance,
    edited: npt.NDArray[np.float32],
    noise: FloatArray,
    details: dict[str, Any],
) -> tuple[Utterance, dict[str, Any]]:
    """Give speech its level back, and note what was taken away.

    Args:
        utterance: before.
        edited: its samples without the noise, ``(n,)``.
        noise: power of the noise in each bin of the gate's window.
        details: what was done so far.
    """
    samples = utterance.samples.astype(np.float64)
    gain = _makeup(samples, edited, noise, utterance.sample_rate)
    details = {
        **details,
        "removed_db": _removed_db(samples, edited),
        "gain_db": round(20 * float(np.log10(gain)), 2),
    }
    return utterance.replace(samples=_limited(edited * np.float32(gain), samples)), details


def _makeup(
    before: FloatArray, after: npt.NDArray[np.float32], noise: FloatArray, rate: int
) -> float:
    """Return the gain that gives the bins that speech dominates their amplitude back, 1 or more."""
    power = common = 0.0
    pairs = (_blocks(part, rate, _window(rate)) for part in (before, after))
    for old, new in zip(*pairs, strict=True):
        spoken = old**2 > _DOMINANT * noise[:, None]
        power += float(np.sum(old[spoken] ** 2))
        common += float(np.sum(old[spoken] * new[spoken]))
    if power <= 0 or common <= 0:
        return 1.0
    return float(np.clip(power / common, 1.0, 10 ** (_MAX_MAKEUP_DB / 20)))


def _window(rate: int) -> int:
    """Return the power of two nearest to the window's length in samples."""
    return int(2 ** round(np.log2(rate * _WINDOW_SECONDS)))


def _noise_profile(
    utterance: Utterance, window: int, rng: np.random.Generator
) -> tuple[FloatArray, str]:
    """Return samples of noise alone, and where they come from: pauses or quiet frames."""
    pauses = [
        utterance.slice(span).samples
        for span in gaps(speech_spans(utterance), utterance.seconds)
        if span.seconds >= _MIN_PAUSE
    ]
    heard = np.concatenate([np.zeros(0), *pauses])
    quiet = _quiet_frames_noise(utterance, window, rng)
    if len(heard) >= max(_MIN_NOISE * utterance.sample_rate, 2 * window):
        powers = (float(np.mean(part**2)) for part in (heard, quiet))
        if next(powers) <= next(powers) * 10 ** (_MAX_ABOVE_QUIET_DB / 10):
            return heard, "pauses"
    return quiet, "quiet frames"


def _quiet_frames_noise(utterance: Utterance, window: int, rng: np.random.Generator) -> FloatArray:
    """Return a second of noise whose spectrum is that of the quiet frames of each band."""
    rate, power = utterance.sample_rate, _quiet_frames_power(utterance, window)
    bins, places = np.fft.rfftfreq(window, 1 / rate), np.fft.rfftfreq(rate, 1 / rate)
    phases = rng.standard_normal(len(places)) + 1j * rng.standard_normal(len(places))
    shaped = np.fft.irfft(np.sqrt(np.interp(places, bins, power)) * phases, rate)
    again = _mean_power(shaped, rate, window).sum()
    return np.asarray(shaped * np.sqrt(power.sum() / again) if again > 0 else shaped)


def _quiet_frames_power(utterance: Utterance, window: int) -> FloatArray:
    """Return the power of the noise in each bin, by the quiet frames."""
    samples, rate = utterance.samples, utterance.sample_rate
    least = _quantile_power(samples, rate, window, above=1e-9)  # padding with zeros is no floor
    if least is None:
        least = np.zeros(window // 2 + 1)
    # Power of noise in a bin is exponentially distributed: its quantile q is -ln(1 - q) means.
    among_noise = _QUANTILE / (1 - _SPEECH_SHARE)
    return np.asarray(least / -np.log1p(-among_noise))


def _quantile_power(
    samples: npt.NDArray[Any], rate: int, window: int, above: float
) -> FloatArray | None:
    """Return the quantile `_QUANTILE` of the power in each bin; None where all frames are silent.

    Args:
        samples: shape ``(n,)``.
        rate: in Hz.
        window: samples in a frame.
        above: largest magnitude of a silent frame.
    """
    frames = _frame_count(len(samples), window)
    most, count = int(_QUANTILE * frames) + 2, 0
    kept = np.empty((window // 2 + 1, 0))
    for block in _blocks(samples, rate, window):
        block = block[:, block.max(axis=0) > above]
        count += block.shape[1]
        kept = np.concatenate([kept, block], axis=1)
        if kept.shape[1] > most:
            kept = np.partition(kept, most - 1, axis=1)[:, :most]
    if not count:
        return None
    place = _QUANTILE * (count - 1)
    below = int(place)
    kept = np.sort(kept, axis=1)
    low, high = kept[:, below] ** 2, kept[:, min(below + 1, count - 1)] ** 2
    return np.asarray(low + (high - low) * (place - below))


def _mean_power(samples: npt.NDArray[Any], rate: int, window: int) -> FloatArray:
    """Return the mean power of frames in each bin, shape ``(bins,)``."""
    frames = _frame_count(len(samples), window)
    total = np.zeros(window // 2 + 1)
    for block in _blocks(samples, rate, window):
        total += np.sum(block**2, axis=1)
    return total / frames


def _frame_count(size: int, window: int) -> int:
    """Return how many frames so many samples have, with half a window of zeros on either side."""
    return -(-max(size, 2 * window) // (window // 4)) + 1


def _blocks(samples: npt.NDArray[Any], rate: int, window: int) -> Iterator[FloatArray]:
    """Yield the magnitudes of all frames in order, blocks of shape ``(bins, frames)``.

    Whole spectrograms of long recordings would take gigabytes.
    """
    from scipy.signal import stft

    hop = window // 4
    frames = _frame_count(len(samples), window)
    for first in range(0, frames, _FRAMES):
        count = min(_FRAMES, frames - first)
        start = first * hop - window // 2
        stop = start + (count - 1) * hop + window
        part = samples[max(0, start) : max(0, stop)].astype(np.float64)
        part = np.pad(part, (max(0, -start), 0))
        part = np.pad(part, (0, stop - start - len(part)))
        found = stft(
            part, fs=rate, nperseg=window, noverlap=window - hop, boundary=None, padded=False
        )
        yield np.asarray(np.abs(found[2]))


def _removed_db(before: FloatArray, after: npt.NDArray[np.float32]) -> float:
    """Return the power taken away over the power before, in dB; -120 is nothing."""
    removed = float(np.mean((before - after) ** 2)) / float(np.mean(before**2))
    return round(10 * float(np.log10(max(removed, 1e-12))), 2)


def _limited(samples: npt.NDArray[np.float32], source: FloatArray) -> npt.NDArray[np.float32]:
    """Scale down what would rise above full scale, or above a source beyond it."""
    ceiling = max(1.0, float(np.abs(source).max()))
    peak = float(np.abs(samples).max(initial=0.0))
    return samples * np.float32(ceiling / peak) if peak > ceiling else samples
