"""Trials for the event judge: sounds of known kind at known places in speech."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stepedit_bench.judges.event_data import RATE, Sound, insert
from stepedit_bench.judges.events import EVENTS, OTHER, grade, listen
from stepedit_bench.judges.model import Classifier
from stepedit_bench.judges.other_sounds import other_sound
from stepedit_core.dsp.offset import without_offset
from stepedit_core.utterance import Utterance

__all__ = ["Trial", "measure_trials", "thresholds", "trials"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Trial:
    """An utterance with or without an inserted sound.

    Attributes:
        utterance: 16 kHz.
        sound: class of the inserted sound, ``other`` for one that nobody asks for, or None for
            untouched speech.
        span: where it lies, or would lie.
    """

    utterance: Utterance
    sound: str | None
    span: tuple[float, float]


def trials(sounds: Sequence[Sound], rng: np.random.Generator, limit: int) -> Iterator[Trial]:
    """Yield pairs of an utterance with a sound in a pause, and the same without it.

    Speech of at most 6 s; the sound's active part is brought 0 to 12 dB below the speech, where
    natural ones lie, and put at the quietest place near a random time.

    Args:
        sounds: recordings to take speech and sounds from.
        rng: draws speech, places and levels.
        limit: how many sounds to use.
    """
    speech = [sound for sound in sounds if sound.name == "speech"]
    events = [sound for sound in sounds if sound.name in EVENTS]
    for number, index in enumerate(rng.permutation(len(events))[:limit]):
        said = _read(speech[int(rng.integers(len(speech)))])
        said = said[: 6 * RATE]
        if len(said) < RATE:
            continue
        whole, span = insert(said, _read(events[index]), rng)
        yield Trial(_utterance(whole), events[index].name, span)
        yield Trial(_utterance(said), None, (span[0], span[0]))
        if number % 2 == 0:
            strange, span = insert(said, other_sound(said, rng), rng)
            yield Trial(_utterance(strange), OTHER, span)


def measure_trials(
    found: Sequence[Trial], model: Classifier, limits: Mapping[str, float]
) -> dict[str, dict[str, int]]:
    """Count scores: the right sound, untouched speech, another tag's sound, no tag's sound."""
    table: dict[str, Counter[int]] = {}
    for trial in found:
        there = listen(trial.utterance, model).at(*trial.span)
        for asked in EVENTS:
            kind = "absent" if trial.sound is None else "another tag's sound"
            kind = "no tag's sound" if trial.sound == OTHER else kind
            kind = "present" if trial.sound == asked else kind
            table.setdefault(kind, Counter())[grade(there, asked, limits)] += 1
    return {kind: {str(score): table[kind][score] for score in (1, 2, 3)} for kind in sorted(table)}


def thresholds(found: Sequence[Trial], model: Classifier) -> dict[str, float]:
    """Return from which probability a sound counts as present, and as clear.

    Present is what 10 % of places in untouched speech reach. Clear is what 3 % of them reach,
    and 3 % of sounds that no tag asks for, where these do not sound more like ``other``.
    """
    untouched, strange = [], []
    for trial in found:
        if trial.sound in (None, OTHER):
            there = listen(trial.utterance, model).at(*trial.span)
            best = float(there[: len(EVENTS)].max())
            if trial.sound is None:
                untouched.append(best)
            else:
                strange.append(best if best > there[-1] else 0.0)
    present, clear = np.quantile(untouched, [0.90, 0.97])
    clear = max(float(clear), float(np.quantile(strange, 0.97)), 0.4)
    return {"present": round(float(present), 4), "clear": round(clear, 4)}


def _read(sound: Sound) -> FloatArray:
    return without_offset(Utterance.read(sound.path)).resample(RATE).samples.astype(np.float64)


def _utterance(samples: FloatArray) -> Utterance:
    return Utterance((0.5 * samples / np.abs(samples).max()).astype(np.float32), RATE)
