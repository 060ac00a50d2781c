"""The synthesise stage: sentences spoken by free voices, as a corpus with a manifest."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, Field, PositiveFloat

from stepedit_core.atomic import write_atomically
from stepedit_core.dsp.synthesis import LICENCES, System, speak
from stepedit_core.errors import StepeditError
from stepedit_core.storage.blocks import encoded_sound
from stepedit_core.storage.tables import text_of
from stepedit_train.data.cache import Cache
from stepedit_train.seeds import rng_of, share_of
from stepedit_train.settings import Settings, resolve_path
from stepedit_train.synthesis.sentences import various

__all__ = ["SynthesisSettings", "VoiceSettings", "synthesise"]

BATCH = 64
"""Sentences between two parts of the manifest."""


def _within_two_octaves(shift: float) -> float:
    if not 0.25 <= shift <= 4:
        raise ValueError("a shift is within 0.25 and 4")
    return shift


_Shift = Annotated[PositiveFloat, AfterValidator(_within_two_octaves)]


class VoiceSettings(Settings):
    """One voice of the corpus."""

    system: System
    """Text-to-speech system."""
    voice: str
    """Name of the voice in it."""
    sentences: int = Field(ge=1)
    """Sentences to speak for training and validation."""
    speakers: int = Field(default=0, ge=0)
    """Other speakers to make of the voice, by pitch and formants; 0 leaves it alone."""
    shift: tuple[_Shift, _Shift] = (0.82, 1.2)
    """Least and greatest factor on pitch and formants, which the speakers are spread over."""


class SynthesisSettings(Settings):
    """Settings of the synthesise stage."""

    out: Path
    """Folder of the corpus: ``manifest.jsonl`` and ``audio/``."""
    cache: Path | None = None
    """Cache of the data stage, whose English training transcripts give words and sentences."""
    sentences: Path | None = None
    """Text file of English sentences, one a line, spoken in its order in place of the cache's."""
    voices: tuple[VoiceSettings, ...]
    """Voices; each says sentences of its own."""
    speed: tuple[PositiveFloat, PositiveFloat] = (0.85, 1.2)
    """Least and greatest pace, drawn evenly on a logarithmic scale; 1 is the voice's own."""
    dev_share: float = Field(default=0.05, ge=0, lt=1)
    """Part of the sentences kept for validation."""
    test_sentences: int = Field(default=40, ge=0)
    """Sentences kept for tests, spoken by every voice and in no other split."""
    min_seconds: float = Field(default=1.2, gt=0)
    """Shorter recordings are left out."""
    max_seconds: float = Field(default=6.0, gt=0)
    """Longer recordings are left out."""
    seed: int = Field(default=0, ge=0)
    """Seed of sentences and paces."""


def synthesise(settings: SynthesisSettings) -> Iterator[str]:
    """Speak the sentences, going on where an earlier call stopped; yield lines on what is there.

    Raises:
        StepeditError: if the folder was made with other settings, or a voice cannot speak.
    """
    out = resolve_path(settings, settings.out)
    plan = _plan(settings)
    _check(out, plan)
    for first in range(0, len(plan), BATCH):
        part = out / "parts" / f"{first:06d}.jsonl"
        if part.is_file():
            continue
        made = [_speak(out, row, settings) for row in plan[first : first + BATCH]]
        rows = [row for row in made if row is not None]
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_atomically(part, lines)
    yield from _write_manifest(out, len(plan))


def _sentences(settings: SynthesisSettings) -> Iterator[str]:
    """Return what is to be said: lines of a file, or endless sentences like those of a cache."""
    if settings.sentences is not None:
        path = resolve_path(settings, settings.sentences)
        said = dict.fromkeys(filter(None, map(str.strip, text_of(path).splitlines())))
        if not said:
            raise StepeditError(f"{path}: no sentence in it")
        return iter(said)
    if settings.cache is None:
        raise StepeditError("synthesise: set cache or sentences: what is to be said")
    cache = Cache(resolve_path(settings, settings.cache), splits=("train",))
    english = [
        item.transcript
        for item in cache.items
        if item.transcript and (item.language or "").split("-")[0] == "en"
    ]
    if not english:
        raise StepeditError(f"{cache.folder}: no English transcript to take words from")
    return various(english, rng_of(settings.seed, "sentences"))


def _plan(settings: SynthesisSettings) -> list[dict[str, Any]]:
    """Return each voice's sentences; those for tests come first and occur nowhere else."""
    sentences = _sentences(settings)
    tests = list(islice(sentences, settings.test_sentences))
    rows = []
    for voice in settings.voices:
        rng = rng_of(settings.seed, "speed", voice.system, voice.voice)
        for number, text in enumerate([*tests, *islice(sentences, voice.sentences)]):
            name = f"{voice.system}_{voice.voice}"
            # Rows of the voice itself stay as they were, so that old corpora go on.
            made: dict[str, float] = {}
            if voice.speakers:
                turn = number % voice.speakers
                made = {"shift": _shift(voice, turn)}
                name += f"_{turn:02d}"
            is_dev = share_of("dev", settings.seed, text) < settings.dev_share
            speed = float(np.exp(rng.uniform(*np.log(settings.speed))))
            rows.append(
                {
                    "path": f"audio/{name}_{number:05d}.flac",
                    "speaker": name,
                    "language": "en",
                    "text": text,
                    "speed": round(speed, 4),
                    **made,
                    "split": "test" if number < len(tests) else "dev" if is_dev else "train",
                    "licence": LICENCES[voice.system],
                    "corpus": f"synthesised_{voice.system}",
                }
            )
    return rows


def _shift(voice: VoiceSettings, turn: int) -> float:
    """Return the factor of one made speaker; equal steps on a logarithmic scale."""
    low, high = np.log(voice.shift)
    return round(float(np.exp(low + (high - low) * (turn + 0.5) / voice.speakers)), 2)


def _check(out: Path, plan: list[dict[str, Any]]) -> None:
    """Refuse to go on with other sentences than the corpus was begun with."""
    text = json.dumps(plan, ensure_ascii=False)
    path = out / "plan.json"
    if path.is_file() and path.read_text(encoding="utf-8") != text:
        raise StepeditError(
            f"{out}: was made with other settings or another cache; choose another out"
        )
    write_atomically(path, text)


def _speak(out: Path, row: dict[str, Any], settings: SynthesisSettings) -> dict[str, Any] | None:
    """Write one recording and return its row, or None where its length is outside the limits."""
    system, voice = row["speaker"].split("_")[:2]
    seed = int(rng_of(settings.seed, "noise", row["path"]).integers(2**31))
    shift = row.get("shift", 1.0)
    samples, rate = speak(system, voice, row["text"], speed=row["speed"], shift=shift, seed=seed)
    seconds = len(samples) / rate
    if not settings.min_seconds <= seconds <= settings.max_seconds:
        return None
    content = encoded_sound(np.clip(samples, -1, 1), rate, "FLAC", "PCM_16")
    write_atomically(out / row["path"], content)
    return {**row, "seconds": round(seconds, 4)}


def _write_manifest(out: Path, planned: int) -> Iterator[str]:
    """Join the parts and yield what the corpus holds."""
    lines = [
        line
        for part in sorted((out / "parts").glob("*.jsonl"))
        for line in part.read_text(encoding="utf-8").split("\n")
        if line
    ]
    write_atomically(out / "manifest.jsonl", "".join(line + "\n" for line in lines))
    hours: Counter[tuple[str, str]] = Counter()
    for row in map(json.loads, lines):
        hours[row["speaker"], row["split"]] += row["seconds"] / 3600
    for (speaker, split), spent in sorted(hours.items()):
        yield f"{speaker} {split}: {spent:.2f} h"
    yield (
        f"{len(lines)} of {planned} sentences in {out / 'manifest.jsonl'}; the others were too "
        "short or too long"
    )
