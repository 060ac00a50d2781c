"""What an engine is shown in place of the recording: another voice, or the recording improved.

A decoder that looks sound up in its reference, at the place where the codes lie, gives back what it
finds there, noise and voice alike. Its reference is then the recording after signal processing
(`Plan.as_reference`), and so is the source whose codes are answered.

Where speech changes its pace, such a decoder works at the slower of both (`Plan.retimed`): for
slower speech its reference is the recording at the new pace; faster speech is said at the
recording's pace, each code at its place, and hurried by signal processing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from stepedit_core.codes import DualCodes
from stepedit_core.edit import Outcome
from stepedit_core.engine import DecodeRequest, GenerateRequest, SpeechEngine
from stepedit_core.errors import StepeditError
from stepedit_core.llm_route.source_map import SourceMap
from stepedit_core.plan import Plan
from stepedit_core.utterance import Utterance

__all__ = [
    "AlignedDecoder",
    "drawn_out_source",
    "hurries",
    "in_other_voice",
    "naming_reference",
    "source_shown",
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
    otherwise = "the decoder is shown the voice's recording as it is"
    moved = _made(request.plan, request.utterance, engine, otherwise)
    if moved is None:
        return DecodeRequest(output, voice, request.seed)
    places = SourceMap.identity(output)
    return DecodeRequest(output, moved, request.seed, places, None, voice)


def source_shown(plan: Plan, utterance: Utterance, engine: SpeechEngine) -> Utterance:
    """Return what an engine is to edit: the recording, or what the plan shows in place of it.

    The codes of a recording have its noise, too. A recording of which spans alone are edited, or
    whose words another voice takes over, is edited as it is.
    """
    if plan.spans or plan.voice is not None:
        return utterance
    made = _made(plan, utterance, engine, "the recording is edited as it is")
    return utterance if made is None else made


def with_reference(
    request: GenerateRequest, decoding: DecodeRequest, engine: SpeechEngine
) -> DecodeRequest:
    """Return how an answer is decoded, with what the plan shows in place of the recording."""
    if decoding.reference is not request.utterance:
        return decoding
    if hurries(request.plan, engine):
        own = replace(SourceMap.identity(request.codes), condition=request.condition)
        unhurried = decoding.codes.at_length(request.codes.groups)
        return replace(decoding, codes=unhurried, source_map=own)
    drawn_out = drawn_out_source(request.plan, request.utterance, engine)
    if drawn_out is not None:
        places = decoding.source_map and decoding.source_map.at_pace(request.plan.length_ratio)
        return replace(decoding, reference=drawn_out, source_map=places, latent=None)
    otherwise = "the decoder is shown the recording as it is"
    made = request.shown or _made(request.plan, request.utterance, engine, otherwise)
    # What the engine made the recording from has the sound that is to go.
    return decoding if made is None else replace(decoding, reference=made, latent=None)


def drawn_out_source(plan: Plan, utterance: Utterance, engine: SpeechEngine) -> Utterance | None:
    """Return the recording at a slower pace, or None where the decoder is not to be shown it."""
    if plan.retimed is None or plan.length_ratio <= 1 or plan.spans or not _looks_up(engine):
        return None
    return _tried(plan.retimed, utterance, "the decoder is shown the recording at its own pace")


def hurries(plan: Plan, engine: SpeechEngine) -> bool:
    """Return whether an answer is said at the recording's pace, and hurried afterwards."""
    is_faster = plan.retimed is not None and plan.length_ratio < 1 and not plan.spans
    return is_faster and _looks_up(engine)


def naming_reference(
    outcome: Outcome, request: GenerateRequest, decoding: DecodeRequest, engine: SpeechEngine
) -> Outcome:
    """Return an outcome whose details say so where signal processing had a part in it.

    ``pace`` says who changed the pace, ``reference`` what the decoder was shown.
    """
    plan, shown = request.plan, decoding.reference
    is_other = shown is not request.utterance and shown is not plan.voice
    told = {}
    if hurries(plan, engine) or (plan.retimed is not None and is_other):
        told["pace"] = "signal processing"
    if plan.as_reference is not None and is_other:
        told["reference"] = "signal processing"
    return replace(outcome, details={**outcome.details, **told}) if told else outcome


def _looks_up(engine: SpeechEngine) -> bool:
    """Return whether an engine's decoder looks sound up at its place in the reference."""
    says = getattr(engine, "aligns_references", None)
    return says is not None and bool(says())


def _made(
    plan: Plan, utterance: Utterance, engine: SpeechEngine, otherwise: str
) -> Utterance | None:
    """Return what the plan shows in place of the recording, or None where nothing is to be."""
    make = plan.as_reference
    return None if make is None or not _looks_up(engine) else _tried(make, utterance, otherwise)


def _tried(
    make: Callable[[Utterance], Utterance], utterance: Utterance, otherwise: str
) -> Utterance | None:
    """Return what is made of a recording; where it cannot be, say what happens, and return None."""
    try:
        return make(utterance)
    except StepeditError as error:  # no voice is heard in a recording of whispers
        _log.warning("%s: %s", otherwise, error)
        return None
