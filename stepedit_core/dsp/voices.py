"""Speaker vectors by Resemblyzer's GE2E encoder, whose weights come with the package.

Source: Wan et al. 2018, "Generalized End-to-End Loss for Speaker Verification", ICASSP. The
library is imported when the first vector is made; extra ``speakers`` installs it.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from stepedit_core.dsp.offset import without_offset
from stepedit_core.errors import MissingDependencyError
from stepedit_core.utterance import Utterance

__all__ = ["VOICE_RATE", "speaker_vector", "voiced_speech"]

VOICE_RATE = 16_000
"""Sample rate that the encoder reads, in Hz."""
_LEVEL = 10 ** (-30 / 20)  # RMS relative to full scale: the encoder's own -30 dBFS

FloatArray = npt.NDArray[np.float32]


def voiced_speech(utterance: Utterance) -> FloatArray:
    """Return what the encoder reads: speech at its rate and level, long pauses shortened.

    Returns:
        float32 samples at `VOICE_RATE`; none where the recording is silent.

    Raises:
        MissingDependencyError: if Resemblyzer is not installed.
    """
    library, _ = _encoder()
    samples = np.clip(without_offset(utterance).resample(VOICE_RATE).samples, -1, 1)
    if not samples.any():
        return np.zeros(0, dtype=np.float32)
    # The library only raises quiet recordings; a fixed level keeps loudness out of the voice.
    samples = samples * (_LEVEL / float(np.sqrt(np.mean(samples**2))))
    return np.asarray(library.preprocess_wav(np.clip(samples, -1, 1)), dtype=np.float32)


def speaker_vector(speech: FloatArray) -> FloatArray:
    """Return the voice's vector, float32 ``(256,)`` of length 1.

    Args:
        speech: of `voiced_speech`; below half a second the vector is of the words rather than of
            the voice.

    Raises:
        MissingDependencyError: if Resemblyzer is not installed.
    """
    _, encoder = _encoder()
    with _one_thread():
        return np.asarray(encoder.embed_utterance(speech), dtype=np.float32)


@cache
def _encoder() -> tuple[Any, Any]:
    """Load library and weights, once; what the library warns and prints is not the user's."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            import resemblyzer
        except ImportError as error:
            raise MissingDependencyError(
                f"speaker vectors need Resemblyzer ({error}): pip install 'stepedit[speakers]'"
            ) from error
        return resemblyzer, resemblyzer.VoiceEncoder("cpu", verbose=False)


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
