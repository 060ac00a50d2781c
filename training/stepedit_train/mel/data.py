"""The ``mel-data`` stage: encode recordings and pairs, and lay their mels on the codes' grid."""

from __future__ import annotations

import io
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import soundfile as sf
import torch
from pydantic import Field
from safetensors.numpy import save_file

from stepedit_core.atomic import replace_file
from stepedit_core.codes import DualCodes
from stepedit_core.models.audio_tokenizer import AudioTokenizer
from stepedit_core.models.chat import parse_audio_string
from stepedit_core.models.features import prompt_mel
from stepedit_core.models.flow import pad_mel, token_rows
from stepedit_core.models.flow.referenced import FACTOR
from stepedit_core.models.preprocess import limit_peak
from stepedit_train.data.cache import AUDIO_RATE, Cache
from stepedit_train.mel.store import SPEAKERS, Spoken, store_path, write_store
from stepedit_train.mel.voices import embed_voices
from stepedit_train.settings import Settings, resolve_path

__all__ = ["MelDataSettings", "make_mel_data"]

BATCH = 16
"""Recordings that are encoded together."""


class MelDataSettings(Settings):
    """Settings of the mel-data stage."""

    cache: Path
    """Folder of the data stage."""
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
    voices: int = Field(default=4, ge=1)
    """Recordings of each speaker that a speaker vector is made of."""


@dataclass(frozen=True)
class _Heard:
    facts: tuple[str, str, str, str, str]
    samples: npt.NDArray[np.float32]
    rate: int
    codes: DualCodes | None = None


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


def _block(tokenizer: AudioTokenizer, heard: Sequence[_Heard], path: Path) -> None:
    items: list[Spoken] = []
    tensors: dict[str, npt.NDArray[Any]] = {}
    for begin in range(0, len(heard), BATCH):
        part = heard[begin : begin + BATCH]
        missing = [(one.samples, one.rate) for one in part if one.codes is None]
        encoded = iter(tokenizer.encode(missing) if missing else ())
        for one in part:
            codes = next(encoded) if one.codes is None else one.codes
            rows = token_rows(codes.interleave())
            tensors[f"{len(items)}.rows"] = rows.numpy().astype(np.int16)
            mel = grid_mel(one.samples, one.rate, codes)
            tensors[f"{len(items)}.mel"] = mel.numpy().astype(np.float16)
            items.append(Spoken(*one.facts, rows=len(rows)))
    write_store(path, items, tensors)


def _recordings(cache: Cache) -> Iterator[tuple[str, list[_Heard]]]:
    """Yield the cache's recordings in blocks."""
    size = 128
    for begin in range(0, len(cache), size):
        yield (
            f"cache-{begin // size:06d}",
            [
                _Heard((item.id, item.speaker, item.split, "", "plain"), cache.audio(i), AUDIO_RATE)
                for i, item in enumerate(cache.items[begin : begin + size], begin)
            ],
        )


def _pairs(folder: Path, settings: MelDataSettings) -> Iterator[tuple[str, list[_Heard]]]:
    """Yield the rows of a run of pairs, source and target in turn, a block for each shard."""
    left = settings.max_pairs
    for path in sorted((folder / "shards").glob("part-*.parquet")):
        heard: list[_Heard] = []
        for row in (r for b in pq.ParquetFile(path).iter_batches(64) for r in b.to_pylist()):
            longest = max(row["source_seconds"], row["target_seconds"])
            if left < 1 or row["split"] == "test" or longest > settings.max_seconds:
                continue
            left -= 1
            facts = (row["id"], row["speaker"] or "", row["split"] or "train", folder.name)
            for role in ("source", "target"):
                heard.append(_Heard((*facts, role), *_decoded(row, role), _known(row, role)))
        if heard:
            yield f"{folder.name}-{path.stem}", heard


def _known(row: Mapping[str, Any], role: str) -> DualCodes | None:
    """Return the codes that a row holds already, which must be of the same tokenizer."""
    if not row[f"{role}_codes"] or row[f"{role}_start"] is None:
        return None
    codes = DualCodes.from_interleaved(parse_audio_string(row[f"{role}_codes"]))
    return replace(codes, start=float(row[f"{role}_start"]))


def _decoded(row: Mapping[str, Any], role: str) -> tuple[npt.NDArray[np.float32], int]:
    samples, rate = sf.read(io.BytesIO(row[f"{role}_audio"]["bytes"]), dtype="float32")
    return (samples if samples.ndim == 1 else samples.mean(axis=1)), rate


def _voices(heard: Sequence[_Heard], known: dict[str, list[_Heard]], count: int) -> None:
    """Keep a few recordings of each speaker: unedited ones."""
    for one in heard:
        _, speaker, _, family, role = one.facts
        is_clean = role == "plain" or (role == "source" and "denoise" not in family)
        if is_clean and len(known[speaker]) < count:
            known[speaker].append(one)


def make_mel_data(settings: MelDataSettings) -> Iterator[str]:
    """Make the blocks that are not there yet; yield lines that say what was done."""
    out = resolve_path(settings, settings.out)
    tokenizer = AudioTokenizer.load(resolve_path(settings, settings.tokenizer), threads=1)
    cache = Cache(resolve_path(settings, settings.cache), ("audio",), ("train", "dev"))
    sources = [_recordings(cache)]
    sources += [_pairs(resolve_path(settings, path), settings) for path in settings.pairs]
    voices: dict[str, list[_Heard]] = defaultdict(list)
    for source in sources:
        for name, heard in source:
            _voices(heard, voices, settings.voices)
            path = store_path(out, name)
            if path.is_file():
                continue
            begun = time.monotonic()
            _block(tokenizer, heard, path)
            yield f"{name}: {len(heard)} utterances in {time.monotonic() - begun:.0f} s"
    vectors = {
        speaker: embed_voices([(one.samples, one.rate) for one in found])
        for speaker, found in sorted(voices.items())
    }
    replace_file(out / SPEAKERS, lambda partial: save_file(vectors, partial))
    yield f"{len(vectors)} speakers"
