"""Words of the transcript that a request names, and places before and after them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from stepedit_core import (
    AlignmentError,
    InterpretationError,
    Region,
    Setting,
    find_phrase,
    sentence_places,
)
from stepedit_core.dsp.words import split_words
from stepedit_interpret.lexicon import QUOTE, is_chinese
from stepedit_interpret.numbers import NUMBER, ORDINAL, ordinal, read_number
from stepedit_interpret.regions import find_region, occurrences
from stepedit_interpret.wording import STRAY, Wording

__all__ = ["Anchor", "Place", "anchors", "located", "place_of", "tagged", "text_of"]

_NAMED = re.compile(
    r"^(?:the\s+|that\s+|this\s+)?(?:(?:words?|phrase|name|sentence|line|text|part)\s+)(?=\S)|"
    r"^(?:这个)?(?:词语|单词|短语|词|字)(?=\S)"
)
_BEFORE_QUOTE = re.compile(rf"^(?:the|that|this|my|his|her|their|any|an?)\s+(?={QUOTE}$)")
_FUNCTION = re.compile(r"(?:the|an?|of|to|in|on|at|it|is|out|up|and|or|my|his|her|its|one)")
_NAMED_AFTER = re.compile(r"\s*(?:这?几?个?(?:词语?|字|短语)|\s+(?:word|phrase)|这句话?)$")
_WHICH = re.compile(
    rf"^(?:the\s+)?(?P<ord>{ORDINAL})\s+(?:(?:word|occurrence\s+of|instance\s+of|time)\s+)?(?=\S)|"
    r"^第(?P<z>[一二两三四五六七八九十\d]+)[个处次]|^(?P<zl>最后一?[个处次])"
)
_EVERY = re.compile(
    r"^(?:every|each|all)(?!\s+(?:of\s+it\s+)?(?:that|after|before|the\s+(?:text|words|rest))\b)(?:\s+(?:of\s+)?(?:the|occurrences?\s+of|instances?\s+of|word))*\s+|"
    r"^(?:所有|全部|每个|每一个)的?"
)
_RELATIVE = re.compile(
    rf"^(?:(?P<all>everything|all|anything|what(?:ever)?\s+comes"
    rf"|(?:all\s+)?(?:of\s+)?(?:the\s+)?(?:text|part|words|rest|stuff|bit))|(?:the\s+)?"
    rf"(?:(?P<n>{NUMBER})\s+)?words?)\s+(?:that\s+(?:comes?|follows?)\s+|said\s+|right\s+|just\s+)?"
    r"(?P<side>before|after|following|preceding)\s+(?P<of>.+)$"
)
_RELATIVE_ZH = re.compile(
    rf"^(?P<of>.+?)(?:的)?(?P<side>之前|前面|前|之后|后面|后)的?(?:(?P<all>(?:所有|全部|一切)(?:的)?(?:内容|部分|话|文字|东西)?)|(?:内容|部分|话|文字)|"
    rf"(?P<n>{NUMBER})?个?(?:词|字))$"
)
_STANDS_FOR = re.compile(
    r"(?:it|this|that|these|those|them|him|her|me|you|us|everything|all|all\s+of\s+it|something|"
    r"(?:the|this|that|his|her|my|your|their)\s+(?:voice|tone|speech|speaker|audio|recording|clip|"
    r"sound|style|emotion|mood|language|accent|volume|pitch|speed|tempo|pace|text|words?|noise|"
    r"whole\s+thing)|它|他|她|这|那|这个|那个|声音|语气|语速|音量|音调|情绪|风格|语言|全部|全文|录音)"
)
_DESCRIBED = re.compile(
    r"(?:(?:the|a|an)\s+)?(?:something|someone|somebody|anything|whatever|another|other|different"
    r"|better|synonym|(?:correct|right|opposite|same|proper)\s+(?:word|name|one|number|spelling|thing)"
    r"|name\s+of|word\s+for)\b(?=\s|$)|别的|其他|另一个|同义词|正确的"
)
_GOES_ON = re.compile(r"[,;:!?，。；：！？]\s*\S|\.\s+\S")
_SOMEBODY = re.compile(
    r"(?:i|he|she|we|they|you|one|someone|emotion|style|speed|tempo|volume|pitch|voice|tone|pause"
    r"|silence|noise|speaker|audio|loudness|level|gain|rate)"
)
_ARTICLE = re.compile(r"(?:the|a|an|my|his|her|their|this|that|some|any)\s")
_LONGEST_BARE = 8
"""Most words without quotes that are taken for words of the transcript, where it is not known."""


class NotSaid(InterpretationError):
    """A phrase is not in the transcript; what is nearest to it is looked for when it is shown."""

    def __init__(self, phrase: str, text: str) -> None:
        """Keep phrase and transcript."""
        super().__init__(f"{phrase!r} is not said")
        self.phrase, self.text = phrase, text

    def __str__(self) -> str:
        """Return the message with the nearest phrase."""
        try:
            find_phrase([word.text for word in split_words(self.text)], self.phrase, 1)
        except AlignmentError as error:
            return str(error)
        return str(self.args[0])


@dataclass(frozen=True)
class Anchor:
    """Words of the transcript.

    Attributes:
        words: as they stand there.
        occurrence: which one, from 1, where there are several.
        every: it stands beside others because every one is meant.
    """

    words: str
    occurrence: int | None = None
    every: bool = False


@dataclass(frozen=True)
class Place:
    """A place in the transcript that a request names.

    Attributes:
        start: of its words in the request.
        end: after them.
        places: characters of the transcript; several where the words are said several times.
    """

    start: int
    end: int
    places: tuple[int, ...]


def text_of(piece: Wording) -> str:
    """Return a text to say, without quotes around it."""
    piece = piece.stripped()
    if Wording.is_quote(piece.low):
        return piece.quote(piece.low)
    if re.search(QUOTE, piece.low):
        inside = re.fullmatch(
            rf"(?:the\s+)?(?:words?|phrase|sentence|text|line)?\s*({QUOTE})", piece.low
        )
        return piece.quote(inside.group(1)) if inside else ""
    raw = piece.raw
    if STRAY.search(raw):
        raise InterpretationError(f"a quotation of {piece.brief()!r} is not closed")
    if _DESCRIBED.match(piece.low):
        raise InterpretationError(
            f"{piece.brief()!r} says which words, not what they are; quote them"
        )
    if _GOES_ON.search(raw):
        raise InterpretationError(
            f"{piece.brief()!r}: where do the new words end? put them in quotes"
        )
    named = _NAMED.match(piece.low)
    return (raw[named.end() :] if named else raw).strip().strip(",;").strip()


def anchors(
    piece: Wording, setting: Setting, *, explicit: bool, region: Region | None = None
) -> list[Anchor]:
    """Return the words that a piece of a request names; several where it is not clear which.

    Args:
        piece: quoted or not.
        setting: with the transcript, where it is known.
        explicit: without a transcript, words without quotes are taken as they are.
        region: they have to be in these sentences.

    Raises:
        InterpretationError: if they are not said.
    """
    piece = piece.stripped()
    if article := _BEFORE_QUOTE.match(piece.low):
        piece = piece.part(article.end(), len(piece.low))
    every = _EVERY.match(piece.low)
    if every:
        piece = piece.part(every.end(), len(piece.low))
    if not _is_said(piece.raw, setting) and not Wording.is_quote(piece.low):
        beside = _relative(piece, setting)
        if beside is not None:
            return [beside]
        region_said = _region_words(piece, setting)
        if region_said is not None:
            return [region_said]
    number: int | None = None
    which = _WHICH.match(piece.low)
    if which and (setting.text is None or not _is_said(piece.raw, setting)):
        said = which.group("ord") or which.group("z")
        number = -1 if said is None else ordinal(said) if which["ord"] else int(read_number(said))
        piece = piece.part(which.end(), len(piece.low)).stripped()
    named = _NAMED.match(piece.low)
    if named and not _is_said(piece.raw, setting):
        piece, explicit = piece.part(named.end(), len(piece.low)).stripped(), True
    words = _as_said(piece, setting, explicit=explicit)
    return located(words, number, setting, every=every is not None, region=region)


def _is_said(phrase: str, setting: Setting) -> bool:
    """Return whether a phrase stands in the transcript."""
    has_quote = re.search(QUOTE, phrase) is not None
    return setting.text is not None and not has_quote and bool(occurrences(setting.text, phrase))


def _relative(piece: Wording, setting: Setting) -> Anchor | None:
    """Return the words of "everything after X" or "the word before X", or None."""
    match = _RELATIVE.match(piece.low) or _RELATIVE_ZH.match(piece.low)
    if match is None or not setting.text:
        return None
    of = piece.part(*match.span("of")).stripped()
    found = anchors(of, setting, explicit=True)
    if len(found) != 1:
        raise InterpretationError(f"{of.brief()!r} is said several times; say which")
    words = split_words(setting.text)
    first = occurrences(setting.text, found[0].words)[(found[0].occurrence or 1) - 1]
    stop = first + len(split_words(found[0].words))
    by_word = match.re is _RELATIVE_ZH and match.group()[-1] in "字词"
    whole = match.group("all") is not None or (match.re is _RELATIVE_ZH and not by_word)
    count = len(words) if whole else int(read_number(match.group("n") or "1"))
    is_before = match.group("side") in ("before", "preceding", "之前", "前面", "前")
    start, end = (first - count, first) if is_before else (stop, stop + count)
    start, end = max(0, start), min(len(words), end)
    if start == end:
        raise InterpretationError(f"there is no word {match.group('side')} {of.brief()!r}")
    phrase = setting.text[words[start].start : words[end - 1].end]
    at = occurrences(setting.text, phrase)
    return Anchor(phrase, at.index(start) + 1 if len(at) > 1 else None)


def _region_words(piece: Wording, setting: Setting) -> Anchor | None:
    """Return the words of "the second sentence" or "the last word", or None."""
    found = find_region(piece, setting)
    if found is None or piece.without(found.start, found.end).low.strip():
        return None
    region = found.region
    if region.outside or found.how == "words":
        return None
    if region.words is not None:
        return Anchor(region.words, region.occurrence)
    if not (region.sentences and setting.text):
        return None
    places = sentence_places(setting.text)
    start, end = places[region.sentences[0] - 1][0], places[region.sentences[-1] - 1][1]
    inside = [word for word in split_words(setting.text) if start <= word.start < end]
    return Anchor(setting.text[inside[0].start : inside[-1].end])


def _as_said(piece: Wording, setting: Setting, *, explicit: bool) -> str:
    """Return the words of a piece, quoted or found in the transcript."""
    trimmed = _NAMED_AFTER.sub("", piece.low)
    if Wording.is_quote(trimmed.strip()):
        return piece.quote(trimmed.strip())
    raw = piece.raw.strip().strip(",;.").strip()
    if STRAY.search(raw):
        raise InterpretationError(f"a quotation of {raw!r} is not closed")
    if setting.text is None and _SOMEBODY.fullmatch(raw.lower()):
        raise InterpretationError(f"{raw!r} names no words; put the words in quotes")
    if _FUNCTION.fullmatch(raw.lower()) or _STANDS_FOR.fullmatch(raw.lower()):
        raise InterpretationError(f"{raw!r} names no words; put the words in quotes")
    if setting.text is not None and not re.search(QUOTE, raw):
        bare = re.sub(r"^(?:the|a|an)\s+", "", raw, flags=re.IGNORECASE)
        shorter = raw[: len(trimmed)].strip() if len(trimmed) < len(piece.low) else raw
        for one in (raw, bare, shorter):
            if _is_said(one, setting):
                return one
        raise NotSaid(raw, setting.text)
    if (
        re.search(QUOTE, raw)
        or not explicit
        or _ARTICLE.match(raw.lower())
        or len(split_words(raw)) > _LONGEST_BARE
    ):
        raise InterpretationError(f'put the words in quotes, as in "{raw[:40]}"')
    return raw


def located(
    words: str, number: int | None, setting: Setting, *, every: bool, region: Region | None
) -> list[Anchor]:
    """Return the occurrences that are meant."""
    if setting.text is None:
        if every or (number is not None and number < 0):
            raise InterpretationError(f"how often {words!r} is said is not known; give --text")
        return [Anchor(words, number)]
    at = occurrences(setting.text, words)
    if not at:
        raise NotSaid(words, setting.text)
    chosen = list(range(1, len(at) + 1))
    if region is not None and region.sentences:
        places = sentence_places(setting.text)
        spans = [places[n - 1] for n in region.sentences]
        starts = [word.start for word in split_words(setting.text)]
        chosen = [n for n in chosen if any(a <= starts[at[n - 1]] < b for a, b in spans)]
        if not chosen:
            raise InterpretationError(f"{words!r} is not said in {region}")
    if number is not None:
        place = number - 1 if number > 0 else len(chosen) + number
        if not 0 <= place < len(chosen):
            raise InterpretationError(f"{words!r} is said {len(at)} times; there is no {number}")
        chosen = [chosen[place]]
    single = len(at) == 1
    return [Anchor(words, None if single else n, every) for n in chosen]


# Places ---------------------------------------------------------------------------------------

_PLACES = tuple(
    (side, re.compile(pattern))
    for side, pattern in (
        ("between", r"\bbetween\s+(?P<of>.+?\s+and\s+.+)$|"
                    r"在?(?P<zof>第.+?[和与].+?)(?:的?之间|中间)"),
        ("start", r"\b(?:at|to|in|near)\s+the\s+(?:very\s+)?(?:start|beginning|front|opening)"
                  r"(?:\s+of\s+(?P<of>.+))?$|在?(?:(?P<zof>.{2,8}?)的?)?(?:最?开头|最前面"
                  r"|开始)(?:处|的地方|的时候)?"),
        ("end", r"\b(?:at|to|in|near)\s+the\s+(?:very\s+)?(?:end|close"
                r"|ending)(?:\s+of\s+(?P<of>.+))?$|"
                r"在?(?:(?P<zof>.{2,8}?)的?)?(?:结尾|末尾|最后面?|结束)(?:处|的地方|的时候)?"),
        ("after", r"\b(?:right\s+|just\s+|directly\s+)?(?:after|following)\s+(?P<of>.+)$|"
                  r"在?(?P<zof>[^在]+?)(?:的?后面|之后|后边|后)"),
        ("before", r"\b(?:right\s+|just\s+|directly\s+)?(?:before|preceding)\s+(?P<of>.+)$|"
                   r"在?(?P<zof>[^在]+?)(?:的?前面|之前|前边|前)"),
    )
)  # fmt: skip


def place_of(request: Wording, setting: Setting) -> Place | None:
    """Return the place that a request names, or None.

    Raises:
        InterpretationError: if it stands beside words that are not said.
    """
    text = setting.text
    for side, regex in _PLACES:
        match = regex.search(request.low)
        if match is None:
            continue
        if text is None:
            return Place(match.start(), match.end(), ())
        group = "of" if match.group("of") else "zof"
        whole = (0,) if side == "start" else (len(text),)
        if not match.group(group):
            return Place(match.start(), match.end(), whole)
        piece = request.part(*match.span(group)).stripped()
        if side in ("start", "end") and re.fullmatch(
            r"(?:it|the\s+(?:recording|clip|audio|speech|text|whole\s+thing))", piece.low
        ):
            return Place(match.start(), match.end(), whole)
        return Place(match.start(), match.end(), _beside(piece, side, setting))
    return None


def _beside(piece: Wording, side: str, setting: Setting) -> tuple[int, ...]:
    """Return the characters before or after a sentence or words."""
    text = setting.text or ""
    found = find_region(piece, setting)
    if found and found.region.sentences and not piece.without(found.start, found.end).low.strip():
        places = sentence_places(text)
        start, end = (
            places[found.region.sentences[0] - 1][0],
            places[found.region.sentences[-1] - 1][1],
        )
        start += len(text[start:end]) - len(text[start:end].lstrip())
        if side == "between":
            numbers = found.region.sentences
            if len(numbers) != 2 or numbers[1] != numbers[0] + 1:
                raise InterpretationError(f"{piece.brief()!r}: they do not follow each other")
            end = places[numbers[0] - 1][1]
        return (start,) if side in ("before", "start") else (end,)
    if side == "between":
        raise InterpretationError(f"{piece.brief()!r} is no place; say after which words")
    words = split_words(text)
    out = []
    for one in anchors(piece, setting, explicit=True):
        at = occurrences(text, one.words)[(one.occurrence or 1) - 1]
        last = at + len(split_words(one.words)) - 1
        out.append(words[at].start if side in ("before", "start") else words[last].end)
    return tuple(out)


def tagged(text: str, tag: str, at: int) -> str:
    """Return a text with a tag in square brackets at a place."""
    before, after = text[:at], text[at:]
    wide = is_chinese(before[-2:] or after[:2])
    left = "" if not before or before[-1].isspace() or wide else " "
    closes = not after or after[0].isspace() or not after[0].isalnum()
    right = "" if closes or wide else " "
    return f"{before}{left}[{tag}]{right}{after}"
