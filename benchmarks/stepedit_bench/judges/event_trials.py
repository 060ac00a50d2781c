"""Sounds of known kind at known places in speech: what the event judge is measured with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stepedit_bench.judges.event_data import RATE, Sound
from stepedit_bench.judges.events import EVENTS, grade, listen
from stepedit_bench.judges.model import Classifier
from stepedit_core.dsp.offset import without_offset
from stepedit_core.utterance import Utterance

__all__ = ["Trial", "measure_trials", "thresholds", "trials"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Trial:
    """An utterance with or without an inserted sound.

    Attributes:
        utterance: 16 kHz.
        sound: class of the inserted sound, or None for untouched speech.
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
    for index in rng.permutation(len(events))[:limit]:
        said = _read(speech[int(rng.integers(len(speech)))])
        said = said[: 6 * RATE]
        if len(said) < RATE:
            continue
        added = _active(_read(events[index]))
        added *= _level(said) / _level(added) * 10 ** (-rng.uniform(0, 12) / 20)
        cut = _quiet_place(said, rng)
        span = (cut / RATE, (cut + len(added)) / RATE)
        whole = np.concatenate([said[:cut], added, said[cut:]])
        yield Trial(_utterance(whole), events[index].name, span)
        yield Trial(_utterance(said), None, (span[0], span[0]))


def measure_trials(
    found: Sequence[Trial], model: Classifier, limits: Mapping[str, float]
) -> dict[str, dict[str, int]]:
    """Count scores: for the right sound, for untouched speech, and for another sound's tag."""
    table: dict[str, Counter[int]] = {}
    for trial in found:
        there = listen(trial.utterance, model).at(*trial.span)
        for asked in EVENTS:
            kind = "absent" if trial.sound is None else "other sound"
            kind = "present" if trial.sound == asked else kind
            table.setdefault(kind, Counter())[grade(there, asked, limits)] += 1
    return {kind: {str(score): table[kind][score] for score in (1, 2, 3)} for kind in sorted(table)}


def thresholds(found: Sequence[Trial], model: Classifier) -> dict[str, float]:
    """Return the probabilities that 10 % and 3 % of places in untouched speech reach."""
    untouched = [trial for trial in found if trial.sound is None]
    highest = [listen(t.utterance, model).at(*t.span).max() for t in untouched]
    present, clear = np.quantile(highest, [0.90, 0.97])
    return {"present": round(float(present), 4), "clear": round(float(max(clear, 0.4)), 4)}


def _read(sound: Sound) -> FloatArray:
    return without_offset(Utterance.read(sound.path)).resample(RATE).samples.astype(np.float64)


def _utterance(samples: FloatArray) -> Utterance:
    return Utterance((0.5 * samples / np.abs(samples).max()).astype(np.float32), RATE)


def _level(samples: FloatArray) -> float:
    """Return the RMS of the louder half of 20 ms blocks."""
    blocks = samples[: len(samples) // 320 * 320].reshape(-1, 320)
    power = np.sort((blocks**2).mean(axis=1))[len(blocks) // 2 :]
    return float(np.sqrt(power.mean())) + 1e-9


def _active(samples: FloatArray) -> FloatArray:
    """Return the part of a sound within 30 dB of its loudest, with faded ends."""
    envelope = np.sqrt(np.convolve(samples**2, np.ones(320) / 320, "same"))
    loud = np.flatnonzero(envelope > envelope.max() * 10 ** (-30 / 20))
    part = samples[loud[0] : loud[-1] + 1].copy()
    edge = min(160, len(part) // 4)
    part[:edge] *= np.linspace(0, 1, edge)
    part[len(part) - edge :] *= np.linspace(1, 0, edge)
    return part


def _quiet_place(samples: FloatArray, rng: np.random.Generator) -> int:
    """Return the quietest place within 0.5 s of a random one, away from the ends."""
    envelope = np.convolve(samples**2, np.ones(800) / 800, "same")
    middle = int(rng.uniform(0.2, 0.8) * len(samples))
    low, high = max(0, middle - RATE // 2), min(len(samples), middle + RATE // 2)
    return low + int(envelope[low:high].argmin())
