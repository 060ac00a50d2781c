"""Choose among answers by how they read once they are spoken.

Codes that read well may sound badly: what a decoder makes of them is another matter. So the best
few are decoded, encoded again, and read again, as whoever listens hears sound and not codes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stepedit_core.codes import DualCodes
from stepedit_core.engine import GenerateRequest
from stepedit_core.errors import AudioError
from stepedit_core.models.checkpoint.load import EngineParts
from stepedit_core.models.decoder.decoder import DecodeInput, Reference

__all__ = ["in_spoken_order"]


def in_spoken_order(
    parts: EngineParts, request: GenerateRequest, answers: Sequence[DualCodes]
) -> list[DualCodes]:
    """Return answers in the order in which they read once they are spoken, equals as given.

    Args:
        parts: of the engine, with a reader.
        request: whose voice they are spoken in, and whose words they say.
        answers: some of them.
    """
    reader, words = parts.reader, request.words
    assert reader is not None and words is not None
    scores = []
    for again in _spoken(parts, request, answers):
        score = None if again is None else reader.score(again, words)
        scores.append(-np.inf if score is None else score)
    return [answers[at] for at in np.argsort(-np.asarray(scores), kind="stable")]


def _spoken(
    parts: EngineParts, request: GenerateRequest, answers: Sequence[DualCodes]
) -> list[DualCodes | None]:
    """Return answers as they are encoded from their sound; None where nothing is heard."""
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
    rate = parts.decoder.sample_rate
    found: list[DualCodes | None] = []
    for wave, _ in parts.decoder.speak(items):
        try:
            found += parts.tokenizer.encode([(wave, rate)])
        except AudioError:
            found.append(None)
    return found
