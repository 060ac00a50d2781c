"""One request of a sentence: which edit, with which parameters, where."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import ParamSpec, TypeVar

from stepedit_core import Edit, InterpretationError, Reading, Region, sentence_places
from stepedit_interpret.anchors import located
from stepedit_interpret.context import Context, Origin, Unread, Ways, built, cleaned, is_covered
from stepedit_interpret.free_words import region_taken, whole_phrases, with_sound
from stepedit_interpret.lexicon import LITTLE, MUCH, QUOTE, TIMES, VERBS, is_chinese
from stepedit_interpret.numbers import NUMBER, ORDINAL, ordinal, read_number
from stepedit_interpret.patterns import Pattern
from stepedit_interpret.regions import WHOLE, Found, find_region
from stepedit_interpret.wording import Wording

__all__ = ["read_request"]

_BARE = re.compile(
    rf"\bthe\s+(?P<ord>{ORDINAL})(?:\s+one)?\b|第(?P<z>[一二两三四五六七八九十\d]+)个?(?!句)"
)
_BARE_COUNT = re.compile(
    rf"\bthe\s+(?P<ord>first|last|final)\s+(?P<n>{NUMBER})(?:\s+ones)?(?=\s*[,.!]|\s*$)"
)
_IT = re.compile(r"\b(?:it|them|its)\b|它")
_THAT = re.compile(r"\b(?:that|this|those|these)\b|这|那")
_TO = re.compile(r"\b(?:to|at)\s*(?:about\s+|around\s+)?¦|(?:到|至|为)\s*¦")
_ELLIPTIC = re.compile(
    rf"^(?:(?:a|an|more|less|much|slightly|even|bit|little|not|too|by|at|[-+])(?:\b|\s)"
    rf"|[\w-]+er\b|{NUMBER})"
)
_ARTICLE = re.compile(
    r"(?:the|any|all|every|those|these|its|his|her|their)\b"
    r"|[¦]?.*[\u3400-\u9fff]"
)
_COMPARED = re.compile(r"\b(?:than|(?<!would\s)like|as)\s+(?:in\s+|the\s+)*$|[比像跟]$")
MOST_REPEATS = 10
MOST_CHARACTERS = 240
"""Longest request that is read, a text in quotes counted as one character."""
P = ParamSpec("P")
T = TypeVar("T")


def read_request(request: Wording, context: Context) -> Ways:
    """Return how a request can be read.

    Raises:
        Unread: if no phrase covers it.
        InterpretationError: if it names what the utterance does not have.
    """
    request = cleaned(request)
    if not request.low:
        raise Unread("nothing is asked for")
    if len(request.low) > MOST_CHARACTERS:
        raise Unread(f"{request.brief()!r} is too long for one request; say it in several")
    failures: list[InterpretationError] = []
    spoken = _tried(failures, whole_phrases, request, context, None)
    if spoken is not None and re.search(QUOTE, request.low):
        return spoken
    tags = _tried(failures, with_sound, request, context)
    if tags is not None:
        return tags
    found = _tried(failures, find_region, request, context.setting)
    if found is not None and _COMPARED.search(request.low[: found.start]):
        raise Unread(f"{request.brief()!r} compares with a place; say how much", specific=True)
    if found is not None:  # "dead air at the start and the end" is all one phrase
        around = _spotted(request, None, context, request, around=(found.start, found.end))
        if around is not None:
            return around
    try:
        region, rest = _regioned(request, found, context)
    except InterpretationError as error:
        if isinstance(error, Unread):
            raise  # it speaks of a region that nobody has named
        failures.append(error)
        region, rest = None, request
    spotted = _spotted(rest, region, context, request)
    if spotted is not None:
        return spotted
    if spoken is None or context.setting.text is None:
        _refuse_never(request, context)
    if spoken is not None:
        return spoken
    if found is not None and region is not None:
        inner = _tried(failures, whole_phrases, cleaned(rest), context, region)
        if inner is not None:
            return inner
        taken = region_taken(rest, region, context, request)
        if taken is not None:
            return taken
    if context.lead and context.inherits:
        again = Wording(context.lead + request.raw, context.lead + request.low, request.quotes)
        carried = _tried(failures, whole_phrases, again, context, None)
        if carried is not None:
            return carried
    for failure in failures:
        if not isinstance(failure, Unread) or failure.specific:
            raise failure
    raise Unread(f"{request.brief()!r} is not understood")


def _refuse_never(request: Wording, context: Context) -> None:
    """Refuse what only sounds like an edit, with the reason that its phrases give."""
    for known in context.vocabulary.known:
        for regex, because in known.never:
            if regex.search(request.low):
                raise Unread(f"{request.brief()!r}: {because}", specific=True)


def _tried(
    failures: list[InterpretationError],
    work: Callable[P, T | None],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T | None:
    """Return what some work gives; keep why it fails, another reading may do."""
    try:
        return work(*args, **kwargs)
    except InterpretationError as error:
        failures.append(error)
        return None


def _regioned(
    request: Wording, found: Found | None, context: Context
) -> tuple[Region | None, Wording]:
    """Return the region of a request, and the request without it."""
    if found is not None:
        rest = request.without(found.start, found.end)
        if found.how == "pronoun":
            if re.fullmatch(r"there", request.low[found.start : found.end]):
                return context.region, rest if context.region else request
            known = context.region or (Region(words=context.words) if context.words else None)
            if known is None:
                said = request.raw[found.start : found.end].strip()
                raise Unread(f"{said!r}: which one is not said before", specific=True)
            return known, rest
        if found.how == "rest":
            before = context.kept or context.region
            if before is None:
                return None, request
            return replace(before, outside=not before.outside), rest
        return _inner_words(found.region, rest, context)
    some = _BARE_COUNT.search(request.low)
    if some is not None and context.region is not None and context.region.sentences:
        named = Wording.of(f"the {some['ord']} {some['n']} sentences")
        several = find_region(named, context.setting)
        if several is not None:
            return several.region, request.without(*some.span())
    bare = _BARE.search(request.low)
    if bare is not None and context.region is not None and context.region.sentences:
        number = ordinal(bare.group("ord")) if bare.group("ord") else int(read_number(bare["z"]))
        text = context.setting.text
        count = len(sentence_places(text)) if text else None
        chosen = number if number > 0 else (count or 0) + 1 + number
        if count is not None and not 1 <= chosen <= count:
            raise InterpretationError(f"there is no sentence {number}: the text has {count}")
        return Region(sentences=(chosen,)), request.without(*bare.span())
    return None, request


_QUOTED = re.compile(rf"(?:\b(?:on|in|of|for)\s+)?(?:\bthe\s+(?:words?|phrase)\s+)?(?P<q>{QUOTE})")


def _inner_words(region: Region, rest: Wording, context: Context) -> tuple[Region, Wording]:
    """Return the words in quotes inside a sentence, as in "red" in the third sentence.

    Raises:
        InterpretationError: if they are not said there, or several times.
    """
    match = _QUOTED.search(rest.low)
    text = context.setting.text
    if match is None or not region.sentences or region.outside or text is None:
        return region, rest
    places = located(rest.quote(match["q"]), None, context.setting, every=False, region=region)
    if len(places) != 1:
        raise InterpretationError(f"{rest.quote(match['q'])!r} is said several times in {region}")
    (place,) = places
    return Region(words=place.words, occurrence=place.occurrence), rest.without(*match.span())


def _spotted(
    rest: Wording,
    region: Region | None,
    context: Context,
    request: Wording,
    around: tuple[int, int] | None = None,
) -> Ways | None:
    """Read a request by a phrase in it where only words that any request has are left over.

    Args:
        rest: the request without its region.
        region: where.
        context: what it may lean on.
        request: all of it.
        around: the phrase has to hold these places.
    """
    best: list[tuple[int, Pattern, re.Match[str], str]] = []
    candidates = context.vocabulary.candidates(rest.low)
    context.effort.spend(len(rest.low) * len(candidates))
    for pattern in candidates:
        if pattern.has_words or pattern.ask.place == "tag":
            continue
        for match in pattern.regex.finditer(rest.low):
            if around and not (match.start() <= around[0] and around[1] <= match.end()):
                continue
            left = rest.low[: match.start()] + " ¦ " + rest.low[match.end() :]
            left = _without_synonyms(left, pattern, match)
            if pattern.ask.verb and pattern.slots and _TO.search(left):
                continue  # "cut the tempo to 70 percent" is not by 70 percent
            verb = pattern.ask.verb
            said = VERBS[verb].search(left) if verb else None
            if verb and not said and not (context.inherits and context.verb == verb):
                continue
            if is_covered(left, pattern.ask):
                # "and whisper" is a request of its own, "and the whispering" goes on.
                goes_on = verb is not None and not said and not _ARTICLE.match(left.strip())
                length = 2 * (match.end() - match.start()) - goes_on
                best.append((length, pattern, match, left))
    if not best:
        return None
    longest = max(length for length, *_ in best)
    ways: dict[Edit, tuple[Reading, ...]] = {}
    where = _where(rest, region, context, [one for one in best if one[0] == longest])
    verb = None
    for length, pattern, match, left in best:
        if length < longest:
            continue
        degree = -1 if LITTLE.search(left) else 1 if MUCH.search(left) else 0
        values = dict(pattern.known.value(name, match.group(name)) for name in pattern.slots)
        edit = built(pattern, degree, values)
        if where is not None and pattern.known.phrases.whole:
            raise Unread(
                f"{edit.name} works on the whole utterance, not on {where} alone", specific=True
            )
        reading = Reading(edit, where, request.shown(), Origin(pattern, degree, values))
        ways.setdefault(edit, (reading,) * _repeats(left))
        verb = verb or pattern.ask.verb
    question = f"{request.brief()!r} can mean several things" if len(ways) > 1 else ""
    return Ways(tuple(ways.values()), verb=verb, region=where, question=question)


def _without_synonyms(left: str, pattern: Pattern, match: re.Match[str]) -> str:
    """Return what is left without other words for the same choice: "recite it like a poem"."""
    slots = pattern.known.phrases.slots
    if len(pattern.slots) != 1 or slots[pattern.slots[0]].kind != "choice":
        return left
    (name,) = pattern.slots
    chosen = pattern.known.value(name, match[name])
    same = (
        one
        for one in pattern.regex.finditer(left)
        if pattern.known.value(name, one[name]) == chosen
    )
    for one in reversed(list(same)):
        left = f"{left[: one.start()]} {left[one.end() :]}"
    return left


def _where(
    rest: Wording,
    region: Region | None,
    context: Context,
    best: list[tuple[int, Pattern, re.Match[str], str]],
) -> Region | None:
    """Return the region of a request, taken over from the one before where it says "it"."""
    if region == WHOLE:
        return None
    if region is not None or context.region is None:
        return region
    _, pattern, match, left = best[0]
    if _IT.search(rest.low) or (context.spoken and _THAT.search(rest.low)):
        return context.region
    bare = not re.sub(r"[\s¦]", "", MUCH.sub(" ", LITTLE.sub(" ", left)))
    adjective = any(pattern.known.phrases.slots[name].kind == "choice" for name in pattern.slots)
    starts = "¦" in left[:3] and is_chinese(match.group())
    elliptic = bare and (adjective or _ELLIPTIC.match(match.group()) or starts)
    return context.region if context.inherits and elliptic else None


def _repeats(left: str) -> int:
    """Return how often an edit is asked for."""
    match = TIMES.search(left)
    if match is None:
        return 1
    said = match.group("en") or match.group("zh")
    return min(MOST_REPEATS, int(read_number(said))) if said else 2
