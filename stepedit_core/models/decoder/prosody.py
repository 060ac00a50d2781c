"""What a label usually does to prosody, for decoders that are told it and need not be taught it.

Codes carry what is said, and little of how high, how loud and how bright. Where a decoder is told
what a label usually does, pitch, level and tilt are moved there as far as the mel has not moved
them already, so that the codes may be those of the source, with all of its words.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

__all__ = ["LabelProsody", "Prosody", "Shift", "Spoken", "read_prosody", "shift_of", "tilt_gain"]

NEPER_DB = 8.685889638
"""dB in one unit of a natural logarithm of amplitudes."""
MOST_SHARE = 1.2
"""A shift of 1 to 1.2 times the usual one is left as it is."""
ACTIVE_DB = 30.0
"""Frames so far below the loudest one are no speech."""
TILT_BAND = (200.0, 5000.0)
TILT_EDGES, TILT_PIVOT = (100.0, 8000.0), 1000.0
LEAST_POINTS = 10
"""Voiced points (10 ms) from which pitch has a median."""
LEAST_RANGE, MOST_RANGE = 0.4, 2.5
"""Bounds of the factor on the range of pitch."""
MOST_RISE = math.log2(2.2)
"""Octaves that a pitch rises by at most to a median that is given in Hz."""
NARROWEST = 1 / 24
"""Octaves of the least range that is divided by: half a semitone."""


@dataclass(frozen=True)
class LabelProsody:
    """Usual shift of a label against the speech that it is put on; the defaults shift nothing.

    Attributes:
        semitones: of the median pitch.
        hz: median pitch to rise to at least, instead of ``semitones``.
        range: factor on the range of pitch, in semitones.
        level: dB.
        tilt: dB per octave; positive is brighter.
        formants: factor on the frequencies of the vocal tract.
        jitter: cents, standard deviation of a random pitch every 10 ms.
        way: share of the way to ``hz`` that the pitch goes.
    """

    semitones: float = 0.0
    hz: float | None = None
    range: float = 1.0
    level: float = 0.0
    tilt: float = 0.0
    formants: float = 1.0
    jitter: float = 0.0
    way: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what no voice does."""
        if not 0.25 <= self.range <= 4.0 or not 0.5 <= self.formants <= 2.0:
            raise ValueError("prosody: range must be 0.25 to 4, formants 0.5 to 2")
        if not 0.0 <= self.jitter <= 200.0:
            raise ValueError(f"prosody: jitter {self.jitter} is not within 0 and 200 cents")
        if self.hz is not None and not 50.0 <= self.hz <= 800.0:
            raise ValueError(f"prosody: {self.hz} Hz is not within 50 and 800")
        if max(abs(self.semitones), abs(self.level), abs(self.tilt)) > 24.0:
            raise ValueError("prosody: semitones, level and tilt must be within -24 and 24")
        if not 0.0 <= self.way <= 2.0:
            raise ValueError("prosody: way must be 0 to 2")

    def at(self, strength: float) -> LabelProsody:
        """Return so much of the shift, within what a voice does; 1 is the shift itself.

        The level moves no further than it usually does: a listener turns it back.
        """
        if strength == 1.0:
            return self
        return LabelProsody(
            semitones=_within(strength * self.semitones, -24.0, 24.0),
            hz=self.hz,
            range=_within(self.range**strength, 0.25, 4.0),
            level=min(1.0, strength) * self.level,
            tilt=_within(strength * self.tilt, -24.0, 24.0),
            formants=_within(self.formants**strength, 0.5, 2.0),
            jitter=_within(strength * self.jitter, 0.0, 200.0),
            way=_within(strength * self.way, 0.0, 2.0),
        )


def _within(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def read_prosody(
    given: Mapping[str, Mapping[str, Any]] | None, labels: Sequence[str]
) -> dict[str, LabelProsody]:
    """Return the prosody of labels as a configuration has it.

    Raises:
        ValueError: if a label is not among those of the decoder, or a field does not exist.
    """
    known = {field.name for field in fields(LabelProsody)}
    found = {}
    for label, values in (given or {}).items():
        if label not in labels:
            raise ValueError(f"prosody: {label} is not among the labels")
        if wrong := set(values) - known:
            raise ValueError(f"prosody: {label}: no field {', '.join(sorted(wrong))}")
        found[label] = LabelProsody(**{name: float(value) for name, value in values.items()})
    return found


@dataclass(frozen=True)
class Prosody:
    """Prosody that part of an utterance is to have, against its reference.

    Attributes:
        usual: what the label usually does.
        frames: where it holds, bool ``(frames,)``.
        reference: log mel of the reference, ``(bins, r)``.
        places: of the frames in the reference, float ``(frames,)``, NaN where not known; None:
            nowhere known, and all of the reference is compared.
    """

    usual: LabelProsody
    frames: Tensor
    reference: Tensor
    places: Tensor | None = None


@dataclass(frozen=True)
class Spoken:
    """Measurements of a piece of speech.

    Attributes:
        octaves: log2 of its pitch in Hz, every 10 ms where it is voiced, ``(n,)``.
        mel: natural log of magnitudes, ``(bins, frames)``.
    """

    octaves: Tensor
    mel: Tensor


@dataclass(frozen=True)
class Shift:
    """What lacks of a label's usual shift.

    Attributes:
        middle: log2 of the Hz about which the range is changed.
        octaves: to add to pitch.
        range: factor on the distance of pitch from the middle.
        tilt: dB per octave to add.
        level: dB to add besides what the tilt does.
    """

    middle: float
    octaves: float
    range: float
    tilt: float
    level: float


def shift_of(before: Spoken, after: Spoken, usual: LabelProsody, places: Tensor) -> Shift:
    """Return what lacks of a label's usual shift.

    Args:
        before: the reference.
        after: what was decoded.
        usual: what the label usually does.
        places: centre frequencies of the mel's bins, Hz.
    """
    middle, octaves, spread = _pitch(before.octaves, after.octaves, usual)
    tilt = level = 0.0
    if before.mel.shape[1] and after.mel.shape[1]:
        if usual.tilt:
            tilt = _left(_tilt(after.mel, places) - _tilt(before.mel, places), usual.tilt)
        tilted = after.mel + (tilt_gain(places, tilt) / NEPER_DB)[:, None]
        level = _left(_level(tilted) - _level(before.mel), usual.level)
    return Shift(middle, octaves, spread, tilt, level)


def tilt_gain(hz: Tensor, tilt: float) -> Tensor:
    """Return the gain in dB that adds a tilt in dB per octave, about 1 kHz."""
    return tilt * (hz.clamp(*TILT_EDGES) / TILT_PIVOT).log2()


def _left(moved: float, usual: float) -> float:
    """Return what lacks of a usual shift, or goes beyond it."""
    low, high = sorted((usual, MOST_SHARE * usual))
    return min(max(moved, low), high) - moved


def _pitch(before: Tensor, after: Tensor, usual: LabelProsody) -> tuple[float, float, float]:
    """Return the middle of the pitch, what to add to it, and the factor on its range."""
    if min(len(before), len(after)) < LEAST_POINTS:
        return 0.0, 0.0, 1.0
    old, middle = float(before.median()), float(after.median())
    aim = usual.semitones / 12
    if usual.hz is not None:
        aim = min(max(0.0, usual.way * (math.log2(usual.hz) - old)), MOST_RISE)
    spread = 1.0
    if usual.range != 1.0:
        ratio = math.log2(_range(after) / _range(before))
        spread = min(max(2 ** _left(ratio, math.log2(usual.range)), LEAST_RANGE), MOST_RANGE)
    return middle, _left(middle - old, aim), spread


def _range(octaves: Tensor) -> float:
    """Return the 5th to 95th percentile of pitch, in octaves."""
    low, high = torch.quantile(octaves.float(), octaves.new_tensor([0.05, 0.95])).tolist()
    return max(float(high - low), NARROWEST)


def _active(mel: Tensor) -> Tensor:
    """Return the power of frames of speech, ``(bins, n)``."""
    power = (2 * mel).exp()
    whole = power.sum(0)
    return power[:, whole >= whole.max() * 10 ** (-ACTIVE_DB / 10)]


def _level(mel: Tensor) -> float:
    """Return the mean power of speech in dB."""
    return float(10 * _active(mel).sum(0).mean().clamp_min(1e-12).log10())


def _tilt(mel: Tensor, places: Tensor) -> float:
    """Return the slope of the mean spectrum of speech, in dB per octave."""
    inside = (places >= TILT_BAND[0]) & (places <= TILT_BAND[1])
    x = places[inside].log2()
    y = 10 * _active(mel)[inside].mean(1).clamp_min(1e-12).log10()
    weights = torch.gradient(x)[0]
    x = x - (weights * x).sum() / weights.sum()
    return float((weights * x * y).sum() / (weights * x * x).sum())
