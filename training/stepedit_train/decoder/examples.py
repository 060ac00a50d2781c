"""Training examples of the mel and the flow stage: target, reference, conditioning; and batches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from stepedit_core.models.decoder.reference.model import FACTOR, MelBatch
from stepedit_train.corruption import disturb_places, disturb_rows, mix_source_rows, scramble_rows
from stepedit_train.decoder.drawn import DrawnCodes
from stepedit_train.decoder.store import MelStore
from stepedit_train.loop import LoopSettings
from stepedit_train.seeds import rng_of
from stepedit_train.settings import MixtureRow, MixtureSettings, resolve_path
from stepedit_train.tokenizers.semantic.model import LEVELS

__all__ = [
    "ConditioningRules",
    "Example",
    "ExampleMaker",
    "ExampleSettings",
    "FloatArray",
    "MelTrainBatch",
    "Parts",
    "RowArray",
    "after_gap",
    "examples_of",
    "gap_of",
    "stack_parts",
]

FloatArray = npt.NDArray[np.float32]
RowArray = npt.NDArray[np.int64]
ROW_SECONDS = 0.04
FLOOR = -11.5
_BEYOND = 3.0
"""Rows past the end of a reference that still count as its end; further positions are left out."""


class ConditioningRules(NamedTuple):
    """Conditioning of examples and its corruption; `MelSettings` explains each."""

    labels: tuple[str, ...] = ()
    degraded_families: tuple[str, ...] = ()
    mix_source_codes: float = 0.0
    noisy: float = 0.0
    scramble_codes: float = 0.0
    clean: float = 0.0
    position_dropout: float = 0.0


class ExampleSettings(MixtureSettings, LoopSettings):
    """Settings of the examples of a store; the budget is in seconds of target and reference."""

    renamed: ClassVar[Mapping[str, str]] = {"one_way": "no_reverse"}

    data: Path
    """Folder that the mel-data stage made."""
    out: Path
    """Folder of the run."""
    self_share: float = Field(default=1.0, ge=0)
    """Examples whose reference is the recording itself, for each recording."""
    other_share: float = Field(default=1.0, ge=0)
    """Examples whose reference is another recording of the speaker, for each recording."""
    reverse: float = Field(default=0.3, ge=0, le=1)
    """Part of the pairs that are learned from target to source."""
    shares: dict[str, float] = Field(default_factory=dict)
    """Examples for each pair of a family, where it is not one."""
    no_reverse: tuple[str, ...] = ("denoise", "denoise_synthesised")
    """Families that are never trained target-to-source, because their source is degraded."""
    max_rows: int = Field(default=100, ge=12)
    """Longest target, rows of 40 ms."""
    max_reference_rows: int = Field(default=150, ge=12)
    """Longest reference."""
    gap: float = Field(default=0.5, ge=0, le=1)
    """Probability that a stretch of the reference is removed, so that not everything is found."""
    disturb: float = Field(default=0.5, ge=0, le=1)
    """Probability that codes of the target are disturbed: a language model's are wrong at times."""
    drawn_codes: Path | None = None
    """Folder of the drawn-codes stage; None: the codes of recordings alone."""
    drawn_share: float = Field(default=0.6, ge=0, le=1)
    """Probability that a target whose codes were drawn has drawn ones in place of its own."""
    gain_db: float = Field(default=6.0, ge=0)
    """Levels of reference and target are changed together by up to this much."""
    voice_noise: float = Field(default=0.05, ge=0)
    """Deviation of the noise on the speaker vector, whose norm is 1."""
    dev_items: int = Field(default=24, ge=1)
    """Examples of each kind that validation looks at."""

    @classmethod
    def of_mixture(cls, rows: Sequence[MixtureRow]) -> dict[str, Any]:
        """Return the shares of pair folders."""
        return {"shares": {row.path.name: row.decoder for row in rows if row.decoder}}

    def conditioning(self) -> ConditioningRules:
        """Return the rules of conditioning: none, unless a stage's decoder takes it."""
        return ConditioningRules()


@dataclass(frozen=True)
class MelTrainBatch(MelBatch):
    """Input, and what should come of it.

    Attributes:
        mel: wanted, float32, shape ``(batch, 2 * n, bins)``.
        step: of the training.
        plain: bool ``(batch,)``, items that are recordings and no edit of them; None: not known.
        recorded_rows: token rows of the recording, int64 ``(batch, n, 2)``, before any change.
    """

    mel: Tensor = field(kw_only=True)
    step: int = 0
    plain: Tensor | None = None
    recorded_rows: Tensor | None = None


@dataclass(frozen=True)
class Parts:
    """One example, not padded.

    Attributes:
        rows: target's token rows, ``(n, 2)``.
        mel: target's mel, ``(2 * n, bins)``.
        prompt: reference's token rows, ``(p, 2)``.
        prompt_mel: reference's mel, ``(2 * p, bins)``.
        voice: speaker vector.
        places: of the target's rows in the reference, ``(n,)``; NaN where not told.
        labels: of the target's rows, ``(n,)``; 0 is none.
        recorded: target's token rows before any change, ``(n, 2)``.
    """

    rows: RowArray
    mel: FloatArray
    prompt: RowArray
    prompt_mel: FloatArray
    voice: FloatArray
    places: FloatArray
    labels: RowArray
    recorded: RowArray


def gap_of(rows: int, rng: np.random.Generator) -> RowArray:
    """Return which rows are left when whole groups, a fifth to four fifths of all, are gone."""
    groups = rows // 3
    if groups < 5:
        return np.arange(rows)
    size = int(groups * rng.uniform(0.2, 0.8))
    start = int(rng.integers(0, groups - size + 1))
    kept: RowArray = np.r_[0 : 3 * start, 3 * (start + size) : rows]
    return kept


def after_gap(
    rows: RowArray, mel: FloatArray, places: FloatArray, kept: RowArray
) -> tuple[RowArray, FloatArray, FloatArray]:
    """Return a reference of which only some rows are left, and the places that are left in it.

    Args:
        rows: of the reference, ``(p, 2)``.
        mel: of the reference, ``(2 * p, bins)``.
        places: of the target's rows in the reference, NaN where not known.
        kept: rows that are left, rising.
    """
    frames = (FACTOR * kept[:, None] + np.arange(FACTOR)).ravel()
    moved = np.full(len(rows), np.nan, dtype=np.float32)
    moved[kept] = np.arange(len(kept)) - kept
    near = np.clip(np.nan_to_num(np.round(places)), 0, len(rows) - 1).astype(np.int64)
    return rows[kept], mel[frames], places + moved[near]


def stack_parts(parts: Sequence[Parts], step: int = 0) -> MelTrainBatch:
    """Pad examples to the batch of a step."""

    def padded(arrays: Sequence[npt.NDArray[np.generic]], value: float = 0.0) -> Tensor:
        tensors = [torch.from_numpy(array) for array in arrays]
        return pad_sequence(tensors, batch_first=True, padding_value=value)

    return MelTrainBatch(
        padded([one.rows for one in parts]),
        torch.tensor([len(one.rows) for one in parts]),
        padded([one.prompt for one in parts]),
        torch.tensor([len(one.prompt) for one in parts]),
        padded([one.prompt_mel for one in parts]),
        torch.from_numpy(np.stack([one.voice for one in parts])),
        padded([one.places for one in parts], np.nan),
        padded([one.labels for one in parts]),
        step,
        mel=padded([one.mel for one in parts]),
        recorded_rows=padded([one.recorded for one in parts]),
    )


@dataclass(frozen=True)
class Example:
    """Indices of a target and its reference; None takes another recording of the speaker."""

    target: int
    reference: int | None
    kind: str


def examples_of(store: MelStore, settings: ExampleSettings, split: str) -> list[Example]:
    """Return the examples of a split, a seeded part of the pairs turned round."""
    examples: list[Example] = []
    rules = settings.conditioning()
    rng = rng_of(settings.seed, "examples", split)
    source: dict[tuple[str, str], int] = {}
    for index, item in enumerate(store.items):
        if item.split != split:
            continue
        if item.role == "source":
            source[item.family, item.id] = index
            share = rules.noisy if split == "train" else 1.0
            if item.family in rules.degraded_families and rng.random() < share:
                examples.append(Example(index, index, "noisy"))
        elif item.role == "target":
            a, b = source[item.family, item.id], index
            if split == "train" and item.family not in settings.no_reverse:
                a, b = (b, a) if rng.random() < settings.reverse else (a, b)
            share = settings.shares.get(item.family, 1.0) if split == "train" else 1.0
            count = int(share) if share == int(share) else int(share + rng.random())
            examples += [Example(b, a, item.family)] * count
        else:
            count = int(settings.self_share + rng.random()) if split == "train" else 1
            examples += [Example(index, index, "self")] * count
            count = int(settings.other_share + rng.random()) if split == "train" else 1
            examples += [Example(index, None, "other")] * count
    return examples


def _turned(places: FloatArray | None, rows: int) -> FloatArray | None:
    """Return the places of a source's rows in its target, of the target's in its source."""
    if places is None:
        return None
    known = np.flatnonzero(np.isfinite(places))
    turned = np.interp(np.arange(rows), places[known], known, left=np.nan, right=np.nan)
    return turned.astype(np.float32)


class ExampleMaker:
    """Cuts, joins and disturbs utterances of a store.

    Args:
        settings: of the stage.
        store: utterances.
    """

    def __init__(self, settings: ExampleSettings, store: MelStore) -> None:
        self.settings, self.rules, self.store = settings, settings.conditioning(), store
        folder = settings.drawn_codes
        self.drawn = None if folder is None else DrawnCodes(resolve_path(settings, folder))
        if self.drawn is not None:
            self.drawn.check(store.items)
        self.numbers = {label: n for n, label in enumerate(self.rules.labels, start=1)}
        self.by_speaker: dict[tuple[str, str], list[int]] = defaultdict(list)
        for index, item in enumerate(store.items):
            if item.role == "plain":
                self.by_speaker[item.split, item.speaker].append(index)

    def seconds(self, example: Example) -> float:
        """Return the seconds of an example, target and reference together."""
        own, items = self.settings, self.store.items

        def rows(index: int | None, most: int) -> int:
            return most // 2 if index is None else min(items[index].rows, most)

        target = rows(example.target, own.max_rows)
        return ROW_SECONDS * (target + rows(example.reference, own.max_reference_rows))

    def make(self, example: Example, rng: np.random.Generator, *, disturbed: bool) -> Parts:
        """Return an example, cut to size.

        Args:
            example: what of the store.
            rng: source of the cuts and disturbances.
            disturbed: whether codes, positions and references are corrupted as they are in use.
        """
        own, store = self.settings, self.store
        chosen = self._reference(example, rng)
        rows, mel = store.rows(example.target), store.mel(example.target)
        prompt, prompt_mel = store.rows(chosen), store.mel(chosen)
        places, labels = self._conditions(example, chosen, len(rows), rng if disturbed else None)
        rules, recorded = self.rules, rows
        drawn = self._drawn(example, rng) if disturbed else None
        rows = rows if drawn is None else drawn
        is_degraded = disturbed and example.kind in rules.degraded_families
        if is_degraded and rng.random() < rules.mix_source_codes:
            rows = mix_source_rows(rows, prompt, places, rng)
        is_answer = chosen != example.target or labels.any()
        if disturbed and is_answer and np.isfinite(places).any():
            rows = scramble_rows(rows, rng) if rng.random() < rules.scramble_codes else rows
        start = 3 * int(rng.integers(0, max(0, len(rows) - own.max_rows) // 3 + 1))
        stop = start + own.max_rows
        rows, places, labels = rows[start:stop], places[start:stop], labels[start:stop]
        recorded = recorded[start:stop]
        mel = mel[FACTOR * start :][: FACTOR * len(rows)]
        first = self._first(len(prompt), places, rng)
        prompt = prompt[first : first + own.max_reference_rows]
        prompt_mel = prompt_mel[FACTOR * first :][: FACTOR * len(prompt)]
        places = places - np.float32(first)
        voices = store.speakers(store.items[chosen].speaker)
        voice = voices[int(rng.integers(len(voices)))]
        if disturbed:
            if rng.random() < own.gap:
                kept = gap_of(len(prompt), rng)
                prompt, prompt_mel, places = after_gap(prompt, prompt_mel, places, kept)
            if drawn is None and rng.random() < own.disturb:
                rows = disturb_rows(rows, rng, LEVELS)
            places = disturb_places(places, rng)
            gain = np.float32(rng.uniform(-own.gain_db, own.gain_db) * np.log(10) / 20)
            mel, prompt_mel = np.maximum(mel + gain, FLOOR), np.maximum(prompt_mel + gain, FLOOR)
            voice = voice + rng.normal(0, own.voice_noise / 16, voice.shape).astype(np.float32)
        outside = (places < -_BEYOND) | (places > len(prompt) - 1 + _BEYOND)
        places = np.where(outside, np.float32(np.nan), places)
        return Parts(rows, mel, prompt, prompt_mel, voice, places, labels, recorded)

    def _drawn(self, example: Example, rng: np.random.Generator) -> RowArray | None:
        """Return codes that a language model drew for the target, or None for its own."""
        item = self.store.items[example.target]
        if self.drawn is None or item.role != "target":
            return None
        found = self.drawn.rows(item.family, item.id)
        if found is None or rng.random() >= self.settings.drawn_share:
            return None
        chosen: RowArray = found[int(rng.integers(len(found)))]
        return chosen

    def _reference(self, example: Example, rng: np.random.Generator) -> int:
        if example.reference is not None:
            return example.reference
        item = self.store.items[example.target]
        found = [i for i in self.by_speaker[item.split, item.speaker] if i != example.target]
        return int(rng.choice(found)) if found else example.target

    def _first(self, rows: int, places: FloatArray, rng: np.random.Generator) -> int:
        """Return the first row of a long reference's crop: near the target, where that is known."""
        spare = max(0, rows - self.settings.max_reference_rows)
        near = places[:1]
        if len(near) and np.isfinite(near[0]):
            return 3 * (min(max(0, int(near[0])), spare) // 3)
        return 3 * int(rng.integers(0, spare // 3 + 1))

    def _conditions(
        self, example: Example, reference: int, rows: int, rng: np.random.Generator | None
    ) -> tuple[FloatArray, RowArray]:
        """Return places in the whole reference, NaN where not known, and labels."""
        store, target = self.store, example.target
        labels = np.zeros(rows, dtype=np.int64)
        places: FloatArray | None = None
        mapped = store.target_map(target)
        if reference == target:
            places = np.arange(rows, dtype=np.float32)
            # What has no noise is to be left as it is.
            is_clean = store.items[target].role == "plain"
            if is_clean and rng is not None and rng.random() < self.rules.clean:
                labels += self.numbers.get("denoise", 0)
        elif mapped is not None and example.reference is not None:
            places = mapped.places(rows)
            labels[mapped.labelled(rows)] = self.numbers.get(mapped.label, 0)
        elif example.reference is not None:
            turned = store.target_map(reference)
            if turned is not None:
                places = _turned(turned.places(store.items[reference].rows), rows)
        if rng is not None and rng.random() < self.rules.position_dropout:
            places = None
        unknown = np.full(rows, np.nan, dtype=np.float32)
        return (unknown if places is None else places), labels
