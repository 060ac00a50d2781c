"""Measure the prosody and voice quality of an utterance, and how two utterances differ.

Everything is measured at 16 kHz, so that recordings of different rates compare. A figure that
cannot be measured is None, never NaN: pitch of whispered or unvoiced speech, anything of
silence. Heavy libraries (pyworld, scipy) are imported on first use.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from stepedit_core.dsp import frames as signal
from stepedit_core.dsp.offset import without_offset
from stepedit_core.utterance import Utterance

if TYPE_CHECKING:
    from stepedit_core.labels.profile import Profile

__all__ = [
    "FEATURES",
    "RATIOS",
    "AcousticShift",
    "Acoustics",
    "agreement",
    "difference",
    "forget",
    "margin",
    "measure",
]


@dataclass(frozen=True)
class Acoustics:
    """Acoustic measurements of one utterance; None where one could not be made.

    Attributes:
        seconds: duration.
        f0: median fundamental frequency of voiced frames in Hz (DIO and StoneMask,
            Morise et al. 2009, on frames that are periodic).
        f0_range: 5th to 95th percentile of F0, in semitones.
        f0_slope: linear trend of F0 over the utterance, in semitones per second.
        f0_variability: mean absolute slope of F0 within voiced stretches, semitones/s.
        level: power of active frames, in dB relative to a full-scale square wave.
        level_range: 10th to 90th percentile of the level of active frames, in dB.
        tilt: slope of the long-term spectrum of active frames, voiced where there are any,
            over third octaves from 200 Hz to 5 kHz, in dB per octave; speech is negative.
        hammarberg: strongest level in 0-2 kHz minus strongest in 2-5 kHz, in dB
            (Hammarberg et al. 1980); None below 10 kHz sample rate.
        hnr: median harmonics-to-noise ratio of voiced frames in dB (Boersma 1993); low is
            breathy or hoarse.
        voiced: share of active frames that are voiced, 0..1.
        syllable_rate: syllable nuclei per second of the utterance, pauses included, leading
            and trailing silence left out (after de Jong & Wempe 2009).
        articulation_rate: syllable nuclei per second of active time.
        speech_seconds: time from the first to the last active frame.
        pauses: number of inner pauses of at least 0.15 s.
        pause_share: their share of the time between first and last active frame, 0..1.
    """

    seconds: float
    f0: float | None = None
    f0_range: float | None = None
    f0_slope: float | None = None
    f0_variability: float | None = None
    level: float | None = None
    level_range: float | None = None
    tilt: float | None = None
    hammarberg: float | None = None
    hnr: float | None = None
    voiced: float | None = None
    syllable_rate: float | None = None
    articulation_rate: float | None = None
    speech_seconds: float | None = None
    pauses: int | None = None
    pause_share: float | None = None


@dataclass(frozen=True)
class AcousticShift:
    """Acoustic differences of a target from its source; None where one was not measured.

    Attributes:
        f0: semitones.
        f0_range: ratio of the ranges in semitones.
        f0_slope: difference in semitones per second.
        f0_variability: ratio.
        level: dB.
        level_range: dB.
        tilt: dB per octave; positive is brighter.
        hammarberg: dB; negative is brighter.
        hnr: dB; negative is breathier.
        voiced: difference of shares.
        syllable_rate: ratio; above 1 is faster.
        articulation_rate: ratio.
        tempo: ratio of the source's time from first to last active frame to the target's;
            above 1 is faster. It means tempo where both say the same words, as source and
            target of an edit do, and is far steadier than counted syllables.
        pause_share: difference of shares.
        seconds: ratio of durations.
    """

    f0: float | None = None
    f0_range: float | None = None
    f0_slope: float | None = None
    f0_variability: float | None = None
    level: float | None = None
    level_range: float | None = None
    tilt: float | None = None
    hammarberg: float | None = None
    hnr: float | None = None
    voiced: float | None = None
    syllable_rate: float | None = None
    articulation_rate: float | None = None
    tempo: float | None = None
    pause_share: float | None = None
    seconds: float | None = None

    def steps(self) -> Mapping[str, float]:
        """Return the measured features on additive scales: ratios as log2, others as they are."""
        out = {}
        for name in FEATURES:
            value = getattr(self, name)
            if value is not None:
                out[name] = math.log2(value) if name in RATIOS else float(value)
        return out

    def to_data(self) -> dict[str, Any]:
        """Return the measured features, rounded, as JSON data."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: round(value, 3) for name, value in values.items() if value is not None}


FEATURES = tuple(field.name for field in fields(AcousticShift))
"""Names of the features of a shift."""
RATIOS = frozenset(
    {"f0_range", "f0_variability", "syllable_rate", "articulation_rate", "tempo", "seconds"}
)
"""Features whose shift is a ratio; all others are differences."""


KEPT = 64
"""How many measurements are kept, without the sound: limits, judges and styles ask for the same."""
_RECENT: dict[str, Acoustics] = {}
_LOCK = Lock()


def measure(utterance: Utterance) -> Acoustics:
    """Measure prosody and voice quality of an utterance; recent ones are not measured again.

    Args:
        utterance: any rate and length; silence and very short input give None throughout.
    """
    key = utterance.digest
    with _LOCK:
        found = _RECENT.get(key)
    if found is None:
        found = _measured(utterance)
        with _LOCK:
            _RECENT[key] = found
            while len(_RECENT) > KEPT:
                del _RECENT[next(iter(_RECENT))]
    return found


def forget() -> None:
    """Keep no measurement of any recording."""
    with _LOCK:
        _RECENT.clear()


def _measured(utterance: Utterance) -> Acoustics:
    """Measure an utterance."""
    samples = without_offset(utterance).resample(signal.RATE).samples.astype(np.float64)
    frames = signal.cut(samples, window=0.025)
    if frames is None:
        return Acoustics(utterance.seconds)
    levels = signal.level(frames)
    loudest = float(np.percentile(levels, 99))
    if loudest < signal.SILENCE_DB:
        return Acoustics(utterance.seconds)
    active = levels > max(loudest - signal.ACTIVE_DB, signal.SILENCE_DB)
    f0, periodicity = signal.pitch(samples, len(levels))
    voiced = (f0 > 0) & (periodicity > signal.VOICING) & active
    share = float(voiced.sum() / active.sum())
    if share < signal.WHISPERED:
        voiced = np.zeros_like(voiced)  # chance hits in noise, no voice
    tilt, hammarberg = signal.spectrum(
        samples, voiced if voiced.sum() >= 10 else active, utterance.sample_rate
    )
    return Acoustics(
        utterance.seconds,
        level=float(10 * np.log10(np.mean(10 ** (levels[active] / 10)))),
        level_range=float(np.subtract(*np.percentile(levels[active], [90, 10]))),
        tilt=tilt,
        hammarberg=hammarberg,
        voiced=share,
        hnr=signal.hnr(periodicity[voiced]),
        **signal.melody(f0, voiced),
        **signal.timing(samples, active, voiced),
    )


def difference(source: Acoustics | Utterance, target: Acoustics | Utterance) -> AcousticShift:
    """Return the differences of a target from its source, in semitones, dB and ratios."""
    before = measure(source) if isinstance(source, Utterance) else source
    after = measure(target) if isinstance(target, Utterance) else target
    shift: dict[str, float | None] = {}
    if before.speech_seconds and after.speech_seconds:
        shift["tempo"] = before.speech_seconds / after.speech_seconds
    for name in FEATURES:
        old, new = getattr(before, name, None), getattr(after, name, None)
        if old is None or new is None:
            continue
        if name == "f0":
            shift[name] = 12 * math.log2(new / old)
        elif name in RATIOS:
            shift[name] = new / old if old > 0 and new > 0 else None
        else:
            shift[name] = new - old
    return AcousticShift(**shift)


def agreement(shift: AcousticShift, profile: Profile) -> float | None:
    """Return a shift's size along a profile: 0 none, 1 the usual size, -1 the opposite.

    The weighted mean, over the features that could be measured, of shift over usual size on
    additive scales. Each feature counts from -1 to 1.5 at most, so that one exaggerated cue
    cannot stand for all.

    Args:
        shift: what was measured.
        profile: usual sizes of a label.

    Returns:
        A number in -1..1.5, or None where less than half of the profile's weight was measured.
    """
    steps = shift.steps()
    weight = total = 0.0
    for name, cue in profile.cues.items():
        if name in steps:
            usual = math.log2(cue.size) if name in RATIOS else cue.size
            total += cue.weight * min(max(steps[name] / usual, -1.0), 1.5)
            weight += cue.weight
    if weight < 0.5 * sum(cue.weight for cue in profile.cues.values()):
        return None
    return total / weight


def margin(shift: AcousticShift, profile: Profile) -> float | None:
    """Return the margin 1..10 of a shift along a profile.

    ``1 + 7 * agreement`` held to 1..10: no shift, or one in the opposite direction, is 1, the
    usual size of the label is 8, and from 1.29 times the usual size on it is 10. The customary
    threshold of 6 is thus 0.71 of the usual size.

    Args:
        shift: what was measured between source and target.
        profile: usual sizes of the label that the target should carry, against neutral.

    Returns:
        The margin, or None where too little could be measured.
    """
    value = agreement(shift, profile)
    return None if value is None else min(max(1 + 7 * value, 1.0), 10.0)
