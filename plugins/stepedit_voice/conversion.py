"""The voice edit by signal processing: pitch, vocal tract and sounds of another recording.

Nearest neighbours stand in for a taught model, as in kNN-VC (Baas, van Niekerk & Kamper 2023),
with cepstra in place of learned features: each frame of the source is drawn towards the mean
of those frames of the target that sound most alike, once both speakers' pitch, vocal tract, mean
spectrum and the spread of their spectra are alike. WORLD takes speech apart and puts it together
again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from stepedit_core import StepeditError, Utterance
from stepedit_core.dsp.loudness import active_level, limited_at_level
from stepedit_core.dsp.offset import around_offset, without_offset
from stepedit_core.dsp.world import synthesise
from stepedit_voice.measured import RATE, Measured, measured, measured_target
from stepedit_voice.spectra import towards_voice, vocal_tract

__all__ = ["NO_VOICE", "SHARE", "SHOWN_SHARE", "convert", "hears_voice"]

NO_VOICE = "no voice is heard here, and so none that could become another"
SHARE = 0.55
"""How far a frame goes to what its neighbours sound like; beyond, words are lost fast."""
SHOWN_SHARE = 0.3
"""The same for what a decoder is shown: it goes on towards the voice by itself, and what it is
shown unclearly it says more unclearly."""
_RANGE = (0.6, 1.6)
"""Bounds of the factor on the range of pitch."""
_CEILING = 0.97

Array = npt.NDArray[np.float64]


def convert(
    source: Utterance, target: Utterance, share: float = SHARE
) -> tuple[Utterance, dict[str, Any]]:
    """Return the source in the voice of the target; length, level and words stay.

    Args:
        source: what is said.
        target: a recording of the voice.
        share: how far a frame goes to what its neighbours sound like, 0 to 1.

    Returns:
        The utterance, and facts as JSON data: ``pitch_octaves`` and ``vocal_tract`` (a factor);
        ``notes`` where the source has no voice and stays as it is.

    Raises:
        StepeditError: if no voice is heard in the target.
    """
    voice = measured_target(target)
    if voice.pitch is None:
        raise StepeditError("no voice is heard in the recording of the voice; give another")
    return around_offset(source, lambda flat: _converted(flat, voice, share))


def hears_voice(utterance: Utterance) -> bool:
    """Return whether there is a voice in a recording: 150 ms with a pitch or more."""
    return measured(without_offset(utterance)).pitch is not None


def _converted(
    source: Utterance, target: Measured, share: float
) -> tuple[Utterance, dict[str, Any]]:
    own = measured(source)
    facts: dict[str, Any] = {"backend": "WORLD (pyworld), nearest neighbours"}
    if own.pitch is None or target.pitch is None:
        return source, {**facts, "notes": [NO_VOICE]}
    tract = vocal_tract(own, target)
    envelope = np.exp(2 * towards_voice(own, target, tract, share))
    made = synthesise(replace(own.speech, f0=_pitch(own, target.pitch), envelope=envelope))
    wave = Utterance(made.astype(np.float32), RATE)
    samples = wave.resample(source.sample_rate).samples[: len(source.samples)]
    samples = np.pad(samples, (0, len(source.samples) - len(samples)))
    shift = target.pitch[0] - own.pitch[0]
    facts |= {"pitch_octaves": round(shift, 3), "vocal_tract": round(tract, 3)}
    return _levelled(source, source.replace(samples=samples)), facts


def _levelled(source: Utterance, made: Utterance) -> Utterance:
    """Return what was made at the source's active level, its peaks limited.

    A deep voice has higher peaks than a high one of the same level.
    """
    wanted, level = active_level(source), active_level(made)
    if wanted is None or level is None:
        return made
    ceiling = max(_CEILING, float(np.abs(source.samples).max()))
    gain = 10 ** ((wanted - level) / 20)
    return made.replace(samples=limited_at_level(made, gain, ceiling, wanted))


def _pitch(own: Measured, wanted: tuple[float, float]) -> Array:
    """Return the source's melody at the target's median and range."""
    assert own.pitch is not None
    voiced = own.speech.f0 > 0
    octaves = np.log2(np.where(voiced, own.speech.f0, 1.0))
    factor = float(np.clip(wanted[1] / max(own.pitch[1], 1e-3), *_RANGE))
    moved = wanted[0] + (octaves - own.pitch[0]) * factor
    return np.where(voiced, np.clip(2**moved, 40.0, 1200.0), 0.0)
