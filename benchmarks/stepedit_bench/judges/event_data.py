"""Sounds that the event classifier learns from, and what happens to them on their way to it.

Sounds come from web microphones, game studios and pauses of read speech, speech from studios, so
that a classifier could tell them by the channel alone. They are therefore heard through random
filters, at random pitch, with random noise behind them and a random bandwidth.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stepedit_core.dsp.offset import without_offset
from stepedit_core.errors import StepeditError
from stepedit_core.storage.stored_json import json_lines
from stepedit_core.storage.tables import table_rows
from stepedit_core.utterance import Utterance

__all__ = ["RATE", "Sound", "channel", "insert", "read_samples", "read_sounds", "speakers_in"]

RATE = 16_000
_LONGEST = 3.0
"""Seconds of a sound that are used."""
_EDGE = 0.03

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Sound:
    """One recording of the training corpus, or a stretch of one.

    Attributes:
        path: the file.
        name: class.
        label: label of the corpus.
        speaker: who, or which source recording; never on both sides of the split.
        test: held out.
        licence: of the recording.
        corpus: its set.
        span: from and to which second, or None for all of it.
    """

    path: Path
    name: str
    label: str
    speaker: str
    test: bool
    licence: str
    corpus: str
    span: tuple[float, float] | None = None


def speakers_in(file: str | os.PathLike[str]) -> frozenset[str]:
    """Return the speakers that a manifest in JSON lines names."""
    return frozenset(str(row["speaker"]) for _, row in json_lines(Path(file)))


def read_sounds(
    manifest: str | os.PathLike[str], without: frozenset[str] = frozenset(), tier: str = "free/"
) -> list[Sound]:
    """Return the sounds, English speech and noise of a manifest's licence tier.

    Which recording is which sound stands in ``event_labels.jsonl``. Clips cut from one source
    recording count as one speaker, who is held out if the manifest holds any of the clips out.

    Args:
        manifest: CSV with path, set, kind, speaker, language, label, suggested_split, licence.
        without: speakers that are left out, such as those whose sounds an edit inserts.
        tier: what the paths start with.

    Raises:
        StepeditError: if there is nothing to train on.
    """
    file = Path(manifest)
    told: dict[str, list[Mapping[str, Any]]] = {}
    with as_file(files(__package__).joinpath("event_labels.jsonl")) as labels:
        for _, label in json_lines(labels):
            told.setdefault(tier + str(label["path"]), []).append(label)
    found: list[Sound] = []
    needed = {"path", "set", "kind", "speaker", "language", "label", "suggested_split", "licence"}
    for line, row in table_rows(file, {"path"}):
        if not needed <= row.keys():
            missing = ", ".join(sorted(needed - row.keys()))
            raise StepeditError(f"{file}, line {line}: the columns {missing} are needed")
        if row["path"].startswith(tier) and row["speaker"] not in without:
            found += _sounds_of(row, told.get(row["path"], ()), file.parent)
    held = {sound.speaker for sound in found if sound.test}
    if not found:
        raise StepeditError(f"{file}: no sounds, speech or noise under {tier}")
    return [
        replace(sound, test=sound.speaker in held)
        for sound in sorted(found, key=lambda each: (str(each.path), each.span or (0.0, 0.0)))
    ]


def _sounds_of(
    row: Mapping[str, str], told: Sequence[Mapping[str, Any]], folder: Path
) -> Iterator[Sound]:
    """Yield what a recording gives: labelled sounds, speech around them, or noise."""
    source = re.search(r"_(\d-\d+)-[A-Z]\.", row["path"])
    whole = Sound(
        folder / row["path"],
        "noise",
        row["label"],
        row["speaker"] or (source.group(1) if source else row["path"]),
        row["suggested_split"] == "test",
        row["licence"],
        row["set"].removesuffix("_bulk").removesuffix("_take2"),
    )
    for each in told:
        span = (float(each["start"]), float(each["end"])) if "start" in each else None
        yield replace(whole, name=str(each["sound"]), label=str(each["how"]), span=span)
    if row["kind"] == "read" and row["language"].lower().startswith("en"):
        yield replace(whole, name="speech")
    elif row["kind"] == "noise":
        yield whole


def read_samples(sound: Sound) -> FloatArray:
    """Return a sound at 16 kHz, at most 3 s unless it is speech or noise."""
    whole = without_offset(Utterance.read(sound.path)).resample(RATE).samples.astype(np.float64)
    if sound.name in ("speech", "noise"):
        return whole
    start, end = sound.span or (0.0, _LONGEST)
    return whole[round(max(0.0, start - _EDGE) * RATE) : round((end + _EDGE) * RATE)]


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


def insert(
    said: FloatArray,
    sound: FloatArray,
    rng: np.random.Generator,
    below: tuple[float, float] = (0.0, 12.0),
) -> tuple[FloatArray, tuple[float, float]]:
    """Return speech with a sound at its quietest place near a random time, and where it lies.

    Up to 0.15 s of faint noise, as loud as the quietest tenth, surround the sound.

    Args:
        said: speech at 16 kHz.
        sound: its active part is taken.
        rng: draws place, level and what surrounds the sound.
        below: how far below the speech it lies at least and at most, in dB.
    """
    added = _active(sound)
    added = added * (_level(said) / _level(added) * 10 ** (-rng.uniform(*below) / 20))
    cut = _quiet_place(said, rng)
    quiet = float(np.quantile(np.abs(said), 0.1)) + 1e-6
    lead, tail = (round(rng.uniform(0.0, 0.15) * RATE) for _ in range(2))
    around = [quiet * rng.standard_normal(count) for count in (lead, tail)]
    span = ((cut + lead) / RATE, (cut + lead + len(added)) / RATE)
    return np.concatenate([said[:cut], around[0], added, around[1], said[cut:]]), span


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
