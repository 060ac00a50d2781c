"""Carry out edits by an engine: encode, generate, decode, and join with the source."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stepedit_core.codes import (
    DualCodes,
    FreeGroups,
    growth,
    splice_codes,
)
from stepedit_core.edit import Edit, Outcome
from stepedit_core.engine import (
    DecodeRequest,
    GenerateRequest,
    Latent,
    SpeechEngine,
    answers_with_own_codes,
    follows_source,
    keeps_latents,
    regenerates_insertions_only,
    strength_problem,
)
from stepedit_core.errors import EngineError, counted
from stepedit_core.llm_route import shown
from stepedit_core.llm_route.choosing import best_fitting, is_chosen_by_sound
from stepedit_core.llm_route.infilling import replace_words
from stepedit_core.llm_route.joining import splice_groups
from stepedit_core.llm_route.level import levelled
from stepedit_core.llm_route.omissions import Passage, cut_off
from stepedit_core.llm_route.planning import request_for
from stepedit_core.llm_route.saying import Saying, saying_of, spoken
from stepedit_core.llm_route.source_map import SourceMap
from stepedit_core.llm_route.stretches import in_stretches, joined_codes
from stepedit_core.llm_route.timing import fit_to_source_timing
from stepedit_core.plan import Plan
from stepedit_core.utterance import Utterance

__all__ = ["Past", "apply_by_llm", "reconstructed"]


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


def reconstructed(
    engine: SpeechEngine, speech: Sequence[Utterance], seeds: Sequence[int]
) -> list[Utterance]:
    """Return utterances encoded and decoded again, each in its own voice and timing.

    Args:
        engine: does both.
        speech: what to take there and back.
        seeds: of the decoder, one for each.
    """
    codes = engine.encode(speech)
    requests = [
        DecodeRequest(one, own, seed, SourceMap.identity(one))
        for one, own, seed in zip(codes, speech, seeds, strict=True)
    ]
    made = []
    for (audio, latent), one, own in zip(_decoded(engine, requests), codes, speech, strict=True):
        new, _ = fit_to_source_timing(audio, one.start, own.seconds)
        new, _ = levelled(own, new, (0.0, 0.0), _gain(latent))
        made.append(new.replace(transcript=own.transcript, language=own.language))
    return made


def apply_by_llm(
    edits: Sequence[Edit],
    utterances: Sequence[Utterance],
    engine: SpeechEngine,
    seeds: Sequence[int],
    codes: Sequence[DualCodes | None] | None = None,
    *,
    plans: Sequence[Plan] | None = None,
    latents: Sequence[Latent | None] | None = None,
    keep_latent: bool = False,
    pasts: Sequence[Past | None] | None = None,
) -> list[Outcome]:
    """Carry out edits in one batch: encode, generate, decode.

    Outside a plan's spans the codes and the samples stay the source's own; outside its
    insertions, too, where the engine generates these alone.

    Args:
        edits: one for each utterance.
        utterances: what to edit.
        engine: does the work.
        seeds: one for each utterance.
        codes: codes that are known already, carried over from the step before.
        plans: one for each utterance; None asks the edits.
        latents: what the engine made the utterances from, as far as that is known.
        keep_latent: keep what the outcomes are made from, where the engine can go on from it.
        pasts: what earlier steps of a chain tell the decoder.

    Raises:
        RouteError: if an edit has no prompt.
        EngineError: if the engine cannot do what is asked.
    """
    if len(edits) != len(utterances):
        given = f"{counted(len(edits), 'edit')} for {counted(len(utterances), 'utterance')}"
        raise EngineError(f"{given}: give one for each")
    nothing = [None] * len(utterances)
    known_plans = [
        edit.plan(speech) if plan is None else plan
        for edit, speech, plan in zip(edits, utterances, plans or nothing, strict=True)
    ]
    for plan in known_plans:
        if plan.strength != 1.0 and (problem := strength_problem(engine, plan)):
            raise EngineError(problem)
    listened = [plan for plan in known_plans if plan.fits is not None]
    if any(plan.replacements for plan in known_plans) or any(
        is_chosen_by_sound(engine, plan) for plan in listened
    ):
        return _one_by_one(
            edits, utterances, engine, seeds, codes or nothing, known_plans, latents or nothing,
            keep_latent, pasts or nothing,
        )  # fmt: skip
    known = [
        _usable(latent, engine, utterance)
        for latent, utterance in zip(latents or nothing, utterances, strict=True)
    ]
    sources = _source_codes(engine, utterances, codes or nothing, known)
    requests = []
    for edit, speech, source, seed, plan in zip(
        edits, utterances, sources, seeds, known_plans, strict=True
    ):
        alone = regenerates_insertions_only(engine, plan)
        requests.append(request_for(edit, speech, source, seed, plan=plan, insertions_only=alone))
    asked = [
        _Asked(edit, request, latent, past, saying_of(edit, request, engine))
        for edit, request, latent, past in zip(
            edits, requests, known, pasts or nothing, strict=True
        )
    ]
    at_once = iter(_at_once([one for one in asked if not one.saying], engine, keep_latent))
    return [
        _by_phrases(one, one.saying, engine, keep_latent) if one.saying else next(at_once)
        for one in asked
    ]


_Given = tuple[Edit, Utterance, DualCodes | None, Latent | None, Past | None]


@dataclass(frozen=True)
class _Asked:
    """One edit of one utterance, and what is known of it."""

    edit: Edit
    request: GenerateRequest
    latent: Latent | None
    past: Past | None
    saying: Saying | None


def _at_once(asked: Sequence[_Asked], engine: SpeechEngine, keep_latent: bool) -> Iterator[Outcome]:
    """Carry out edits whose answers are made and decoded in one batch."""
    requests = [one.request for one in asked]
    answers = _answers([one.edit for one in asked], requests, engine)
    outputs = [
        output if request.free is None else _confined(output, request.codes, request.free, engine)
        for output, request in zip(answers, requests, strict=True)
    ]
    decoding = [
        _decoding(one.request, output, one.latent, one.past, engine)
        for output, one in zip(outputs, asked, strict=True)
    ]
    decoded = _decoded(engine, decoding) if decoding else []
    for request, output, how, made_of in zip(requests, outputs, decoding, decoded, strict=True):
        audio, latent = shown.after_decoding(request, how, *made_of)
        made = _outcome(request, output, audio, latent, keep_latent, engine)
        yield shown.naming_reference(made, request, how)


def _by_phrases(asked: _Asked, saying: Saying, engine: SpeechEngine, keep_latent: bool) -> Outcome:
    """Carry out an edit that says a text of its own, phrase by phrase."""
    request = asked.request

    gains = []

    def decode(codes: DualCodes) -> tuple[Utterance, Latent | None]:
        how = _decoding(request, codes, asked.latent, asked.past, engine)
        ((audio, latent),) = _decoded(engine, [how])
        gains.append(_gain(latent))
        return audio, latent

    audio, codes, latent, facts = spoken(saying, engine, decode, request.seed)
    # All passes have one reference, and so one gain.
    edited, gain = levelled(request.utterance, audio, request.plan.level, gains[0])
    edited = edited.replace(
        transcript=request.plan.words_after, language=request.utterance.language
    )
    kept = latent.of(edited, 0.0, gain) if latent is not None and keep_latent else None
    notes = [*saying.notes, *_notes(request.plan, request.utterance).get("notes", [])]
    facts["gain_db"] = round(20 * math.log10(gain), 2)
    return Outcome(edited, "llm", codes, {**facts, **({"notes": notes} if notes else {})}, kept)


def _decoding(
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
        return shown.in_other_voice(request, output, request.plan.voice, engine)
    voice = None if past is None or past.voice is request.utterance else past.voice
    earlier = None if past is None else past.reference
    whole = request.free is None and not request.plan.uniform_tempo
    if past is None or earlier is None or earlier is request.utterance or not whole:
        source_map = _source_map(request, output, engine)
        plain = DecodeRequest(output, request.utterance, request.seed, source_map, latent, voice)
        return shown.with_reference(request, plain, engine)
    source_map = SourceMap.build(
        output.groups, None, condition=request.condition, strength=request.plan.strength
    )
    known = _usable(past.latent, engine, earlier)
    return DecodeRequest(output, earlier, request.seed, source_map, known, voice)


def _source_map(request: GenerateRequest, output: DualCodes, engine: SpeechEngine) -> SourceMap:
    """Return where an answer lies in the recording that was edited, as far as that is known."""
    passage = _passage(request, engine)
    if passage is None:
        return request.source_map(output.groups, is_own=_is_own(request.plan, engine))
    # All that is said is the source's own, and what is left out changes nothing of it.
    return SourceMap(passage.positions(output), start=request.codes.start)


def _passage(request: GenerateRequest, engine: SpeechEngine) -> Passage | None:
    """Return the ways through its source that an answer is held to, or None where it is not."""
    return request.passage() if follows_source(engine, request.plan) else None


def _is_own(plan: Plan, engine: SpeechEngine) -> bool:
    """Return whether an answer is the source's own codes at the pace that the edit plans."""
    return not plan.keeps_codes and answers_with_own_codes(engine, plan)


def _answers(
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
        if _is_own(request.plan, engine)
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


def _one_by_one(
    edits: Sequence[Edit],
    utterances: Sequence[Utterance],
    engine: SpeechEngine,
    seeds: Sequence[int],
    codes: Sequence[DualCodes | None],
    plans: Sequence[Plan],
    latents: Sequence[Latent | None],
    keep_latent: bool,
    pasts: Sequence[Past | None],
) -> list[Outcome]:
    """Carry out edits of which some are batches of draws: replaced words, and chosen sounds."""
    outcomes = []
    asked = zip(edits, utterances, codes, latents, pasts, strict=True)
    for one, seed, plan in zip(asked, seeds, plans, strict=True):
        if plan.replacements:
            outcomes.append(replace_words(one[1], plan, engine, seed))
            continue

        def drawn(plan: Plan, seeds: Sequence[int], one: _Given = one) -> list[Outcome]:
            edit, speech, own, latent, past = one
            n = len(seeds)
            return apply_by_llm(
                [edit] * n, [speech] * n, engine, seeds, [own] * n,
                plans=[plan] * n, latents=[latent] * n, keep_latent=keep_latent, pasts=[past] * n,
            )  # fmt: skip

        if is_chosen_by_sound(engine, plan):
            outcomes.append(best_fitting(plan, engine, seed, drawn))
        else:
            outcomes += drawn(plan, [seed])
    return outcomes


def _usable(latent: Latent | None, engine: SpeechEngine, utterance: Utterance) -> Latent | None:
    """Return a latent that an engine can begin with, for it belongs to this very sound."""
    if latent is None or not keeps_latents(engine) or not engine.accepts(latent):
        return None
    return latent if latent.digest == utterance.digest else None


def _source_codes(
    engine: SpeechEngine,
    utterances: Sequence[Utterance],
    given: Sequence[DualCodes | None],
    latents: Sequence[Latent | None],
) -> list[DualCodes]:
    """Return the codes of each utterance: given, those that it was made from, or encoded."""
    known = [
        own if own is not None or latent is None else latent.codes
        for own, latent in zip(given, latents, strict=True)
    ]
    unknown = [u for u, codes in zip(utterances, known, strict=True) if codes is None]
    encoded = iter(engine.encode(unknown)) if unknown else iter(())
    return [next(encoded) if codes is None else codes for codes in known]


def _decoded(
    engine: SpeechEngine, requests: Sequence[DecodeRequest]
) -> list[tuple[Utterance, Latent | None]]:
    """Return audio, with what it was made from where the engine keeps that."""
    if keeps_latents(engine):
        return list(engine.decode_keeping(requests))
    return [(audio, None) for audio in engine.decode(requests)]


def _gain(latent: Latent | None) -> float:
    """Return what brings decoded audio to its reference's level, as far as the engine says."""
    return 1.0 if latent is None else latent.gain


def _outcome(
    request: GenerateRequest,
    output: DualCodes,
    audio: Utterance,
    latent: Latent | None,
    keep_latent: bool,
    engine: SpeechEngine,
) -> Outcome:
    """Give decoded audio its source's timing and level, or join it with the source."""
    utterance, plan = request.utterance, request.plan
    if request.free is not None:
        edited, joins = splice_groups(utterance, audio, request.codes, request.free, plan.level)
        edited = edited.replace(transcript=plan.words_after)
        return Outcome(edited, "llm", output, {**joins, **_notes(plan, utterance)})
    start = output.start
    if plan.uniform_tempo or _is_own(plan, engine):
        whole = output.groups / request.codes.groups
        ratio = request.length_ratio if plan.uniform_tempo else whole
        audio, start = fit_to_source_timing(
            audio, request.codes.start * ratio, utterance.seconds * ratio
        )
        output = dataclasses.replace(output, start=start)
    passage = _passage(request, engine)
    if passage is not None:
        before, behind = cut_off(request.codes, plan.omissions or (), utterance.seconds)
        # Whole groups may pass the end of the source, which nothing that is left out makes longer.
        seconds = min(before + audio.seconds + behind, utterance.seconds)
        audio, start = fit_to_source_timing(audio, before, seconds)
        output = dataclasses.replace(output, start=start)
    audio, gain = levelled(utterance, audio, plan.level, _gain(latent))
    edited = audio.replace(transcript=plan.words_after, language=utterance.language)
    if passage is not None and utterance.alignment is not None:
        to = passage.time_map(output, request.codes.start)
        moved = utterance.alignment.moved(lambda second: start + to(second))
        edited = edited.replace(alignment=moved)
    kept = latent.of(edited, start, gain) if latent is not None and keep_latent else None
    details: dict[str, Any] = {
        "groups": output.groups,
        "gain_db": round(20 * math.log10(gain), 2),
    }
    if passage is not None:
        details["follows_source"] = True
    if plan.voice is not None:
        details["voice"] = plan.voice.digest
    return Outcome(edited, "llm", output, {**details, **_notes(plan, utterance)}, kept)


def _notes(plan: Plan, utterance: Utterance) -> dict[str, list[str]]:
    """Return what an edit has to say of a recording, as a detail; empty where it is nothing."""
    said = () if plan.notes is None else plan.notes(utterance)
    return {"notes": list(said)} if said else {}


def _confined(
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
