"""What the decoder is shown in place of the recording: another voice, or the recording improved.

A decoder that looks sound up in its reference, at the place where the codes lie, gives back what it
finds there, noise and voice alike. Its reference is then the recording after signal processing
(`Plan.as_reference`); the codes stay the model's answer. What the decoder gives back of the old
sound, signal processing may take away afterwards (`Plan.after_decoding`).
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Protocol

from stepedit_core.codes import DualCodes
from stepedit_core.edit import Outcome
from stepedit_core.engine import DecodeRequest, GenerateRequest, Latent, SpeechEngine
from stepedit_core.errors import StepeditError
from stepedit_core.llm_route.source_map import SourceMap
from stepedit_core.utterance import Utterance

__all__ = [
    "AlignedDecoder",
    "after_decoding",
    "in_other_voice",
    "naming_reference",
    "with_reference",
]

_log = logging.getLogger(__name__)


class AlignedDecoder(Protocol):
    """Optional ability of an engine: its decoder looks sound up in the reference at its place."""

    def aligns_references(self) -> bool:
        """Whether a reference that says the source's words at its pace serves better."""


def in_other_voice(
    request: GenerateRequest, output: DualCodes, voice: Utterance, engine: SpeechEngine
) -> DecodeRequest:
    """Return how the source's own codes are decoded in another voice.

    A decoder that looks sound up at its place finds none in a recording of other words: it is
    shown the source, moved towards the voice (`Plan.as_reference`), and the voice's own speaker
    vector.
    """
    moved = _made(request, engine, "the decoder is shown the voice's recording as it is")
    if moved is None:
        return DecodeRequest(output, voice, request.seed)
    places = SourceMap.identity(output)
    return DecodeRequest(output, moved, request.seed, places, None, voice)


def with_reference(
    request: GenerateRequest, decoding: DecodeRequest, engine: SpeechEngine
) -> DecodeRequest:
    """Return how an answer is decoded, with what the plan shows in place of the recording."""
    made = _made(request, engine, "the decoder is shown the recording as it is")
    if made is None or decoding.reference is not request.utterance:
        return decoding
    # What the engine made the recording from has the sound that is to go.
    return replace(decoding, reference=made, latent=None)


def naming_reference(
    outcome: Outcome, request: GenerateRequest, decoding: DecodeRequest
) -> Outcome:
    """Return an outcome whose details say so where the decoder was shown `Plan.as_reference`."""
    if not _is_shown(request, decoding):
        return outcome
    by = "signal processing"
    after = {} if request.plan.after_decoding is None else {"after_decoding": by}
    return replace(outcome, details={**outcome.details, "reference": by, **after})


def after_decoding(
    request: GenerateRequest, decoding: DecodeRequest, audio: Utterance, latent: Latent | None
) -> tuple[Utterance, Latent | None]:
    """Return decoded audio after `Plan.after_decoding`, where the plan's reference was shown.

    What the engine made it from has the sound that goes, and is not handed on.
    """
    change = request.plan.after_decoding
    if change is None or not _is_shown(request, decoding):
        return audio, latent
    return change(request.utterance, audio), None


def _is_shown(request: GenerateRequest, decoding: DecodeRequest) -> bool:
    """Return whether the decoder was shown `Plan.as_reference`."""
    plan, shown = request.plan, decoding.reference
    return not (plan.as_reference is None or shown is request.utterance or shown is plan.voice)


def _made(request: GenerateRequest, engine: SpeechEngine, otherwise: str) -> Utterance | None:
    """Return what the plan shows in place of the recording, or None where nothing is to be."""
    make = request.plan.as_reference
    says = getattr(engine, "aligns_references", None)
    if make is None or says is None or not says():
        return None
    try:
        return make(request.utterance)
    except StepeditError as error:  # no voice is heard in a recording of whispers
        _log.warning("%s: %s", otherwise, error)
        return None
