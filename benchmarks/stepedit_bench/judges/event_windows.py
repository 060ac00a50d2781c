"""Training windows for the event classifier: sounds between words of speech.

A window counts as the sound where it covers most of it, as speech where it covers none; others
are left out, and so are breaths that the speaker takes in the speech around it. Sounds
that nobody asks for (beeps, buzzes, bursts of noise, clicks, speech backwards) are made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stepedit_bench.judges.event_data import RATE, Sound, channel, insert, read_samples
from stepedit_bench.judges.event_ear import WINDOW, Ear, rows_of, starts_of
from stepedit_bench.judges.features import FRAME_STEP, frame_features, levels
from stepedit_bench.judges.other_sounds import other_sound
from stepedit_core.utterance import Utterance

__all__ = ["OTHER", "windows"]

OTHER = "other"
"""Class of sounds that no tag asks for."""
COPIES = 4
"""Contexts that each sound is put into."""
_FEW, _SHARES = 20, {OTHER: 1 / 3}
"""A class of fewer recordings than this is put into ten times as many."""
_MADE, _NOISES, _PLAIN = 260, 100, 80
"""Contexts with a made sound, with noise, and with nothing put in."""
_LOWEST: Mapping[str, tuple[float, float]] = {
    "breath": (8.0, 26.0),
    "laugh": (-3.0, 12.0),
    "cough": (-3.0, 12.0),
    "noise": (5.0, 30.0),
}
"""How far below the speech a sound lies at least and at most, in dB."""
_LEVELS = (-3.0, 14.0)
_SPEECH = (1.6, 4.2)
"""Seconds of speech around a sound."""
_QUIET_DB = -34.0
_OF_SOUND, _OF_SPEECH = 3, 2
"""Windows that are taken of each context."""
_MOST_SOUND = 2.6

FloatArray = npt.NDArray[np.float64]
Spans = list[tuple[float, float]]


@dataclass(frozen=True)
class _Context:
    """Speech with a sound: samples, the sound's class and place, and breaths of the speaker."""

    samples: FloatArray
    name: str
    span: tuple[float, float] | None
    breaths: Spans


def windows(
    sounds: Sequence[Sound],
    rng: np.random.Generator,
    ear: Ear | None = None,
    on_context: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[FloatArray, list[str]]:
    """Return features of windows and the class of each.

    Args:
        sounds: recordings of one side of the split.
        rng: draws everything.
        ear: see ``event_ear``.
        on_context: told how many contexts are heard, of how many.
    """
    rows: list[FloatArray] = []
    names: list[str] = []
    jobs = _jobs(sounds, rng)
    for number, context in enumerate(_contexts(jobs, sounds, rng), start=1):
        for name, row in _cut(context, rng, ear):
            rows.append(row)
            names.append(name)
        on_context(number, len(jobs))
    return np.array(rows), names


def _jobs(sounds: Sequence[Sound], rng: np.random.Generator) -> list[tuple[str, Sound | None]]:
    """Return in random order which sound is put in, once for each context."""
    events = [sound for sound in sounds if sound.name not in ("speech", "noise")]
    counts = {name: sum(one.name == name for one in events) for name in {e.name for e in events}}
    jobs: list[tuple[str, Sound | None]] = []
    for event in events:
        copies = COPIES * (10 if counts[event.name] < _FEW else 1) * _SHARES.get(event.name, 1)
        # Of breaths in pauses there are many, of sighs and gasps few.
        jobs += [(event.name, event)] * max(1, round(copies / (1 if event.span is None else 2)))
    jobs += [(OTHER, None)] * _MADE + [("noise", None)] * _NOISES + [("speech", None)] * _PLAIN
    return [jobs[int(place)] for place in rng.permutation(len(jobs))]


def _contexts(
    jobs: Sequence[tuple[str, Sound | None]], sounds: Sequence[Sound], rng: np.random.Generator
) -> Iterator[_Context]:
    speech = [sound for sound in sounds if sound.name == "speech"]
    noises = [sound for sound in sounds if sound.name == "noise"]
    breaths: dict[str, Spans] = {}
    for sound in sounds:
        if sound.span is not None:
            breaths.setdefault(str(sound.path), []).append(sound.span)
    for name, event in jobs:
        said, own = _speech(speech[int(rng.integers(len(speech)))], breaths, rng)
        if name == "speech":
            yield _Context(_through(said, rng, 0.5), name, None, own)
            continue
        if event is None:
            made = _noise(noises, rng) if name == "noise" else other_sound(said, rng)
        else:
            made = read_samples(event)
        added = _through(_warped(made, rng), rng, 0.6)[: round(_MOST_SOUND * RATE)]
        whole, span = insert(said, added, rng, _LOWEST.get(name, _LEVELS))
        grown = (len(whole) - len(said)) / RATE
        moved = [(a, b) if a < span[0] else (a + grown, b + grown) for a, b in own]
        yield _Context(_through(whole, rng, 0.5), name, span, moved)


def _speech(
    sound: Sound, breaths: Mapping[str, Spans], rng: np.random.Generator
) -> tuple[FloatArray, Spans]:
    """Return a stretch of speech and when breaths are in it, in seconds."""
    whole = read_samples(sound)
    length = round(rng.uniform(*_SPEECH) * RATE)
    start = int(rng.integers(0, max(1, len(whole) - length)))
    part = whole[start : start + length]
    first, last = start / RATE, (start + len(part)) / RATE
    own = [(a - first, b - first) for a, b in breaths.get(str(sound.path), ()) if first < b < last]
    return part, own


def _noise(noises: Sequence[Sound], rng: np.random.Generator) -> FloatArray:
    """Return 0.3 to 1.5 s of a recorded noise, never silent."""
    whole = read_samples(noises[int(rng.integers(len(noises)))])
    length = round(rng.uniform(0.3, 1.5) * RATE)
    start = int(rng.integers(0, max(1, len(whole) - length)))
    part = whole[start : start + length]
    return part + 1e-6 * rng.standard_normal(len(part))


def _warped(samples: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return most sounds up to a fifth faster and higher, or slower and lower."""
    from scipy.signal import resample_poly

    if rng.random() >= 0.7:
        return samples
    return np.asarray(resample_poly(samples, round(100 * rng.uniform(0.84, 1.19)), 100))


def _through(samples: FloatArray, rng: np.random.Generator, share: float) -> FloatArray:
    """Return a share of what is heard through a random channel."""
    return channel(samples, rng) if rng.random() < share else samples


def _cut(
    context: _Context, rng: np.random.Generator, ear: Ear | None
) -> Iterator[tuple[str, FloatArray]]:
    """Yield a few windows of the sound and of the speech, with their class."""
    samples = 0.5 * context.samples / np.abs(context.samples).max()
    utterance = Utterance(samples.astype(np.float32), RATE)
    frames = frame_features(utterance)
    starts, level, size = starts_of(frames), levels(frames), round(WINDOW / FRAME_STEP)
    loud = np.array([level[start : start + size].max() > _QUIET_DB for start in starts])
    begins = np.asarray(starts * FRAME_STEP, dtype=np.float64)
    plain, chosen = loud.copy(), []
    for span in (*context.breaths, *(() if context.span is None else (context.span,))):
        plain &= _overlap(begins, span) <= 0.02
    if context.span is not None:
        needed = 0.6 * min(WINDOW, context.span[1] - context.span[0])
        own = np.flatnonzero(loud & (_overlap(begins, context.span) >= needed))
        chosen += [(context.name, at) for at in rng.permutation(own)[:_OF_SOUND]]
    around = rng.permutation(np.flatnonzero(plain))[:_OF_SPEECH]
    chosen += [("speech", at) for at in around]
    if chosen:
        places = starts[np.array([at for _, at in chosen])]
        rows = rows_of(frames, places, utterance, ear)
        yield from zip((name for name, _ in chosen), rows, strict=True)


def _overlap(begins: FloatArray, span: tuple[float, float]) -> FloatArray:
    """Return how much of a span each window covers, in seconds."""
    shared = np.minimum(begins + WINDOW, span[1]) - np.maximum(begins, span[0])
    return np.asarray(np.maximum(0.0, shared))
