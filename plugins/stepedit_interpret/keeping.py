"""What must not be touched: "leave the ending alone", "everything but the first sentence"."""

from __future__ import annotations

import re
from dataclasses import replace

from stepedit_core import InterpretationError, Reading, Region, Setting, sentence_places
from stepedit_interpret.context import Context, Origin
from stepedit_interpret.numbers import ORDINAL
from stepedit_interpret.regions import WHOLE, Found, find_region
from stepedit_interpret.wording import Wording

__all__ = ["is_left_alone", "kept_attribute", "kept_region", "refuse_touched", "spared"]

_LEFT_ALONE = re.compile(
    r"(?:please\s+|but\s+|and\s+)*(?:keep|leave|do\s+not\s+(?:touch|change|alter))\s+"
    r"(?:everything(?:\s+else)?|all(?:\s+the)?(?:\s+rest)?|(?:all\s+)?(?:of\s+)?the\s+(?:rest"
    r"|others?|other\s+\w+)|anything"
    r"\s+else)(?:\s+(?:as\s+(?:it\s+)?is|as\s+they\s+are|the\s+same|the\s+way\s+it\s+is|alone"
    r"|unchanged|untouched"
    r"|intact))?|(?:其他|其余|剩下)的?(?:都|部分)?(?:不变|别动|不要动|不动|不改|保持不变|保持原样)"
)
_KEEP_BEFORE = re.compile(
    r"^(?:(?:please\s+)?(?:do\s+not|never|without)\s+(?:touch|chang|alter|edit|modify|affect"
    r"|includ)"
    r"(?:e|ing)?|leave(?:\s+out)?|keep|not|skip|ignore|(?:不要|别|不许|勿)(?:动|改变|改动|改|碰"
    r"|处理)了?|保留|保持)\s*"
)
_KEEP_AFTER = re.compile(
    r"^\s*(?:alone|out(?:\s+of\s+it)?|be|intact|as\s+(?:it\s+is|is|they\s+are)|unchanged|untouched"
    r"|the\s+same|the\s+way\s+it\s+is|in\s+peace|"
    r"(?:保持)?(?:原样|不变|不动)|别动|不要动|不用动|不改|不要改|别改)?\s*[.!。！]?$"
)
_NEEDS_AFTER = re.compile(r"^(?:leave|keep|保留|保持)")


def kept_region(part: Wording, context: Context) -> Region | None:
    """Return the region of "do not touch the ending", or None where it is no such request."""
    setting = context.setting
    part = part.stripped()
    lead = re.match(r"(?:(?:please|but|and|但是?|不过)\s*|[,，]\s*)*", part.low)
    part = part.part(lead.end() if lead else 0, len(part.low))
    match = _KEEP_BEFORE.match(part.low)
    start = match.end() if match else 0
    rest = part.part(start, len(part.low))
    try:
        found = find_region(rest, setting) or _bare_sentence(rest, context)
    except InterpretationError:
        if match is not None and not _NEEDS_AFTER.match(match.group()):
            raise
        return None
    if found is None or found.region == WHOLE or found.region.outside:
        return None
    if rest.low[: found.start].strip() not in ("", "the"):
        return None
    tail = rest.low[found.end :]
    if not _KEEP_AFTER.match(tail):
        return None
    needs_after = match is None or _NEEDS_AFTER.match(match.group()) is not None
    if needs_after and not tail.strip(" .。!！"):
        return None
    return found.region


def _bare_sentence(rest: Wording, context: Context) -> Found | None:
    """Return the sentence of "the third (one)", where sentences were spoken of, or None."""
    region = context.region
    match = re.match(rf"(?:the\s+)?(?P<ord>{ORDINAL})(?:\s+one)?\b", rest.low)
    if match is None or region is None or not region.sentences:
        return None
    named = Wording.of(f"the {match['ord']} sentence")
    found = find_region(named, context.setting)
    return None if found is None else replace(found, start=0, end=match.end())


def spared(one: Reading, kept: tuple[Region, ...], setting: Setting) -> Reading:
    """Return a reading that leaves out what must not be touched."""
    if not kept:
        return one
    origin = one.origin
    if isinstance(origin, Origin) and origin.pattern.known.phrases.whole:
        if origin.pattern.has_words:
            return one  # it touches the words that it names alone
        raise InterpretationError(
            f"{one.edit.name} works on the whole utterance: nothing can be left out"
        )
    sentences = {number for region in kept for number in region.sentences}
    if one.region is None and len(kept) == 1:
        return replace(one, region=replace(kept[0], outside=True))
    if one.region is None and all(region.sentences for region in kept):
        return replace(one, region=Region(sentences=tuple(sorted(sentences)), outside=True))
    if one.region is not None and one.region.outside and sentences <= set(one.region.sentences):
        return one
    if one.region is not None and one.region.sentences and sentences:
        every = range(1, len(sentence_places(setting.text or "")) + 1)
        inside = set(one.region.sentences)
        inside = set(every) - inside if one.region.outside else inside
        if left := tuple(sorted(inside - sentences)):
            return replace(one, region=Region(sentences=left))
    raise InterpretationError(
        f"{one.edit.name} on {one.region}, but not on {kept[0]}, leaves nothing"
    )


_ATTRIBUTES = (
    (r"volume|loudness|level|音量|响度|声音大小", ("volume",)),
    (r"speed|tempo|pace|rate|timing|length|duration|语速|速度|节奏|时长"
     r"|长度", ("speed", "trim_silence", "pause")),
    (r"formants?", ("formants",)),
    (r"pitch|melody|intonation|tone|音调|音高|语调", ("pitch",)),
    (r"words?|text|wording|transcript|content|script|内容|文字|文本",
     ("replace", "insert", "delete", "rewrite", "clone", "remove_fillers")),
    (r"voice|speaker|timbre|identity|音色|嗓音|声线", ("voice",)),
    (r"emotion|mood|feeling|情绪|情感|语气", ("emotion",)),
    (r"style|manner|风格", ("style",)),
    (r"noise|background|ambience|背景音?|噪[音声]", ("denoise", "scene")),
    (r"pauses?|silences?|停顿|静音", ("trim_silence", "pause")),
)  # fmt: skip
_ATTRIBUTE = "|".join(one for one, _ in _ATTRIBUTES)
_KEPT = re.compile(
    rf"(?:(?:but|and|please|just|do|all)\s+|[,，])*"
    rf"(?:(?:keep(?:ing)?|leav(?:e|ing)|maintain(?:ing)?|preserv(?:e|ing)|(?:do\s+not|without"
    rf"|never|not|(?:(?:there\s+is|you\s+have)\s+)?no\s+need\s+to)\s+(?:touch|chang|alter"
    rf"|affect|modify|adjust|mess(?:ing)?\s+with)(?:e|ing)?)\s+(?:the|its|my|his|her|their"
    rf"|original|same|\s)*"
    rf"(?P<a>{_ATTRIBUTE})(?:(?:\s*,|\s+and|\s+or|\s+the|\s)+(?P<b>{_ATTRIBUTE}))?"
    rf"(?:\s+(?:as\s+(?:it|they)\s+(?:is|are)|the\s+same|unchanged|alone|intact|untouched"
    rf"|constant|as\s+is"
    rf"|where\s+it\s+is))*"
    rf"|(?:保持|保留|别动|不要动|不要改变?|别改变?|不改变?)(?:原来的|原有的)?(?P<c>{_ATTRIBUTE})(?:不变|原样)?"
    rf"|(?P<d>{_ATTRIBUTE})(?:保持)?(?:不变|别动|不要动|别变|不要变|不用变|别改))"
)


def kept_attribute(part: Wording) -> frozenset[str]:
    """Return the names of the edits that "keep the pitch" rules out; empty where it is none."""
    match = _KEPT.fullmatch(part.low.strip(" .,!。！，"))
    said = [one for one in match.groups() if one] if match else []
    return frozenset(
        name
        for regex, names in _ATTRIBUTES
        for one in said
        if re.fullmatch(regex, one)
        for name in names
    )


def refuse_touched(readings: tuple[Reading, ...], untouched: frozenset[str]) -> None:
    """Refuse an edit of what has to stay as it is.

    Raises:
        InterpretationError: naming the edit.
    """
    for one in readings:
        if one.edit.name in untouched:
            raise InterpretationError(f"{one.source!r} changes what has to stay as it is")


def is_left_alone(part: Wording) -> bool:
    """Return whether a part says that all the rest stays as it is, which it does anyway."""
    return _LEFT_ALONE.fullmatch(part.low.strip(" .,!。！")) is not None
