"""From a region to a masked edit: the one place where regions become parameters."""

from __future__ import annotations

from typing import Any, cast

from pydantic import ValidationError

from stepedit_core import (
    Edit,
    InterpretationError,
    Region,
    Setting,
    Span,
    explain_validation,
    get_edit,
    sentence_places,
)

__all__ = ["MASKED", "confined"]

MASKED = "masked"
"""The edit that confines another one."""


def confined(edit: Edit, region: Region, setting: Setting) -> Edit:
    """Return an edit confined to a region: the one place where regions become parameters.

    Raises:
        InterpretationError: if the region needs word times that are not known.
    """
    masked = cast(Any, get_edit(MASKED))
    region = _inside(region, setting)
    by_words = "words" in masked.model_fields and not region.spans and not region.outside
    place = {"where": region.to_data()} if by_words else {"spans": _spans(region, setting)}
    try:
        return cast(Edit, masked(inner=edit, **place))
    except ValidationError as error:
        why = explain_validation(error, masked.model_fields)
        raise InterpretationError(f"{edit.name} on {region}: {why}") from error


def _inside(region: Region, setting: Setting) -> Region:
    """Return everything but some sentences as the other sentences."""
    if not (region.outside and region.sentences and setting.text):
        return region
    every = range(1, len(sentence_places(setting.text)) + 1)
    others = tuple(number for number in every if number not in region.sentences)
    if not others:
        raise InterpretationError(f"{region} is nothing: there is no other sentence")
    return Region(sentences=others)


def _spans(region: Region, setting: Setting) -> tuple[Span, ...]:
    """Return a region in seconds, by the alignment where it is said in words."""
    spans = region.spans or _timed(region, setting)
    if not region.outside:
        return spans
    if setting.seconds is None:
        raise InterpretationError(f"{region}: the recording's duration is not known; give it")
    edges = [0.0, *(edge for span in sorted(spans) for edge in span), setting.seconds]
    return tuple(
        Span(start, end)
        for start, end in zip(edges[::2], edges[1::2], strict=True)
        if end - start >= 0.04
    )


def _timed(region: Region, setting: Setting) -> tuple[Span, ...]:
    """Return the spans of words, sentences or a speaker."""
    alignment = setting.alignment
    if alignment is None:
        raise InterpretationError(
            f"{region}: when this is said is not known; give the recording, aligned"
        )
    if region.words is not None:
        found = alignment.find(region.words, region.occurrence)
        return (alignment.span(found.start, found.stop),)
    if region.sentences:
        sentences = alignment.sentences
        if max(region.sentences) > len(sentences):
            raise InterpretationError(f"there are {len(sentences)} sentences, not {region}")
        chosen = [sentences[number - 1] for number in region.sentences]
        return tuple(Span(one.start, one.end) for one in chosen)
    spoken = [
        word.span
        for word, speaker in zip(alignment.words, alignment.speakers, strict=False)
        if speaker == region.speaker
    ]
    if not spoken:
        raise InterpretationError(f"{region}: nobody of that name speaks")
    joined = [spoken[0]]
    for span in spoken[1:]:
        if span.start - joined[-1].end < 1.0:
            joined[-1] = Span(joined[-1].start, span.end)
        else:
            joined.append(span)
    return tuple(joined)
