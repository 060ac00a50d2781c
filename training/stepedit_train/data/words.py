"""When each word of a recording is spoken, by forced alignment."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from stepedit_core.errors import MissingDependencyError
from stepedit_core.words import Word, normalised

__all__ = ["align_words"]

RATE = 16_000
FRAME_SECONDS = 0.01


@lru_cache(maxsize=1)
def _decoder() -> Any:
    """Load the English model that comes with pocketsphinx."""
    try:
        import pocketsphinx
    except ImportError as error:
        raise MissingDependencyError(
            "word times need pocketsphinx: pip install 'stepedit[align]'"
        ) from error
    # Batch normalisation: the live kind would let one recording change the times of the next.
    return pocketsphinx.Decoder(samprate=RATE, lm=None, cmn="batch", loglevel="FATAL")


def align_words(
    speech: npt.NDArray[np.float32], words: list[Word]
) -> list[tuple[float, float]] | None:
    """Return start and end of each English word in seconds, or None where it cannot be told.

    Source: pocketsphinx (Huggins-Daines et al. 2006, ICASSP).

    Args:
        speech: float32 at 16 kHz, shape ``(n,)``.
        words: what is said; each must be in the aligner's dictionary.

    Raises:
        MissingDependencyError: if pocketsphinx is not installed.
    """
    decoder = _decoder()
    spoken = [normalised(word.text) for word in words]
    if not spoken or any(decoder.lookup_word(word) is None for word in spoken):
        return None
    pcm = (np.clip(speech, -1, 1) * 32_767).astype("<i2").tobytes()
    try:
        decoder.set_align_text(" ".join(spoken))
        decoder.start_utt()
        try:
            decoder.process_raw(pcm, full_utt=True)
        finally:
            decoder.end_utt()
        found = [part for part in decoder.seg() or () if not part.word.startswith(("<", "["))]
    except RuntimeError:
        return None
    if len(found) != len(spoken):
        return None
    return [
        (part.start_frame * FRAME_SECONDS, (part.end_frame + 1) * FRAME_SECONDS) for part in found
    ]
