"""What the mel decoder learns from: token rows and mels of utterances, in blocks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import safe_open
from safetensors.numpy import save_file

from stepedit_core.atomic import replace_file
from stepedit_core.errors import StepeditError
from stepedit_train.mel.origins import Told, read_origins

__all__ = ["MelStore", "Spoken", "store_path", "write_store"]

Array = npt.NDArray[Any]
SPEAKERS = "speakers.safetensors"


@dataclass(frozen=True)
class Spoken:
    """One utterance of the store.

    Attributes:
        id: unique in its block.
        speaker: identity of the speaker.
        split: ``train`` or ``dev``.
        family: edit that the utterance belongs to, or empty for a plain recording.
        role: ``plain``, ``source`` or ``target``.
        rows: token rows (40 ms each).
    """

    id: str
    speaker: str
    split: str
    family: str
    role: str
    rows: int


def store_path(folder: Path, name: str) -> Path:
    """Return the file of a block."""
    return folder / "blocks" / f"{name}.safetensors"


def write_store(path: Path, items: Sequence[Spoken], tensors: Mapping[str, Array]) -> None:
    """Write a block; its name appears when the file is complete."""
    facts = json.dumps([asdict(item) for item in items], ensure_ascii=False)
    arrays = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    replace_file(path, lambda partial: save_file(arrays, partial, {"items": facts}))


class MelStore:
    """Read a store; arrays stay on disk until they are asked for.

    Args:
        folder: of the store.

    Raises:
        StepeditError: if it has no block.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.items: list[Spoken] = []
        self._places: list[tuple[Any, int]] = []
        for path in sorted((folder / "blocks").glob("*.safetensors")):
            file: Any = safe_open(path, framework="numpy")
            for row, facts in enumerate(json.loads(file.metadata()["items"])):
                self.items.append(Spoken(**facts))
                self._places.append((file, row))
        if not self.items or not (folder / SPEAKERS).is_file():
            raise StepeditError(f"{folder}: is not complete; run `stepedit train mel-data` first")
        self._origins = read_origins(folder)
        self._speakers: Any = safe_open(folder / SPEAKERS, framework="numpy")

    @property
    def names(self) -> list[str]:
        """Names that tell this store from others."""
        return [f"{item.family}/{item.role}/{item.id}" for item in self.items]

    def _read(self, index: int, name: str) -> Array:
        file, row = self._places[index]
        array: Array = file.get_tensor(f"{row}.{name}")
        return array

    def rows(self, index: int) -> npt.NDArray[np.int64]:
        """Return token rows, int64, shape ``(n, 2)``."""
        return self._read(index, "rows").astype(np.int64)

    def mel(self, index: int) -> npt.NDArray[np.float32]:
        """Return the log-mel spectrogram on the rows' grid, float32, shape ``(2 * n, bins)``."""
        return self._read(index, "mel").astype(np.float32)

    def told(self, index: int) -> Told | None:
        """Return what is known of a target's places in its source; None of other utterances."""
        item = self.items[index]
        return self._origins.get((item.family, item.id)) if item.role == "target" else None

    def speakers(self, speaker: str) -> npt.NDArray[np.float32]:
        """Return the vectors of a speaker's recordings, float32, shape ``(k, size)``."""
        vectors: npt.NDArray[np.float32] = self._speakers.get_tensor(speaker).astype(np.float32)
        return vectors
