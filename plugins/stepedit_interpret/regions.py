"""Regions in a request: which sentence, which word, which seconds, which speaker, all but what."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from stepedit_core import (
    AlignmentError,
    InterpretationError,
    Region,
    Setting,
    Span,
    find_phrase,
    sentence_places,
)
from stepedit_core.dsp.words import normalised, split_words
from stepedit_interpret.numbers import ordinal, read_number
from stepedit_interpret.region_patterns import EXCEPT, PLACES, START, THE
from stepedit_interpret.wording import Wording

__all__ = ["WHOLE", "Found", "find_region", "occurrences"]

WHOLE = Region()
"""The whole utterance, said in so many words."""


@dataclass(frozen=True)
class Found:
    """A region in a request.

    Attributes:
        region: where; `WHOLE` for the whole utterance in so many words.
        start: place in the request.
        end: place after it.
        how: ``pronoun`` and ``rest`` stand for the region before.
    """

    region: Region
    start: int
    end: int
    how: str


def find_region(request: Wording, setting: Setting, start: int = 0) -> Found | None:
    """Return the first region that a request names, or None.

    Raises:
        InterpretationError: if it names what the utterance does not have.
    """
    for name, regex in PLACES:
        match = regex.search(request.low, start)
        if match is None or not match.group().strip():
            continue
        region = _region(name, match, request, setting)
        if region is None:
            continue
        begin, end = match.span()
        before = re.search(rf"{EXCEPT}(?:\s*{THE})$", request.low[:begin])
        if before is not None:
            region, begin = replace(region, outside=True), before.start()
            tail = re.match(
                r"\s*(?:之外|以外|外)?\s*[,，]?\s*(?:都|全|其他的?|其余的?)?", request.low[end:]
            )
            end += tail.end() if tail else 0
        return Found(region, begin, end, name)
    return None


def _region(name: str, match: re.Match[str], request: Wording, setting: Setting) -> Region | None:
    """Build the region of a match, or None where it is none after all."""
    groups = {key: value for key, value in match.groupdict().items() if value is not None}
    match name:
        case "occurrence" | "words":
            phrase = request.quote(groups["q"]) if "q" in groups else _raw(match, request, "w")
            return _words(phrase, groups.get("ord") or groups.get("zord"), setting)
        case "inside":
            said = groups["w"]
            phrase = request.quote(said) if Wording.is_quote(said) else _raw(match, request, "w")
            return _inside(phrase, ordinal(groups.get("ord") or groups["n"]), setting)
        case "span":
            return _span(_seconds(groups["a"]), _seconds(groups["b"]), setting)
        case "edge":
            count = 2.0 if groups["n"].startswith("couple") else read_number(groups["n"])
            is_last = groups["side"] in ("last", "final", "closing", "最后", "后", "末尾")
            return _edge(count, is_last, setting)
        case "after":
            begin = groups.get("a") or groups["a2"]
            return _span(_seconds(begin), _duration(setting), setting)
        case "before":
            return _span(0.0, _seconds(groups.get("a") or groups["a2"]), setting)
        case "sentences" | "ordinals" | "numbered" | "zsentences":
            return _sentences(_numbers(name, groups), setting)
        case "range":
            return _range(groups, setting)
        case "middle":
            count = len(sentence_places(setting.text)) if setting.text else 0
            if count % 2 == 0:
                raise InterpretationError("which sentence is in the middle is not clear; say which")
            return _sentences([(count + 1) // 2], setting)
        case "paragraph":
            last = "zlast" in groups
            return _paragraph(-1 if last else ordinal(groups.get("ord") or groups["zord"]), setting)
        case "lastwords":
            return _last_words(groups, setting)
        case "half":
            half = _duration(setting) / 2
            first = groups.get("ord") == "first" or groups.get("zhalf") == "前"
            return _span(0.0, half, setting) if first else _span(half, 2 * half, setting)
        case "speaker":
            return Region(
                speaker=groups["who"].upper() if len(groups["who"]) == 1 else groups["who"]
            )
        case "place":
            return _place(groups, setting)
        case _:
            return WHOLE


def _inside(phrase: str, number: int, setting: Setting) -> Region:
    """Return words of one sentence; refused where they are not said there, or several times."""
    (sentence,) = _sentences([number], setting).sentences
    text = setting.text or ""
    if not text:
        raise InterpretationError("what each sentence says is not known; give --text")
    start, end = sentence_places(text)[sentence - 1]
    at, words = occurrences(text, phrase), split_words(text)
    inside = [n for n, place in enumerate(at, 1) if start <= words[place].start < end]
    if len(inside) != 1:
        often = "not said" if not inside else f"said {len(inside)} times"
        raise InterpretationError(f"{phrase!r} is {often} in sentence {sentence}")
    return Region(words=phrase, occurrence=inside[0] if len(at) > 1 else None)


def _range(groups: dict[str, str], setting: Setting) -> Region | None:
    """Return the sentences from, after, up to or before one; None where no range is meant."""
    said = groups.get("rel") or groups["zrel"]
    number = ordinal(groups.get("ord") or groups.get("n") or groups["zord"])
    if said in ("from", "with") and "on" not in groups:
        return None
    if setting.text is None:
        raise InterpretationError("how many sentences there are is not known; give --text")
    count = len(sentence_places(setting.text))
    at = number if number > 0 else count + 1 + number
    if not 1 <= at <= count:
        raise InterpretationError(f"there is no sentence {number}: the text has {count}")
    if said in ("before", "以前", "之前", "前面"):
        chosen = range(1, at)
    elif said in ("up to", "until", "till", "through"):
        chosen = range(1, at + 1)
    elif said in ("after", "past", "following", "以后", "之后", "往后", "后面"):
        chosen = range(at + 1, count + 1)
    else:
        chosen = range(at, count + 1)
    if not chosen:
        raise InterpretationError(f"there is no sentence {said} sentence {at}")
    return _sentences(list(chosen), setting)


def _raw(match: re.Match[str], request: Wording, group: str) -> str:
    start, end = match.span(group)
    return request.raw[start:end]


def _place(groups: dict[str, str], setting: Setting) -> Region:
    """Return the first or last sentence, where "the beginning" or "the ending" is said."""
    word = groups.get("end") or groups.get("zend", "")
    is_start = re.fullmatch(rf"{START}|开头", word) is not None
    return _sentences([1 if is_start else -1], setting)


def _numbers(name: str, groups: dict[str, str]) -> list[int]:
    """Return the numbers of sentences, from 1 or from the end as -1."""
    if name == "ordinals":
        return [ordinal(groups[key]) for key in ("ord", "ord3", "ord2") if key in groups]
    if name == "sentences":
        first = ordinal(groups["ord"])
        if "n" not in groups:
            return [first]
        count = 2 if groups["n"].startswith("couple") else int(read_number(groups["n"]))
        return list(range(-count, 0)) if first < 0 else list(range(first, first + count))
    if name == "numbered":
        first = int(read_number(groups["n"]))
        if "m" not in groups:
            return [first]
        last = int(read_number(groups["m"]))
        return [first, last] if groups["j"] in ("and", ",") else list(range(first, last + 1))
    if "zord" in groups:
        first = int(read_number(groups["zord"]))
        if "zend" in groups:
            return [first, -1]
        if "zto" in groups:
            return list(range(first, int(read_number(groups["zto"])) + 1))
        return [first] + ([int(read_number(groups["zord2"]))] if "zord2" in groups else [])
    count = int(read_number(groups["zn"])) if "zn" in groups else 1
    if groups["zside"].startswith("倒数"):
        return [-count]
    if groups["zside"] in ("前", "最前", "开头", "首", "头"):
        return list(range(1, count + 1))
    return list(range(-count, 0))


def _sentences(numbers: list[int], setting: Setting) -> Region:
    """Return sentences by number, those from the end counted where the transcript is known."""
    count = len(sentence_places(setting.text)) if setting.text else None
    if any(number < 0 for number in numbers) and count is None:
        raise InterpretationError(
            "which sentence is the last is not known without the words; give --text"
        )
    found = []
    for number in numbers:
        chosen = number if number > 0 else (count or 0) + 1 + number
        if count is not None and not 1 <= chosen <= count:
            many = "sentence" if count == 1 else "sentences"
            raise InterpretationError(f"there is no sentence {number}: the text has {count} {many}")
        found.append(chosen)
    return Region(sentences=tuple(sorted(set(found))))


def _paragraph(number: int, setting: Setting) -> Region:
    """Return the sentences of a paragraph; blank lines or line ends part paragraphs."""
    text = setting.text or ""
    breaks = [match.start() for match in re.finditer(r"\n+", text.strip())]
    if not breaks:
        raise InterpretationError(
            "the text has no paragraphs (no line ends in it); name sentences or seconds instead"
        )
    count = len(breaks) + 1
    chosen = number if number > 0 else count + 1 + number
    if not 1 <= chosen <= count:
        raise InterpretationError(f"there is no paragraph {number}: the text has {count}")
    start = 0 if chosen == 1 else breaks[chosen - 2]
    end = breaks[chosen - 1] if chosen <= len(breaks) else len(text)
    places = sentence_places(text.strip())
    inside = [n for n, (first, stop) in enumerate(places, 1) if stop > start and first < end]
    return Region(sentences=tuple(inside))


def _words(phrase: str, which: str | None, setting: Setting) -> Region:
    """Return a phrase as a region; one that is not said, or said often, is refused."""
    number = ordinal(which) if which else None
    if setting.text is None:
        if number is not None and number < 0:
            raise InterpretationError(f"which {phrase!r} is the last is not known; give --text")
        return Region(words=phrase, occurrence=number)
    every = occurrences(setting.text, phrase)
    if number is not None and number < 0:
        number = len(every) + 1 + number
    try:
        find_phrase([word.text for word in split_words(setting.text)], phrase, number)
    except AlignmentError as error:
        raise InterpretationError(str(error).replace("give occurrence=", "say which")) from error
    return Region(words=phrase, occurrence=number if len(every) > 1 else None)


def occurrences(text: str, phrase: str) -> list[int]:
    """Return the index of the first word of every occurrence of a phrase."""
    asked, words = _normal_words(phrase), _normal_words(text)
    if not asked:
        return []
    last = len(words) - len(asked)
    return [n for n in range(last + 1) if words[n : n + len(asked)] == asked]


@lru_cache(maxsize=64)
def _normal_words(text: str) -> tuple[str, ...]:
    """Return the words of a text as they are compared."""
    return tuple(normalised(word.text) for word in split_words(text))


def _last_words(groups: dict[str, str], setting: Setting) -> Region:
    """Return the first or last words of the transcript as a phrase."""
    if not setting.text:
        raise InterpretationError("which word that is is not known without the words; give --text")
    places = split_words(setting.text)
    number = ordinal(groups["ord"])
    count = groups.get("n", "1")
    many = 2 if count.startswith("couple") else int(read_number(count))
    first = (
        len(places) - many if number == -1 else len(places) + number if number < 0 else number - 1
    )
    if not 0 <= first < first + many <= len(places):
        raise InterpretationError(f"the text has {len(places)} words; there is no such word")
    chosen = places[first : first + many]
    phrase = setting.text[chosen[0].start : chosen[-1].end]
    at = occurrences(setting.text, phrase)
    return Region(words=phrase, occurrence=at.index(first) + 1 if len(at) > 1 else None)


def _seconds(text: str) -> float:
    """Return seconds of ``1:05`` or of a number."""
    if ":" in text:
        minutes, _, seconds = text.partition(":")
        return 60 * float(minutes) + float(seconds)
    return read_number(text)


def _duration(setting: Setting) -> float:
    """Return the duration; raises InterpretationError where it is not known."""
    if setting.seconds is None:
        raise InterpretationError(
            "the end of the recording is not known; give the recording, or seconds from its start"
        )
    return setting.seconds


def _span(start: float, end: float, setting: Setting) -> Region:
    """Return a span, checked against the recording."""
    if end <= start:
        raise InterpretationError(f"{start:g} to {end:g} s is no span: the end comes first")
    if setting.seconds is not None and end > setting.seconds + 1e-6:
        raise InterpretationError(f"{end:g} s is after the end at {setting.seconds:.2f} s")
    return Region(spans=(Span(start, end),))


def _edge(count: float, is_last: bool, setting: Setting) -> Region:
    """Return the first or last seconds."""
    if not is_last:
        return _span(0.0, count, setting)
    total = _duration(setting)
    if count > total:
        raise InterpretationError(f"the recording has {total:.2f} s, not {count:g}")
    return _span(total - count, total, setting)
