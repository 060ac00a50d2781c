"""Speaker vectors of recordings, as the engine makes them of a reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from stepedit_core.dsp.voices import speaker_vector
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


def embed_voices(
    recordings: Sequence[tuple[npt.NDArray[np.float32], int]],
) -> npt.NDArray[np.float32]:
    """Return unit vectors, float32, shape ``(recordings, 256)``.

    Source: Wan et al. 2018, "Generalized End-to-End Loss for Speaker Verification", by the
    Resemblyzer package; brought to one level, silence not removed, as core's encoder does.
    """
    heard = [prepare_voice(samples, rate) for samples, rate in recordings]
    return np.stack([speaker_vector(signal) for signal in heard])


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
