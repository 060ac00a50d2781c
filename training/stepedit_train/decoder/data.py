"""The ``mel-data`` stage: encode recordings and pairs, and lay their mels on the codes' grid."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, model_validator
from safetensors.numpy import save_file

from stepedit_core.atomic import replace_file
from stepedit_core.codes import DualCodes
from stepedit_core.errors import counted
from stepedit_core.models.decoder.flow import pad_mel, token_rows
from stepedit_core.models.decoder.reference.model import FACTOR
from stepedit_core.models.tokenizer.audio_tokenizer import AudioTokenizer
from stepedit_core.models.tokenizer.features import prompt_mel
from stepedit_core.models.tokenizer.identity import tokenizer_hash
from stepedit_core.models.tokenizer.preprocess import limit_peak
from stepedit_train.data.cache import Cache
from stepedit_train.data.codes import cached_tokenizer
from stepedit_train.data.voices import Embed, embed_voices, voices_by
from stepedit_train.decoder.sources import (
    LazyUtterance,
    PairRows,
    is_degraded,
    pitch_augmented,
    recordings,
)
from stepedit_train.decoder.store import (
    SPEAKERS,
    Spoken,
    store_path,
    write_store,
    write_target_maps,
)
from stepedit_train.settings import MixtureRow, MixtureSettings, resolve_path

__all__ = [
    "MelDataSettings",
    "make_mel_data",
]

BATCH = 16
"""Recordings that are encoded together."""


class MelDataSettings(MixtureSettings):
    """Settings of the mel-data stage."""

    renamed: ClassVar[Mapping[str, str]] = {"melodies": "pitch_augmentation"}

    cache: Path | None = None
    """Folder of the data stage. None: the sources of the pairs stand for recordings, too."""
    tokenizer: Path
    """Folder of the audio tokenizer, final: other codes need another store."""
    out: Path
    """Folder of the store."""
    pairs: tuple[Path, ...] = ()
    """Folders of `stepedit pairs`; their rows must be of speakers that may be trained on."""
    max_pairs: int = Field(default=3000, ge=1)
    """Rows taken of each folder."""
    max_seconds: float = Field(default=8.0, gt=0)
    """Longer utterances of pairs are left out; longer recordings are cut into crops later."""
    shown: bool = False
    """Whether sources of pairs are stored as the decoder is shown them in use, where their edit
    says so (`Plan.as_reference`): those of denoise after signal processing."""
    pitch_augmentation: float = Field(default=0.0, ge=0, le=1)
    """Share of the recordings that are also stored with a resynthesised F0 contour, as a pair
    without label and positions: so the decoder takes the melody of unknown edits from the codes."""
    seed: int = Field(default=0, ge=0)
    """Seed of these contours."""
    voices: int = Field(default=4, ge=1)
    """Recordings of each speaker that a speaker vector is made of."""
    speaker: Path | None = None
    """Decoder folder whose speaker encoder makes the vectors, such as that of the public
    checkpoint; None: Resemblyzer."""

    @classmethod
    def of_mixture(cls, rows: Sequence[MixtureRow]) -> dict[str, Any]:
        """Return the pair folders."""
        return {"pairs": [row.path for row in rows if row.decoder]}

    @model_validator(mode="after")
    def _has_recordings(self) -> Self:
        if self.cache is None and (self.pitch_augmentation or not self.pairs):
            raise ValueError(
                "pitch_augmentation needs a cache, and without one there must be pairs"
            )
        return self


def grid_mel(samples: npt.NDArray[np.float32], rate: int, codes: DualCodes) -> torch.Tensor:
    """Return the mel of a recording on the grid of its codes.

    Args:
        samples: float32, shape ``(n,)``; peak limited here, as the engine does.
        rate: Hz.
        codes: of the recording.

    Returns:
        float32, shape ``(6 * groups, bins)``.
    """
    mel = prompt_mel(torch.from_numpy(limit_peak(samples)), rate, start=codes.start)[0]
    return pad_mel(mel, 3 * FACTOR * codes.groups)


def _block(tokenizer: AudioTokenizer, heard: Sequence[LazyUtterance], path: Path) -> None:
    items: list[Spoken] = []
    tensors: dict[str, npt.NDArray[Any]] = {}
    for begin in range(0, len(heard), BATCH):
        part = heard[begin : begin + BATCH]
        sounds, known = [one.sound() for one in part], [one.codes() for one in part]
        missing = [sound for sound, codes in zip(sounds, known, strict=True) if codes is None]
        encoded = iter(tokenizer.encode(missing) if missing else ())
        for one, sound, given in zip(part, sounds, known, strict=True):
            codes = next(encoded) if given is None else given
            rows = token_rows(codes.interleave())
            tensors[f"{len(items)}.rows"] = rows.numpy().astype(np.int16)
            mel = grid_mel(*sound, codes)
            tensors[f"{len(items)}.mel"] = mel.numpy().astype(np.float16)
            items.append(Spoken(*one.facts, rows=len(rows), start=codes.start))
    write_store(path, items, tensors)


class _Voices:
    """A few recordings of each speaker: unedited ones, the first that come."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._chosen: list[LazyUtterance] = []
        self._found: Counter[str] = Counter()

    def take(self, heard: Sequence[LazyUtterance]) -> None:
        """Choose among further utterances."""
        for one in heard:
            facts = one.facts
            is_source = facts.role == "source" and not is_degraded(facts.family)
            is_clean = facts.role == "plain" or is_source
            if is_clean and self._found[facts.speaker] < self._count:
                self._found[facts.speaker] += 1
                self._chosen.append(one)

    def embed(self, by: Embed) -> dict[str, npt.NDArray[np.float32]]:
        """Return the vectors of each speaker, ``(recordings, size)``; only now are they read."""
        vectors: dict[str, list[npt.NDArray[np.float32]]] = {name: [] for name in self._found}
        for one in self._chosen:  # in the order of the files, so that each is read once
            vectors[one.facts.speaker].append(by([one.sound()])[0])
        return {speaker: np.stack(found) for speaker, found in sorted(vectors.items())}


def make_mel_data(settings: MelDataSettings) -> Iterator[str]:
    """Make the blocks that are not there yet; yield lines that say what was done.

    Codes that the cache holds are used if they are of the same tokenizer, and made anew if not.
    """
    out = resolve_path(settings, settings.out)
    folder = resolve_path(settings, settings.tokenizer)
    tokenizer = AudioTokenizer.load(folder, threads=1)
    sources = []
    if settings.cache is not None:
        cache = Cache(resolve_path(settings, settings.cache), ("audio",), ("train", "dev"))
        coded_by = cached_tokenizer(cache.folder)
        is_coded = coded_by is not None and coded_by == tokenizer_hash(folder, weights_alone=True)
        if coded_by is not None and not is_coded:
            yield f"{cache.folder}: its codes are of another tokenizer; recordings are encoded anew"
        sources.append(recordings(cache, coded=is_coded))
        if settings.pitch_augmentation:
            most, seed = settings.max_seconds, settings.seed
            share = settings.pitch_augmentation
            sources.append(pitch_augmented(cache, share, most, seed, coded=is_coded))
    for pairs in settings.pairs:
        most, longest = settings.max_pairs, settings.max_seconds
        rows = PairRows(resolve_path(settings, pairs), most, longest, shown=settings.shown)
        sources.append(rows.blocks(plain=settings.cache is None))
    voices = _Voices(settings.voices)
    for name, heard in chain.from_iterable(sources):
        voices.take(heard)
        path = store_path(out, name)
        if path.is_file():
            continue
        begun = time.monotonic()
        _block(tokenizer, heard, path)
        yield f"{name}: {counted(len(heard), 'utterance')} in {time.monotonic() - begun:.0f} s"
    for pairs in settings.pairs:
        write_target_maps(out, resolve_path(settings, pairs))
    speaker = settings.speaker
    by = embed_voices if speaker is None else voices_by(resolve_path(settings, speaker))
    vectors = voices.embed(by)
    replace_file(out / SPEAKERS, lambda partial: save_file(vectors, partial))
    yield counted(len(vectors), "speaker")
