"""Corrections in a session: "no, the third one", "undo that", "a little less", "even more"."""

from __future__ import annotations

import re
from dataclasses import replace

from stepedit_core import Interpretation, InterpretationError, Reading, Region
from stepedit_interpret.anchors import text_of
from stepedit_interpret.complaints import elliptic
from stepedit_interpret.context import Context, Origin, built
from stepedit_interpret.numbers import NUMBER, ORDINAL, ordinal, read_number
from stepedit_interpret.regions import WHOLE, find_region
from stepedit_interpret.requests import read_request
from stepedit_interpret.wording import Wording

__all__ = ["choice_of", "corrected", "is_undo"]

_UNDO = re.compile(
    r"(?:no[,.]?\s*)?(?:please\s+)?(?:undo|revert|take\s+(?:that|it)\s+back|scratch|cancel|forget"
    r"|never\s*mind)"
    r"(?:\s+(?:that|it|this|the\s+last\s+(?:one|step|edit|change)))?(?:\s+back)?|"
    r"go\s+back(?:\s+one(?:\s+step)?)?|撤销(?:上一步|刚才的?|它)?|取消(?:上一步|刚才的?|它)?|撤回"
    r"|(?:put|bring)\s+(?:it|that|them)\s+back|restore\s+(?:it|that|them)|算了|退回上一步"
)
_UNDO_ALL = re.compile(
    r"(?:undo|revert|cancel)\s+(?:everything|all(?:\s+of\s+(?:it|that))?)|start\s+over|全部撤销"
    r"|重来"
)
_LESS = re.compile(
    r"(?:(?:no|ok(?:ay)?|but)[,.]?\s*)?(?:(?:just\s+)?(?:a\s+(?:little|bit|tad|touch)|slightly"
    r"|somewhat|much)\s+)?"
    r"(?:(?:even\s+)?less|not\s+(?:so|that|quite\s+so)\s+much|weaker|milder)(?:\s+(?:so"
    r"|than\s+that|please))?|"
    r"(?:that\s+is\s+)?(?:a\s+(?:little|bit)\s+)?too\s+much|(?:that\s+is\s+)?overdone|"
    r"(?:再)?(?:少|弱|轻|收)一?[点些]|太过?了|过头了|太多了|没?那么(?:强|多)"
)
_MORE = re.compile(
    r"(?:(?:no|ok(?:ay)?|but)[,.]?\s*)?(?:(?:just\s+)?(?:a\s+(?:little|bit|lot)|even|much"
    r"|slightly|some|still|way)\s+)*"
    r"(?:more|stronger|further)(?:\s+(?:so|of\s+(?:that|it)|please))?|(?:do\s+(?:it|that)"
    r"|once)?\s*(?:once\s+)?again|"
    r"not\s+enough|one\s+more\s+time|再来一[次遍]|更?(?:强|多)一?[点些]|再(?:强|多)一?[点些]|更多"
    r"|不够|还不够|再来"
)
_NO = re.compile(
    r"^(?:(?:no(?:pe)?|not\s+that(?:\s+one)?|wrong|actually|sorry|i\s+mean(?:t)?|rather|instead|wait"
    r"|hold\s+on|oops|hmm|make\s+that)\b[\s,.!]*)+(?P<rest>.+)$|^(?:"
    r"不是|不对?|错了|我是说|应该是)(?:\s*[,.!，。！]\s*|\s+|(?=[\u3400-\u9fff]))(?P<zh>.+)$"
)
_ALSO = re.compile(
    r"(?P<lead>(?:and\s+)?(?:do\s+)?(?:the\s+)?same\s+(?:for|to|with|on|in)|ditto\s+(?:for|on)"
    r"|and|also|plus|也|还有)?\s*(?P<rest>.+?)"
    r"(?P<tail>\s*(?:too|as\s+well|also|也是?|也一样|一样))?[.!。]?"
)
_STILL = re.compile(
    r"(?:(?:and|but|no)[,]?\s+)?(?:even|still|yet)\s+(?P<rest>.+)|(?:还要)?再(?P<zh>.+)"
)
_SCRAPPED = re.compile(
    r"(?:(?:no|wait|oh|actually)[,.]?\s+)*(?:undo|scrap|scratch|cancel|forget|revert)\s+(?:that|it|this)"
    r"\s*[,.;:-]\s*(?:and\s+)?(?P<en>.+?)(?:[,]?\s+instead)?[.!]?"
    r"|(?:算了|取消|撤销|不要了)\s*[,.;。]\s*(?:还是)?(?P<zh>.+?)[。.!]?"
)
_INSTEAD = re.compile(r"(?:instead[,]?\s+(?P<first>.+)|(?P<last>.+?)[,]?\s+instead)")
_CHANGED = re.compile(
    r"(?:please\s+)?(?:change|switch|turn)\s+(?:it|that|this)\s+(?:to|into)\s+(?P<en>.+)"
    r"|(?:还是|要不|那就?|请)?(?:改成|换成|改为|变成|改用|换)(?P<zh>.+)"
)
_NEW_WORDS = re.compile(r"(?P<lead>(?:with|by|to|into|as|换成|改成|是)\s*)?(?P<new>.+)")
_CHOICE = re.compile(
    rf"(?:(?:i\s+mean(?:t)?|take|choose|use|pick|option|number|no\.)\s+)?(?:the\s+)?"
    rf"(?:(?P<ord>{ORDINAL})(?:\s+(?:one|option|choice|reading))?|(?P<n>\d))"
    rf"|(?:选|用)?第?(?P<z>[一二两三四五六])个?"
)
_ONE = re.compile(
    rf"(?:(?:on|in|for)\s+)?(?:the\s+)?(?P<ord>{ORDINAL})(?:\s+one)?"
    rf"|第(?P<z>[一二两三四五六七八九十\d]+)个"
)
_FILLING = re.compile(
    r"^(?:i\s+mean(?:t)?|actually|make\s+(?:that|it)|only|just|rather|是|应该是|我是说|只有?)\s*"
    r"|\s*(?:instead|only|alone|please|吧|[.!。！])+$"
)


def choice_of(words: Wording, before: Interpretation) -> Interpretation:
    """Return the alternative that a sentence chooses: "the second one", "the pitch".

    Raises:
        InterpretationError: with the alternatives, if it chooses none.
    """
    low = words.low.strip().rstrip(".!?。！？ ").strip()
    ways = before.alternatives
    match = _CHOICE.fullmatch(low)
    if match is not None:
        said = match["n"] or match["z"]
        number = ordinal(match["ord"]) if match["ord"] else int(read_number(said))
        place = number - 1 if number > 0 else len(ways) + number
        if 0 <= place < len(ways):
            return ways[place]
    named = [
        way
        for way in ways
        if any(re.search(rf"\b{one.edit.name.replace('_', ' ')}\b", low) for one in way.readings)
    ]
    if len(named) == 1:
        return named[0]
    _ = before.chain  # says what there is to choose from
    raise InterpretationError("nothing is chosen")


def is_undo(words: Wording) -> bool:
    """Return whether a sentence takes back what was asked last."""
    low = words.low.strip().rstrip(".!?。！？ ").strip()
    return _UNDO.fullmatch(low) is not None


def corrected(
    words: Wording, context: Context, before: Interpretation
) -> tuple[Reading, ...] | None:
    """Return all readings after a correction of what was asked, or None where it is none.

    Raises:
        InterpretationError: if there is nothing to correct, or it cannot be corrected so.
    """
    low = words.low.strip().rstrip(".!?。！？ ").strip()
    done = before.readings
    if _UNDO_ALL.fullmatch(low):
        return ()
    if _UNDO.fullmatch(low):
        if not done:
            raise InterpretationError("there is nothing to undo")
        past = before.earlier.readings if before.earlier is not None else ()
        if before.earlier is not None and done[: len(past)] != past:
            return past  # the last sentence corrected what there was
        # What was read from the same words belongs to one step.
        last = done[-1].source
        kept = [one for n, one in enumerate(done) if any(x.source != last for x in done[n:])]
        return tuple(kept) if done[-1:] != done[-2:-1] else done[:-1]
    if not done:
        swapped = _INSTEAD.fullmatch(low)
        if swapped is None:
            return None
        ways = read_request(_part(words, swapped, "first", "last"), context).ways
        return ways[0] if len(ways) == 1 else None
    scrapped = _SCRAPPED.fullmatch(low)
    if scrapped is not None:
        return _anew(_part(words, scrapped, "en", "zh"), context, before)
    if _LESS.fullmatch(low):
        return (*done[:-1], *_degree(done, -1))
    if _MORE.fullmatch(low):
        return (*done[:-1], *_degree(done, +1))
    added = _also(words, context, done) or _still(words, context, done)
    if added is not None:
        return added
    swapped = _INSTEAD.fullmatch(low)
    if swapped is not None:
        return _replaced(_part(words, swapped, "first", "last"), context, done)
    match = _NO.match(words.low.strip())
    if match is None:
        return _changed(words, context, done)
    return _replaced(_part(words, match, "rest", "zh"), context, done)


def _anew(rest: Wording, context: Context, before: Interpretation) -> tuple[Reading, ...]:
    """Return the readings with those of the last sentence replaced: "scrap that, slow it down".

    Raises:
        InterpretationError: if the last sentence asked for several edits, or corrected one.
    """
    past = before.earlier.readings if before.earlier is not None else ()
    if before.readings[: len(past)] != past or len(before.readings) != len(past) + 1:
        raise InterpretationError(
            "what is to be taken back are several edits, or a correction; undo it first"
        )
    ways = read_request(rest, replace(context, verb=None)).ways
    if len(ways) != 1:
        raise InterpretationError(f"{rest.brief()!r} can mean several things; say it in full")
    return (*past, *ways[0])


def _changed(
    words: Wording, context: Context, done: tuple[Reading, ...]
) -> tuple[Reading, ...] | None:
    """Return the readings after "change it to sad", where the last one was of the same edit."""
    match = _CHANGED.fullmatch(words.low.strip())
    if match is None:
        return None
    rest = _part(words, match, "en", "zh")
    try:
        new = _replaced(rest, context, done)
    except InterpretationError:
        return None
    return new if type(new[-1].edit) is type(done[-1].edit) else None


def _part(words: Wording, match: re.Match[str], *groups: str) -> Wording:
    """Return what the first group holds that took part in a match."""
    name = next(group for group in groups if match.group(group) is not None)
    return words.stripped().part(*match.span(name))


def _still(
    words: Wording, context: Context, done: tuple[Reading, ...]
) -> tuple[Reading, ...] | None:
    """Return the readings after "even louder" or "much louder", after "louder", or None."""
    low = words.low.strip().rstrip(".!?。！？ ")
    match = _STILL.fullmatch(low)
    again = words if match is None else _part(words, match, "rest", "zh")
    try:
        ways = read_request(again, replace(context, verb=None)).ways
    except InterpretationError:
        whole = elliptic(again, done[-1].source)
        if whole is None:
            return None
        try:
            ways = read_request(whole, replace(context, verb=None)).ways
        except InterpretationError:
            return None
    origin, last = ways[0][0].origin, done[-1].origin
    if len(ways) != 1 or not isinstance(origin, Origin) or not isinstance(last, Origin):
        return None
    same = origin.pattern.known is last.pattern.known and (
        origin.pattern.ask == last.pattern.ask or ways[0][0].edit == done[-1].edit
    )
    if not same or origin.degree < last.degree:  # "slower", then "a bit slower still": both
        return None
    if match is None:
        stronger = origin.degree > last.degree and ways[0][0].region in (None, done[-1].region)
        new = replace(done[-1], edit=ways[0][0].edit, origin=origin)
        return (*done[:-1], new) if stronger else None
    try:
        return (*done[:-1], *_degree(done, +1))
    except InterpretationError:
        return None


def _also(
    words: Wording, context: Context, done: tuple[Reading, ...]
) -> tuple[Reading, ...] | None:
    """Return the readings with the last one on another region too, or None."""
    match = _ALSO.fullmatch(words.low.strip())
    if match is None or done[-1].region is None or not (match["lead"] or match["tail"]):
        return None
    rest = words.stripped().part(match.start("rest"), match.end("rest"))
    region = _named(rest, context, done[-1])
    return None if region is None else (*done, replace(done[-1], region=region))


def _named(rest: Wording, context: Context, last: Reading) -> Region | None:
    """Return the region that is all that some words name, or None."""
    one = _ONE.fullmatch(_FILLING.sub("", rest.low).strip())
    if one is not None and last.region is not None and last.region.sentences:
        noun = f"the {one['ord']} sentence" if one["ord"] else f"第{one['z']}句"
        rest = Wording.of(noun)
    found = find_region(rest, context.setting)
    if found is None or _FILLING.sub("", rest.without(found.start, found.end).low).strip():
        return None
    return found.region


def _degree(done: tuple[Reading, ...], by: int) -> tuple[Reading, ...]:
    """Return the last reading, weaker or stronger; what has no degrees is repeated."""
    last = done[-1]
    origin = last.origin
    if not isinstance(origin, Origin):
        raise InterpretationError(f"{last.edit.name} has no degrees")
    wanted = origin.degree + by
    ask = origin.pattern.ask
    has = {-1: ask.little is not None, 0: True, 1: ask.much is not None}
    has_amount = any(
        origin.pattern.known.phrases.slots[name].kind not in ("words", "choice")
        for name in origin.pattern.slots
    )
    if not has_amount and has.get(wanted, False):
        edit = built(origin.pattern, wanted, origin.values)
        if edit != last.edit:
            return (replace(last, edit=edit, origin=replace(origin, degree=wanted)),)
    if by > 0 and not has_amount and not origin.pattern.has_words and ask.place is None:
        return (last, last)
    if by < 0 and len(done) > 1 and done[-1] == done[-2]:
        return ()
    raise InterpretationError(
        f"{last.edit.name} has no {'weaker' if by < 0 else 'stronger'} form of {last.source!r}; "
        'say the amount, or "undo that"'
    )


def _replaced(rest: Wording, context: Context, done: tuple[Reading, ...]) -> tuple[Reading, ...]:
    """Return the readings with the last one's region, or the last one itself, replaced."""
    last = done[-1]
    try:
        named = _named(rest, context, last)
    except InterpretationError:
        again = _other_words(rest, last)
        if again is None:
            raise
        return (*done[:-1], again)
    if named is not None:
        return (*done[:-1], replace(last, region=None if named == WHOLE else named))
    amount = _other_amount(rest, last)
    try:
        ways = read_request(amount or rest, replace(context, verb=None))
    except InterpretationError:
        again = _other_words(rest, last)
        if again is None:
            raise
        return (*done[:-1], again)
    if len(ways.ways) != 1:
        raise InterpretationError(f"{rest.brief()!r} can mean several things; say it in full")
    readings = tuple(
        replace(new, region=last.region)
        if new.region is None
        and not (isinstance(new.origin, Origin) and new.origin.pattern.known.phrases.whole)
        else new
        for new in ways.ways[0]
    )
    return (*done[:-1], *readings)


def _other_amount(rest: Wording, last: Reading) -> Wording | None:
    """Return the last request with another number, as in "no, three", or None."""
    said = re.fullmatch(
        rf"(?:it\s+|by\s+|to\s+)?(?P<n>{NUMBER})\s*(?:%|percent|db|semitones?)?",
        rest.low.strip(" .!"),
    )
    source = Wording.of(last.source)
    found = list(re.finditer(NUMBER, source.low))
    if said is None or len(found) != 1:
        return None
    start, end = found[0].span()
    return Wording.of(f"{source.raw[:start]}{said['n']}{source.raw[end:]}")


def _other_words(rest: Wording, last: Reading) -> Reading | None:
    """Return the last reading with other new words, as in "no, with hot", or None."""
    origin = last.origin
    match = _NEW_WORDS.fullmatch(rest.low.strip().rstrip(".!。！ "))
    if match is None or not isinstance(origin, Origin) or not origin.pattern.has_words:
        return None
    slots = origin.pattern.known.phrases.slots
    free = [slots[name].param or name for name in origin.pattern.slots if not slots[name].said]
    new = rest.stripped().part(*match.span("new"))
    clear = match["lead"] or Wording.is_quote(new.low.strip())  # "no, thanks" is no new text
    if len(free) != 1 or not clear:
        return None
    values = {**origin.values, free[0]: text_of(new)}
    edit = built(origin.pattern, origin.degree, values)
    return replace(last, edit=edit, origin=replace(origin, values=values))
