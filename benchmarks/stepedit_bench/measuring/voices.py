"""Speaker embeddings, of recordings with enough speech in them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stepedit_core.dsp.voices import VOICE_RATE, speaker_vector, voiced_speech
from stepedit_core.errors import StepeditError
from stepedit_core.utterance import Utterance

__all__ = ["embed_speaker"]

MIN_VOICED_SECONDS = 0.4
"""Shorter speech gives an embedding of its words rather than of its voice."""


def embed_speaker(utterance: Utterance) -> npt.NDArray[np.float32]:
    """Return the voice's embedding, float32 of shape (256,) and length 1.

    Raises:
        StepeditError: if less than 0.4 s of speech is found, or Resemblyzer is not installed.
    """
    speech = voiced_speech(utterance)
    if len(speech) < MIN_VOICED_SECONDS * VOICE_RATE:
        raise StepeditError(
            f"speaker similarity: {len(speech) / VOICE_RATE:.2f} s of speech found, "
            f"{MIN_VOICED_SECONDS} s are needed"
        )
    return speaker_vector(speech)
