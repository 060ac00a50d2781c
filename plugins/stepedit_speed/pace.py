"""Evenness of tempo: alignment of an output with its source."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stepedit_core import Utterance

__all__ = ["pace", "unevenness", "verbatim_share"]

RATE, HOP = 16_000, 160
MAX_SECONDS = 30.0
WINDOW = 0.3
"""Seconds over which local tempo is taken."""
FRAME = 0.03
"""Seconds of output that are looked for in the source."""
SAME = 0.999
"""Correlation from which on a frame is the source's own."""
SEARCH = 0.6
"""Seconds of the source, around the expected place, that are searched."""

FloatArray = npt.NDArray[np.float64]


def pace(source: Utterance, output: Utterance) -> FloatArray:
    """Return the time in the source, in seconds, of each 10 ms of an output.

    Both are aligned by dynamic time warping of mel cepstra (Sakoe & Chiba 1978).

    Returns:
        Shape ``(frames,)``, never falling.
    """
    import librosa

    # The matrix of costs grows with the square: beyond 30 s, frames become longer.
    hop = HOP * int(np.ceil(max(source.seconds, output.seconds, 1.0) / MAX_SECONDS))
    first, second = _cepstra(source, hop), _cepstra(output, hop)
    squares = (first**2).sum(0)[:, None] + (second**2).sum(0)[None] - 2 * first.T @ second
    cost = np.sqrt(np.maximum(squares, 0.0))
    # A step along both costs less than one along each, more than one along either.
    _, path = librosa.sequence.dtw(
        C=cost,
        step_sizes_sigma=np.array([[1, 1], [1, 0], [0, 1]]),
        weights_mul=np.array([1.5, 1.0, 1.0]),
    )
    here, there = path[::-1, 0], path[::-1, 1]
    totals = np.bincount(there, weights=here.astype(np.float64))
    found = totals / np.bincount(there) * hop / RATE
    every = np.arange(0, len(found) * hop // HOP) * HOP / hop
    return np.asarray(np.interp(every, np.arange(len(found)), found), dtype=np.float64)


def unevenness(
    along: FloatArray, tempo: float, speech: Sequence[tuple[float, float]]
) -> tuple[float | None, float | None]:
    """Return the deviation of local tempo from the global one, and the lead or lag of the output.

    Args:
        along: as ``pace`` gives it.
        tempo: duration of the source over that of the output.
        speech: where the output speaks, in seconds.

    Returns:
        The median over speech of the distance of local tempo (over 0.3 s) from ``tempo`` in
        octaves, and the 95th percentile of the distance from a straight line, as a share of the
        source; None where there is too little speech.
    """
    frames = round(WINDOW * RATE / HOP)
    active = np.zeros(len(along), dtype=bool)
    for start, end in speech:
        active[round(start * RATE / HOP) : round(end * RATE / HOP)] = True
    inside = active[frames // 2 : frames // 2 + max(0, len(along) - frames)]
    if not inside.any():
        return None, None
    local = (along[frames:] - along[:-frames])[inside] / (WINDOW * tempo)
    line = np.arange(len(along)) * HOP / RATE * tempo
    away = np.abs(along - line)[active] / max(along[-1], 0.01)
    octaves = np.abs(np.log2(np.maximum(local, 0.05)))
    return float(np.median(octaves)), float(np.percentile(away, 95))


def verbatim_share(source: Utterance, output: Utterance, along: FloatArray) -> float:
    """Return the share of an output's loud frames that are the source's samples, gain aside.

    Speech at another tempo has next to none, whether it was stretched or spoken anew; speech from
    which pieces were dropped consists of them.

    Args:
        source: before the edit.
        output: after it, at the source's rate or another.
        along: as ``pace`` gives it.
    """
    rate = source.sample_rate
    old = source.samples.astype(np.float64)
    new = output.resample(rate).samples.astype(np.float64)
    size, reach = round(FRAME * rate), round(SEARCH * rate / 2)
    starts = np.arange(0, max(1, len(new) - size), 2 * size)
    frames = [new[start : start + size] for start in starts]
    powers = np.array([float(frame @ frame) for frame in frames])
    loud = powers > 0.01 * max(float(powers.max(initial=0.0)), 1e-9)
    places = np.minimum(starts * RATE // rate // HOP, len(along) - 1)
    same = [
        _found(frame, old, round(along[place] * rate), reach)
        for frame, place, is_loud in zip(frames, places, loud, strict=True)
        if is_loud and len(frame) == size
    ]
    return float(np.mean(same)) if same else 0.0


def _found(frame: FloatArray, old: FloatArray, at: int, reach: int) -> bool:
    """Return whether a frame occurs in a recording near a sample."""
    from scipy.signal import fftconvolve

    part = old[max(0, at - reach) : at + reach + len(frame)]
    if len(part) < len(frame):
        return False
    products = fftconvolve(part, frame[::-1], mode="valid")
    energy = np.cumsum(np.concatenate([[0.0], part**2]))
    power = energy[len(frame) :] - energy[: -len(frame)]
    scale = np.sqrt(np.maximum(power * float(frame @ frame), 1e-12))
    return bool((products / scale).max() >= SAME)


def _cepstra(utterance: Utterance, hop: int) -> FloatArray:
    """Return normalised mel cepstra, shape ``(13, frames)``."""
    import librosa

    cepstra = librosa.feature.mfcc(
        y=utterance.resample(RATE).samples, sr=RATE, n_mfcc=13, hop_length=hop, n_fft=400, n_mels=40
    )
    spread = np.maximum(cepstra.std(axis=1, keepdims=True), 1e-6)
    return np.asarray((cepstra - cepstra.mean(axis=1, keepdims=True)) / spread, dtype=np.float64)
