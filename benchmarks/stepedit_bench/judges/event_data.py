"""Training windows for the event classifier: sounds, speech and noise, through many channels.

The sounds come from web microphones and the speech from studios, so that a classifier could
tell them by the channel alone. Every recording is therefore heard through random filters, with
random noise behind it and a random bandwidth. Sounds that nobody asks for (beeps, buzzes, bursts
of noise, clicks, speech backwards) are made, and are the class ``other``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stepedit_bench.judges.features import FRAME_STEP, frame_features, levels, window_features
from stepedit_bench.judges.other_sounds import other_sound
from stepedit_core.dsp.offset import without_offset
from stepedit_core.errors import StepeditError
from stepedit_core.storage.tables import table_rows
from stepedit_core.utterance import Utterance

__all__ = ["CLASSES", "RATE", "Sound", "channel", "insert", "others", "read_sounds", "windows"]

CLASSES: Mapping[str, str] = {
    "laughter (mostly)": "laugh",
    "sigh (mostly)": "breath",
    "gasp (mostly)": "breath",
    "huh/hmm": "voice",
    "groan/yelp": "voice",
    "growl/grunt": "voice",
    "ugh/eww": "voice",
    "crying/sobbing/aww": "voice",
}
"""Label of the corpus to class; labels that mix classes, such as cheer/laugh, are left out."""
RATE = 16_000
LENGTHS = (0.45, 1.1)
"""Seconds of a window."""
QUIET_DB = -30.0
"""Windows of speech whose loudest frame lies this far below the recording's are pauses."""
COPIES: Mapping[str, int] = {"speech": 3, "noise": 3}
EVENT_COPIES = 6
OTHERS = 800
"""Sounds that are made for the class ``other``."""

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Sound:
    """One recording of the training corpus.

    Attributes:
        path: the file.
        name: class.
        label: label of the corpus.
        speaker: who, or which source recording; never on both sides of the split.
        test: held out.
        licence: of the recording.
        corpus: its set.
    """

    path: Path
    name: str
    label: str
    speaker: str
    test: bool
    licence: str
    corpus: str


def read_sounds(manifest: str | os.PathLike[str], tier: str = "free/") -> list[Sound]:
    """Return the sounds, English speech and noise of a manifest's licence tier.

    Clips cut from one source recording count as one speaker, who is held out if the manifest
    holds any of the clips out.

    Args:
        manifest: CSV with path, set, kind, speaker, language, label, suggested_split, licence.
        tier: what the paths start with.

    Raises:
        StepeditError: if there is nothing to train on.
    """
    file = Path(manifest)
    found = []
    needed = {"path", "set", "kind", "speaker", "language", "label", "suggested_split", "licence"}
    for line, row in table_rows(file, {"path"}):
        if not needed <= row.keys():
            missing = ", ".join(sorted(needed - row.keys()))
            raise StepeditError(f"{file}, line {line}: the columns {missing} are needed")
        name = _class(row) if row["path"].startswith(tier) else None
        if name is None:
            continue
        source = re.search(r"_(\d-\d+)-[A-Z]\.", row["path"])
        speaker = row["speaker"] or (source.group(1) if source else row["path"])
        found.append(
            Sound(
                file.parent / row["path"],
                name,
                row["label"],
                speaker,
                row["suggested_split"] == "test",
                row["licence"],
                row["set"].removesuffix("_bulk").removesuffix("_take2"),
            )
        )
    held = {sound.speaker for sound in found if sound.test}
    if not found:
        raise StepeditError(f"{file}: no sounds, speech or noise under {tier}")
    return [
        Sound(**{**vars(sound), "test": sound.speaker in held})
        for sound in sorted(found, key=lambda each: str(each.path))
    ]


def _class(row: Mapping[str, str]) -> str | None:
    """Return the class of a row, or None for what is not used."""
    if row["kind"] == "nonverbal":
        return CLASSES.get(row["label"])
    if row["kind"] == "noise":
        return "noise"
    english = row["language"].lower().startswith("en")
    return "speech" if row["kind"] == "read" and english else None


def channel(samples: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return a recording as another microphone would give it.

    A random tilt and two random resonances, a random upper band edge, and noise 15 to 45 dB
    below the signal.

    Args:
        samples: at 16 kHz, shape ``(n,)``.
        rng: draws everything.
    """
    spectrum = np.fft.rfft(samples)
    hertz = np.maximum(np.fft.rfftfreq(len(samples), 1 / RATE), 50.0)
    octaves = np.log2(hertz / 1000.0)
    gain = rng.uniform(-3, 3) * octaves
    for _ in range(2):
        gain += rng.uniform(-6, 6) * np.exp(-(((octaves - rng.uniform(-3, 3)) / 0.8) ** 2))
    edge = rng.uniform(3800, 8000)
    gain -= 40.0 / (1 + np.exp(-(hertz - edge) / 150.0))
    heard = np.fft.irfft(spectrum * 10 ** (gain / 20), len(samples))
    noise = np.fft.rfft(rng.standard_normal(len(samples)))
    noise *= (hertz / 1000.0) ** rng.uniform(-1.0, 0.0)
    hiss = np.fft.irfft(noise, len(samples))
    loud = np.sqrt(np.mean(heard**2)) / max(float(np.sqrt(np.mean(hiss**2))), 1e-9)
    return np.asarray(heard + hiss * loud * 10 ** (-rng.uniform(15, 45) / 20))


def windows(
    sounds: list[Sound], rng: np.random.Generator, *, augment: bool
) -> tuple[FloatArray, list[int]]:
    """Return windows of recordings.

    Args:
        sounds: the recordings.
        rng: draws places, lengths and channels.
        augment: several windows of each recording through random channels; otherwise the
            whole sound, or one window of speech and noise, as recorded.

    Returns:
        Features, shape ``(n, features)``, and for each row the index of its recording.
    """
    rows, owners = [], []
    for index, sound in enumerate(sounds):
        samples = (
            without_offset(Utterance.read(sound.path)).resample(RATE).samples.astype(np.float64)
        )
        copies = COPIES.get(sound.name, EVENT_COPIES) if augment else 1
        for _ in range(copies):
            piece = _piece(samples, sound.name, rng) if augment else samples
            heard = channel(piece, rng) if augment else piece
            frames = frame_features(Utterance(heard.astype(np.float32), RATE))
            for row in _cut(frames, sound.name, rng, whole=not augment):
                rows.append(row)
                owners.append(index)
    return np.array(rows), owners


def _piece(samples: FloatArray, name: str, rng: np.random.Generator) -> FloatArray:
    """Return at most 5 s of a long recording, to hear it through one channel."""
    most = 5 * RATE
    if len(samples) <= most:
        return samples
    start = int(rng.integers(0, len(samples) - most))
    return samples[start : start + most]


def _cut(
    frames: FloatArray, name: str, rng: np.random.Generator, *, whole: bool
) -> Iterator[FloatArray]:
    """Yield windows: around the loud part of a sound, anywhere loud in speech and noise."""
    level = levels(frames)
    loud = np.flatnonzero(level > QUIET_DB)
    event = name not in COPIES
    if event and whole:
        yield window_features(frames[loud[0] : loud[-1] + 1])
        return
    for _ in range(1 if event or whole else 2):
        size = min(round(rng.uniform(*LENGTHS) / FRAME_STEP), len(frames))
        first, last = (loud[0], loud[-1]) if event else (0, len(frames) - 1)
        # A window reaches a little over the sound's edges, as windows that slide do.
        low = max(0, min(first - size // 4, len(frames) - size))
        high = max(low, min(last - (3 * size) // 4, len(frames) - size))
        start = int(rng.integers(low, high + 1))
        if level[start : start + size].max() > QUIET_DB + 10:
            yield window_features(frames[start : start + size])


def others(sounds: list[Sound], rng: np.random.Generator) -> FloatArray:
    """Return windows of sounds that no tag asks for, each through a channel of its own.

    Args:
        sounds: recordings to take speech from.
        rng: draws everything.

    Returns:
        Features, shape ``(n, features)``.
    """
    speech = [sound for sound in sounds if sound.name == "speech"]
    rows: list[FloatArray] = []
    said: FloatArray = np.zeros(0)
    for number in range(OTHERS):
        if number % 20 == 0:  # reading costs more than making
            said = _samples(speech[int(rng.integers(len(speech)))])
        heard = channel(np.pad(other_sound(said, rng), RATE // 4), rng)
        frames = frame_features(Utterance(heard.astype(np.float32), RATE))
        rows += _cut(frames, "other", rng, whole=False)
    return np.array(rows)


def _samples(sound: Sound) -> FloatArray:
    return Utterance.read(sound.path).resample(RATE).samples.astype(np.float64)


def insert(
    said: FloatArray, sound: FloatArray, rng: np.random.Generator, lowest: float = 12.0
) -> tuple[FloatArray, tuple[float, float]]:
    """Return speech with a sound at its quietest place near a random time, and where it lies.

    Args:
        said: speech at 16 kHz.
        sound: its active part is taken, 0 to ``lowest`` dB below the speech.
        rng: draws place and level.
        lowest: in dB.
    """
    added = _active(sound)
    added = added * (_level(said) / _level(added) * 10 ** (-rng.uniform(0, lowest) / 20))
    cut = _quiet_place(said, rng)
    span = (cut / RATE, (cut + len(added)) / RATE)
    return np.concatenate([said[:cut], added, said[cut:]]), span


def _level(samples: FloatArray) -> float:
    """Return the RMS of the louder half of 20 ms blocks."""
    blocks = samples[: max(1, len(samples) // 320) * 320].reshape(-1, min(320, len(samples)))
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
