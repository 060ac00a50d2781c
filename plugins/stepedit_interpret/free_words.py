"""Requests with words of the user's in them: texts, sounds at places, regions to take out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from stepedit_core import InterpretationError, Reading, Region, Setting, sentence_places
from stepedit_core.dsp.words import normalised, split_words
from stepedit_interpret.anchors import Anchor, anchors, place_of, tagged, text_of
from stepedit_interpret.context import Context, Origin, Unread, Ways, built, is_covered
from stepedit_interpret.lexicon import ADD, LESSEN, QUOTE, REMOVE
from stepedit_interpret.patterns import Pattern
from stepedit_interpret.regions import find_region, occurrences
from stepedit_interpret.wording import Wording

_UNCLEAR = "{!r}: what is new and what is a place? put the new words in quotes"

__all__ = ["region_taken", "whole_phrases", "with_sound"]


def whole_phrases(request: Wording, context: Context, region: Region | None) -> Ways | None:
    """Read a request that is all one phrase with free words in it."""
    failure: InterpretationError | None = None
    for pattern, match in _whole_matches(request, context):
        try:
            ways = list(_filled(pattern, match, request, context, region))
        except InterpretationError as error:
            failure = failure or error
            continue
        if ways:
            question = "which one is meant" if len(ways) > 1 else ""
            lead = request.low[: min(match.start(name) for name in pattern.slots)]
            new = _new_words(pattern, ways[0])
            return Ways(tuple(ways), pattern.ask.verb, None, question, lead, new)
    if failure is not None and (not isinstance(failure, Unread) or failure.specific):
        raise failure
    return None


def _new_words(pattern: Pattern, way: tuple[Reading, ...]) -> str | None:
    """Return the words that a reading puts in, where there is one such text."""
    slots = pattern.known.phrases.slots
    free = [slots[name].param or name for name in pattern.slots if not slots[name].said]
    origin = way[0].origin
    return str(origin.values[free[0]]) if len(free) == 1 and isinstance(origin, Origin) else None


def _whole_matches(request: Wording, context: Context) -> list[tuple[Pattern, re.Match[str]]]:
    """Return the phrases with free words that a request is, those with the most own words first."""
    found = []
    for pattern in context.vocabulary.candidates(request.low):
        match = pattern.regex.fullmatch(request.low) if pattern.has_words else None
        if match is not None:
            free = sum(len(match.group(name)) for name in pattern.slots)
            found.append((free, pattern, match))
    return [(pattern, match) for _, pattern, match in sorted(found, key=lambda one: one[0])]


def _filled(
    pattern: Pattern,
    match: re.Match[str],
    request: Wording,
    context: Context,
    region: Region | None,
) -> Iterator[tuple[Reading, ...]]:
    """Yield the ways to fill the slots of a phrase."""
    slots = pattern.known.phrases.slots
    values: dict[str, Any] = {}
    tails = {
        name: _tail(request, match.span(name), context.setting)
        for name in pattern.slots
        if slots[name].kind == "words" and not slots[name].said
    }
    for tail_place in filter(None, tails.values()):
        if not any(slots[name].said for name in pattern.slots) or region is not None:
            raise Unread(_UNCLEAR.format(request.brief()), specific=True)
        region = tail_place[1]
    said: tuple[str, list[Anchor]] | None = None
    following = ""
    for name in pattern.slots:
        slot, (start, end) = slots[name], match.span(name)
        tail = tails.get(name)
        end = tail[0] if tail is not None else end
        piece = request.part(start, end).stripped()
        if slot.kind == "file":
            file = piece.quote(piece.low) if Wording.is_quote(piece.low) else piece.raw
            values[slot.param or name] = file
        elif slot.kind != "words":
            values.update([pattern.known.value(name, piece.low)])
        elif name == "next":  # "between X and Y": Y has to follow X
            following = anchors(piece, context.setting, explicit=True)[0].words
        elif slot.said:
            explicit = pattern.ask.explicit or len(pattern.slots) > 1
            found = anchors(piece, context.setting, explicit=explicit, region=region)
            said = (slot.param or name, found)
        else:
            values[slot.param or name] = text_of(piece)
    if any(value == "" for value in values.values()):
        raise Unread("a text is missing")
    source = request.shown()
    if said is None:
        origin = Origin(pattern, 0, values)
        yield (Reading(built(pattern, 0, values), None, source, origin),)
        return
    param, places = said
    if following:
        places = _followed(places, following, context.setting)
    readings = []
    for place in places:
        own = {**values, param: place.words}
        if place.occurrence is not None:
            own["occurrence"] = place.occurrence
        edit = built(pattern, 0, own)
        readings.append((Reading(edit, None, source, Origin(pattern, 0, own)), place))
    if places and places[0].every:
        yield tuple(one for one, _ in reversed(readings))
    else:
        yield from ((one,) for one, _ in readings)


def _followed(places: list[Anchor], following: str, setting: Setting) -> list[Anchor]:
    """Return the anchors that some words follow.

    Raises:
        Unread: if there is none.
    """
    if setting.text is None:
        return places
    first = set(occurrences(setting.text, following))
    kept = []
    for one in places:
        at = occurrences(setting.text, one.words)[(one.occurrence or 1) - 1]
        if at + len(split_words(one.words)) in first:
            kept.append(one)
    if not kept:
        raise Unread(f"{following!r} does not follow {places[0].words!r}", specific=True)
    return kept


def _tail(request: Wording, span: tuple[int, int], setting: Setting) -> tuple[int, Region] | None:
    """Return where new words without quotes end, and the sentences named after them.

    Raises:
        Unread: if a region stands among them, which may be part of them or not.
    """
    piece = request.part(*span)
    if re.search(QUOTE, piece.low):
        return None
    try:
        found = find_region(piece, setting)
    except InterpretationError:
        return None
    if found is None or found.how in ("words", "whole", "rest", "pronoun"):
        return None
    if found.end < len(piece.low.rstrip()) or not found.region.sentences or not found.start:
        raise Unread(_UNCLEAR.format(request.brief()), specific=True)
    return span[0] + found.start, found.region


def with_sound(request: Wording, context: Context) -> Ways | None:
    """Read a request to put a sound at a place of the text."""
    for pattern in context.vocabulary.candidates(request.low):
        if pattern.ask.place != "tag":
            continue
        match = pattern.regex.search(request.low)
        if match is None:
            continue
        rest = request.without(*match.span())
        place = place_of(rest, context.setting)
        if place is not None:
            rest = rest.without(place.start, place.end)
        goes_on = context.inherits and context.verb == "add"
        asked = ADD.search(rest.low) is not None or goes_on or place is not None
        if not asked or not is_covered(rest.low, pattern.ask):
            continue
        values = dict(pattern.known.value(name, match.group(name)) for name in pattern.slots)
        tag = str(next(iter(values.values())))
        if not context.setting.text:
            raise Unread(
                f"where the {tag} goes is a place in the words; give --text", specific=True
            )
        places = place.places if place is not None else (0, len(context.setting.text))
        ways = []
        for at in places:
            own = {"text": tagged(context.setting.text, tag, at)}
            edit = built(pattern, 0, own)
            ways.append((Reading(edit, None, request.shown(), Origin(pattern, 0, own)),))
        question = f"where does the {tag} go" if len(ways) > 1 else ""
        return Ways(tuple(ways), verb="add", question=question)
    return None


def region_taken(rest: Wording, region: Region, context: Context, request: Wording) -> Ways | None:
    """Read "delete the second sentence": an edit whose parameter is the words of a region."""
    for known in context.vocabulary.known:
        for number, ask in enumerate(known.phrases.ask):
            if ask.region is None:
                continue
            match = (REMOVE if ask.verb == "remove" else ADD).search(rest.low)
            goes_on = context.inherits and context.verb == ask.verb
            if match is not None and LESSEN.fullmatch(match.group()):
                continue  # "trim the last sentence" does not ask for it to go
            if not (match or goes_on) or not is_covered(rest.low, ask):
                continue
            words, occurrence = _words_of(region, context.setting)
            values: dict[str, Any] = {ask.region: words}
            if occurrence is not None:
                values["occurrence"] = occurrence
            pattern = Pattern(known, ask, number, re.compile(""), (), has_words=True)
            edit = built(pattern, 0, values)
            reading = Reading(edit, None, request.shown(), Origin(pattern, 0, values))
            return Ways(((reading,),), verb=ask.verb)
    return None


def _words_of(region: Region, setting: Setting) -> tuple[str, int | None]:
    """Return the words of a region, and which occurrence they are.

    Raises:
        Unread: if they are not known.
    """
    if region.words is not None and not region.outside:
        return region.words, region.occurrence
    text = setting.text
    if not text or not region.sentences or region.outside:
        raise Unread(f"which words are said in {region} is not known", specific=True)
    numbers = region.sentences
    if list(numbers) != list(range(numbers[0], numbers[-1] + 1)):
        raise Unread(
            f"{region} do not follow each other; ask for one after the other", specific=True
        )
    places = sentence_places(text)
    start, end = places[numbers[0] - 1][0], places[numbers[-1] - 1][1]
    inside = [word for word in split_words(text) if start <= word.start < end]
    words = text[inside[0].start : inside[-1].end]
    at = occurrences(text, words)
    first = sum(word.start < inside[0].start for word in split_words(text))
    same = normalised(words) == normalised(text)
    return words, at.index(first) + 1 if len(at) > 1 and not same else None
