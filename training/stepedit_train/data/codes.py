"""Codes and speaker vectors of cached recordings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stepedit_core.atomic import write_atomically
from stepedit_core.codes import DualCodes
from stepedit_core.errors import StepeditError
from stepedit_core.models.tokenizer.audio_tokenizer import AudioTokenizer
from stepedit_core.models.tokenizer.identity import tokenizer_hash
from stepedit_train.data.cache import SPEECH_RATE, Cache

__all__ = ["CodeMaker", "cached_tokenizer", "read_codes"]

FILE = "codes.json"
"""Says which tokenizer's codes a cache holds."""

Array = npt.NDArray[Any]


def cached_tokenizer(cache: Path) -> str | None:
    """Return the hash of the tokenizer whose codes a cache holds, or None where it holds none."""
    path = cache / FILE
    if not path.is_file():
        return None
    name: str = json.loads(path.read_text(encoding="utf-8"))["tokenizer"]
    return name


def read_codes(cache: Cache, index: int) -> DualCodes:
    """Return the codes of a recording, as the tokenizer gave them, up to whole groups."""
    linguistic, semantic, start = (
        cache.read(index, "codes", name) for name in ("linguistic", "semantic", "start")
    )
    # Stored as float32, but it is a whole number of the tokenizers' samples.
    seconds = round(float(start[0]) * SPEECH_RATE) / SPEECH_RATE
    return DualCodes(linguistic, semantic, seconds)


class CodeMaker:
    """Encodes recordings of a cache with one tokenizer.

    Args:
        cache: folder of the cache; it remembers the tokenizer.
        tokenizer: Step-Audio-Tokenizer folder.

    Raises:
        StepeditError: if the cache holds codes of another tokenizer.
        CheckpointError: if a file of the tokenizer is missing, damaged or foreign.
    """

    def __init__(self, cache: Path, tokenizer: Path) -> None:
        name = tokenizer_hash(tokenizer, weights_alone=True)
        if cached_tokenizer(cache) not in (None, name):
            raise StepeditError(
                f"{cache}: holds codes of another tokenizer; remove {FILE} and "
                "blocks/*.codes.safetensors to make them anew"
            )
        self._tokenizer = AudioTokenizer.load(tokenizer, "cpu", threads=1)
        write_atomically(cache / FILE, json.dumps({"tokenizer": name}))

    def encode(self, recordings: list[tuple[npt.NDArray[np.float32], int]]) -> dict[str, Array]:
        """Return the arrays of a block's layer by name.

        Args:
            recordings: samples, float32, and Hz.

        Returns:
            For row ``n``: ``n.linguistic`` int16 ``(2 g,)``, ``n.semantic`` int16 ``(3 g,)`` with
            one ``g`` for both, and ``n.start`` float32 ``(1,)``, the second of the recording at
            which they begin.
        """
        tensors: dict[str, Array] = {}
        for row, codes in enumerate(self._tokenizer.encode(recordings)):
            whole = codes.groups
            tensors[f"{row}.linguistic"] = codes.linguistic[: 2 * whole].astype(np.int16)
            tensors[f"{row}.semantic"] = codes.semantic[: 3 * whole].astype(np.int16)
            tensors[f"{row}.start"] = np.array([codes.start], np.float32)
        return tensors
