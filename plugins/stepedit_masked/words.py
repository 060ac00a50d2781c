"""The words of a span: for an inner edit that finds words in them and hides some."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from stepedit_core import Alignment, Edit, Span, TimedWord, Utterance, align
from stepedit_core.dsp.words import split_words

__all__ = ["hidden_text", "part_with_words", "with_hidden"]


def part_with_words(utterance: Utterance, span: Span) -> Utterance:
    """Return a span of an utterance with the words that are said in it, and their times.

    Raises:
        AlignmentError: if the words cannot be timed.
    """
    known = align(utterance)
    part = utterance.slice(span)
    inside = _words_in(known, span)
    if not inside:
        return part
    places = known.places
    text = known.text[places[inside.start].start : places[inside.stop - 1].end]

    def moved(second: float) -> float:
        return min(max(0.0, second - span.start), part.seconds)

    words = tuple(
        dataclasses.replace(word, start=moved(word.start), end=moved(word.end))
        for word in known.words[inside.start : inside.stop]
    )
    speakers = known.speakers[inside.start : inside.stop]
    return part.replace(transcript=text, alignment=Alignment(text, words, known.aligner, speakers))


def hidden_text(utterance: Utterance, spans: Sequence[Span], inner: Edit) -> str:
    """Return the transcript after an inner edit has hidden words in spans.

    Raises:
        AlignmentError: if the words cannot be timed.
    """
    parts = (part_with_words(utterance, span) for span in spans)
    return _joined(align(utterance), spans, [inner.transcript_after(part) or "" for part in parts])


def with_hidden(
    utterance: Utterance, edited: Utterance, spans: Sequence[Span], made: Sequence[Utterance]
) -> Utterance:
    """Return edited samples with the transcript and the word times that are left.

    Args:
        utterance: the source.
        edited: the spans edited, as long as the source.
        spans: in seconds.
        made: what the inner edit returned for each.

    Raises:
        AlignmentError: if the words cannot be timed.
    """
    known = align(utterance)
    text = _joined(known, spans, [one.transcript or "" for one in made])
    inner: dict[int, list[TimedWord]] = {}
    for span, one in zip(spans, made, strict=True):
        for n in _words_in(known, span):
            inner[n] = []
        left = one.alignment.words if one.alignment is not None else ()
        if _words_in(known, span):
            inner[_words_in(known, span).start] = [
                dataclasses.replace(word, start=word.start + span.start, end=word.end + span.start)
                for word in left
            ]
    words = [one for n, word in enumerate(known.words) for one in inner.get(n, [word])]
    if not words or len(words) != len(split_words(text)):
        return edited.replace(transcript=text)
    # Who says a word is not known any more: the inner edit tells words, not speakers.
    alignment = Alignment(text, tuple(words), known.aligner)
    return edited.replace(transcript=text, alignment=alignment)


def _words_in(known: Alignment, span: Span) -> range:
    """Return the indices of the words whose middle lies in a span."""
    middles = [(word.start + word.end) / 2 for word in known.words]
    inside = [n for n, middle in enumerate(middles) if span.start <= middle < span.end]
    return range(inside[0], inside[-1] + 1) if inside else range(0)


def _joined(known: Alignment, spans: Sequence[Span], after: Sequence[str]) -> str:
    """Return the transcript with the words of each span replaced by others."""
    text, places = known.text, known.places
    for span, new in sorted(zip(spans, after, strict=True), reverse=True):
        inside = _words_in(known, span)
        if inside:
            text = text[: places[inside.start].start] + new + text[places[inside.stop - 1].end :]
    return text
