"""From an edit's request to sound: the codes that answer it, and how they are decoded."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stepedit_core.codes import DualCodes, FreeGroups, growth, splice_codes
from stepedit_core.edit import Edit
from stepedit_core.engine import (
    DecodeRequest,
    GenerateRequest,
    Latent,
    SpeechEngine,
    answers_with_own_codes,
    follows_source,
    keeps_latents,
)
from stepedit_core.errors import EngineError
from stepedit_core.llm_route.omissions import Passage
from stepedit_core.llm_route.shown import in_other_voice, with_reference
from stepedit_core.llm_route.source_map import SourceMap
from stepedit_core.llm_route.stretches import in_stretches, joined_codes
from stepedit_core.plan import Plan
from stepedit_core.utterance import Utterance

__all__ = [
    "Past",
    "answers_to",
    "confined",
    "decoded_audio",
    "decoding_of",
    "gain_of",
    "is_own",
    "passage_of",
    "usable",
]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Past:
    """What a chain's earlier steps tell the decoder.

    Attributes:
        reference: what it speaks from instead of the utterance that is edited: what the present
            run of labels began with; None: that utterance.
        latent: what the engine made the reference from, where that is known.
        voice: whose speaker vector: the first recording's.
    """

    reference: Utterance | None = None
    latent: Latent | None = None
    voice: Utterance | None = None


def usable(latent: Latent | None, engine: SpeechEngine, utterance: Utterance) -> Latent | None:
    """Return a latent that an engine can begin with, for it belongs to this very sound."""
    if latent is None or not keeps_latents(engine) or not engine.accepts(latent):
        return None
    return latent if latent.digest == utterance.digest else None


def answers_to(
    edits: Sequence[Edit], requests: Sequence[GenerateRequest], engine: SpeechEngine
) -> list[DualCodes]:
    """Return the codes to decode for each request: the model's, or the source's own.

    Those of long utterances are made in stretches. The source's own are as they are, or at the
    pace that the edit plans where the engine does the rest by its decoder.
    """
    own_codes = [
        request.codes
        if request.plan.keeps_codes
        else request.own_codes()
        if is_own(request.plan, engine)
        else None
        for request in requests
    ]
    parts: list[list[GenerateRequest]] = []
    for edit, request, own in zip(edits, requests, own_codes, strict=True):
        if own is not None:
            parts.append([])
        elif follows_source(engine, request.plan):  # its way needs no short stretches
            _log.info("%s: the answer is held to the source's own codes in their order", edit.name)
            parts.append([request])
        else:
            parts.append(in_stretches(edit, request, engine))
    asked = [one for own in parts for one in own]
    made = iter(engine.generate(asked) if asked else ())
    return [
        joined_codes([next(made) for _ in part]) if own is None else own
        for part, own in zip(parts, own_codes, strict=True)
    ]


def is_own(plan: Plan, engine: SpeechEngine) -> bool:
    """Return whether an answer is the source's own codes at the pace that the edit plans."""
    return not plan.keeps_codes and answers_with_own_codes(engine, plan)


def confined(
    output: DualCodes, source: DualCodes, free: tuple[FreeGroups, ...], engine: SpeechEngine
) -> DualCodes:
    """Return an output whose groups outside the free ones are the source's, and begin there.

    Raises:
        EngineError: if the engine changed what it was told to copy, or gave another length.
    """
    expected = source.groups + growth(free)
    if output.groups != expected:
        raise EngineError(
            f"engine {engine.name!r} returned {output.groups} groups for a confined generation "
            f"of {expected}; it cannot carry out partial edits, use another engine or route dsp"
        )
    confined = splice_codes(source, output, free)
    if not np.array_equal(confined.interleave(), output.interleave()):
        raise EngineError(
            f"engine {engine.name!r} changed codes outside the spans; it cannot carry out "
            "partial edits, use another engine or route dsp"
        )
    return confined


def decoding_of(
    request: GenerateRequest,
    output: DualCodes,
    latent: Latent | None,
    past: Past | None,
    engine: SpeechEngine,
) -> DecodeRequest:
    """Return how an answer is decoded: from the utterance that was edited, or from an earlier one.

    Where the answer lies in an earlier one is not known; its label is. The recording of another
    voice is not the codes' source.
    """
    if request.plan.voice is not None:
        return in_other_voice(request, output, request.plan.voice, engine)
    voice = None if past is None or past.voice is request.utterance else past.voice
    earlier = None if past is None else past.reference
    whole = request.free is None and not request.plan.uniform_tempo
    if past is None or earlier is None or earlier is request.utterance or not whole:
        source_map = _source_map(request, output, engine)
        plain = DecodeRequest(output, request.utterance, request.seed, source_map, latent, voice)
        return with_reference(request, plain, engine)
    source_map = SourceMap.build(
        output.groups, None, condition=request.condition, strength=request.plan.strength
    )
    known = usable(past.latent, engine, earlier)
    return DecodeRequest(output, earlier, request.seed, source_map, known, voice)


def _source_map(request: GenerateRequest, output: DualCodes, engine: SpeechEngine) -> SourceMap:
    """Return where an answer lies in the recording that was edited, as far as that is known."""
    passage = passage_of(request, engine)
    if passage is None:
        return request.source_map(output.groups, is_own=is_own(request.plan, engine))
    # All that is said is the source's own, and what is left out changes nothing of it.
    return SourceMap(passage.positions(output), start=request.codes.start)


def passage_of(request: GenerateRequest, engine: SpeechEngine) -> Passage | None:
    """Return the ways through its source that an answer is held to, or None where it is not."""
    return request.passage() if follows_source(engine, request.plan) else None


def decoded_audio(
    engine: SpeechEngine, requests: Sequence[DecodeRequest]
) -> list[tuple[Utterance, Latent | None]]:
    """Return audio, with what it was made from where the engine keeps that."""
    if keeps_latents(engine):
        return list(engine.decode_keeping(requests))
    return [(audio, None) for audio in engine.decode(requests)]


def gain_of(latent: Latent | None) -> float:
    """Return what brings decoded audio to its reference's level, as far as the engine says."""
    return 1.0 if latent is None else latent.gain
