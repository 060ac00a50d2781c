"""Choose among answers by how they sound once they are spoken.

Codes that read well may sound badly: what a decoder makes of them is another matter. So the best
few are decoded. A recogniser, where one is installed, is asked how likely it finds their words;
otherwise they are encoded again, and read again.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stepedit_core.alignment import Certainty
from stepedit_core.codes import DualCodes
from stepedit_core.config import GenerationPolicy
from stepedit_core.dsp.words import without_tags
from stepedit_core.engine import GenerateRequest
from stepedit_core.errors import AudioError
from stepedit_core.models.checkpoint.load import EngineParts
from stepedit_core.models.decoder.decoder import DecodeInput, Reference
from stepedit_core.utterance import Utterance

__all__ = ["count_spoken", "in_spoken_order"]

FloatArray = npt.NDArray[np.float32]

_LEAST = 1e-4
"""Probability of a word below which nothing is learned from it."""


def count_spoken(policy: GenerationPolicy, request: GenerateRequest) -> int:
    """Return how many of several answers are spoken; 1 where their codes alone are read."""
    hears = policy.hear_again > 1 and request.plan.certainty is not None
    return max(policy.read_again, policy.hear_again if hears else 1)


def in_spoken_order(
    parts: EngineParts,
    policy: GenerationPolicy,
    request: GenerateRequest,
    answers: Sequence[DualCodes],
) -> list[DualCodes]:
    """Return answers with the first few ordered by what is heard of them, equals as given.

    Args:
        parts: of the engine, with a reader.
        policy: how many are spoken.
        request: whose voice they are spoken in, and whose words they say.
        answers: as their codes read, the best one first.
    """
    count = count_spoken(policy, request)
    first = answers[:count]
    if len(first) < 2:
        return list(answers)
    waves = _spoken(parts, request, first)
    certainty = request.plan.certainty if policy.hear_again > 1 else None
    scores = (
        _read(parts, request, waves)
        if certainty is None
        else _heard(parts, request, waves, certainty)
    )
    order = np.argsort(-np.asarray(scores), kind="stable")
    return [*(first[at] for at in order), *answers[count:]]


def _heard(
    parts: EngineParts,
    request: GenerateRequest,
    waves: Sequence[FloatArray],
    certainty: Certainty,
) -> list[float]:
    """Return how likely the words of each are by ear, mean log probability of a word."""
    words = without_tags(request.words or "")
    scores = []
    for wave in waves:
        spoken = Utterance(wave, parts.decoder.sample_rate, transcript=words)
        sure = certainty(spoken)
        scores.append(float(np.log(np.maximum(sure, _LEAST)).mean()) if sure else -np.inf)
    return scores


def _read(parts: EngineParts, request: GenerateRequest, waves: Sequence[FloatArray]) -> list[float]:
    """Return how well each reads as it is encoded from its sound."""
    reader, words = parts.reader, request.words
    assert reader is not None and words is not None
    scores = []
    for wave in waves:
        try:
            (again,) = parts.tokenizer.encode([(wave, parts.decoder.sample_rate)])
        except AudioError:  # nothing is heard
            scores.append(-np.inf)
            continue
        score = reader.score(again, words)
        scores.append(-np.inf if score is None else score)
    return scores


def _spoken(
    parts: EngineParts, request: GenerateRequest, answers: Sequence[DualCodes]
) -> list[FloatArray]:
    """Return the sound of answers, float32 ``(samples,)`` each."""
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
