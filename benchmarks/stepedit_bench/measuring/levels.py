"""Loudness and clipping."""

from __future__ import annotations

import warnings

import numpy as np

from stepedit_bench.measuring.extras import need
from stepedit_core.dsp.loudness import active_level as active_speech_level
from stepedit_core.errors import StepeditError
from stepedit_core.utterance import Utterance

__all__ = ["CLIP_LEVEL", "active_level", "clipped_share", "loudness"]

CLIP_LEVEL = 0.9999
"""Fraction of full scale from which a sample may be clipped."""
_BLOCK_SECONDS = 0.4


def loudness(utterance: Utterance) -> float:
    """Return the integrated loudness in LUFS (ITU-R BS.1770-4, pyloudnorm).

    Recordings shorter than one 0.4 s block are measured with a block of their own length.

    Raises:
        StepeditError: if all of it is below the gate of -70 LUFS.
    """
    library = need("pyloudnorm", "pyloudnorm", "loudness")
    block = min(_BLOCK_SECONDS, utterance.seconds * 0.999)
    meter = library.Meter(utterance.sample_rate, block_size=block)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = float(meter.integrated_loudness(utterance.samples.astype(np.float64)))
    if not np.isfinite(value):
        raise StepeditError("loudness: the recording is silent")
    return value


def active_level(utterance: Utterance) -> float:
    """Return the power of active speech, in dB relative to a full-scale square wave.

    Pauses do not lower it; see `stepedit_core.dsp.loudness.active_level`.

    Raises:
        StepeditError: if the recording is silent.
    """
    level = active_speech_level(utterance)
    if level is None:
        raise StepeditError("active level: the recording is silent")
    return level


def clipped_share(utterance: Utterance) -> float:
    """Return the share of samples in runs of two or more at full scale, 0..1.

    A lone sample at full scale is a peak; clipping flattens at least two in a row with the
    same sign.
    """
    samples = utterance.samples
    if len(samples) == 0:
        raise StepeditError("clipping: the recording holds no samples")
    high, low = samples >= CLIP_LEVEL, samples <= -CLIP_LEVEL
    flat = np.zeros(len(samples), dtype=bool)
    for full in (high, low):
        pair = full[1:] & full[:-1]
        flat[1:] |= pair
        flat[:-1] |= pair
    return float(flat.mean())
