"""Speaker vectors of recordings, as the engine makes them of a reference."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from stepedit_core.errors import MissingDependencyError
from stepedit_core.models.speaker_ge2e import prepare_voice

__all__ = ["embed_voices"]


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
