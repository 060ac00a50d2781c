"""The ``reader`` stage: a hidden Markov model of phones over linguistic codes.

Trained by Viterbi re-estimation from an even start, on texts and codes alone: nobody has to say
when a phone is spoken (Rabiner, "A Tutorial on Hidden Markov Models", 1989, section VI).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from pydantic import Field

from stepedit_core.atomic import replace_file
from stepedit_core.codes import LINGUISTIC_SIZE, DualCodes
from stepedit_core.errors import StepeditError
from stepedit_core.models.chat import parse_audio_string
from stepedit_core.models.pronunciations import Pronunciations
from stepedit_core.models.reading import READER, SILENCE, best_path, phone_states
from stepedit_core.models.text import TextTokenizer
from stepedit_train.seeds import rng_of
from stepedit_train.settings import Settings, resolve_path
from stepedit_train.sft.rows import shard_paths

__all__ = ["ReaderSettings", "Said", "fit_emissions", "train_reader"]

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

_SIDES = ("source", "target")
_COLUMNS = ["split", *(f"{side}_{what}" for side in _SIDES for what in ("text", "codes"))]
LEAST_CODES = 0.5
"""Codes for each state of a text, of which an utterance must have more: others are cut short."""


class ReaderSettings(Settings):
    """Settings of the reader stage."""

    model: Path
    """Folder of the language model, for its pronouncing dictionary."""
    pairs: tuple[Path, ...]
    """Folders of `stepedit pairs` with codes and transcripts; both sides are read."""
    out: Path | None = None
    """The file; None is ``reader.npz`` in the model's folder."""
    most: int = Field(default=5000, ge=1)
    """Utterances to learn from, drawn from all."""
    rounds: int = Field(default=7, ge=1)
    """Of re-estimation."""
    smoothing: float = Field(default=0.05, gt=0)
    """Added to the count of every code in every phone."""
    seed: int = 0
    """Of the draw."""


class Said(NamedTuple):
    """An utterance: states of its text, and its linguistic codes."""

    states: IntArray
    codes: IntArray


def _said(row: dict[str, Any], side: str, words: Pronunciations) -> Said | None:
    states = phone_states(row[f"{side}_text"] or "", words)
    if states is None or not row[f"{side}_codes"]:
        return None
    codes = DualCodes.from_interleaved(parse_audio_string(row[f"{side}_codes"])).linguistic
    return Said(states, codes) if len(codes) > LEAST_CODES * len(states) else None


def _read(folders: Sequence[Path], words: Pronunciations) -> dict[str, list[Said]]:
    """Return the different utterances of each split."""
    found: dict[str, list[Said]] = {"train": [], "dev": []}
    seen: set[tuple[bytes, bytes]] = set()
    for path in (shard for folder in folders for shard in shard_paths(folder)):
        for row in pq.read_table(path, columns=_COLUMNS).to_pylist():
            for said in (_said(row, side, words) for side in _SIDES):
                key = None if said is None else (said.states.tobytes(), said.codes.tobytes())
                if said is not None and key is not None and key not in seen:
                    seen.add(key)
                    found.setdefault(row["split"] or "train", []).append(said)
    return found


def _even_counts(said: Sequence[Said], smoothing: float) -> FloatArray:
    """Return counts as if all phones of a text lasted equally long, silence at both ends."""
    counts = np.full((SILENCE + 1, LINGUISTIC_SIZE), smoothing)
    for states, codes in said:
        spoken = np.concatenate([[SILENCE], states[states != SILENCE], [SILENCE]])
        places = np.arange(len(codes)) * len(spoken) // len(codes)
        np.add.at(counts, (spoken[places], codes), 1)
    return counts


def _logs(counts: FloatArray) -> FloatArray:
    return np.asarray(np.log(counts / counts.sum(1, keepdims=True)))


def _round(
    said: Sequence[Said], emissions: FloatArray, smoothing: float
) -> tuple[FloatArray, float]:
    """Return counts along the best paths, and their mean log probability per code."""
    counts = np.full_like(emissions, smoothing)
    total, seen = 0.0, 0
    for states, codes in said:
        told, path = best_path(emissions[states][:, codes].T, states)
        np.add.at(counts, (states[path], codes), 1)
        total, seen = total + told, seen + len(codes)
    return counts, total / max(1, seen)


def fit_emissions(
    said: Sequence[Said], rounds: int, smoothing: float
) -> Iterator[tuple[FloatArray, float]]:
    """Yield, for each round, log emissions and the mean log probability before it, per code."""
    emissions = _logs(_even_counts(said, smoothing))
    for _ in range(rounds):
        counts, told = _round(said, emissions, smoothing)
        emissions = _logs(counts)
        yield emissions, told


def train_reader(settings: ReaderSettings) -> Iterator[str]:
    """Train the reader and write it; yield lines that say what was done.

    Raises:
        StepeditError: if the model has no dictionary, or no pair can be read with it.
    """
    model = resolve_path(settings, settings.model)
    words = TextTokenizer.load(model).pronunciations
    if words is None:
        raise StepeditError(f"{model}: its text tokenizer has no pronouncing dictionary")
    found = _read([resolve_path(settings, folder) for folder in settings.pairs], words)
    order = rng_of(settings.seed, "reader").permutation(len(found["train"]))
    said = [found["train"][place] for place in order[: settings.most]]
    if not said:
        raise StepeditError("no pair has codes and a transcript of known words to learn from")
    yield f"{len(said)} of {len(found['train'])} utterances, {len(found['dev'])} to validate on"
    emissions = np.empty(0)
    for number, (emissions, told) in enumerate(
        fit_emissions(said, settings.rounds, settings.smoothing), start=1
    ):
        held = _round(found["dev"], emissions, 0.0)[1] if found["dev"] else float("nan")
        yield f"round {number}: {told:.3f} nats per code before, {held:.3f} on validation after"
    out = model / READER if settings.out is None else resolve_path(settings, settings.out)

    def fill(partial: Path) -> None:
        with partial.open("wb") as file:
            np.savez_compressed(file, emissions=emissions.astype(np.float16))

    replace_file(out, fill)
    yield f"{out}: {out.stat().st_size / 1e3:.0f} kB"
