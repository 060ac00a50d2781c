"""How pitch and formants of an output differ from the source's, frame by frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stepedit_core import Utterance
from stepedit_core.dsp import frames
from stepedit_core.dsp.frames import RATE, STEP
from stepedit_core.dsp.offset import without_offset

__all__ = ["STEP", "PitchShift", "formant_ratio", "pitch_shift", "pitch_track"]

FloatArray = npt.NDArray[np.float64]

_LEAST_FRAMES = 10
_TRACKED = (66.0, 650.0)
_OCTAVE_ERROR = 6.0
_BAND = (300.0, 3_500.0)
"""Where the first three formants are, in Hz."""
_POINTS, _MOST, _RESOLUTION = 200, 0.75, 0.0025
_MOST_FRAMES = 1_000


@dataclass(frozen=True)
class PitchShift:
    """How the pitch of an output differs from its source's.

    Attributes:
        semitones: median difference of frames, beyond what the range asked for moves them.
        spread: median distance of single frames from that difference, in cents.
        range: factor on the distances of F0 from its median.
        share: frames that are voiced in both over those that are in the source, 0..1.
    """

    semitones: float
    spread: float
    range: float
    share: float


def pitch_track(utterance: Utterance) -> FloatArray:
    """Return F0 in Hz every 5 ms, 0 where no voice is: ``(frames,)``.

    DIO and StoneMask on frames that are loud and periodic enough.
    """
    samples = without_offset(utterance).resample(RATE).samples.astype(np.float64)
    cut = frames.cut(samples, 0.025)
    if cut is None:
        return np.zeros(0)
    levels = frames.level(cut)
    f0, periodicity = frames.pitch(samples, len(levels))
    floor = max(float(np.percentile(levels, 99)) - frames.ACTIVE_DB - 10, frames.SILENCE_DB)
    return np.where((levels > floor) & (periodicity > frames.VOICING), f0, 0.0)


def pitch_shift(
    source: Utterance, output: Utterance, semitones: float = 0.0, factor: float = 1.0
) -> PitchShift | None:
    """Compare the pitch of two recordings of one duration; None where too little is voiced.

    Frames count that are voiced in both and for which the pitch asked for lies within what the
    tracker follows; an octave error counts for the spread alone.

    Args:
        source: before the edit.
        output: after it.
        semitones: the shift that was asked for.
        factor: the factor on the range that was asked for.
    """
    before, after = pitch_track(source), pitch_track(output)
    count = min(len(before), len(after))
    before, after = before[:count], after[:count]
    if (before > 0).sum() < _LEAST_FRAMES:
        return None
    old = 12 * np.log2(np.where(before > 0, before, 1.0))
    middle = float(np.median(old[before > 0]))
    asked = 2 ** ((middle + (old - middle) * factor + semitones) / 12)
    fair = (before > 0) & (asked > _TRACKED[0]) & (asked < _TRACKED[1])
    both = fair & (after > 0)
    if both.sum() < _LEAST_FRAMES:
        return None
    old, new = old[both] - middle, 12 * np.log2(after[both]) - middle
    off = new - old * factor
    sure = np.abs(off - np.median(off)) < _OCTAVE_ERROR
    widths = [float(np.mean(np.abs(x[sure] - np.median(x[sure])))) for x in (old, new)]
    return PitchShift(
        float(np.median(off)),
        100 * float(np.median(np.abs(off - np.median(off)))),
        widths[1] / max(widths[0], 1e-6),
        float(both.sum() / fair.sum()),
    )


def formant_ratio(source: Utterance, output: Utterance) -> float | None:
    """Return the factor on the formants, or None where too little is voiced.

    The ratio at which the spectral envelopes (CheapTrick, Morise 2015) of frames that are voiced
    in both fit best on a logarithmic axis of frequency, 300 Hz to 3.5 kHz, in steps of 0.25 %.
    """
    first, second = _envelopes(source), _envelopes(output)
    tracks = [pitch_track(sound) for sound in (source, output)]
    count = min(*map(len, (first, second, *tracks)))
    both = np.flatnonzero((tracks[0][:count] > 0) & (tracks[1][:count] > 0))
    if len(both) < _LEAST_FRAMES:
        return None
    both = both[:: max(1, len(both) // _MOST_FRAMES)]
    grid = np.geomspace(*_BAND, _POINTS)
    freqs = np.linspace(0, RATE / 2, first.shape[1])
    old, new = first[both], second[both]
    reference = _at(old, freqs, grid)
    ratios = np.exp(np.arange(-_MOST, _MOST, _RESOLUTION))
    errors = [float(np.mean((_at(new, freqs, grid * r) - reference) ** 2)) for r in ratios]
    return float(ratios[int(np.argmin(errors))])


def _envelopes(utterance: Utterance) -> FloatArray:
    """Return log spectral envelopes every 5 ms, ``(frames, bins)``."""
    import pyworld

    samples = np.ascontiguousarray(
        without_offset(utterance).resample(RATE).samples, dtype=np.float64
    )
    coarse, times = pyworld.dio(samples, RATE, frame_period=STEP * 1000)
    f0 = pyworld.stonemask(samples, coarse, times, RATE)
    return np.asarray(
        np.log(np.maximum(pyworld.cheaptrick(samples, f0, times, RATE), 1e-16)), dtype=np.float64
    )


def _at(envelopes: FloatArray, freqs: FloatArray, where: FloatArray) -> FloatArray:
    """Return envelopes at frequencies, each with its mean taken out."""
    place = np.clip(where / freqs[1], 0, len(freqs) - 1.001)
    low = place.astype(int)
    part = place - low
    values = envelopes[:, low] * (1 - part) + envelopes[:, low + 1] * part
    return np.asarray(values - values.mean(axis=1, keepdims=True))
