"""One request of a sentence: which edit, with which parameters, where."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ParamSpec, TypeVar

from pydantic import ValidationError

from stepedit_core import Edit, Reading, Region, Setting, sentence_places
from stepedit_core.dsp.words import normalised, split_words
from stepedit_core.errors import explain_validation
from stepedit_core.interpretation import InterpretationError
from stepedit_interpret.anchors import Anchor, anchors, place_of, tagged, text_of
from stepedit_interpret.lexicon import (
    ADD,
    CARRIERS,
    EVEN,
    LITTLE,
    MUCH,
    POLITE_AFTER,
    POLITE_BEFORE,
    QUOTE,
    REMOVE,
    TIMES,
)
from stepedit_interpret.numbers import ORDINAL, ordinal, read_number
from stepedit_interpret.patterns import Pattern, Vocabulary
from stepedit_interpret.regions import WHOLE, Found, find_region, occurrences
from stepedit_interpret.wording import Wording

__all__ = ["Context", "Origin", "Unread", "Ways", "built", "cleaned", "read_request"]

_BARE = re.compile(
    rf"\bthe\s+(?P<ord>{ORDINAL})(?:\s+one)?\b|第(?P<z>[一二两三四五六七八九十\d]+)个?(?!句)"
)
_IT = re.compile(r"\b(?:it|them|its)\b|它")
_ELLIPTIC = re.compile(r"^(?:(?:a|an|more|less|much|slightly|even|bit|little)\b|[\w-]+er\b)")
_ARTICLE = re.compile(
    r"(?:the|any|all|every|those|these|its|his|her|their)\b"
    r"|[¦]?.*[\u3400-\u9fff]"
)
MOST_REPEATS = 10
P = ParamSpec("P")
T = TypeVar("T")


class Unread(InterpretationError):
    """A request that cannot be read; ``specific`` says whether the text tells why."""

    def __init__(self, message: str, *, specific: bool = False) -> None:
        """Keep whether the reason is known."""
        super().__init__(message)
        self.specific = specific


@dataclass(frozen=True)
class Origin:
    """What a reading was made of, for corrections.

    Attributes:
        pattern: the phrase.
        degree: -1 for "a bit", 1 for "much", 0 for neither.
        values: parameters from slots.
    """

    pattern: Pattern
    degree: int
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Context:
    """What a request may lean on.

    Attributes:
        vocabulary: what can be asked for.
        setting: what is known of the utterance.
        verb: ``remove`` or ``add`` where the request before asked so.
        region: where the request before was confined to.
        inherits: a request without a verb may take over verb and region.
        lead: how the request before began, up to its first free words.
        words: new words that the request before put in: "that word" means them.
        kept: what must not be touched: "the rest" is all but that.
    """

    vocabulary: Vocabulary
    setting: Setting
    verb: str | None = None
    region: Region | None = None
    inherits: bool = False
    lead: str = ""
    words: str | None = None
    kept: Region | None = None


@dataclass(frozen=True)
class Ways:
    """The ways to read a request: one, or several to choose from.

    Attributes:
        ways: readings of each way.
        verb: ``remove`` or ``add`` where it was said.
        region: the region it named or took over.
        question: what has to be chosen.
        lead: what stands before the first free words, which a request after it may leave out.
        words: new words that it puts in.
    """

    ways: tuple[tuple[Reading, ...], ...]
    verb: str | None = None
    region: Region | None = None
    question: str = ""
    lead: str = ""
    words: str | None = None


def cleaned(request: Wording) -> Wording:
    """Return a request without the polite words around it."""
    while True:
        request = request.stripped()
        if before := POLITE_BEFORE.match(request.low):
            request = request.part(before.end(), len(request.low))
        elif after := POLITE_AFTER.search(request.low):
            request = request.part(0, after.start())
        else:
            return request


def built(pattern: Pattern, degree: int, values: Mapping[str, Any]) -> Edit:
    """Return the edit of a phrase; raises Unread where a parameter is out of range."""
    ask = pattern.ask
    params: dict[str, Any] = dict(ask.params)
    has_amount = any(
        pattern.known.phrases.slots[name].kind not in ("words", "choice") for name in pattern.slots
    )
    if has_amount:
        params = {}
    elif degree < 0 and ask.little is not None:
        params = dict(ask.little)
    elif degree > 0 and ask.much is not None:
        params = dict(ask.much)
    edit_class = pattern.known.edit_class
    try:
        return edit_class(**{**params, **values})
    except ValidationError as error:
        why = explain_validation(error, edit_class.model_fields)
        raise Unread(f"{edit_class.name}: {why}", specific=True) from error


def read_request(request: Wording, context: Context) -> Ways:
    """Return how a request can be read.

    Raises:
        Unread: if no phrase covers it.
        InterpretationError: if it names what the utterance does not have.
    """
    request = cleaned(request)
    if not request.low:
        raise Unread("nothing is asked for")
    failures: list[InterpretationError] = []
    spoken = _tried(failures, _whole_phrases, request, context, None)
    if spoken is not None and re.search(QUOTE, request.low):
        return spoken
    tags = _tried(failures, _tagged, request, context)
    if tags is not None:
        return tags
    found = _tried(failures, find_region, request, context.setting)
    try:
        region, rest = _regioned(request, found, context)
    except InterpretationError as error:
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
        inner = _tried(failures, _whole_phrases, cleaned(rest), context, region)
        if inner is not None:
            return inner
        taken = _region_taken(rest, region, context, request)
        if taken is not None:
            return taken
    if context.lead and context.inherits:
        again = Wording(context.lead + request.raw, context.lead + request.low, request.quotes)
        carried = _tried(failures, _whole_phrases, again, context, None)
        if carried is not None:
            return carried
    for failure in failures:
        if not isinstance(failure, Unread) or failure.specific:
            raise failure
    raise Unread(f"{request.shown()!r} is not understood")


def _refuse_never(request: Wording, context: Context) -> None:
    """Refuse what only sounds like an edit, with the reason that its phrases give."""
    for known in context.vocabulary.known:
        for regex, because in known.never:
            if regex.search(request.low):
                raise Unread(f"{request.shown()!r}: {because}", specific=True)


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


# Phrases with free words ---------------------------------------------------------------------


def _whole_phrases(request: Wording, context: Context, region: Region | None) -> Ways | None:
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
    for pattern in context.vocabulary.patterns:
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
    said: tuple[str, list[Anchor]] | None = None
    for name in pattern.slots:
        slot, (start, end) = slots[name], match.span(name)
        piece = request.part(start, end).stripped()
        if slot.kind != "words":
            values.update([pattern.known.value(name, piece.low)])
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


# Sounds at places of the text ----------------------------------------------------------------


def _tagged(request: Wording, context: Context) -> Ways | None:
    """Read a request to put a sound at a place of the text."""
    for pattern in context.vocabulary.patterns:
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
        if not asked or not _is_covered(rest.low, "add"):
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


# Phrases without free words ------------------------------------------------------------------


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
        return found.region, rest
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


def _spotted(
    rest: Wording, region: Region | None, context: Context, request: Wording
) -> Ways | None:
    """Read a request by a phrase in it where only words that any request has are left over."""
    best: list[tuple[int, Pattern, re.Match[str], str]] = []
    for pattern in context.vocabulary.patterns:
        if pattern.has_words or pattern.ask.place == "tag":
            continue
        for match in pattern.regex.finditer(rest.low):
            left = rest.low[: match.start()] + " ¦ " + rest.low[match.end() :]
            verb = pattern.ask.verb
            said = {"remove": REMOVE, "add": ADD}[verb].search(left) if verb else None
            if verb and not said and not (context.inherits and context.verb == verb):
                continue
            if _is_covered(left, verb):
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
    question = f"{request.shown()!r} can mean several things" if len(ways) > 1 else ""
    return Ways(tuple(ways.values()), verb=verb, region=where, question=question)


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
    if _IT.search(rest.low):
        return context.region
    bare = not re.sub(r"[\s¦]", "", MUCH.sub(" ", LITTLE.sub(" ", left)))
    adjective = any(pattern.known.phrases.slots[name].kind == "choice" for name in pattern.slots)
    elliptic = bare and (adjective or _ELLIPTIC.match(match.group()) or "¦" in left[:3])
    return context.region if context.inherits and elliptic else None


def _repeats(left: str) -> int:
    """Return how often an edit is asked for."""
    match = TIMES.search(left)
    if match is None:
        return 1
    said = match.group("en") or match.group("zh")
    return min(MOST_REPEATS, int(read_number(said))) if said else 2


def _is_covered(left: str, verb: str | None) -> bool:
    """Return whether nothing is left that a request would not have anyway."""
    for regex in (TIMES, LITTLE, MUCH):
        left = regex.sub(" ", left)
    if verb == "remove":
        left = REMOVE.sub(" ", left)
    if verb == "add":
        left = ADD.sub(" ", left)
    left = CARRIERS.sub(" ", EVEN.sub(" ", left))
    return not re.sub(r"[\s¦,.;:!?'，。；：！？、\-]", "", left)


def _region_taken(rest: Wording, region: Region, context: Context, request: Wording) -> Ways | None:
    """Read "delete the second sentence": an edit whose parameter is the words of a region."""
    for known in context.vocabulary.known:
        for number, ask in enumerate(known.phrases.ask):
            if ask.region is None:
                continue
            verbs = REMOVE if ask.verb == "remove" else ADD
            goes_on = context.inherits and context.verb == ask.verb
            said = verbs.search(rest.low) is not None or goes_on
            if not said or not _is_covered(rest.low, ask.verb):
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
