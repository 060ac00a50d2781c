"""What the mel decoder is taught with: which target, which reference, and what it is told."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from stepedit_core.models.decoder.reference.model import FACTOR
from stepedit_train.mel.batches import FloatArray, Parts, RowArray, after_gap, gap_of
from stepedit_train.mel.noise import disturb_places, disturb_rows, keep_source, mislead_rows
from stepedit_train.mel.rules import ExampleSettings
from stepedit_train.mel.store import MelStore
from stepedit_train.seeds import rng_of
from stepedit_train.semantic.model import LEVELS

__all__ = ["Example", "ExampleMaker", "examples_of"]

ROW_SECONDS = 0.04
FLOOR = -11.5
_BEYOND = 3.0
"""Rows past the end of a reference that still count as its end; further places are not told."""


@dataclass(frozen=True)
class Example:
    """Indices of a target and its reference; None takes another recording of the speaker."""

    target: int
    reference: int | None
    kind: str


def examples_of(store: MelStore, settings: ExampleSettings, split: str) -> list[Example]:
    """Return the examples of a split, a seeded part of the pairs turned round."""
    examples: list[Example] = []
    told = settings.told()
    rng = rng_of(settings.seed, "examples", split)
    source: dict[tuple[str, str], int] = {}
    for index, item in enumerate(store.items):
        if item.split != split:
            continue
        if item.role == "source":
            source[item.family, item.id] = index
            share = told.noisy if split == "train" else 1.0
            if item.family in told.spoilt and rng.random() < share:
                examples.append(Example(index, index, "noisy"))
        elif item.role == "target":
            a, b = source[item.family, item.id], index
            if split == "train" and item.family not in settings.one_way:
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
        self.settings, self.told, self.store = settings, settings.told(), store
        self.numbers = {label: n for n, label in enumerate(self.told.labels, start=1)}
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
            disturbed: whether codes, places and references are spoilt as they are in use.
        """
        own, store = self.settings, self.store
        chosen = self._reference(example, rng)
        rows, mel = store.rows(example.target), store.mel(example.target)
        prompt, prompt_mel = store.rows(chosen), store.mel(chosen)
        places, labels = self._told(example, chosen, len(rows), rng if disturbed else None)
        if disturbed and example.kind in self.told.spoilt and rng.random() < self.told.spoil:
            rows = keep_source(rows, prompt, places, rng)
        is_answer = chosen != example.target or labels.any()
        if disturbed and is_answer and np.isfinite(places).any():
            rows = mislead_rows(rows, rng) if rng.random() < self.told.mislead else rows
        start = 3 * int(rng.integers(0, max(0, len(rows) - own.max_rows) // 3 + 1))
        stop = start + own.max_rows
        rows, places, labels = rows[start:stop], places[start:stop], labels[start:stop]
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
            if rng.random() < own.disturb:
                rows = disturb_rows(rows, rng, LEVELS)
            places = disturb_places(places, rng)
            gain = np.float32(rng.uniform(-own.gain_db, own.gain_db) * np.log(10) / 20)
            mel, prompt_mel = np.maximum(mel + gain, FLOOR), np.maximum(prompt_mel + gain, FLOOR)
            voice = voice + rng.normal(0, own.voice_noise / 16, voice.shape).astype(np.float32)
        outside = (places < -_BEYOND) | (places > len(prompt) - 1 + _BEYOND)
        places = np.where(outside, np.float32(np.nan), places)
        return Parts(rows, mel, prompt, prompt_mel, voice, places, labels)

    def _reference(self, example: Example, rng: np.random.Generator) -> int:
        if example.reference is not None:
            return example.reference
        item = self.store.items[example.target]
        found = [i for i in self.by_speaker[item.split, item.speaker] if i != example.target]
        return int(rng.choice(found)) if found else example.target

    def _first(self, rows: int, places: FloatArray, rng: np.random.Generator) -> int:
        """Return where a long reference is cut: near the target, where that is known."""
        spare = max(0, rows - self.settings.max_reference_rows)
        near = places[:1]
        if len(near) and np.isfinite(near[0]):
            return 3 * (min(max(0, int(near[0])), spare) // 3)
        return 3 * int(rng.integers(0, spare // 3 + 1))

    def _told(
        self, example: Example, reference: int, rows: int, rng: np.random.Generator | None
    ) -> tuple[FloatArray, RowArray]:
        """Return places in the whole reference, NaN where not known, and labels."""
        store, target = self.store, example.target
        labels = np.zeros(rows, dtype=np.int64)
        places: FloatArray | None = None
        told = store.told(target)
        if reference == target:
            places = np.arange(rows, dtype=np.float32)
            # What has no noise is to be left as it is.
            is_clean = store.items[target].role == "plain"
            if is_clean and rng is not None and rng.random() < self.told.clean:
                labels += self.numbers.get("denoise", 0)
        elif told is not None and example.reference is not None:
            places = told.places(rows)
            labels[told.labelled(rows)] = self.numbers.get(told.label, 0)
        elif example.reference is not None:
            turned = store.told(reference)
            if turned is not None:
                places = _turned(turned.places(store.items[reference].rows), rows)
        if rng is not None and rng.random() < self.told.untold:
            places = None
        unknown = np.full(rows, np.nan, dtype=np.float32)
        return (unknown if places is None else places), labels
