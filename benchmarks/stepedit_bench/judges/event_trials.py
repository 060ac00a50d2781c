"""Trials for the event judge: sounds of known kind at known places in speech."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stepedit_bench.judges.event_data import RATE, Sound, insert, read_samples
from stepedit_bench.judges.event_ear import Ear
from stepedit_bench.judges.events import EVENTS, KINDS, NEW, OTHER, grade, listen
from stepedit_bench.judges.model import Classifier
from stepedit_bench.judges.other_sounds import other_sound
from stepedit_core.utterance import Utterance

__all__ = ["Trial", "measure_trials", "new_there", "thresholds", "trials"]

FloatArray = npt.NDArray[np.float64]
SOUNDS, BREATHS = (0.0, 12.0), (8.0, 20.0)
"""How far below the speech sounds and breaths lie at least and at most, in dB."""
MOST_CLEAR = 0.6
"""Highest probability that is asked for where a sound counts as clear."""


@dataclass(frozen=True)
class Trial:
    """An utterance with or without an inserted sound.

    Attributes:
        utterance: 16 kHz.
        sound: class of the inserted sound, ``other`` for one that nobody asks for, or None for
            untouched speech.
        span: where it lies, or would lie.
        before: the same without the sound.
    """

    utterance: Utterance
    sound: str | None
    span: tuple[float, float]
    before: Utterance


def trials(sounds: Sequence[Sound], rng: np.random.Generator, limit: int) -> Iterator[Trial]:
    """Yield pairs of an utterance with a sound in a pause, and the same without it.

    Speech of at most 6 s; the sound's active part is brought 0 to 12 dB below the speech, breaths
    8 to 20 dB, and put at the quietest place near a random time. Every second trial has a further
    one with a sound that no tag asks for: a recorded one where there are any, or a made one.

    Args:
        sounds: recordings to take speech and sounds from.
        rng: draws speech, places and levels.
        limit: how many sounds to use.
    """
    speech = [sound for sound in sounds if sound.name == "speech"]
    events = [sound for sound in sounds if sound.name in EVENTS]
    strangers = [sound for sound in sounds if sound.name == OTHER]
    for number, index in enumerate(rng.permutation(len(events))[:limit]):
        said = read_samples(speech[int(rng.integers(len(speech)))])[: 6 * RATE]
        if len(said) < RATE:
            continue
        plain, name = _utterance(said), events[index].name
        below = BREATHS if name == "breath" else SOUNDS
        whole, span = insert(said, read_samples(events[index]), rng, below)
        yield Trial(_utterance(whole), name, span, plain)
        yield Trial(plain, None, (span[0], span[0]), plain)
        if number % 2 == 0:
            made = other_sound(said, rng)
            if strangers and number % 4 == 0:
                made = read_samples(strangers[int(rng.integers(len(strangers)))])
            strange, span = insert(said, made, rng)
            yield Trial(_utterance(strange), OTHER, span, plain)


def measure_trials(
    found: Sequence[Trial], model: Classifier, limits: Mapping[str, float], ear: Ear | None = None
) -> dict[str, Any]:
    """Count ratings: the right sound, untouched speech, another tag's sound, no tag's sound.

    Also counts what each kind of sound is heard as (``heard_as``): the kind that is clear, or
    ``unclear``, or ``nothing``. What is no likelier than in the speech before does not count.
    """
    table: dict[str, Counter[int]] = {}
    named: dict[str, Counter[str]] = {}
    for trial in found:
        there = new_there(trial, model, ear)
        best = KINDS[int(there.argmax())] if there.max() >= limits["clear"] else "unclear"
        best = "nothing" if there.max() < limits["present"] else best
        named.setdefault(trial.sound or "nothing", Counter())[best] += 1
        for asked in EVENTS:
            kind = "absent" if trial.sound is None else "another tag's sound"
            kind = "no tag's sound" if trial.sound == OTHER else kind
            kind = "present" if trial.sound == asked else kind
            table.setdefault(kind, Counter())[grade(there, asked, limits)] += 1
    rated = {kind: {str(n): table[kind][n] for n in (1, 2, 3)} for kind in sorted(table)}
    return {**rated, "heard_as": {kind: dict(sorted(row.items())) for kind, row in named.items()}}


def new_there(trial: Trial, model: Classifier, ear: Ear | None = None) -> FloatArray:
    """Return the probabilities at a trial's place that the speech before does not have there."""
    there = listen(trial.utterance, model, ear).at(*trial.span)
    if trial.sound is None:
        return there
    old = listen(trial.before, model, ear).at(trial.span[0], trial.span[0])
    return np.where(there - old < NEW, 0.0, there)


def thresholds(
    found: Sequence[Trial], model: Classifier, ear: Ear | None = None
) -> dict[str, float]:
    """Return from which probability a sound counts as present, and as clear.

    Present is what 10 % of places in untouched speech reach. Clear is what 3 % of them reach,
    and 3 % of sounds that no tag asks for, where these do not sound more like ``other``. Places
    where the speaker breathes count, so that at most 0.6 is asked for.
    """
    untouched, strange = [], []
    for trial in found:
        if trial.sound in (None, OTHER):
            there = listen(trial.utterance, model, ear).at(*trial.span)
            best = float(there[: len(EVENTS)].max())
            if trial.sound is None:
                untouched.append(best)
            else:
                strange.append(best if best > there[-1] else 0.0)
    present, clear = np.quantile(untouched, [0.90, 0.97])
    clear = max(float(clear), float(np.quantile(strange, 0.97)), 0.4)
    clear = min(clear, MOST_CLEAR)
    return {"present": round(min(float(present), 0.75 * clear), 4), "clear": round(clear, 4)}


def _utterance(samples: FloatArray) -> Utterance:
    return Utterance((0.5 * samples / np.abs(samples).max()).astype(np.float32), RATE)
