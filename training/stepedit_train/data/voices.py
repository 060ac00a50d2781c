"""Speaker vectors of recordings, as the engine makes them of a reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from stepedit_core.errors import MissingDependencyError
from stepedit_core.models.speaker.campplus import load_speaker
from stepedit_core.models.speaker.ge2e import prepare_voice
from stepedit_core.models.tokenizer.preprocess import limit_peak

__all__ = [
    "Embed",
    "embed_voices",
    "voices_by",
]

Embed = Callable[[Sequence[tuple[npt.NDArray[np.float32], int]]], npt.NDArray[np.float32]]
"""Recordings, each float32 samples and Hz, to their vectors."""


@lru_cache(maxsize=1)
def _encoder() -> Any:
    try:
        from resemblyzer import VoiceEncoder
    except ImportError as error:
        raise MissingDependencyError(
            "speaker vectors need resemblyzer: pip install 'stepedit[train]'"
        ) from error
    return VoiceEncoder("cpu", verbose=False)


def embed_voices(
    recordings: Sequence[tuple[npt.NDArray[np.float32], int]],
) -> npt.NDArray[np.float32]:
    """Return unit vectors, float32, shape ``(recordings, 256)``.

    Source: Wan et al. 2018, "Generalized End-to-End Loss for Speaker Verification", by the
    Resemblyzer package; brought to one level, silence not removed, as core's encoder does.
    """
    heard = [prepare_voice(samples, rate) for samples, rate in recordings]
    vectors = [_encoder().embed_utterance(signal) for signal in heard]
    return np.stack(vectors).astype(np.float32)


def voices_by(folder: Path) -> Embed:
    """Return what makes unit vectors, ``(recordings, size)``, by a decoder's speaker encoder.

    Args:
        folder: decoder folder with ``campplus.onnx`` or ``resemblyzer.safetensors``; read and
            used as the engine does it.

    Raises:
        CheckpointError: if it holds none or two of them, or a damaged one.
    """
    encoder = load_speaker(folder)

    def embed(
        recordings: Sequence[tuple[npt.NDArray[np.float32], int]],
    ) -> npt.NDArray[np.float32]:
        found = [encoder.embed(limit_peak(samples), rate)[0] for samples, rate in recordings]
        vectors: npt.NDArray[np.float32] = F.normalize(torch.stack(found), dim=1).numpy()
        return vectors

    return embed
