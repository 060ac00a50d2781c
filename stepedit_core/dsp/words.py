"""Words of a transcript and their expected duration: no dictionary, any script.

Durations come from mean syllable rates of read speech (Pellegrino, Coupe & Marsico 2011,
Language 87(3), table 2): Mandarin 5.18 and Japanese 7.84 syllables per second, English 6.19;
other scripts take the mean of the seven languages studied, 6.74.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

__all__ = [
    "TAG_BRACKETS",
    "Word",
    "edit_distance",
    "heard_form",
    "language_of_letters",
    "nominal_seconds",
    "normalised",
    "plain_text",
    "read_seconds",
    "sentence_places",
    "split_words",
    "without_tags",
    "word_error",
]

TAG_BRACKETS = "［］【】〔〕<>＜＞{}｛｝﹛﹜⟨⟩⟪⟫⟦⟧〖〗〘〙〚〛﹝﹞❬❭❮❯❰❱❲❳❴❵⁅⁆"
"""Pairs of brackets, besides square ones, in which people write tags and which no speech has."""
_OPEN, _CLOSE = r"\[［【〔", r"\]］】〕"
_TAG = re.compile(f"(?<![{_OPEN}])[{_OPEN}]+[^{_OPEN}{_CLOSE}]*[{_CLOSE}]+")
_MANDARIN, _JAPANESE, _ENGLISH, _OTHER = 5.18, 7.84, 6.19, 6.74
_SMALL_KANA = frozenset("ぁぃぅぇぉゃゅょゎァィゥェォャュョヮ")
_VOWELS = re.compile(r"[aeiouyàâäáãåæèéêëìíîïòóôöõøœùúûüýÿаеёиоуыэюя]+", re.IGNORECASE)
_PINYIN = re.compile(r"[a-zü]+[1-5]", re.IGNORECASE)
_PAUSE = re.compile(r"[,.;:!?](?=\s+\S)|[，。；：！？、](?=.)")
# Least squares on the English texts that the embedded model's clone pairs are read from: an
# English word takes time for its letters beside its syllables ("strengths" has one of these).
_EDGES, _PER_PAUSE, _PER_SYLLABLE, _PER_LETTER = 0.25, 0.18, 0.067, 0.039
# Kana, ideographs and hangul syllables are words of their own.
_ALONE = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
_INVISIBLE = "\u00ad\u061c\u180e\u200c-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff"
"""Soft hyphens, joiners, marks of writing direction."""
_JOINERS = "\u200c\u200d"
"""Invisible as well, and belong to the spelling of Persian, Hindi and others."""

_ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen"),
    "nineteen",
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_NUMBERS = {str(n): name for n, name in enumerate(_ONES)} | {
    str(10 * n): name for n, name in enumerate(_TENS, 2)
}


_LETTERS_OF = {
    **{"CJK": "zh", "HIRAGANA": "ja", "KATAKANA": "ja", "HANGUL": "ko", "CYRILLIC": "ru"},
    **{"GREEK": "el", "ARABIC": "ar", "HEBREW": "he", "DEVANAGARI": "hi", "THAI": "th"},
    **{"BENGALI": "bn", "TAMIL": "ta", "TELUGU": "te", "ARMENIAN": "hy", "GEORGIAN": "ka"},
}
"""A language of each script, by the first word of its letters' Unicode names."""


_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’)\]]*(?=\s|$)|[。！？]+[”’」』）]*|\n+")
_ABBREVIATIONS = frozenset(
    {
        *("mr", "mrs", "ms", "dr", "prof", "st", "jr", "sr", "vs", "etc", "e.g", "i.e", "no"),
        *("vol", "fig", "approx", "a.m", "p.m", "inc", "ltd", "co"),
    }
)


def _marks() -> str:
    """Return the ranges of accents and vowel signs that stand after their letter (NFD, Hindi)."""
    codes = [*range(0x300, 0x1C00), *range(0x1DC0, 0x1E00), *range(0xA8E0, 0xAC00)]
    marks = {code for code in codes if unicodedata.category(chr(code))[0] == "M"}
    starts = sorted(code for code in marks if code - 1 not in marks)
    ends = sorted(code for code in marks if code + 1 not in marks)
    return "".join(f"{chr(a)}-{chr(b)}" for a, b in zip(starts, ends, strict=True))


_LETTER = rf"(?:(?![{_ALONE}])[^\W\d_])[{_marks()}{_INVISIBLE}]*"
_LETTERS = rf"(?:{_LETTER})+"
# No IGNORECASE here: folding the large ranges would take as long as importing all the rest.
_TOKEN = re.compile(
    rf"[{_ALONE}][\u3099\u309a]*|[a-zA-ZüÜ]+[1-5](?!\d)|{_LETTERS}(?:['’]{_LETTERS})*|\d+"
)
_UNSEEN = re.compile(f"(?![{_JOINERS}])[{_INVISIBLE}]")


@dataclass(frozen=True)
class Word:
    """One word of a text; where words are not written apart, one character.

    Attributes:
        text: as written.
        start: place of its first character in the text.
        end: place after its last character.
    """

    text: str
    start: int
    end: int

    @property
    def seconds(self) -> float:
        """How long the word takes at a mean rate of read speech, in seconds."""
        return _seconds(self.text)


def without_tags(text: str) -> str:
    """Return a text without its tags in square (full-width, lenticular) brackets."""
    plain = re.sub(r"\s+", " ", _TAG.sub(" ", text)).strip()
    return re.sub(r" (?=[,.;:!?，。；：！？、])", "", plain)


def normalised(word: str) -> str:
    """Return a word in the form that two spellings of it share (NFKC, lower case)."""
    seen = _UNSEEN.sub("", word)
    return unicodedata.normalize("NFKC", seen).casefold().replace("’", "'")


def heard_form(word: str) -> str:
    """Return the form in which a word is compared with one that is heard.

    Recognisers write "6" for "six" as they please; numbers that are one English word are the same
    in both ways, in other languages, too.
    """
    form = normalised(word)
    return _NUMBERS.get(form, form)


def plain_text(text: str) -> str:
    """Return words as they are spoken, in one line: what files and web pages hide is left out.

    Soft hyphens and marks of writing direction go; blanks of any kind and control characters
    become one blank, blanks of no width between words, too; accents are joined with their
    letters (NFC).
    """
    apart = re.sub(r"(?<=\w)\u200b+(?=\w)", " ", text).replace("\u200b", "")
    seen = _UNSEEN.sub("", unicodedata.normalize("NFC", apart))
    return " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", seen).split())


def split_words(text: str) -> list[Word]:
    """Split a text into words in order; punctuation and tags in brackets are left out.

    Chinese, Japanese and Korean are split into characters, and pinyin with a tone digit stays
    one word.
    """
    blanked = _TAG.sub(lambda match: " " * len(match.group()), text)
    return [Word(match.group(), match.start(), match.end()) for match in _TOKEN.finditer(blanked)]


def language_of_letters(text: str) -> str | None:
    """Return a language that is written in the letters of most of a text; None for Latin ones.

    Letters that several languages share stand for the one with the most speakers, so that it tells
    who may know the words, not which language it is.
    """
    kinds = Counter(
        unicodedata.name(letter, "").split(" ", 1)[0] for letter in text if letter.isalpha()
    )
    if kinds["HIRAGANA"] + kinds["KATAKANA"]:
        kinds["HIRAGANA"] += kinds.pop("CJK", 0)
    script = max(kinds, key=lambda kind: kinds[kind], default="LATIN")
    return _LETTERS_OF.get(script)


def nominal_seconds(text: str) -> float:
    """Return a text's duration at a mean rate of read speech, without pauses, in seconds."""
    return sum(word.seconds for word in split_words(text))


def read_seconds(text: str) -> float:
    """Return a text's duration when read aloud, with pauses at punctuation, in seconds.

    Nearer than `nominal_seconds` to single utterances; of scripts other than the Latin one, words
    take their nominal time.
    """
    plain = without_tags(text)
    words = split_words(plain)
    if not words:
        return 0.0
    pauses = len(_PAUSE.findall(plain))
    return _EDGES + _PER_PAUSE * pauses + sum(_read_seconds(word.text) for word in words)


def _read_seconds(word: str) -> float:
    """Return the duration of one word from its syllables and letters."""
    if not (word.isascii() and word.isalpha()):
        return _seconds(word)
    return _PER_SYLLABLE * _syllables(word) + _PER_LETTER * len(word)


def _seconds(word: str) -> float:
    """Return the duration of one word from its syllables or morae."""
    code = ord(word[0])
    if re.fullmatch(rf"[{_ALONE}]", word):
        if 0x3040 <= code <= 0x30FF:
            return 0.0 if word in _SMALL_KANA else 1 / _JAPANESE
        return 1 / (_OTHER if 0xAC00 <= code <= 0xD7AF else _MANDARIN)
    if _PINYIN.fullmatch(word):
        return 1 / _MANDARIN
    if word.isdigit():
        return 1.3 * len(word) / _ENGLISH  # ten digits have 13 syllables, zero to nine 12 or 13
    return _syllables(word) / (_ENGLISH if word.isascii() else _OTHER)


def _syllables(word: str) -> float:
    """Return the number of vowel groups, English silent endings left out; at least one."""
    groups = len(_VOWELS.findall(word))
    if not groups and not word.isascii():
        return max(1.0, len(word) / 2)  # scripts whose vowels are not in the table
    lower = word.lower()
    if groups > 1 and word.isascii():
        silent_e = lower.endswith("e") and not re.search(r"[^aeiouy]le$|[aeiouy]e$", lower)
        silent_ed = re.search(r"[^aeioutd]ed$", lower) is not None
        groups -= silent_e or silent_ed
    return float(max(1, groups))


def edit_distance(a: Sequence[Hashable], b: Sequence[Hashable]) -> int:
    """Return the fewest insertions, deletions and substitutions that lead from ``a`` to ``b``."""
    from rapidfuzz.distance import Levenshtein

    return int(Levenshtein.distance(a, b))


def word_error(expected: str, heard: str) -> float:
    """Return insertions, deletions and substitutions over the number of expected words.

    Words are those of `split_words`: characters in Chinese, Japanese and Korean.
    """
    said, found = (
        [heard_form(word.text) for word in split_words(text)] for text in (expected, heard)
    )
    return edit_distance(said, found) / max(1, len(said))


def sentence_places(text: str) -> list[tuple[int, int]]:
    """Return start and end, in characters, of each sentence of a text that holds a word."""
    return [(start, end) for start, end in _sentence_spans(text) if split_words(text[start:end])]


def _sentence_spans(text: str) -> list[tuple[int, int]]:
    """Return start and end of each sentence in a text; decimals and abbreviations end none."""
    spans, begin = [], 0
    for match in _SENTENCE_END.finditer(text):
        before = text[: match.start()].rsplit(None, 1)
        last = before[-1].lower().strip("\"'“‘([") if before else ""
        is_dot = match.group().startswith(".") and len(match.group().rstrip("\"'”’)]")) == 1
        is_short = last in _ABBREVIATIONS or re.fullmatch(r"[a-z](\.[a-z])*", last)
        if is_dot and is_short and last != "i" and text[match.end() :].strip():
            continue
        spans.append((begin, match.end()))
        begin = match.end()
    if text[begin:].strip():
        spans.append((begin, len(text)))
    return spans
