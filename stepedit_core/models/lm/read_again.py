"""Choose among answers by how they sound once they are spoken.

Codes that read well may sound badly: what a decoder makes of them is another matter. So the best
few are decoded. A recogniser, where one is installed, is asked how likely it finds their words;
otherwise they are encoded again, and read again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

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

AT_ONCE = 2
"""Answers that are spoken in one batch where they are heard: often a first one is good enough."""
_LEAST = 1e-4
"""Probability of a word below which nothing is learned from it."""
_SURE = -0.4
"""Mean log probability of a word from which on no other answer is spoken."""


def count_spoken(policy: GenerationPolicy, request: GenerateRequest) -> int:
    """Return how many of several answers are spoken at most; 1 where codes alone are read."""
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
    first = answers[: count_spoken(policy, request)]
    if len(first) < 2:
        return list(answers)
    certainty = request.plan.certainty if policy.hear_again > 1 else None
    if certainty is None:
        scores = _read(parts, request, _spoken(parts, request, first, len(first)))
    else:
        scores = _heard(request, _spoken(parts, request, first, AT_ONCE), certainty)
    order = np.argsort(-np.asarray(scores), kind="stable")
    return [*(first[at] for at in order), *answers[len(scores) :]]


def _heard(
    request: GenerateRequest, spoken: Iterator[list[Utterance]], certainty: Certainty
) -> list[float]:
    """Return how likely the words of each are by ear, mean log probability of a word.

    The first batch that has an answer of `_SURE` is the last one.
    """
    words = without_tags(request.words or "")
    scores: list[float] = []
    for batch in spoken:
        for audio in batch:
            sure = certainty(audio.replace(transcript=words))
            scores.append(float(np.log(np.maximum(sure, _LEAST)).mean()) if sure else -np.inf)
        if max(scores) >= _SURE:
            break
    return scores


def _read(
    parts: EngineParts, request: GenerateRequest, spoken: Iterator[list[Utterance]]
) -> list[float]:
    """Return how well each reads as it is encoded from its sound."""
    reader, words = parts.reader, request.words
    assert reader is not None and words is not None
    scores: list[float] = []
    for audio in (audio for batch in spoken for audio in batch):
        try:
            (again,) = parts.tokenizer.encode([(audio.samples, audio.sample_rate)])
        except AudioError:  # nothing is heard
            scores.append(-np.inf)
            continue
        score = reader.score(again, words)
        scores.append(-np.inf if score is None else score)
    return scores


def _spoken(
    parts: EngineParts, request: GenerateRequest, answers: Sequence[DualCodes], at_once: int
) -> Iterator[list[Utterance]]:
    """Yield the sound of answers, so many at once."""
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
    for begin in range(0, len(items), at_once):
        spoken = parts.decoder.speak(items[begin : begin + at_once])
        yield [Utterance(wave, parts.decoder.sample_rate) for wave, _ in spoken]
