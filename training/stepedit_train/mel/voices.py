"""Speaker vectors of recordings, as the engine makes them of a reference."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from stepedit_core.errors import MissingDependencyError
from stepedit_core.models.torchaudio_compat import resample

__all__ = ["embed_voices"]

RATE = 16_000


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
    Resemblyzer package; level normalised, silence not removed.
    """
    import torch
    from resemblyzer.audio import normalize_volume
    from resemblyzer.hparams import audio_norm_target_dBFS

    vectors = []
    for samples, rate in recordings:
        heard = resample(torch.from_numpy(samples)[None], rate, RATE)[0].numpy()
        loud = normalize_volume(heard, audio_norm_target_dBFS, increase_only=True)
        vectors.append(_encoder().embed_utterance(loud))
    return np.stack(vectors).astype(np.float32)
