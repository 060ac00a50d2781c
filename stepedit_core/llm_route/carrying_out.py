"""Carry out edits by an engine: encode, generate, decode, and join with the source."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from stepedit_core.codes import DualCodes
from stepedit_core.edit import Edit, Outcome
from stepedit_core.engine import (
    DecodeRequest,
    GenerateRequest,
    Latent,
    SpeechEngine,
    draws_alone,
    regenerates_insertions_only,
    strength_problem,
)
from stepedit_core.errors import EngineError, counted
from stepedit_core.llm_route.answering import (
    Past,
    answers_to,
    confined,
    decoded_audio,
    decoding_of,
    gain_of,
    is_own,
    passage_of,
    usable,
)
from stepedit_core.llm_route.choosing import (
    best_fitting,
    best_heard,
    draw_seeds,
    is_chosen_by_sound,
    is_heard_in_part,
)
from stepedit_core.llm_route.infilling import replace_words
from stepedit_core.llm_route.joining import splice_groups
from stepedit_core.llm_route.level import levelled
from stepedit_core.llm_route.omissions import cut_off
from stepedit_core.llm_route.planning import request_for
from stepedit_core.llm_route.saying import Saying, saying_of, spoken
from stepedit_core.llm_route.shown import hurries, naming_reference, source_shown
from stepedit_core.llm_route.source_map import SourceMap
from stepedit_core.llm_route.timing import fit_to_source_timing
from stepedit_core.plan import Plan
from stepedit_core.utterance import Utterance

__all__ = ["Past", "apply_by_llm", "reconstructed"]


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
    for (audio, latent), one, own in zip(
        decoded_audio(engine, requests), codes, speech, strict=True
    ):
        new, _ = fit_to_source_timing(audio, one.start, own.seconds)
        new, _ = levelled(own, new, (0.0, 0.0), gain_of(latent))
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
        counts = f"{counted(len(edits), 'edit')} for {counted(len(utterances), 'utterance')}"
        raise EngineError(f"{counts}: give one for each")
    nothing = [None] * len(utterances)
    known_plans = [
        edit.plan(speech) if plan is None else plan
        for edit, speech, plan in zip(edits, utterances, plans or nothing, strict=True)
    ]
    given = [
        _Given(*one)
        for one in zip(
            edits, utterances, codes or nothing, latents or nothing, pasts or nothing, strict=True
        )
    ]
    for plan in known_plans:
        if plan.strength != 1.0 and (problem := strength_problem(engine, plan)):
            raise EngineError(problem)
    listened = [plan for plan in known_plans if plan.fits is not None]
    if any(plan.replacements for plan in known_plans) or any(
        is_chosen_by_sound(engine, plan) for plan in listened
    ):
        return _one_by_one(given, known_plans, seeds, engine, keep_latent)
    asked = _asked(given, known_plans, seeds, engine)
    at_once = iter(_at_once([one for one in asked if not one.saying], engine, keep_latent))
    return [
        _by_phrases(one, one.saying, engine, keep_latent) if one.saying else next(at_once)
        for one in asked
    ]


class _Given(NamedTuple):
    """What the caller gives of one edit of one utterance; arguments as of `apply_by_llm`."""

    edit: Edit
    utterance: Utterance
    codes: DualCodes | None
    latent: Latent | None
    past: Past | None


@dataclass(frozen=True)
class _Asked:
    """One edit of one utterance, and what is known of it."""

    edit: Edit
    request: GenerateRequest
    latent: Latent | None
    past: Past | None
    saying: Saying | None


def _asked(
    given: Sequence[_Given], plans: Sequence[Plan], seeds: Sequence[int], engine: SpeechEngine
) -> list[_Asked]:
    """Return what is asked of an engine, with the utterances' codes."""
    latents = [
        None if one.latent is None else usable(one.latent, engine, one.utterance) for one in given
    ]
    # A batch cleans each recording once: its codes and its reference are of the same sound.
    shown = [
        one.utterance if plan.as_reference is None else source_shown(plan, one.utterance, engine)
        for one, plan in zip(given, plans, strict=True)
    ]
    sources = _source_codes(given, shown, latents, engine)
    asked = []
    for one, latent, source, sound, plan, seed in zip(
        given, latents, sources, shown, plans, seeds, strict=True
    ):
        alone = regenerates_insertions_only(engine, plan)
        request = request_for(
            one.edit, one.utterance, source, seed, plan=plan, insertions_only=alone
        )
        if sound is not one.utterance:
            request = replace(request, shown=sound)
        saying = saying_of(one.edit, request, engine)
        asked.append(_Asked(one.edit, request, latent, one.past, saying))
    return asked


def _source_codes(
    given: Sequence[_Given],
    shown: Sequence[Utterance],
    latents: Sequence[Latent | None],
    engine: SpeechEngine,
) -> list[DualCodes]:
    """Return the codes of each utterance: given, those that it was made from, or encoded.

    Where something else is shown in place of a recording, that is encoded.
    """
    known = [
        None
        if sound is not one.utterance
        else latent.codes
        if one.codes is None and latent is not None
        else one.codes
        for one, latent, sound in zip(given, latents, shown, strict=True)
    ]
    unknown = [sound for sound, codes in zip(shown, known, strict=True) if codes is None]
    encoded = iter(engine.encode(unknown)) if unknown else iter(())
    return [next(encoded) if codes is None else codes for codes in known]


def _at_once(asked: Sequence[_Asked], engine: SpeechEngine, keep_latent: bool) -> Iterator[Outcome]:
    """Carry out edits whose answers are made and decoded in one batch."""
    yield from _finished(_answered(asked, engine), engine, keep_latent)


_Answered = tuple[GenerateRequest, DualCodes, DecodeRequest]


def _answered(asked: Sequence[_Asked], engine: SpeechEngine) -> list[_Answered]:
    """Return each request with its answer, made in one batch, and how that is decoded."""
    requests = [one.request for one in asked]
    answers = answers_to([one.edit for one in asked], requests, engine)
    outputs = [
        output if request.free is None else confined(output, request.codes, request.free, engine)
        for output, request in zip(answers, requests, strict=True)
    ]
    return [
        (one.request, output, decoding_of(one.request, output, one.latent, one.past, engine))
        for output, one in zip(outputs, asked, strict=True)
    ]


def _finished(
    answered: Sequence[_Answered], engine: SpeechEngine, keep_latent: bool
) -> Iterator[Outcome]:
    """Decode answers in one batch, and bring them to their sources' timing and level."""
    decoding = [how for _, _, how in answered]
    decoded = decoded_audio(engine, decoding) if decoding else []
    for (request, output, how), (audio, latent) in zip(answered, decoded, strict=True):
        made = _outcome(request, output, audio, latent, keep_latent, engine)
        yield naming_reference(made, request, how, engine)


def _by_phrases(asked: _Asked, saying: Saying, engine: SpeechEngine, keep_latent: bool) -> Outcome:
    """Carry out an edit that says a text of its own, phrase by phrase."""
    request = asked.request

    gains = []

    def decode(codes: DualCodes) -> tuple[Utterance, Latent | None]:
        how = decoding_of(request, codes, asked.latent, asked.past, engine)
        ((audio, latent),) = decoded_audio(engine, [how])
        gains.append(gain_of(latent))
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


def _one_by_one(
    given: Sequence[_Given],
    plans: Sequence[Plan],
    seeds: Sequence[int],
    engine: SpeechEngine,
    keep_latent: bool,
) -> list[Outcome]:
    """Carry out edits of which some are batches of draws: replaced words, and chosen sounds."""
    outcomes = []
    for one, plan, seed in zip(given, plans, seeds, strict=True):
        if plan.replacements:
            outcomes.append(replace_words(one.utterance, plan, engine, seed))
        elif is_chosen_by_sound(engine, plan):
            outcomes.append(_best_sound(one, plan, engine, seed, keep_latent))
        else:
            outcomes += _drawn(one, plan, [seed], engine, keep_latent)
    return outcomes


def _drawn(
    given: _Given, plan: Plan, seeds: Sequence[int], engine: SpeechEngine, keep_latent: bool
) -> list[Outcome]:
    """Carry out one edit of one utterance with several seeds."""
    n = len(seeds)
    return apply_by_llm(
        [given.edit] * n, [given.utterance] * n, engine, seeds, [given.codes] * n,
        plans=[plan] * n, latents=[given.latent] * n, keep_latent=keep_latent,
        pasts=[given.past] * n,
    )  # fmt: skip


def _best_sound(
    given: _Given, plan: Plan, engine: SpeechEngine, seed: int, keep_latent: bool
) -> Outcome:
    """Carry out an edit whose draws are listened to: in part where the engine can, or whole."""
    seeds, alone = draw_seeds(seed, draws_alone(engine, plan)), plan.but(fits=None)
    asked = _asked([given] * len(seeds), [alone] * len(seeds), seeds, engine)
    if not is_heard_in_part(engine, [one.request for one in asked]):

        def whole(seeds: Sequence[int]) -> list[Outcome]:
            return _drawn(given, alone, seeds, engine, keep_latent)

        return best_fitting(plan, seeds, whole)
    answered = _answered(asked, engine)

    def finished(place: int) -> Outcome:
        return next(_finished([answered[place]], engine, keep_latent))

    drawn = [(request, how) for request, _, how in answered]
    return best_heard(plan, drawn, engine, finished)


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
    if hurries(plan, engine):
        return _hurried(request, output, audio, gain_of(latent))
    start = output.start
    if plan.uniform_tempo or is_own(plan, engine):
        whole = output.groups / request.codes.groups
        ratio = request.length_ratio if plan.uniform_tempo else whole
        audio, start = fit_to_source_timing(
            audio, request.codes.start * ratio, utterance.seconds * ratio
        )
        output = dataclasses.replace(output, start=start)
    passage = passage_of(request, engine)
    if passage is not None:
        before, behind = cut_off(request.codes, plan.omissions or (), utterance.seconds)
        # Whole groups may pass the end of the source, which nothing that is left out makes longer.
        seconds = min(before + audio.seconds + behind, utterance.seconds)
        audio, start = fit_to_source_timing(audio, before, seconds)
        output = dataclasses.replace(output, start=start)
    audio, gain = levelled(utterance, audio, plan.level, gain_of(latent))
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


def _hurried(request: GenerateRequest, output: DualCodes, audio: Utterance, gain: float) -> Outcome:
    """Bring an answer that was said at its source's pace to its own; nothing is left to go on from.

    Raises:
        StepeditError: if signal processing fails.
    """
    source, plan = request.utterance, request.plan
    assert plan.retimed is not None
    spoken, _ = fit_to_source_timing(audio, request.codes.start, source.seconds)
    spoken, gain = levelled(source, spoken, plan.level, gain)
    edited = plan.retimed(spoken).replace(transcript=plan.words_after, language=source.language)
    output = dataclasses.replace(output, start=request.codes.start * request.length_ratio)
    details = {"groups": output.groups, "gain_db": round(20 * math.log10(gain), 2)}
    return Outcome(edited, "llm", output, {**details, **_notes(plan, source)})


def _notes(plan: Plan, utterance: Utterance) -> dict[str, list[str]]:
    """Return what an edit has to say of a recording, as a detail; empty where it is nothing."""
    said = () if plan.notes is None else plan.notes(utterance)
    return {"notes": list(said)} if said else {}
