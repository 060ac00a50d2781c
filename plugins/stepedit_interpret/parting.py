"""A sentence parted into requests: where each begins and ends, in what order, about what."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace

from stepedit_core import InterpretationError, Region
from stepedit_core.dsp.words import split_words
from stepedit_interpret.complaints import (
    elliptic,
    is_complaint,
    is_remedy,
    is_statement,
    meant,
    noun_of,
)
from stepedit_interpret.context import Context, Origin, Unread, Ways, cleaned
from stepedit_interpret.keeping import is_left_alone, kept_attribute, kept_region
from stepedit_interpret.lexicon import BREAKS, QUOTE
from stepedit_interpret.regions import WHOLE, find_region, occurrences
from stepedit_interpret.requests import read_request
from stepedit_interpret.wording import Wording

__all__ = ["Done", "Parting"]

MOST_PIECES = 24
MOST_JOINED = 6
"""Most pieces of one request."""
MOST_TRIES = 200

_FIRST = re.compile(r"^\W*(?:but\s+)?(?:first(?!\s+(?:word|sentence|line|\w+\s+(?:word|sentence"
                    r"|second)))"
                    r"|before\s+that|beforehand|但?先|之前先)")  # fmt: skip
_FIRST_AFTER = re.compile(
    r"\b(?:first|beforehand|before\s+(?:that|anything\s+else|all\s+else))\s*[.!]?\s*$"
)
_GERUND = re.compile(
    r"^(?:(?:you|we)\s+(?:have|had|would)\s+(?P<past>[a-z]+ed)\b"
    r"|(?:you\s+|we\s+)?"
    r"(?P<verb>(?!(?:every|any|no|some)?thing\b|evening|morning|during|starting|following|according)[a-z]+ing)\b)"
)
_LEAD = re.compile(
    r"\W*(before|after|once|when)\s+(?!second\s+\d)"
    r"(?=(?:(?:you|we)\s+(?:have\s+|would\s+|had\s+)?|(?:it\s+is\s+)?)[a-z]+\b)(?!that\b|the\b)"
)
_NEXT = re.compile(
    r"\W*(?:and\s+)?(?:then|after\s+that|afterwards|next|finally|lastly)\b|\W*(?:然后|接着|最后|之后)"
)
_OBJECT = re.compile(r"\s*(?:请|帮我)?(?:把|将)")
_SHARED_VERB = re.compile(
    r"(?:都|全部?|一起)(?P<v>去掉|去除|删掉|删除|剪掉|清除|消除|去了|删了)了?\s*$"
)


@dataclass(frozen=True)
class _Piece:
    """What stands between two breaks of a sentence: places, and the break before it."""

    start: int
    end: int
    before: str


@dataclass(frozen=True)
class Done:
    """Requests that were read, in the order in which they are carried out.

    Attributes:
        ways: one for each request.
        kept: regions that must not be touched.
        context: what the next request may lean on.
        untouched: names of edits that must not be asked for: "keep the pitch".
    """

    ways: tuple[Ways, ...]
    kept: tuple[Region, ...]
    context: Context
    untouched: frozenset[str] = frozenset()


def _leaning(done: Done) -> Hashable:
    """Return all of what was read before that decides how the next request is read."""
    context = done.context
    last = done.ways[-1] if done.ways else None
    noun = noun_of(last.ways[0][-1].source) if last is not None and last.ways[0] else None
    return (
        *(
            context.verb,
            context.region,
            context.lead,
            context.words,
            context.kept,
            context.spoken,
            noun,
        ),
        *(last is not None, last is not None and last.complains, len(done.kept), done.untouched),
    )


class Parting:
    """Parts one sentence into requests, and reads each."""

    def __init__(self, words: Wording) -> None:
        """Part a sentence into pieces; raises InterpretationError where there are too many."""
        self.words = words
        self.pieces = list(_pieces(words.low))
        self.failure: tuple[int, bool, InterpretationError] | None = None
        self.dead: set[tuple[int, Hashable]] = set()
        self.tries = 0
        if len(self.pieces) > MOST_PIECES:
            raise InterpretationError(
                f"the sentence has {len(self.pieces)} parts; {MOST_PIECES} are the most: say it in "
                "several"
            )

    def all(self, context: Context) -> Done:
        """Return all requests of the sentence; raises why the first unread one is not read."""
        found = self._from(0, Done((), (), context))
        if found is None:
            assert self.failure is not None
            raise self.failure[2]
        return found

    def _mended(self, at: int, part: Wording, done: Done) -> Done | None:
        """Read "the hum is loud, get rid of it" at two pieces, or None."""
        if at + 1 >= len(self.pieces):
            return None
        piece = self.pieces[at + 1]
        asked = meant(part, cleaned(self.words.part(piece.start, piece.end)))
        if asked is None:
            return None
        try:
            nxt = self._one(asked, self.pieces[at].before, done)
        except InterpretationError:
            return None
        return self._from(at + 2, nxt)

    def _shared(self, at: int, part: Wording, done: Done) -> Done | None:
        """Read "把杂音和停顿都去掉": the verb at the end is that of all before it; or None."""
        if _OBJECT.match(part.low) is None or at + 1 >= len(self.pieces):
            return None
        for piece in self.pieces[at + 1 : at + 4]:
            verb = _SHARED_VERB.search(self.words.low[piece.start : piece.end])
            if verb is None:
                continue
            whole = Wording(part.raw + verb["v"], part.low + verb["v"], part.quotes)
            try:
                nxt = self._one(whole, self.pieces[at].before, done)
            except InterpretationError:
                return None
            return self._from(at + 1, nxt)
        return None

    def _from(self, at: int, done: Done) -> Done | None:
        """Read what begins at a piece; short requests are tried first.

        What could not be read from a piece on is not tried again with the same to lean on.
        """
        if at == len(self.pieces):
            return done
        state = (at, _leaning(done))
        if state in self.dead:
            return None
        found = self._longer(at, done)
        if found is None:
            self.dead.add(state)
        return found

    def _longer(self, at: int, done: Done) -> Done | None:
        """Read one request at a piece, of one piece or more, and all after it."""
        for stop in range(at + 1, min(at + MOST_JOINED, len(self.pieces)) + 1):
            part = self.words.part(self.pieces[at].start, self.pieces[stop - 1].end)
            if not cleaned(part).low:
                following = self._from(stop, done)
                if following is not None:
                    return following
                continue
            self.tries += 1
            if self.tries > MOST_TRIES:
                raise InterpretationError("the sentence can be parted in too many ways; say less")
            try:
                nxt = self._one(part, self.pieces[at].before, done)
            except InterpretationError as error:
                self._fail(at, error)
                mended = self._mended(stop - 1, part, done) or self._shared(at, part, done)
                if mended is not None:
                    return mended
                last = stop == len(self.pieces)
                if not last and self._marked(at, stop) and (topic := _topic(part, done)):
                    nxt = replace(done, context=replace(done.context, region=topic, spoken=topic))
                elif is_statement(part) and not last and not done.ways:
                    nxt = self._spoken_of(part, done)
                else:
                    continue
            following = self._from(stop, nxt)
            if following is not None:
                return following
        return None

    def _marked(self, at: int, stop: int) -> bool:
        """Return whether pieces stand alone: at the start or after a stop, and before a mark."""
        before, after = self.pieces[at].before.strip(), self.pieces[stop].before.strip()
        return before in ("", ".", ";", "。", "；", "!", "?") and bool(
            re.match(r"[,;.!?，。；？！-]", after)
        )

    def _spoken_of(self, part: Wording, done: Done) -> Done:
        """Go on after "the ending sounds flat": what is asked for comes next, and is about it."""
        try:
            found = find_region(part, done.context.setting)
        except InterpretationError:
            found = None
        region = None if found is None or found.region == WHOLE else found.region
        return replace(done, context=replace(done.context, region=region, spoken=region))

    def _fail(self, at: int, error: InterpretationError) -> None:
        """Remember the failure that lies furthest on, those that tell why first."""
        specific = not isinstance(error, Unread) or error.specific
        if self.failure is None or (at, specific) > self.failure[:2]:
            self.failure = (at, specific, error)

    def _one(self, part: Wording, before: str, done: Done) -> Done:
        """Read one request and put it in its place."""
        done.context.effort.spend(40 * len(part.low))
        if done.ways and is_remedy(part) and (done.ways[-1].complains or _corrects(done)):
            return done
        if is_left_alone(part) and (done.ways or part.low != self.words.low):
            return done
        untouched = kept_attribute(part)
        if untouched and part.low.strip(" .,!") != self.words.low.strip(" .,!"):
            return replace(done, untouched=done.untouched | untouched)
        recited = _recited(part, done)
        if recited is not None and part.low != self.words.low:
            return replace(done, context=replace(done.context, region=recited, spoken=recited))
        kept = kept_region(part, done.context)
        if kept is not None:
            context = replace(done.context, kept=kept)
            return replace(done, kept=(*done.kept, kept), context=context)
        only = _only(part, done)
        if only is not None:
            return only
        plain = before.strip() in (
            *("", ",", "and", "but"),
            *("，", "、", "和", "并", "并且", "而且", "且"),
        )
        plain = plain and not _NEXT.match(part.low)
        context = replace(done.context, inherits=plain)
        lead = _LEAD.match(part.low)
        asked = part.part(lead.end(), len(part.low)) if lead else part
        ways = replace(_read_after(asked, done, context), complains=is_complaint(asked))
        if context.spoken is not None:
            _hold_place(ways, asked, context.spoken)
        order = lead.group(1) if lead else before.strip().rpartition(" ")[2]
        own = done.ways
        first = _FIRST.match(f"{before} {part.low}".strip()) or _FIRST_AFTER.search(part.low)
        goes_first = own and (order == "after" or first)
        waits = bool(lead) and order == "before" and not own
        if goes_first:
            own = (ways, *own)
        elif own and getattr(own[-1], "question", "") == "waits":
            still = "waits" if plain else ""  # "before A, do B and C"
            own = (*own[:-1], ways, replace(own[-1], question=still))
        else:
            own = (*own, replace(ways, question="waits") if waits else ways)
        region = ways.region if ways.region is not None else done.context.region
        if ways.region is None and any(one.region is None for one in ways.ways[0]):
            region = None if plain is False else done.context.region
        return replace(
            done,
            ways=own,
            context=replace(
                done.context,
                verb=ways.verb,
                region=region,
                lead=ways.lead,
                words=ways.words,
                spoken=None,
            ),
        )


def _corrects(done: Done) -> bool:
    """Return whether the last request replaced words: "please correct that" may follow it."""
    last = done.ways[-1].ways[0]
    return bool(last) and last[-1].edit.name == "replace"


def _hold_place(ways: Ways, asked: Wording, region: Region) -> None:
    """Refuse a request that may or may not be about what a statement before it spoke of.

    Raises:
        Unread: if it neither names a region nor says "it".
    """
    for way in ways.ways:
        for one in way:
            origin = one.origin
            bound = isinstance(origin, Origin) and origin.pattern.known.phrases.whole
            if one.region is None and not bound:
                raise Unread(
                    f"{asked.brief()!r}: on {region} or on all of it? say which", specific=True
                )


_ABOUT = re.compile(
    r"(?:as\s+for|about|regarding|concerning|for|in|on|with|take|see|you\s+know|at|就|关于|对于)?\s*"
)


def _recited(part: Wording, done: Done) -> Region | None:
    """Return the words of the transcript that a part is: "the trains are slow - say it slower"."""
    text, raw = done.context.setting.text, part.raw.strip(" .,;!?")
    if text is None or len(split_words(raw)) < 3 or re.search(QUOTE, raw):
        return None
    return Region(words=raw) if len(occurrences(text, raw)) == 1 else None


def _topic(part: Wording, done: Done) -> Region | None:
    """Return the region that a part only names: "the last sentence? make it louder"."""
    part = cleaned(part)
    part = part.part(match.end() if (match := _ABOUT.match(part.low)) else 0, len(part.low))
    try:
        found = find_region(part, done.context.setting) if part.low.strip() else None
    except InterpretationError:
        return None
    if found is None or found.how in ("rest", "pronoun", "whole") or found.region.outside:
        return None
    if part.without(found.start, found.end).low.strip(" .,;:!?？，"):
        return None
    return found.region


def _only(part: Wording, done: Done) -> Done | None:
    """Confine the request before to a region: "faster, but only the end"; None where it is not."""
    match = re.match(r"\s*(?:but\s+)?(?:only|just)\s+|\s*(?:但|不过)?(?:只有|只|仅)", part.low)
    if match is None or not done.ways:
        return None
    rest = part.part(match.end(), len(part.low))
    found = find_region(rest, done.context.setting)
    if found is None or cleaned(rest.without(found.start, found.end)).low.strip(" .!"):
        return None
    last = done.ways[-1]
    if any(one.region is not None for way in last.ways for one in way):
        return None
    if any(
        isinstance(one.origin, Origin) and one.origin.pattern.known.phrases.whole
        for way in last.ways
        for one in way
    ):
        raise Unread("what changes the words works on the whole utterance", specific=True)
    ways = tuple(tuple(replace(one, region=found.region) for one in way) for way in last.ways)
    return replace(done, ways=(*done.ways[:-1], replace(last, ways=ways, region=found.region)))


def _pieces(text: str) -> Iterator[_Piece]:
    """Yield the pieces of a sentence."""
    at, before = 0, ""
    for match in BREAKS.finditer(text):
        if match.start() > at or not at:
            yield _Piece(at, match.start(), before)
        before = match.group() if match.start() > at else before + match.group()
        at = match.end()
    if text[at:].strip():
        yield _Piece(at, len(text), before)


def _read(part: Wording, context: Context) -> Ways:
    """Read a request; a gerund or a participle is tried as a plain verb."""
    part = cleaned(part)
    match = _GERUND.match(part.low)
    if match is None:
        return read_request(part, context)
    stem = match["verb"][:-3] if match["verb"] else match["past"][:-2]
    plain = [stem, f"{stem}e", stem[:-1] if stem[-1:] == stem[-2:-1] else f"{stem}ing"]
    failure: InterpretationError | None = None
    for verb in plain:
        end = match.end()
        tried = Wording(verb + part.raw[end:], verb + part.low[end:], part.quotes)
        try:
            return read_request(tried, context)
        except InterpretationError as error:
            failure = failure or error
    assert failure is not None
    raise failure


def _read_after(part: Wording, done: Done, context: Context) -> Ways:
    """Read a request, with the noun of the one before where it has none of its own."""
    try:
        return _read(part, context)
    except InterpretationError:
        said = done.ways[-1].ways[0][-1].source if done.ways and done.ways[-1].ways[0] else ""
        whole = elliptic(part, said)
        if whole is None:
            raise
        return _read(whole, context)
