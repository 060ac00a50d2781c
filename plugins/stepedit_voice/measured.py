"""What is usual in a speaker's speech, measured by WORLD: pitch, spectra and sounds of frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt
from scipy.signal import butter, sosfiltfilt

from stepedit_core import Utterance
from stepedit_core.dsp import frames
from stepedit_core.dsp.offset import without_offset
from stepedit_core.dsp.world import F0_CEIL, F0_FLOOR, WorldSpeech, analyse

__all__ = [
    "FLOOR",
    "LEAST_FRAMES",
    "RATE",
    "Measured",
    "cepstra",
    "features_of",
    "louder_voiced",
    "measured",
    "measured_target",
    "shared_classes",
]

RATE = 24_000
FLOOR = 1e-12
CEPSTRA = 30
"""Mel cepstra of a frame, its level among them."""
SHAPE = 19
"""Those that tell sounds apart, without the level."""
LEAST_FRAMES = 30
"""Voiced, or unvoiced, frames from which sounds are taken."""
_LAG = 2
"""Frames on either side that tell sounds apart, too: 10 ms."""
_SPOKEN_DB = 40.0
_LEAST_SECONDS = 0.5
_HUM = 60.0
"""Hz below which nothing is heard: the mains' hum would be taken for a deep voice."""
_NEAR_OCTAVES = 0.6
"""Octaves from the median beyond which a pitch is an error of an octave."""
_PERIODIC = 0.6
"""Least normalised autocorrelation of the frames that tell where a voice's pitch lies."""
_LOUD_DB = 30.0
_LEAST_RELIABLE = 20
_BELOW, _ABOVE = 0.75, 1.0
"""Octaves from the pitch of reliable frames within which the voice's pitch is looked for again."""

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Measured:
    """A speaker's speech in frames of 5 ms, and what is usual in it.

    Attributes:
        speech: WORLD's parts.
        logs: natural log of amplitudes, ``(frames, bins)``.
        cepstra: of the frames, ``(frames, CEPSTRA)``.
        spoken: frames with speech.
        pitch: median and deviation of the log2 of Hz; None without voice.
        mean: mean log amplitude of the louder voiced frames, ``(bins,)``.
    """

    speech: WorldSpeech
    logs: Array
    cepstra: Array
    spoken: Mask
    pitch: tuple[float, float] | None
    mean: Array

    @property
    def voiced(self) -> Mask:
        """Frames with a pitch."""
        return self.speech.f0 > 0

    @cached_property
    def features(self) -> Array:
        """What tells sounds apart, see `features_of`."""
        return features_of(self.cepstra, self.spoken)


def measured(utterance: Utterance) -> Measured:
    """Measure the speech of a recording without an offset, of any rate."""
    samples = utterance.resample(RATE).samples.astype(np.float64)
    samples = np.pad(samples, (0, max(0, round(_LEAST_SECONDS * RATE) - len(samples))))
    high = sosfiltfilt(butter(4, _HUM, "highpass", fs=RATE, output="sos"), samples)
    high = np.asarray(high, np.float64)
    speech = analyse(high, RATE, *_pitch_bounds(high))
    logs = 0.5 * np.log(np.maximum(speech.envelope, FLOOR))
    power = speech.envelope.sum(axis=1)
    spoken = power > power.max() * 10 ** (-_SPOKEN_DB / 10)
    voiced = speech.f0 > 0
    coded = cepstra(logs)
    if voiced.sum() < LEAST_FRAMES:
        return Measured(speech, logs, coded, spoken, None, logs.mean(axis=0))
    mean = logs[louder_voiced(speech, spoken)].mean(axis=0)
    heard = voiced & spoken
    pitch = _pitch(speech.f0[heard if heard.sum() >= LEAST_FRAMES else voiced])
    return Measured(speech, logs, coded, spoken, pitch, mean)


@lru_cache(maxsize=2)  # a long recording is converted piece by piece
def measured_target(voice: Utterance) -> Measured:
    """Measure the recording of a voice; the last ones are kept."""
    return measured(without_offset(voice))


def louder_voiced(speech: WorldSpeech, spoken: Mask) -> Mask:
    """Return the louder half of the voiced frames."""
    power, voiced = speech.envelope.sum(axis=1), speech.f0 > 0
    chosen = voiced & spoken & (power >= np.median(power[voiced]))
    return chosen if chosen.any() else voiced


def shared_classes(
    own: Measured, target: Measured
) -> Iterator[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    """Yield the source's and the target's spoken frames with voice, then those without it.

    Those of which the target has too few, or the source none, are left out.
    """
    for voiced in (True, False):
        mine = np.flatnonzero(own.spoken & (own.voiced == voiced))
        theirs = np.flatnonzero(target.spoken & (target.voiced == voiced))
        if len(mine) and len(theirs) >= LEAST_FRAMES:
            yield mine, theirs


def cepstra(logs: Array) -> Array:
    """Return mel cepstra of log amplitudes, ``(frames, CEPSTRA)``, level first."""
    import pyworld

    power = np.ascontiguousarray(np.maximum(np.exp(2 * logs), FLOOR))
    return np.asarray(pyworld.code_spectral_envelope(power, RATE, CEPSTRA))


def features_of(coded: Array, spoken: Mask) -> Array:
    """Return cepstra with those a little before and after, of mean 0 and deviation 1.

    Args:
        coded: cepstra, ``(frames, CEPSTRA)``.
        spoken: frames whose mean and deviation count.
    """
    shape = coded[:, 1 : SHAPE + 1]
    heard = shape[spoken]
    plain = (shape - heard.mean(axis=0)) / (heard.std(axis=0) + 1e-6)
    before, after = np.roll(plain, _LAG, axis=0), np.roll(plain, -_LAG, axis=0)
    return np.concatenate([before, plain, after], axis=1)


def _pitch_bounds(samples: Array) -> tuple[float, float]:
    """Return the lowest and the highest F0 that a voice has, in Hz, samples being at `RATE`.

    In noise and in rooms a tracker finds pitches an octave below. It is asked again near the median
    of what it finds in loud, periodic frames (two passes, as in Hirst 2011).
    """
    plain = Utterance(samples.astype(np.float32), RATE).resample(frames.RATE)
    heard = plain.samples.astype(np.float64)
    cut = frames.cut(heard, 0.025)
    if cut is None:
        return F0_FLOOR, F0_CEIL
    levels = frames.level(cut)
    f0, periodicity = frames.pitch(heard, len(levels))
    loud = levels > np.percentile(levels, 99) - _LOUD_DB
    reliable = f0[loud & (periodicity > _PERIODIC) & (f0 > 0)]
    if len(reliable) < _LEAST_RELIABLE:
        return F0_FLOOR, F0_CEIL
    middle = float(np.median(reliable))
    return max(F0_FLOOR, middle / 2**_BELOW), min(F0_CEIL, middle * 2**_ABOVE)


def _pitch(f0: Array) -> tuple[float, float]:
    """Return median and deviation of the log2 of Hz, errors of an octave aside."""
    octaves = np.log2(f0)
    median = float(np.median(octaves))
    return median, float(octaves[np.abs(octaves - median) < _NEAR_OCTAVES].std())
