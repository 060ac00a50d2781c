"""Speaker embeddings: resemblyzer's GE2E encoder (Wan et al. 2018), weights in the package."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from stepedit_bench.measuring.extras import need
from stepedit_core.dsp.offset import without_offset
from stepedit_core.errors import StepeditError
from stepedit_core.utterance import Utterance

__all__ = ["embed_speaker"]

MIN_VOICED_SECONDS = 0.4
"""Shorter speech gives an embedding of its words rather than of its voice."""
LEVEL = 10 ** (-30 / 20)
"""RMS that recordings are brought to, relative to full scale: the encoder's own -30 dBFS."""


@cache
def _encoder() -> tuple[Any, Any]:
    library = need("resemblyzer", "Resemblyzer and webrtcvad-wheels", "speaker similarity")
    return library, library.VoiceEncoder("cpu", verbose=False)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Hold torch to one thread: faster for so small a network, and the same to the last digit."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def embed_speaker(utterance: Utterance) -> npt.NDArray[np.float32]:
    """Return the voice's embedding, float32 of shape (256,) and length 1.

    Raises:
        StepeditError: if less than 0.4 s of speech is found.
    """
    library, encoder = _encoder()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        samples = np.clip(without_offset(utterance).resample(16_000).samples, -1, 1)
        if not samples.any():
            raise StepeditError("speaker similarity: the recording is silent")
        # The library only raises quiet recordings; a fixed level keeps loudness out of the voice.
        samples = samples * (LEVEL / float(np.sqrt(np.mean(samples**2))))
        speech = library.preprocess_wav(np.clip(samples, -1, 1))
        if len(speech) < MIN_VOICED_SECONDS * 16_000:
            raise StepeditError(
                f"speaker similarity: {len(speech) / 16_000:.2f} s of speech found, "
                f"{MIN_VOICED_SECONDS} s are needed"
            )
        with _one_thread():
            return np.asarray(encoder.embed_utterance(speech), dtype=np.float32)
