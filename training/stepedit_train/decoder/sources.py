"""Sources of a mel store: cached recordings and rows of pairs, read on demand.

Recordings may also be stored with a resynthesised F0 contour. An edit that nobody taught the
decoder comes without label and positions; if all that it saw was speech whose melody is the
reference's, it gives such an edit the reference's melody, whatever the codes say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from stepedit_core.codes import DualCodes
from stepedit_core.dsp.prosody import ProsodyRecipe, transform
from stepedit_core.storage.pair_rows import (
    finished_shards,
    read_shard,
    row_codes,
    row_edit,
    row_groups,
    row_utterance,
)
from stepedit_core.utterance import Utterance
from stepedit_train.data.cache import AUDIO_RATE, Cache
from stepedit_train.data.codes import read_codes
from stepedit_train.seeds import rng_of

__all__ = [
    "CACHED",
    "FAMILY",
    "Facts",
    "LazyUtterance",
    "PairRows",
    "Sound",
    "cached_codes",
    "cached_sound",
    "is_degraded",
    "melody_recipe",
    "pitch_augmented",
    "recordings",
]

Sound = tuple[npt.NDArray[np.float32], int]
"""Samples, float32, shape ``(n,)``, and Hz."""

CACHED = 128
"""Recordings of a cache in a block."""
_FACTS = ["id", "speaker", "split", "source_seconds", "target_seconds"]
_CONTENT = ["edit_json"] + [
    f"{role}_{what}" for role in ("source", "target") for what in ("audio", "codes", "start")
]

FAMILY = "melody"
"""Family of these pairs in a store; no edit has this name, so that they have no label."""
FLAT_SHARE = 0.3
"""Share of the melodies that are almost flat; the others are up to twice as lively as they were."""
GLIDE_CENTS, RISE_SEMITONES = 150.0, 2.0


def is_degraded(family: str) -> bool:
    """Whether the sources of a family of pairs are degraded speech, by its name."""
    return "denoise" in family


class Facts(NamedTuple):
    """Metadata of an utterance in a store; see `Spoken`."""

    id: str
    speaker: str
    split: str
    family: str
    role: str


@dataclass(frozen=True)
class LazyUtterance:
    """An utterance that stays on disk until it is asked for.

    Attributes:
        facts: known without reading it.
        sound: reads and decodes it.
        codes: reads its codes; gives None where there are none yet.
    """

    facts: Facts
    sound: Callable[[], Sound]
    codes: Callable[[], DualCodes | None]

    def as_recording(self) -> LazyUtterance:
        """Return the utterance without a family, as a plain recording."""
        return replace(self, facts=self.facts._replace(family="", role="plain"))


def cached_sound(cache: Cache, index: int) -> Sound:
    """Read a recording of a cache."""
    return cache.audio(index), AUDIO_RATE


def cached_codes(cache: Cache, index: int, coded: bool) -> DualCodes | None:
    """Read the codes of a recording of a cache, where it has any that may be used."""
    return read_codes(cache, index) if coded and cache.has(index, "codes") else None


def recordings(cache: Cache, *, coded: bool) -> Iterator[tuple[str, list[LazyUtterance]]]:
    """Yield name and utterances of blocks of a cache.

    Args:
        cache: of the data stage.
        coded: whether its layer of codes, where a block has one, is of the right tokenizer.
    """
    for begin in range(0, len(cache), CACHED):
        yield (
            f"cache-{begin // CACHED:06d}",
            [
                LazyUtterance(
                    Facts(item.id, item.speaker, item.split, "", "plain"),
                    partial(cached_sound, cache, index),
                    partial(cached_codes, cache, index, coded),
                )
                for index, item in enumerate(cache.items[begin : begin + CACHED], begin)
            ],
        )


class PairRows:
    """Rows of a run of pairs; one row group's sounds and codes are held at a time.

    Args:
        folder: of `stepedit pairs`.
        most: rows taken at most.
        max_seconds: longer utterances are left out, and with them their row.
        shown: give sources as a decoder is shown them (`Plan.as_reference`), without codes.
    """

    def __init__(self, folder: Path, most: int, max_seconds: float, *, shown: bool = False) -> None:
        self.folder = folder
        self._most, self._max_seconds, self._shown = most, max_seconds, shown
        self._held: tuple[Path, int] | None = None
        self._rows: list[dict[str, Any]] = []

    def blocks(self, *, plain: bool = False) -> Iterator[tuple[str, list[LazyUtterance]]]:
        """Yield name and utterances of each shard, sources and targets in turn.

        Args:
            plain: yield the sources once more behind them, as recordings of their own; of pairs
                whose sources are degraded, the targets.
        """
        clean = 1 if is_degraded(self.folder.name) else 0
        left = self._most
        for path in finished_shards(self.folder):
            heard: list[LazyUtterance] = []
            for group, rows in row_groups(path, _FACTS):
                places = [n for n, row in enumerate(rows) if self._is_wanted(row)][:left]
                left -= len(places)
                for place in places:
                    heard += self._pair(rows[place], (path, group), place)
            if not heard:
                continue
            yield f"{self.folder.name}-{path.stem}", heard
            if plain:
                name = f"plain-{self.folder.name}-{path.stem}"
                yield name, [one.as_recording() for one in heard[clean::2]]

    def _is_wanted(self, row: Mapping[str, Any]) -> bool:
        longest = max(row["source_seconds"], row["target_seconds"])
        return bool(row["split"] != "test" and longest <= self._max_seconds)

    def _pair(
        self, row: Mapping[str, Any], group: tuple[Path, int], place: int
    ) -> list[LazyUtterance]:
        facts = (row["id"], row["speaker"] or "", row["split"] or "train", self.folder.name)
        return [
            LazyUtterance(
                Facts(*facts, role),
                partial(self._sound, group, place, role),
                partial(self._codes, group, place, role),
            )
            for role in ("source", "target")
        ]

    def _row(self, group: tuple[Path, int], place: int) -> dict[str, Any]:
        if group != self._held:
            self._rows = read_shard(group[0], _CONTENT, group[1])
            self._held = group
        return self._rows[place]

    def _sound(self, group: tuple[Path, int], place: int, role: str) -> Sound:
        row = self._row(group, place)
        said = row_utterance(row, role)
        assert said is not None
        show = self._show(row, role)
        said = said if show is None else show(said)
        return np.array(said.samples), said.sample_rate

    def _show(self, row: Mapping[str, Any], role: str) -> Callable[[Utterance], Utterance] | None:
        """Return what makes of a source what a decoder is shown; None: it is shown as it is."""
        if not self._shown or role != "source":
            return None
        said = row_utterance(row, role)
        return None if said is None else row_edit(row).plan(said).as_reference

    def _codes(self, group: tuple[Path, int], place: int, role: str) -> DualCodes | None:
        """Return the codes that a row holds already, which must be of the same tokenizer."""
        row = self._row(group, place)
        is_coded = row[f"{role}_start"] is not None and self._show(row, role) is None
        return row_codes(row, role) if is_coded else None


def melody_recipe(rng: np.random.Generator) -> ProsodyRecipe:
    """Draw a melody about the same median: the codes do not hold the height of a voice."""
    is_flat = rng.random() < FLAT_SHARE
    start, middle, end = (float(cents) for cents in rng.normal(0.0, GLIDE_CENTS, 3))
    return ProsodyRecipe(
        f0_range=float(rng.uniform(0.0, 0.3) if is_flat else rng.uniform(0.3, 2.0)),
        inflection_cents=(0.0, 0.0, 0.0) if is_flat else (start, middle, end),
        final_rise=0.0 if is_flat else float(rng.normal(0.0, RISE_SEMITONES)),
    )


def _resynthesised(cache: Cache, index: int, seed: int) -> Sound:
    rng = rng_of(seed, FAMILY, index)
    speech = Utterance(cache.audio(index), AUDIO_RATE)
    return np.array(transform(speech, melody_recipe(rng), rng).samples), AUDIO_RATE


def pitch_augmented(
    cache: Cache, share: float, longest: float, seed: int, *, coded: bool
) -> Iterator[tuple[str, list[LazyUtterance]]]:
    """Yield name and utterances of blocks: recordings, and each with a resynthesised F0 contour.

    Args:
        cache: of the data stage.
        share: of the recordings.
        longest: seconds; longer recordings are left out.
        seed: of the choice and of the contours.
        coded: whether the cache's layer of codes is of the right tokenizer.
    """
    for begin in range(0, len(cache), CACHED):
        heard: list[LazyUtterance] = []
        for index, item in enumerate(cache.items[begin : begin + CACHED], begin):
            is_drawn = rng_of(seed, "melodies", index).random() < share
            if not is_drawn or item.audio_seconds > longest:
                continue
            facts = (item.id, item.speaker, item.split, FAMILY)
            own = partial(cached_codes, cache, index, coded)
            sound = partial(cached_sound, cache, index)
            heard.append(LazyUtterance(Facts(*facts, "source"), sound, own))
            sung = partial(_resynthesised, cache, index, seed)
            heard.append(LazyUtterance(Facts(*facts, "target"), sung, lambda: None))
        if heard:
            yield f"{FAMILY}-{begin // CACHED:06d}", heard
