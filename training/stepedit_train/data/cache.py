"""The cache that all audio stages read: blocks of recordings, one file per block and layer.

``blocks/part-000003.audio.safetensors`` holds the signals of a block and, as metadata, what is
known about its recordings; ``.phones`` and ``.prosody`` beside it hold targets. A layer can be
made, or made anew, without touching the others, and a block is the unit of resuming.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from stepedit_core.atomic import replace_file
from stepedit_core.errors import StepeditError

__all__ = [
    "AUDIO_RATE",
    "PHONES",
    "SPEECH_RATE",
    "Cache",
    "CachedItem",
    "block_path",
    "write_block",
]

AUDIO_RATE = 24_000
"""Hz of the recordings as the decoder is to give them."""
PHONES = "phones.json"
"""File with the names of the phone labels, silence first."""
SPEECH_RATE = 16_000
"""Hz of the signals as the audio tokenizers read them: trimmed, padded, peak 1."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class CachedItem:
    """Metadata of a recording in the cache.

    Attributes:
        id: unique in the cache: corpus and the corpus's own id.
        corpus: name of the corpus.
        speaker: identity of the speaker.
        language: BCP 47 tag, or None.
        split: ``train``, ``dev`` or ``test``, by speaker.
        transcript: the words, or None.
        phonemes: the phoneme symbols, or None where they are not known.
        licence: of the recording.
        source_rate: Hz of the file; above half of it the audio is empty.
        start: second of the recording at which the tokenizers' signal begins.
        speech_seconds: length of the tokenizers' signal.
        audio_seconds: length of the recording.
    """

    id: str
    corpus: str
    speaker: str
    language: str | None
    split: str
    transcript: str | None
    phonemes: str | None
    licence: str
    source_rate: int
    start: float
    speech_seconds: float
    audio_seconds: float


def block_path(folder: Path, number: int, layer: str) -> Path:
    """Return the file of a block's layer."""
    return folder / "blocks" / f"part-{number:06d}.{layer}.safetensors"


def write_block(path: Path, tensors: Mapping[str, Array], items: Sequence[CachedItem] = ()) -> None:
    """Write a layer of a block; the name appears when the file is complete."""
    facts = json.dumps([asdict(item) for item in items], ensure_ascii=False)
    arrays = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    replace_file(path, lambda partial: save_file(arrays, partial, {"items": facts}))


class Cache:
    """Read a cache; signals stay on disk until they are asked for.

    Args:
        folder: of the cache.
        layers: layers that are needed; blocks that lack one are left out.
        splits: splits that are wanted.

    Raises:
        StepeditError: if no block has the layers.
    """

    def __init__(
        self, folder: Path, layers: Sequence[str] = ("audio",), splits: Sequence[str] = ("train",)
    ) -> None:
        self.folder = folder
        self.items: list[CachedItem] = []
        self._places: list[tuple[int, int]] = []
        self._open: dict[Path, Any] = {}
        for path in sorted((folder / "blocks").glob("part-*.audio.safetensors")):
            number = int(path.name[5:11])
            if all(block_path(folder, number, layer).is_file() for layer in layers):
                self._add(path, number, splits)
        if not self.items:
            raise StepeditError(
                f"{folder}: no block with the layers {', '.join(layers)} and recordings of "
                f"{', '.join(splits)}; run `stepedit train data` first"
            )

    def _add(self, path: Path, number: int, splits: Sequence[str]) -> None:
        for row, facts in enumerate(json.loads(self._file(path).metadata()["items"])):
            item = CachedItem(**facts)
            if item.split in splits:
                self.items.append(item)
                self._places.append((number, row))

    def _file(self, path: Path) -> Any:
        """Return a memory-mapped file, opened once."""
        if path not in self._open:
            try:
                self._open[path] = safe_open(path, framework="numpy")
            except (SafetensorError, OSError) as error:
                raise StepeditError(
                    f"{path}: is damaged ({error}); remove it and run `stepedit train data` again"
                ) from error
        return self._open[path]

    def __len__(self) -> int:
        """Return the number of recordings."""
        return len(self.items)

    @property
    def fingerprint(self) -> str:
        """Hash of which recordings there are: training must not go on with others."""
        names = "\n".join(item.id for item in self.items)
        return hashlib.sha256(names.encode()).hexdigest()[:16]

    def phone_names(self) -> list[str]:
        """Return the names of the phone labels, silence first."""
        names: list[str] = json.loads((self.folder / PHONES).read_text(encoding="utf-8"))
        return names

    def has(self, index: int, layer: str) -> bool:
        """Return whether the block of a recording has a layer."""
        return block_path(self.folder, self._places[index][0], layer).is_file()

    def read(self, index: int, layer: str, name: str) -> Array:
        """Return one array of a recording, as stored."""
        number, row = self._places[index]
        array: Array = self._file(block_path(self.folder, number, layer)).get_tensor(
            f"{row}.{name}"
        )
        return array

    def speech(self, index: int) -> npt.NDArray[np.float32]:
        """Return the tokenizers' signal, float32 at 16 kHz, shape ``(n,)``."""
        return self.read(index, "audio", "speech").astype(np.float32) / np.float32(32_767)

    def audio(self, index: int) -> npt.NDArray[np.float32]:
        """Return the recording, float32 at 24 kHz, shape ``(n,)``."""
        return self.read(index, "audio", "audio").astype(np.float32) / np.float32(32_767)
