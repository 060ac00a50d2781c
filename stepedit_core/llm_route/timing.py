"""Give decoded audio the timing of the recording that was edited.

Tokenizers cut silence off both ends of a recording and add a margin of their own, so that decoded
codes begin and end at other times. Where all of the source is spoken at one tempo, the output is to
have the source's duration, and each word its time.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stepedit_core.utterance import Utterance

__all__ = ["AUDIBLE", "fit_to_source_timing"]

AUDIBLE = 0.01
"""What is softer than this part of the peak, -40 dB, may be cut off at the end."""
_FADE_SECONDS = 0.01

FloatArray = npt.NDArray[np.float32]


def fit_to_source_timing(audio: Utterance, start: float, seconds: float) -> tuple[Utterance, float]:
    """Return audio that begins at 0 and lasts as long as its recording.

    Silence is put where the tokenizer cut it off, and margins beyond the recording are taken
    away; what is audible past the expected end stays.

    Args:
        audio: decoded.
        start: second of the recording at which it begins; may be negative.
        seconds: expected duration.

    Returns:
        The audio, and the second of it at which the decoded codes begin.
    """
    rate = audio.sample_rate
    first, total = round(start * rate), round(seconds * rate)
    samples = audio.samples[max(0, -first) :]
    loud = np.flatnonzero(np.abs(samples) > AUDIBLE * np.abs(samples).max(initial=0.0))
    before = max(0, first)
    heard = max(total - before, loud[-1] + 1 if len(loud) else 0)
    samples = _faded(samples[:heard], rate)
    after = max(0, total - before - len(samples))
    return audio.replace(samples=np.pad(samples, (before, after))), first / rate


def _faded(samples: FloatArray, rate: int) -> FloatArray:
    """Return samples that begin and end without a click."""
    fade = min(len(samples) // 2, round(_FADE_SECONDS * rate))
    ramp = np.linspace(0.0, 1.0, fade, dtype=np.float32)
    faded = samples.copy()
    faded[:fade] *= ramp
    faded[len(faded) - fade :] *= ramp[::-1]
    return faded
