"""Recorded sounds of other people, brought into the speaker's voice.

The library (``sounds/``, made by ``library``) has a few recordings of a tag. One that needs little
change is drawn; where it is voiced, its pitch goes where the speaker's own lies and its formants
follow, by WORLD (`stepedit_core.dsp.prosody`). Breaths keep their spectrum.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from typing import Any

import numpy as np
import numpy.typing as npt

from stepedit_core import Utterance
from stepedit_core.dsp.prosody import ProsodyRecipe, transform
from stepedit_paralinguistic.voice import RATE, Voice

__all__ = ["LEVEL", "LEVELS", "RECORDED", "Clip", "clips", "loud_level", "perform"]

FloatArray = npt.NDArray[np.float64]

LEVELS: Mapping[str, float] = {
    "breath": -18.0,
    "inhale": -18.0,
    "exhale": -20.0,
    "sigh": -9.0,
    "chuckle": -6.0,
    "giggle": -4.0,
    "uhm": -4.0,
    "clears throat": -6.0,
}
"""Level of a sound's louder half against active speech, in dB; -2 for tags that are not named."""
LEVEL = -2.0
_PITCH: Mapping[str, float] = {
    "laugh": 1.4,
    "chuckle": 1.2,
    "giggle": 1.7,
    "sigh": 1.0,
    "uhm": 0.9,
    "cough": 1.3,
    "clears throat": 1.0,
}
"""Usual pitch of voiced sounds against the same voice's speech. Breaths have none and stay.

Laughter lies above speech, more so in women (Bachorowski, Smoski & Owren 2001); filled pauses
below its peaks (Shriberg & Lickley 1993). Numbers are ours."""
_MOST, _NEAR = 9.0, 3.0
"""Semitones that pitch is moved by at most, and by which clips may be further than the nearest."""
_MAN, _WOMAN, _TRACT = 120.0, 215.0, 1.16
"""Mean pitches, and the ratio of women's to men's formants (Hillenbrand et al. 1995)."""
_FORMANTS = (0.86, 1.16)
_LEAST_CHANGE = 0.5


@dataclass(frozen=True)
class Clip:
    """A recorded sound of the library.

    Attributes:
        tag: canonical name of 2026.
        file: name in ``sounds/``.
        seconds: its length.
        f0: median pitch in Hz, or None where hardly anything is voiced.
        speech_f0: median pitch of the same person's speech in Hz, or None where none is known.
        speaker: who, as the corpus names them.
        gender: ``F``, ``M`` or None.
        licence: of the recording.
        credit: who made it.
        source: file of the corpus, and which stretch.
        changes: what was done to it.
    """

    tag: str
    file: str
    seconds: float
    f0: float | None
    speech_f0: float | None
    speaker: str
    gender: str | None
    licence: str
    credit: str
    source: str
    changes: str

    @property
    def voice_f0(self) -> float | None:
        """Pitch of the person's voice in Hz, between their speech's and what the sound tells.

        Acted lines lie higher than speech does, and one sound may lie anywhere.
        """
        told = [self.speech_f0, self.f0 and self.f0 / _PITCH.get(self.tag, 1.0)]
        known = [pitch for pitch in told if pitch]
        return float(np.exp(np.mean(np.log(known)))) if known else None


@cache
def _library() -> Mapping[str, Sequence[Clip]]:
    text = files(__package__).joinpath("sounds", "manifest.jsonl").read_text(encoding="utf-8")
    found: dict[str, list[Clip]] = {}
    for line in text.splitlines():
        clip = Clip(**json.loads(line))
        found.setdefault(clip.tag, []).append(clip)
    return found


def clips(tag: str) -> Sequence[Clip]:
    """Return the recordings of a tag; none where the library has none."""
    return _library().get(tag, ())


RECORDED: Mapping[str, float] = {
    tag: round(float(np.median([clip.seconds for clip in found])), 2)
    for tag, found in _library().items()
}
"""Tags that there are recordings of, with their median length in seconds."""


@cache
def _samples(file: str) -> FloatArray:
    """Return a recording's samples at 24 kHz; read-only."""
    with as_file(files(__package__).joinpath("sounds", file)) as path:
        samples = Utterance.read(path).samples.astype(np.float64)
    samples.flags.writeable = False
    return samples


def perform(tag: str, voice: Voice, rng: np.random.Generator) -> tuple[FloatArray, dict[str, Any]]:
    """Return a recorded sound in a voice at 24 kHz, and which recording it was and its changes.

    Args:
        tag: one of ``RECORDED``.
        voice: whose pitch, formants and level it takes.
        rng: draws among the recordings that are nearest to the voice.
    """
    known = clips(tag)
    moves = [abs(_semitones(clip, voice)) for clip in known]
    near = [clip for clip, move in zip(known, moves, strict=True) if move <= min(moves) + _NEAR]
    clip = near[int(rng.integers(len(near)))]
    recipe = _recipe(clip, voice)
    sound = Utterance(_samples(clip.file).astype(np.float32), RATE)
    if recipe.changes():
        sound = transform(sound, recipe, rng)
    samples = sound.samples.astype(np.float64)
    wanted = voice.level * 10 ** (LEVELS.get(tag, LEVEL) / 20)
    samples = _band_limited(samples, voice.highest_hz) * (wanted / loud_level(samples))
    facts = {
        "recording": clip.file,
        "speaker": clip.speaker,
        "licence": clip.licence,
        "credit": clip.credit,
        "moved": recipe.changes(),
    }
    return samples, facts


def loud_level(samples: FloatArray) -> float:
    """Return the root mean square of the louder half of samples, linear, never 0."""
    power = np.sort(samples**2)[len(samples) // 2 :]
    return max(float(np.sqrt(power.mean())), 1e-9)


def _semitones(clip: Clip, voice: Voice) -> float:
    """Return by how much a clip's pitch has to be moved for a voice; 0 where it has none."""
    if clip.tag not in _PITCH or clip.voice_f0 is None:
        return 0.0
    return float(12 * np.log2(voice.f0 / clip.voice_f0))


def _recipe(clip: Clip, voice: Voice) -> ProsodyRecipe:
    """Return the change that brings a clip to a voice, within what sounds like a voice."""
    move = float(np.clip(_semitones(clip, voice), -_MOST, _MOST))
    if abs(move) < _LEAST_CHANGE or clip.voice_f0 is None:
        return ProsodyRecipe()
    shares = np.log(np.array([clip.voice_f0, voice.f0]) / _MAN) / np.log(_WOMAN / _MAN)
    own, wanted = np.clip(shares, -0.3, 1.3)
    return ProsodyRecipe(
        f0_ratio=round(float(2 ** (move / 12)), 4),
        formant_ratio=round(float(np.clip(_TRACT ** (wanted - own), *_FORMANTS)), 4),
    )


def _band_limited(samples: FloatArray, highest: float) -> FloatArray:
    """Return a sound without what lies above the speech's own band."""
    if highest >= 0.9 * RATE / 2:
        return samples
    from scipy.signal import butter, sosfiltfilt

    sections = butter(6, highest, "low", fs=RATE, output="sos")
    return np.asarray(sosfiltfilt(sections, samples))
