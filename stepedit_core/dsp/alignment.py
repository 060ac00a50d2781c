"""When each word of a recording is spoken, by forced alignment; English only."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from stepedit_core.dsp.words import Word, normalised
from stepedit_core.errors import AlignmentError, MissingDependencyError
from stepedit_core.utterance import Span, Utterance

__all__ = ["align_words"]

_RATE, _FRAMES_PER_SECOND = 16_000, 100
_LOCK = threading.Lock()
"""One decoder serves all threads, and two at a time would crash it."""


def align_words(utterance: Utterance, words: Sequence[Word]) -> list[Span]:
    """Return when each word is spoken, in order, in seconds.

    The language is the caller's to check. Source: pocketsphinx (Huggins-Daines et al. 2006,
    ICASSP) with the US English model that comes with it.

    Args:
        utterance: any rate; it is resampled here.
        words: what is said, all of it.

    Raises:
        AlignmentError: if there are no words, the aligner does not know one, or it finds no way
            to lay them along the recording.
        MissingDependencyError: if pocketsphinx is not installed.
    """
    spoken = [normalised(word.text) for word in words]
    if not spoken:
        raise AlignmentError("there are no words to align")
    heard = utterance.resample(_RATE).samples
    pcm = (np.clip(heard, -1, 1) * 32_767).astype("<i2").tobytes()
    with _LOCK:
        return _aligned(_decoder(), spoken, pcm)


def _aligned(decoder: Any, spoken: list[str], pcm: bytes) -> list[Span]:
    """Lay words along 16-bit samples; raises as ``align_words`` does."""
    unknown = [word for word in spoken if decoder.lookup_word(word) is None]
    if unknown:
        raise AlignmentError(f"pocketsphinx does not know {unknown[0]!r}")
    # Its noise estimate would let one recording change the times of the next.
    decoder.reinit_feat()
    try:
        decoder.set_align_text(" ".join(spoken))
        decoder.start_utt()
        try:
            decoder.process_raw(pcm, full_utt=True)
        finally:
            decoder.end_utt()
        found = [part for part in decoder.seg() or () if not part.word.startswith(("<", "["))]
    except RuntimeError as error:
        raise AlignmentError(f"pocketsphinx failed: {error}") from error
    if len(found) != len(spoken):
        raise AlignmentError("pocketsphinx could not align the words with the audio")
    return [
        Span(part.start_frame / _FRAMES_PER_SECOND, (part.end_frame + 1) / _FRAMES_PER_SECOND)
        for part in found
    ]


@cache
def _decoder() -> Any:
    """Load the English model that comes with pocketsphinx, once."""
    try:
        import pocketsphinx
    except ImportError as error:
        raise MissingDependencyError(
            "aligning words needs pocketsphinx: pip install 'stepedit[align]'"
        ) from error
    # Batch normalisation: the live kind would carry over from one recording to the next.
    return pocketsphinx.Decoder(samprate=_RATE, lm=None, cmn="batch", loglevel="FATAL")
