"""Phone error between two recordings of the same words, for languages without a recogniser.

The phones are those of hama's small CTC phone recogniser (Apache-2.0, runs on no network). It
was trained on English and Korean, so in other languages its phones are not a transcription;
but it hears the same speech the same way, so that the distance between what it hears in source
and output still tells whether the words are the same. It is compared with the same distance of
the engine's identity edit, never read as a phone error rate of the language.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np

from stepedit_bench.measuring.extras import need
from stepedit_bench.measuring.text_error import TextErrors
from stepedit_core.errors import StepeditError
from stepedit_core.utterance import Utterance

__all__ = ["phone_errors", "phones", "title"]

RATE = 16_000


@cache
def _model() -> Any:
    return need("hama", "hama", "phone error").ASRModel()


def title() -> str:
    """Return the title of the phone recogniser, with its version."""
    need("hama", "hama", "phone error")
    return f"phones by hama {version('hama')}"


def phones(utterance: Utterance) -> tuple[str, ...]:
    """Return the phones heard, in order."""
    samples = np.clip(utterance.resample(RATE).samples, -1, 1)
    return tuple(_model().transcribe_waveform(samples, RATE).phonemes)


def phone_errors(expected: tuple[str, ...], heard: tuple[str, ...]) -> TextErrors:
    """Count insertions, deletions and substitutions between two phone sequences.

    Raises:
        StepeditError: if no phones are expected.
    """
    if not expected:
        raise StepeditError("no phones are heard in the source, so none can be compared")
    jiwer = need("jiwer", "jiwer", "phone error")
    output = jiwer.process_words(" ".join(expected), " ".join(heard))
    errors = output.substitutions + output.deletions + output.insertions
    return TextErrors(int(errors), len(expected), "phone")
