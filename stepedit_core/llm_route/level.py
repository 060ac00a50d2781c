"""Keep the level of what an engine decodes at that of the recording that was edited.

A decoder speaks at the level of its reference as it was taken in: the public system lowers that to
a peak of 0.6, so that hot recordings would come back up to 5 dB softer. What the engine knows of
this is undone, and what is left over, from the vocoder for one, is matched by the active level
(ITU-T P.56), as far as the edit's plan does not allow for it (``Plan.level``).
"""

from __future__ import annotations

import math

import numpy as np

from stepedit_core.dsp.loudness import active_level, limited_at_level
from stepedit_core.dsp.vad import speech_spans
from stepedit_core.utterance import Utterance

__all__ = ["levelled"]

_CHECKED_DB = 1.0
"""Corrections from here on need speech: the level of what has none may be noise taken out."""
_MOST_DB = 12.0


def levelled(
    source: Utterance, decoded: Utterance, allowed: tuple[float, float] | None, gain: float = 1.0
) -> tuple[Utterance, float]:
    """Return decoded audio at its source's level, within full scale.

    Args:
        source: what was edited.
        decoded: what came out, as the decoder gave it.
        allowed: how far the level may move, in dB, lowest and highest; None: as far as it does.
        gain: what the engine says brings it to its reference's level.

    Returns:
        The audio, and what it was multiplied by in all, a limiter aside.
    """
    before, after = active_level(source), active_level(decoded)
    if before is not None and after is not None and allowed is not None:
        shift = after + 20 * math.log10(gain) - before
        wrong = shift - min(max(shift, allowed[0]), allowed[1])
        if abs(wrong) <= _CHECKED_DB or speech_spans(source):
            gain *= 10 ** (-min(max(wrong, -_MOST_DB), _MOST_DB) / 20)
    ceiling = max(1.0, float(np.abs(source.samples).max(initial=0.0)))
    made = decoded.samples * np.float32(gain)
    if float(np.abs(made).max(initial=0.0)) > ceiling:
        wanted = None if after is None else after + 20 * math.log10(gain)
        made = limited_at_level(decoded, gain, ceiling, wanted)
    return decoded.replace(samples=made), gain
