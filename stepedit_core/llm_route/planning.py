"""The llm route: prompts to an engine, for one utterance or a batch, whole or confined to spans."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from stepedit_core.codes import GROUP_SECONDS, DualCodes
from stepedit_core.dsp.offset import offset_of
from stepedit_core.dsp.splicing import Patch, splice, splice_codes
from stepedit_core.edit import Edit, Insertion, Outcome
from stepedit_core.engine import (
    FreeGroups,
    GenerateRequest,
    KeepingEngine,
    SpeechEngine,
    answer_starts,
)
from stepedit_core.errors import EngineError, RouteError
from stepedit_core.llm_route.timing import on_clock
from stepedit_core.utterance import Span, Utterance

__all__ = [
    "apply_by_llm",
    "free_groups",
    "inserted_groups",
    "keeps_rest",
    "request_for",
    "span_ratio",
]


def span_ratio(spans: tuple[Span, ...], utterance: Utterance, ratio: float) -> float:
    """Return how much the spans grow, where the whole utterance grows by ``ratio``.

    What lies outside the spans keeps its length, so all growth happens inside.
    """
    inside = sum(span.seconds for span in spans)
    return max(0.0, 1 + (ratio - 1) * utterance.seconds / max(inside, GROUP_SECONDS))


def free_groups(spans: tuple[Span, ...], codes: DualCodes, ratio: float) -> tuple[FreeGroups, ...]:
    """Return the 120 ms groups that lie wholly inside the spans.

    Args:
        spans: in seconds of the utterance that ``codes`` encode.
        codes: its codes; they may begin later than the utterance.
        ratio: expected length of the spans after the edit over before.

    Raises:
        EngineError: if a span holds no whole group, so that nothing could be generated for it.
    """
    free = []
    for span in sorted(spans):
        start = max(0, int(np.ceil((span.start - codes.start) / GROUP_SECONDS - 1e-6)))
        stop = min(codes.groups, int(np.floor((span.end - codes.start) / GROUP_SECONDS + 1e-6)))
        if stop <= start:
            raise EngineError(
                f"span ({span.start:g}, {span.end:g}) holds no whole group of "
                f"{GROUP_SECONDS * 1000:.0f} ms of coded speech; make it longer"
            )
        free.append(FreeGroups(start, stop, max(1, round((stop - start) * ratio))))
    return tuple(free)


def inserted_groups(insertions: Sequence[Insertion], codes: DualCodes) -> tuple[FreeGroups, ...]:
    """Return the group that each insertion falls into, with what it grows to."""
    grown: dict[int, int] = {}
    for part in insertions:
        group = int(np.clip((part.at - codes.start) // GROUP_SECONDS, 0, codes.groups - 1))
        grown[group] = grown.get(group, 0) + max(1, round(part.seconds / GROUP_SECONDS))
    return tuple(
        FreeGroups(group, group + 1, 1 + more, True) for group, more in sorted(grown.items())
    )


def request_for(
    edit: Edit,
    utterance: Utterance,
    codes: DualCodes,
    seed: int,
    *,
    keep_rest: bool = False,
) -> GenerateRequest:
    """Return what an engine is asked to generate for an edit.

    Args:
        edit: what is asked.
        utterance: what to edit.
        codes: its codes.
        seed: of the draw.
        keep_rest: copy all but the edit's insertions, where it has any.

    Raises:
        RouteError: if the edit has no prompt, or lacks the transcript that it needs.
        EngineError: if a span holds no whole group of codes.
    """
    problem = edit.route_problem("llm")
    if problem:
        raise RouteError(problem)
    if "llm" in edit.transcript_routes and not (utterance.transcript or "").strip():
        raise RouteError(
            f"{edit.name}: the llm route needs the transcript; give the utterance one with "
            "transcript="
        )
    spans = edit.free_spans(utterance)
    ratio = edit.length_ratio(utterance)
    free = None
    if spans is not None:
        free = free_groups(spans, codes, span_ratio(spans, utterance, ratio))
    elif keep_rest:
        free = inserted_groups(edit.insertions(utterance), codes) or None
    if free is not None:
        ratio = 1 + _growth(free) / codes.groups
    return GenerateRequest(
        edit.prompt(utterance),
        codes,
        utterance,
        seed,
        ratio,
        free,
        edit.known_duration or edit.even_pace,
        edit.sampled_as(),
        _label(edit, free),
        edit.even_pace,
        edit.transcript_after(utterance) if free is None else None,
    )


def _label(edit: Edit, free: tuple[FreeGroups, ...] | None) -> str:
    """Return what the decoder is told; a sound's name does not hold for speech around it."""
    alone = any(part.new for part in free or ())
    return edit.decoded_as() if alone or not edit.inserts() else ""


def apply_by_llm(
    edits: Sequence[Edit],
    utterances: Sequence[Utterance],
    engine: SpeechEngine,
    seeds: Sequence[int],
    codes: Sequence[DualCodes | None] | None = None,
) -> list[Outcome]:
    """Carry out edits in one batch: encode, generate, decode.

    Outside an edit's free spans the codes and the samples stay the source's own; outside its
    insertions, too, where the engine keeps the rest.

    Args:
        edits: one for each utterance.
        utterances: what to edit.
        engine: does the work.
        seeds: one for each utterance.
        codes: codes that are known already, carried over from the step before.

    Raises:
        RouteError: if an edit has no prompt.
        EngineError: if the engine cannot do what is asked.
    """
    if len(edits) != len(utterances):
        raise EngineError(f"{len(edits)} edits for {len(utterances)} utterances: give one for each")
    given = [None] * len(utterances) if codes is None else codes
    unknown = [u for u, known in zip(utterances, given, strict=True) if known is None]
    encoded = iter(engine.encode(unknown)) if unknown else iter(())
    sources = [next(encoded) if known is None else known for known in given]
    requests = [
        request_for(edit, utterance, source, seed, keep_rest=keeps_rest(engine, edit))
        for edit, utterance, source, seed in zip(edits, utterances, sources, seeds, strict=True)
    ]
    outputs = [
        output if request.free is None else _confined(output, request.codes, request.free, engine)
        for output, request in zip(engine.generate(requests), requests, strict=True)
    ]
    audios = engine.decode(outputs, utterances, seeds)
    return [
        _outcome(edit, request, output, audio)
        for edit, request, output, audio in zip(edits, requests, outputs, audios, strict=True)
    ]


def keeps_rest(engine: SpeechEngine, edit: Edit) -> bool:
    """Return whether an engine generates an edit's insertions alone and copies the rest."""
    return isinstance(engine, KeepingEngine) and engine.keeps_rest(edit)


def _outcome(edit: Edit, request: GenerateRequest, output: DualCodes, audio: Utterance) -> Outcome:
    """Lay decoded audio on the source's clock, or join it with the source where it is confined."""
    utterance = request.utterance
    after = edit.transcript_after(utterance)
    if request.free is None:
        if request.even_pace:
            ratio = request.length_ratio
            audio, start = on_clock(audio, request.codes.start * ratio, utterance.seconds * ratio)
            output = dataclasses.replace(output, start=start)
        edited = audio.replace(transcript=after, language=utterance.language)
        return Outcome(edited, "llm", output, {"groups": output.groups})
    edited, details = _splice_groups(utterance, audio, request.codes, request.free)
    return Outcome(edited.replace(transcript=after), "llm", output, details)


def _growth(free: tuple[FreeGroups, ...]) -> int:
    """Return by how many groups the free parts grow together."""
    return sum(part.length - (part.stop - part.start) for part in free)


def _confined(
    output: DualCodes, source: DualCodes, free: tuple[FreeGroups, ...], engine: SpeechEngine
) -> DualCodes:
    """Return an output whose groups outside the free ones are the source's, and begin there.

    Raises:
        EngineError: if the engine changed what it was told to copy, or gave another length.
    """
    expected = source.groups + _growth(free)
    if output.groups != expected:
        raise EngineError(
            f"engine {engine.name!r} returned {output.groups} groups for a confined generation "
            f"of {expected}; it cannot carry out partial edits, use another engine or route dsp"
        )
    confined = dataclasses.replace(splice_codes(source, output, free), origin=output.origin)
    if not np.array_equal(confined.interleave(), output.interleave()):
        raise EngineError(
            f"engine {engine.name!r} changed codes outside the spans; it cannot carry out "
            "partial edits, use another engine or route dsp"
        )
    return confined


def _splice_groups(
    source: Utterance, audio: Utterance, codes: DualCodes, free: tuple[FreeGroups, ...]
) -> tuple[Utterance, dict[str, Any]]:
    """Put the generated groups' audio into the source's own samples, at the source's level.

    Raises:
        EngineError: if the decoded audio ends before a free part does.
    """
    decoded = audio.resample(source.sample_rate)
    gain = _level_gain(source, decoded, codes, free)
    patches = []
    for part, start in zip(free, answer_starts(free), strict=True):
        new = decoded.slice(Span(start * GROUP_SECONDS, (start + part.length) * GROUP_SECONDS))
        if new.seconds < (part.length - 1) * GROUP_SECONDS or len(new.samples) == 0:
            raise EngineError(
                f"the decoded audio lasts {decoded.seconds:.2f} s and ends before the edited "
                f"part, which begins at {start * GROUP_SECONDS:.2f} s"
            )
        begin = max(0.0, codes.start + part.start * GROUP_SECONDS)
        end = min(source.seconds, codes.start + part.stop * GROUP_SECONDS)
        patches.append(Patch(Span(begin, end), new.samples * np.float32(gain)))
    edited, placed = splice(source, patches)
    return edited, {
        "free_groups": [dataclasses.asdict(part) for part in free],
        "output_spans": [list(span) for span in placed],
        "gain_db": round(float(20 * np.log10(gain)), 2),
    }


def _level_gain(
    source: Utterance, decoded: Utterance, codes: DualCodes, free: tuple[FreeGroups, ...]
) -> float:
    """Return the gain that brings decoded audio to the source's level, at most 12 dB.

    Both are compared where codes were copied: there, any difference in level comes from the
    engine (which may have limited the peak of what it encoded), not from the edit.
    """
    before, after = [], []
    at, shift = 0, 0
    for part in (*free, FreeGroups(codes.groups, codes.groups, 0)):
        begin, end = at * GROUP_SECONDS, part.start * GROUP_SECONDS
        moved = shift * GROUP_SECONDS
        before.append(source.slice(Span(codes.start + begin, codes.start + end)).samples)
        after.append(decoded.slice(Span(begin + moved, end + moved)).samples)
        shift += part.length - (part.stop - part.start)
        at = part.stop
    powers = [_power(np.concatenate(x), source.sample_rate) for x in (before, after)]
    if min(powers) <= 1e-10:
        return 1.0
    return float(np.clip(np.sqrt(powers[0] / powers[1]), 10**-0.6, 10**0.6))


def _power(samples: npt.NDArray[np.float32], rate: int) -> float:
    """Return the mean power of samples without their constant offset; 0 of none."""
    flat = samples - np.float32(offset_of(samples, rate))
    return float(np.mean(flat**2)) if len(flat) else 0.0
