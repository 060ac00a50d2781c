"""Choose among answers by how they sound.

Codes that read well may sound badly: what a decoder makes of them is another matter. So the best
few are decoded, and heard: by the phone reader after they are encoded again, or by a phone
recogniser that shares nothing with the model.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache

import numpy as np

from stepedit_core.codes import DualCodes
from stepedit_core.config import GenerationPolicy
from stepedit_core.dsp.phones import missing_phones, phone_likelihood
from stepedit_core.engine import GenerateRequest
from stepedit_core.errors import AudioError
from stepedit_core.models.checkpoint.load import EngineParts
from stepedit_core.models.decoder.decoder import DecodeInput, FloatArray, Reference
from stepedit_core.utterance import Utterance

__all__ = ["in_spoken_order"]

_log = logging.getLogger(__name__)


def in_spoken_order(
    parts: EngineParts,
    policy: GenerationPolicy,
    request: GenerateRequest,
    answers: Sequence[DualCodes],
) -> list[DualCodes]:
    """Return answers in the order in which they are heard as their words, equals as given.

    Args:
        parts: of the engine, with a reader.
        policy: who hears them.
        request: whose voice they are spoken in, and whose words they say.
        answers: some of them.
    """
    waves = _spoken(parts, request, answers)
    scores = _by_phones(parts, request, waves) if policy.heard_by == "phones" else None
    order = np.argsort(-np.asarray(scores or _by_codes(parts, request, waves)), kind="stable")
    return [answers[at] for at in order]


def _by_phones(
    parts: EngineParts, request: GenerateRequest, waves: Sequence[FloatArray]
) -> list[float] | None:
    """Return how likely the phones of the words are in each wave, or None where none is heard."""
    words, language = request.words, request.utterance.language
    if words is None or language not in (None, "en"):
        return None
    if missing := missing_phones():
        _warn_once(missing)
        return None
    sounds = [Utterance(wave, parts.decoder.sample_rate) for wave in waves]
    scores = [phone_likelihood(one, words) for one in sounds]
    return None if None in scores else [one for one in scores if one is not None]


@cache
def _warn_once(missing: str) -> None:
    _log.warning("%s: spoken answers are read again by the model's own phone reader", missing)


def _by_codes(
    parts: EngineParts, request: GenerateRequest, waves: Sequence[FloatArray]
) -> list[float]:
    """Return how waves read once they are encoded again; minus infinity where nothing is heard."""
    reader, words = parts.reader, request.words
    assert reader is not None and words is not None
    scores: list[float] = []
    for wave in waves:
        try:
            (codes,) = parts.tokenizer.encode([(wave, parts.decoder.sample_rate)])
        except AudioError:
            scores.append(-np.inf)
            continue
        score = reader.score(codes, words)
        scores.append(-np.inf if score is None else score)
    return scores


def _spoken(
    parts: EngineParts, request: GenerateRequest, answers: Sequence[DualCodes]
) -> list[FloatArray]:
    """Return the waves of answers."""
    speech, codes = request.utterance, request.codes
    start = codes.start if parts.decoder.flow.aligned_reference else 0.0
    features = parts.reference.encode(speech.samples, speech.sample_rate, start)
    voice = Reference(codes.interleave(), features.mel[0].numpy(), features.embedding[0].numpy())
    items = [
        DecodeInput(
            own.interleave(),
            voice,
            request.seed % 2**63,
            source_map=request.source_map(own.groups),
        )
        for own in answers
    ]
    return [wave for wave, _ in parts.decoder.speak(items)]
