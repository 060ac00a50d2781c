"""What a decoder leaves of the old voice, taken away by signal processing.

A decoder speaks from codes that were made of the old voice, and brings part of it back. What it
gives is measured as a source is, and moved the rest of the way: mean and covariance of the spectra
become the voice's again. A filter does it, not a vocoder (as in differential voice conversion,
Kobayashi, Toda & Nakamura 2018): the decoder's pitch is the voice's already, and its fine
structure stays.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stepedit_core import Utterance
from stepedit_core.dsp.offset import without_offset
from stepedit_core.dsp.world import STEP
from stepedit_voice.measured import RATE, measured, measured_target, usual_pitch
from stepedit_voice.spectra import towards_voice

__all__ = ["SHARE", "nearer"]

SHARE = 0.4
"""How far a frame goes to what its neighbours sound like, between voices of one pitch."""
_OTHER_PITCH = 0.4
"""Octaves between two voices from which on pitch tells them apart, and frames go nowhere: words are
lost with each step, and nearness is what fails between voices that are alike in pitch."""

_WINDOW = 1024
_MOST = 3.5
"""Greatest change of a bin, natural log of amplitude: 30 dB."""

Array = npt.NDArray[np.float64]


def nearer(source: Utterance, decoded: Utterance, voice: Utterance) -> Utterance:
    """Return decoded speech whose spectra have mean and covariance of a voice's; pitch stays.

    The less source and voice differ in pitch, the farther frames go to what the voice's frames
    that sound most alike are.

    Args:
        source: what the decoder's codes were made of.
        decoded: what it made, any rate.
        voice: a recording of the voice.

    Returns:
        As long as before, at `RATE`; the very input where no voice is heard in one of the three.
    """
    old, target = usual_pitch(source), measured_target(voice)
    own = measured(without_offset(decoded))
    if old is None or own.pitch is None or target.pitch is None:
        return decoded
    apart = abs(target.pitch[0] - old[0])
    share = SHARE * max(0.0, 1 - apart / _OTHER_PITCH)
    change = towards_voice(own, target, 1.0, share) - own.logs
    return _filtered(decoded.resample(RATE), change)


def _filtered(utterance: Utterance, change: Array) -> Utterance:
    """Return samples whose amplitudes change by logs for frames of 5 ms, ``(frames, bins)``."""
    from scipy.signal import istft, stft

    samples = utterance.samples.astype(np.float64)
    kept = {"fs": RATE, "nperseg": _WINDOW, "noverlap": _WINDOW - round(STEP * RATE)}
    spectrum = stft(samples, **kept)[2]
    every = (change.shape[1] - 1) // (_WINDOW // 2)
    rows = np.minimum(np.arange(spectrum.shape[1]), len(change) - 1)
    gain = np.exp(np.clip(change[rows, ::every], -_MOST, _MOST)).T
    made = istft(spectrum * gain, **kept)[1][: len(samples)]
    made = np.pad(made, (0, len(samples) - len(made)))
    return utterance.replace(samples=made.astype(np.float32))
