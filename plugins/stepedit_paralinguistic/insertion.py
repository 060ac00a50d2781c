"""Insert events at the places of their tags: the dsp route, and pairs from recorded events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stepedit_core import (
    ForeignWordsError,
    NotHeardYet,
    Patch,
    Rendered,
    RouteError,
    Span,
    StepeditError,
    Utterance,
    place_words,
    splice,
)
from stepedit_core.dsp.offset import offset_of, without_offset
from stepedit_core.dsp.words import split_words, without_tags
from stepedit_paralinguistic.alignment import Alignment, align
from stepedit_paralinguistic.events import synthesise
from stepedit_paralinguistic.recorded import perform
from stepedit_paralinguistic.voice import RATE, Voice, analyse, room_tone

if TYPE_CHECKING:
    from stepedit_paralinguistic.edit import Paralinguistic

__all__ = [
    "LEAD",
    "TAIL",
    "Event",
    "hold_own_words",
    "insert_events",
    "moment",
    "places",
    "put_in",
    "refuse_foreign_words",
]

LEAD, TAIL = 0.06, 0.09
"""Silence (room tone) before and after an event, in seconds."""
_JOIN = 0.01
_PEAK = 0.95
_REACH = {"pocketsphinx": 0.05, "pauses": 0.15}

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Event:
    """A sound to insert.

    Attributes:
        tag: canonical name, or a label.
        word: how many words stand before it.
        samples: float64 at the utterance's rate, shape ``(n,)``.
        facts: what a report says of it; JSON data.
    """

    tag: str
    word: int
    samples: FloatArray
    facts: Mapping[str, Any] = field(default_factory=dict)


def insert_events(edit: Paralinguistic, utterance: Utterance, rng: np.random.Generator) -> Rendered:
    """Insert the sounds of the tags that an utterance does not have yet.

    Raises:
        RouteError: if a tag has neither recording nor recipe, or the words do not fit.
        ForeignWordsError: if the words are another recording's.
    """
    problem = edit.route_problem("dsp") or edit.problem(utterance)
    if problem:
        raise RouteError(problem)
    refuse_foreign_words(edit, utterance)
    voice = analyse(utterance)
    events = []
    for placed in edit.added(utterance):
        if edit.source_of(placed.tag) == "recorded":
            sound, facts = perform(placed.tag, voice, rng)
        else:
            sound, facts = synthesise(placed.tag, voice, rng), {"recipe": placed.tag}
        at_rate = Utterance(sound.astype(np.float32), RATE).resample(utterance.sample_rate)
        samples = at_rate.samples.astype(np.float64)
        events.append(Event(placed.tag, placed.word, samples, facts))
    spoken = utterance.transcript or without_tags(edit.text)
    alignment = align(utterance, split_words(spoken), spoken)
    edited, reports = put_in(utterance, events, alignment, rng)
    details = {
        "backend": _backend(events),
        "aligner": alignment.aligner,
        **({"no_forced_alignment": alignment.why} if alignment.why else {}),
        **({"guessed_pronunciations": list(alignment.guessed)} if alignment.guessed else {}),
        "events": reports,
        "voice": {
            "median_f0_hz": round(voice.f0, 1),
            "measured": voice.measured,
            "speech_level_db": _db(voice.level),
        },
        **_limits(events, voice),
    }
    return Rendered(edited.replace(transcript=edit.transcript_after(utterance)), details)


def _backend(events: Sequence[Event]) -> str:
    """Return what made the sounds."""
    kinds = {"recording": "recordings, WORLD (pyworld)"}
    kinds["recipe"] = "WORLD (pyworld) and filtered noise"
    used = [name for kind, name in kinds.items() if any(kind in event.facts for event in events)]
    return "; ".join(used)


def put_in(
    utterance: Utterance,
    events: Iterable[Event],
    alignment: Alignment,
    rng: np.random.Generator,
) -> tuple[Utterance, list[dict[str, Any]]]:
    """Insert events between words, with room tone around them.

    Samples more than 10 ms away from an insertion are those of the utterance, bit by bit.

    Returns:
        The new utterance, and for each event its tag, word and place in source and output.
    """
    rate = utterance.sample_rate
    ordered = sorted(events, key=lambda event: event.word)
    groups: dict[float, list[Event]] = {}
    for word, same_place in groupby(ordered, key=lambda event: event.word):
        at = moment(utterance, alignment, word)
        near = next((other for other in groups if abs(other - at) < 4 * _JOIN), at)
        groups.setdefault(near, []).extend(same_place)
    offset = offset_of(utterance.samples, rate)
    patches, layouts = [], []
    for at, members in groups.items():
        pieces, spans, length = _lay_out(members, rate)
        tone = room_tone(utterance, length, rng)
        for start, samples in pieces:
            tone[start : start + len(samples)] += samples
        half = min(_JOIN, utterance.seconds / 4)
        centre = min(max(at, half), utterance.seconds - half)
        peak = float(np.abs(tone).max(initial=0.0))
        tone *= min(1.0, _PEAK / max(peak, 1e-9))
        patch = Patch(Span(centre - half, centre + half), (tone + offset).astype(np.float32))
        patches.append(patch)
        layouts.append((patch, centre, members, spans))
    edited, placed = splice(utterance, patches, fade_seconds=_JOIN)
    begins = dict(zip(sorted(patch.span for patch in patches), placed, strict=True))
    reports = []
    for patch, centre, members, spans in sorted(layouts, key=lambda layout: layout[1]):
        begin = begins[patch.span].start
        for event, (first, last) in zip(members, spans, strict=True):
            reports.append(
                {
                    "tag": event.tag,
                    "after_word": event.word,
                    "at": round(centre, 4),
                    "output_span": [round(begin + first / rate, 4), round(begin + last / rate, 4)],
                    "level_db": _db(float(np.sqrt(np.mean(event.samples**2)))),
                    **event.facts,
                }
            )
    return edited, reports


def moment(utterance: Utterance, alignment: Alignment, word: int) -> float:
    """Return the time to insert at before a word, in seconds.

    In a pause: its middle, but near the words at the edges of the utterance. Between words
    without a pause: the quietest moment close to their border.
    """
    gap = alignment.gap(word)
    if word <= 0:
        return max(0.0, gap.end - 0.06)
    if word >= len(alignment.words):
        return min(utterance.seconds, gap.end + 0.04)
    if gap.seconds >= 0.08:
        return gap.start + gap.seconds / 2
    reach = _REACH[alignment.aligner]
    centre = gap.start + gap.seconds / 2
    return _quietest(utterance, centre - reach, centre + reach)


def _quietest(utterance: Utterance, start: float, end: float) -> float:
    """Return the middle of the quietest 15 ms between two moments."""
    rate = utterance.sample_rate
    first, last = max(0, round(start * rate)), min(len(utterance.samples), round(end * rate))
    size = max(2, round(0.015 * rate))
    part = without_offset(utterance).samples[first:last].astype(np.float64)
    if len(part) <= size:
        return min(max((start + end) / 2, 0.0), utterance.seconds)
    total = np.concatenate([[0.0], np.cumsum(part**2)])
    return (first + int(np.argmin(total[size:] - total[:-size])) + size / 2) / rate


def _lay_out(
    events: Sequence[Event], rate: int
) -> tuple[list[tuple[int, FloatArray]], list[tuple[int, int]], int]:
    """Return each event's offset and span in a patch, and the patch's length."""
    pieces, spans, at = [], [], round(LEAD * rate)
    for event in events:
        pieces.append((at, event.samples))
        spans.append((at, at + len(event.samples)))
        at += len(event.samples) + round(TAIL * rate)
    return pieces, spans, at


def _db(value: float) -> float:
    """Return a linear level in dB of full scale, rounded."""
    return round(float(20 * np.log10(max(value, 1e-9))), 1)


def _limits(events: Sequence[Event], voice: Voice) -> dict[str, Any]:
    """Return remarks on what was made up or limited."""
    remarks = {}
    if not voice.measured:
        remarks["warning"] = "no voiced speech found: the events have an average voice"
    if any(np.abs(event.samples).max(initial=0.0) > _PEAK for event in events):
        remarks["peak_limited"] = f"events were lowered to a peak of {_PEAK}"
    return remarks


def refuse_foreign_words(edit: Paralinguistic, source: Utterance) -> None:
    """Hold that a tag between words goes between words of the source.

    Where nothing that is installed can tell, or nothing is heard, there is nothing to hold.

    Raises:
        ForeignWordsError: if the words are another recording's.
    """
    inner = range(1, len(split_words(source.transcript or "")))
    if not source.problem() and any(tag.word in inner for tag in edit.added(source)):
        hold_own_words(source)


def hold_own_words(source: Utterance) -> None:
    """Hold that a transcript is that of its recording, where that can be told.

    Raises:
        ForeignWordsError: if the words are another recording's.
    """
    try:
        place_words(source)
    except (ForeignWordsError, NotHeardYet):
        raise
    except StepeditError:
        return


def places(edit: Paralinguistic, source: Utterance) -> list[float]:
    """Return the place of each added tag in the source, in seconds; empty without speech."""
    if source.problem():
        return []
    text = source.transcript or without_tags(edit.text)
    alignment = align(source, split_words(text), text)
    return [moment(source, alignment, tag.word) for tag in edit.added(source)]
