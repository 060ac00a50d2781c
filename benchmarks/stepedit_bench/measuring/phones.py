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
import numpy.typing as npt

from stepedit_bench.measuring.extras import need
from stepedit_bench.measuring.text_error import TextErrors
from stepedit_core.errors import StepeditError
from stepedit_core.utterance import Utterance

__all__ = ["phone_errors", "phone_scores", "phones", "timed_phones", "title"]

RATE = 16_000
_BORDER = "<wb>"


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


def timed_phones(utterance: Utterance) -> list[tuple[str, float]]:
    """Return the phones heard, in order, each with the second at which CTC marks it.

    The mark lies late in the phone: times are good to about 50 ms.
    """
    model = _model()
    samples = np.clip(utterance.resample(RATE).samples, -1, 1)
    spans = model.phoneme_spans(model.transcribe_waveform(samples, RATE))
    return [(str(span.phoneme), float(span.start_ms) / 1000) for span in spans]


def phone_scores(utterance: Utterance) -> tuple[npt.NDArray[np.float64], list[str]]:
    """Return log posteriors ``(frames of 20 ms, signs)``, and the signs; the last is the blank.

    The border of two words, which is no sound, counts as a blank.
    """
    model = _model()
    samples = np.clip(utterance.resample(RATE).samples, -1, 1).astype(np.float32).reshape(1, -1)
    feeds = {
        "waveform": np.ascontiguousarray(samples),
        "waveform_lengths": np.array([samples.shape[1]], dtype=np.int64),
    }
    scores, lengths = model.session.run(["log_probs", "out_lengths"], feeds)
    rows = np.asarray(scores[0][: int(np.ravel(lengths)[0])], dtype=np.float64)
    rows = rows - np.logaddexp.reduce(rows, axis=1, keepdims=True)
    signs = [str(sign) for sign in model.decoder_tokens]
    blank, border = model.blank_id, signs.index(_BORDER)
    rows[:, blank] = np.logaddexp(rows[:, blank], rows[:, border])
    order = [n for n in range(len(signs)) if n not in (blank, border)]
    return rows[:, [*order, blank]], [*(signs[n] for n in order), signs[blank]]


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
