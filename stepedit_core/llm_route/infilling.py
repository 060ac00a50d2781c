"""Say other words in the middle of a recording: where they go, and how they are joined."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from stepedit_core.alignment import Alignment, TimedWord
from stepedit_core.codes import GROUP_SECONDS, SEMANTIC_PER_GROUP, DualCodes, FreeGroups
from stepedit_core.dsp.cutting import cut_out, plan_cut
from stepedit_core.dsp.words import read_seconds, split_words
from stepedit_core.edit import Outcome
from stepedit_core.engine import (
    DecodeRequest,
    Infilled,
    InfillingEngine,
    InfillRequest,
    SpeechEngine,
    SpokenWord,
    infill_context,
)
from stepedit_core.errors import EngineError
from stepedit_core.llm_route.joining import splice_groups
from stepedit_core.llm_route.listening import Heard, Listener, best_of
from stepedit_core.llm_route.source_map import SourceMap
from stepedit_core.llm_route.surroundings import Surroundings, surroundings
from stepedit_core.plan import Plan, Replacement
from stepedit_core.prompt import Prompt
from stepedit_core.utterance import Span, Utterance

__all__ = ["replace_words"]

HEARD, AT_ONCE = 8, 4
"""Versions that are listened to before more are drawn, and how many are decoded at once."""
WIDER = ((0, 0), (1, 0), (1, 1))
"""Groups before and after the words that each further round of draws says anew, too. A group beside
them says the old word's beginning already, and "moon" for "rainbow" becomes "room"."""
LISTENED = 7.5
"""Seconds around the change that are listened to: recognisers want some words on either side."""
_NEXT_ROUND = 7919
"""Apart from the seeds of other changes of the same edit."""

_INSIDE = 0.2
"""Share of a group by which a word's border may lie inside the group before it goes."""
_TEMPO = 0.75
"""Power of the ratio of reading times by which new words are longer than old ones; fitted on
52 words that were replaced by themselves and on natural sentences."""


_SHORTEST, _EDGES = 0.06, 0.25
"""Seconds of the shortest word; seconds by which a text alone is read longer than amid others."""


def replace_words(utterance: Utterance, plan: Plan, engine: SpeechEngine, seed: int) -> Outcome:
    """Carry out a plan's replacements, one after the other, from the last to the first.

    Words that go are cut out; words that come are drawn by the engine between the recording's own
    codes, decoded in its voice, and put into its samples. All other samples stay as they are.

    Args:
        utterance: the recording, with its transcript.
        plan: with replacements.
        engine: draws and decodes.
        seed: of the draws.

    Raises:
        EngineError: if the words are not timed, or are to be put in by an engine that cannot.
    """
    known = plan.alignment or utterance.alignment
    if known is None:
        raise EngineError("the words of the recording are not timed")
    current = utterance.replace(alignment=known)
    details: list[dict[str, Any]] = []
    codes: DualCodes | None = None
    for number, change in enumerate(plan.replacements):
        if not change.by:
            current, facts = _cut(current, change)
        else:
            if not isinstance(engine, InfillingEngine):
                raise EngineError(
                    f"engine {engine.name!r} cannot put words into a recording; use another one"
                )
            current, codes, facts = _infill(current, change, engine, seed + number, plan)
        details.append(facts)
    last = codes if len(plan.replacements) == 1 else None
    return Outcome(current, "llm", last, {"replacements": details})


def _cut(current: Utterance, change: Replacement) -> tuple[Utterance, dict[str, Any]]:
    """Cut words out; no model is needed."""
    known = _alignment(current)
    cut = plan_cut(current, known, change.first, change.stop)
    words = [*known.words[: change.first], *known.words[change.stop :]]
    moved = tuple(
        dataclasses.replace(word, start=cut.moved(word.start), end=cut.moved(word.end))
        for word in words
    )
    edited = cut_out(current, cut).replace(
        transcript=change.text_after, alignment=Alignment(change.text_after, moved, known.aligner)
    )
    return edited, {"cut": [round(cut.start, 4), round(cut.end, 4)]}


def _infill(
    current: Utterance,
    change: Replacement,
    engine: SpeechEngine,
    seed: int,
    plan: Plan,
) -> tuple[Utterance, DualCodes, dict[str, Any]]:
    """Have new words drawn, decode them, and put them into the samples."""
    assert isinstance(engine, InfillingEngine)
    known = _alignment(current)
    (codes,) = engine.encode([current])
    hole = _groups(_stretch(current, known, change), codes)

    def drawn(number: int, count: int) -> Iterator[_Version]:
        before, after = WIDER[number]
        wider = max(0, hole[0] - before), min(codes.groups, hole[1] + after)
        part = surroundings(codes, known, change, wider, infill_context(engine, plan.rules))
        own = seed + number * _NEXT_ROUND
        request = _request(current, known, change, part, wider, own, plan.rules)
        yield from _versions(current, codes, part, request, engine, count)

    heard_facts: dict[str, Any] = {}
    if plan.ears:
        wide = surroundings(codes, known, change, hole, LISTENED)
        span = _listened(wide, codes, current)
        source = current.slice(span)
        listener = Listener(plan.ears, wide.alignment.text, wide.change, source)
        rounds = (drawn(number, HEARD) for number in range(len(WIDER)))
        chosen, heard, count = _first_right(rounds, listener, span)
        heard_facts = {"listened": count, "heard": heard.text, "heard_as_asked": heard.is_right}
    else:
        chosen = next(drawn(0, 1))
    begin, end = chosen.facts["output_spans"][0]
    timed = _timed(known, change, Span(begin, end), chosen.longer)
    facts = {**chosen.facts, **chosen.made.details, **heard_facts, "words": change.by}
    edited = chosen.edited.replace(transcript=change.text_after, alignment=timed)
    return edited, _put_back(codes, chosen.part, chosen.made.codes), facts


def _listened(part: Surroundings, codes: DualCodes, current: Utterance) -> Span:
    """Return the time of a part; a recording that is heard whole is heard to its ends.

    What a recogniser hears depends on the tenth of a second before the first word.
    """
    start, end = part.span
    return Span(
        start if part.start else 0.0,
        min(end, current.seconds) if part.stop < codes.groups else current.seconds,
    )


def _request(
    current: Utterance,
    known: Alignment,
    change: Replacement,
    part: Surroundings,
    hole: tuple[int, int],
    seed: int,
    rules: tuple[str, ...],
) -> InfillRequest:
    """Return what the engine is asked: the words of the part, and the place in its codes."""
    return InfillRequest(
        Prompt.clone(part.alignment.text, part.change.text_after),
        part.codes,
        current.replace(transcript=part.alignment.text),
        part.change.text_after,
        hole[0] - part.start,
        hole[1] - part.start,
        _expected_groups(known, change, hole[1] - hole[0]),
        _places(part.alignment, part.change, part.codes),
        seed,
        rules,
    )


@dataclasses.dataclass(frozen=True)
class _Version:
    """New words put into the recording.

    Attributes:
        made: what the engine drew.
        part: of the recording, which the engine was given.
        edited: the whole recording with it.
        longer: seconds by which it got longer.
        facts: how it was put in; JSON data.
    """

    made: Infilled
    part: Surroundings
    edited: Utterance
    longer: float
    facts: dict[str, Any]

    def stretch(self, span: Span) -> Utterance:
        """Return what a span of the source around the change has become."""
        end = min(self.edited.seconds, span.end + self.longer)
        return self.edited.slice(Span(span.start, end))


def _versions(
    current: Utterance,
    codes: DualCodes,
    part: Surroundings,
    request: InfillRequest,
    engine: SpeechEngine,
    count: int,
) -> Iterator[_Version]:
    """Yield up to so many versions, the one that the engine likes best first.

    They are decoded a few at a time, as the first ones are often good enough.
    """
    assert isinstance(engine, InfillingEngine)
    first = engine.infill(request)
    handed = [first, *first.others][:count]
    for at in range(0, len(handed), AT_ONCE):
        drawn = handed[at : at + AT_ONCE]
        frees = [(FreeGroups(request.start, request.stop, made.length),) for made in drawn]
        maps = [_without_source(codes, part, *free) for free in frees]
        spoken = engine.decode(
            [
                DecodeRequest(made.codes, current, request.seed, source_map)
                for made, source_map in zip(drawn, maps, strict=True)
            ]
        )
        for made, free, audio in zip(drawn, frees, spoken, strict=True):
            edited, facts = splice_groups(current, audio, part.codes, free)
            yield _Version(made, part, edited, edited.seconds - current.seconds, facts)


def _first_right(
    rounds: Iterable[Iterable[_Version]], listener: Listener, span: Span
) -> tuple[_Version, Heard, int]:
    """Return the first version that is heard as asked, or the best one; how many were heard."""
    found: list[tuple[_Version, Heard]] = []
    for versions in rounds:
        for version in versions:
            heard = listener.hear(version.stretch(span))
            found.append((version, heard))
            if heard.is_right:
                return version, heard, len(found)
    at = best_of([heard for _, heard in found])
    return *found[at], len(found)


def _put_back(codes: DualCodes, part: Surroundings, made: DualCodes) -> DualCodes:
    """Return the codes of the whole recording with those of a part in place of its own."""
    pieces = [codes.slice_groups(0, part.start), made, codes.slice_groups(part.stop, codes.groups)]
    linguistic, semantic = (
        np.concatenate([getattr(piece, name) for piece in pieces])
        for name in ("linguistic", "semantic")
    )
    return DualCodes(linguistic, semantic, codes.start)


def _alignment(current: Utterance) -> Alignment:
    """Return the alignment that each step hands on."""
    if current.alignment is None:
        raise EngineError("the words of the recording are not timed")
    return current.alignment


def _stretch(current: Utterance, known: Alignment, change: Replacement) -> Span:
    """Return the time of the words that go, or where words are put in."""
    if change.stop > change.first:
        return known.span(change.first, change.stop)
    gap = known.gap(change.first, current.seconds)
    if change.first == 0:
        return Span(max(0.0, gap.end - GROUP_SECONDS), gap.end)
    if change.first == len(known.words):
        return Span(gap.start, min(current.seconds, gap.start + GROUP_SECONDS))
    middle = (gap.start + gap.end) / 2
    return Span(middle - GROUP_SECONDS / 4, middle + GROUP_SECONDS / 4)


def _groups(span: Span, codes: DualCodes) -> tuple[int, int]:
    """Return the groups that a stretch takes, one at least: joins need room for a cross-fade."""
    start = math.floor((span.start - codes.start) / GROUP_SECONDS + _INSIDE)
    stop = math.ceil((span.end - codes.start) / GROUP_SECONDS - _INSIDE)
    start = min(max(0, start), codes.groups - 1)
    return start, min(max(start + 1, stop), codes.groups)


def _expected_groups(known: Alignment, change: Replacement, groups: int) -> float:
    """Return how many groups the new words are expected to take, at the speaker's tempo."""
    new = read_seconds(change.by)
    if change.stop > change.first:
        span = known.span(change.first, change.stop)
        places = known.places
        said = known.text[places[change.first].start : places[change.stop - 1].end]
        old = max(0.05, read_seconds(said))
        seconds = max(_SHORTEST, span.seconds) * float((new / old) ** _TEMPO)
        return max(1.0, groups + (seconds - span.seconds) / GROUP_SECONDS)
    whole = known.span(0, len(known.words)).seconds
    tempo = whole / max(0.1, read_seconds(known.text))
    return max(1.0, groups + max(_SHORTEST, (new - _EDGES) * tempo) / GROUP_SECONDS)


def _places(known: Alignment, change: Replacement, codes: DualCodes) -> tuple[SpokenWord, ...]:
    """Return where each word of the new text is expected."""
    words = split_words(change.text_after)
    new = split_words(change.by)
    first, count = change.first, len(new)
    total = sum(word.seconds for word in new) or 1.0
    places, share = [], 0.0
    for number, word in enumerate(words):
        if number < first:
            places.append(SpokenWord(word.start, _group(known.words[number], codes)))
        elif number < first + count:
            places.append(SpokenWord(word.start, share=share / total))
            share += new[number - first].seconds
        else:
            old = known.words[number - count + change.stop - first]
            places.append(SpokenWord(word.start, _group(old, codes), is_after=True))
    return tuple(places)


def _group(word: TimedWord, codes: DualCodes) -> float:
    """Return the group of the codes at which a word begins, with its fraction."""
    return max(0.0, (word.start - codes.start) / GROUP_SECONDS)


def _without_source(codes: DualCodes, part: Surroundings, free: FreeGroups) -> SourceMap:
    """Return the map of a part's answer whose new stretch the source holds nothing of.

    With positions there, a decoder that copies its reference says the old words again.
    """
    per = SEMANTIC_PER_GROUP
    positions = np.concatenate(
        [
            per * part.start + np.arange(per * free.start, dtype=np.float32),
            np.full(per * free.length, np.nan, dtype=np.float32),
            per * part.start
            + np.arange(per * free.stop, per * part.codes.groups, dtype=np.float32),
        ]
    )
    edited = np.zeros(part.codes.groups + free.length - (free.stop - free.start), dtype=bool)
    edited[free.start : free.start + free.length] = True
    return SourceMap(positions, "", edited, codes.start)


def _timed(known: Alignment, change: Replacement, span: Span, shift: float) -> Alignment:
    """Return the alignment after a change: new words share their stretch, later ones move."""
    new = split_words(change.by)
    total = sum(word.seconds for word in new) or 1.0
    before = known.words[: change.first]
    start = max(span.start, before[-1].end) if before else span.start
    after: Sequence[TimedWord] = [
        dataclasses.replace(word, start=word.start + shift, end=word.end + shift)
        for word in known.words[change.stop :]
    ]
    end = max(start, min(span.end, after[0].start)) if after else span.end
    placed, at = [], start
    for word in new:
        length = (end - start) * word.seconds / total
        placed.append(TimedWord(word.text, at, at + length))
        at += length
    words = (*before, *placed, *after)
    return Alignment(change.text_after, words, known.aligner, notes=known.notes)
