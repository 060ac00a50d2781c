"""Small caches and pair folders for the tests of training."""

from __future__ import annotations

import csv
import json
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from stepedit_pairs.shards import row_of, write_shard
from stepedit_train.data.cache import PHONES, Array, CachedItem, block_path, write_block
from stepedit_train.lm.mixture import Mixture, Source, reading_mixture

from stepedit_core.codes import DualCodes
from stepedit_core.edit import Edit
from stepedit_core.pairs import CorpusItem, EditPair, PairJob
from stepedit_core.testing import speech_like

NAMES = ["sil", "a", "b", "c", "d", "e"]


def synthetic_speech(rng: np.random.Generator, phones: Array) -> Array:
    """Return 0.1 s of an own tone for every phone, int16 at 16 kHz."""
    time = np.arange(1600) / 16_000
    parts = [np.sin(2 * np.pi * (300 + 600 * phone) * time) for phone in phones]
    signal = 0.3 * np.concatenate(parts) + 0.01 * rng.standard_normal(1600 * len(phones))
    return np.round(signal * 32_767).astype(np.int16)


def make_cache(folder: Path, count: int = 12, blocks: int = 2) -> Path:
    """Write a cache whose recordings are tones, one frequency for each phone."""
    rng = np.random.default_rng(0)
    for number in range(blocks):
        audio: dict[str, Array] = {}
        phones: dict[str, Array] = {}
        prosody: dict[str, Array] = {}
        items = []
        for row in range(count // blocks):
            said = rng.integers(0, 5, 10)
            audio[f"{row}.speech"] = synthetic_speech(rng, said)
            audio[f"{row}.audio"] = np.zeros(24, np.int16)
            phones[f"{row}.spikes"] = np.stack([said, 2 + 5 * np.arange(10)], 1).astype(np.int32)
            split = "dev" if row == 0 else "train"
            pitch = np.full(102, 120.0 + 20 * row)
            pitch[:20] = 0
            level = np.full(102, -10.0)
            prosody[f"{row}.prosody"] = np.stack([pitch, level]).astype(np.float16)
            text = "".join(NAMES[1 + phone] for phone in said)
            speaker = f"s{row}"
            items.append(
                CachedItem(
                    f"{number}/{row}", "tones", speaker, "en", split, None, text, "CC0",
                    16_000, 0.0, 1.0, 0.001,
                )
            )  # fmt: skip
        write_block(block_path(folder, number, "audio"), audio, items)
        write_block(block_path(folder, number, "phones"), phones)
        write_block(block_path(folder, number, "prosody"), prosody)
    (folder / PHONES).write_text(json.dumps(NAMES))
    return folder


def make_corpus(folder: Path, licences: list[str]) -> Path:
    """Write a manifest of short recordings, one of each licence given."""
    folder.mkdir(parents=True)
    with (folder / "speech.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "text", "speaker", "licence", "split", "language", "symbols"])
        for number, licence in enumerate(licences):
            name = f"{number}.wav"
            speech_like(0.8, 24_000, seed=number).write(folder / name)
            split = "test" if number == 1 else "train"
            table.writerow([name, "words", f"s{number}", licence, split, "en", "wˈɜdz"])
    return folder / "speech.csv"


def codes(seed: int, groups: int = 3) -> DualCodes:
    rng = np.random.default_rng(seed)
    return DualCodes(rng.integers(0, 1024, 2 * groups), rng.integers(0, 4096, 3 * groups))


def make_pairs(folder: Path, edits: list[Edit], *, with_codes: bool = True) -> Path:
    """Write one shard with a row for each edit; the target codes are the source's."""
    rows = []
    for number, edit in enumerate(edits):
        speech = speech_like(0.4, 8000, seed=number).replace(transcript=f"words {number}")
        split = "test" if number == 0 else "train"
        item = CorpusItem(str(number), "x.wav", speaker=f"s{number}", split=split, licence="CC0")
        known = codes(number % 4)
        provenance = {
            "builder": "toy", "builder_version": 1, "plugin": "toys", "seed": 0, "stepedit": "0",
            "split": split,
        }  # fmt: skip
        rows.append(
            row_of(
                EditPair(speech, speech, edit, 8.0),
                PairJob(str(number), (item,)),
                0,
                {"source": known, "target": known} if with_codes else {},
                provenance,
            )
        )
    write_shard(folder, 0, rows)
    return folder


def asking_to_stop(call: Callable[..., Any], at: int) -> Callable[..., Any]:
    """Return a function that sends SIGTERM to this process when it is called for that time."""
    calls = []

    def asking(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == at:
            os.kill(os.getpid(), signal.SIGTERM)
        return call(*args, **kwargs)

    return asking


def read_mixture(sources: Sequence[Source], *args: Any, **options: Any) -> Mixture:
    """Read a mixture, without the lines that say what is read."""
    reading = reading_mixture(sources, *args, **options)
    while True:
        try:
            next(reading)
        except StopIteration as end:
            mixture: Mixture = end.value
            return mixture
