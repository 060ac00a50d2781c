"""Slips of the keyboard: a word that is no English word, and one step from one that is known."""

from __future__ import annotations

import heapq
import re
from functools import lru_cache
from weakref import WeakKeyDictionary

from stepedit_core.dsp.words import normalised, split_words
from stepedit_interpret import lexicon
from stepedit_interpret.patterns import Vocabulary
from stepedit_interpret.region_patterns import PLACES
from stepedit_interpret.wording import Wording

__all__ = ["respelled"]

_WORD = re.compile(r"(?<![\w'/.@-])[a-z]{3,15}(?![\w'/@-])")
_PLAIN = re.compile(r"(?<![\\\w])[a-z]{2,}")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_SHORT = frozenset(
    ("and", "the", "you", "for", "not", "but", "can", "out", "all", "one", "two", "its", "has")
)
_COMMON = 16_000
MOST_RESPELLED = 4
"""Most words that are put right in one sentence: more of them is another language."""

_kept: WeakKeyDictionary[Vocabulary, frozenset[str]] = WeakKeyDictionary()


@lru_cache(maxsize=1)
def _english() -> frozenset[str]:
    """Return the commonest English words of four letters or more.

    Rarer ones are names and slips that the library's texts hold, too.
    """
    from spellchecker import SpellChecker

    counts = SpellChecker(language="en").word_frequency.dictionary
    plain = (word for word in counts if len(word) >= 4 and word.isascii() and word.isalpha())
    return frozenset(heapq.nlargest(_COMMON, plain, key=counts.__getitem__))


def _known(vocabulary: Vocabulary) -> frozenset[str]:
    """Return the words of phrases, of regions and of what any request has."""
    found = _kept.get(vocabulary)
    if found is None:
        sources = [
            phrase
            for known in vocabulary.known
            for spoken in (
                *known.phrases.ask,
                *(one for slot in known.phrases.slots.values() for one in slot.choices.values()),
            )
            for phrase in spoken.en
        ]
        rules = (
            lexicon.POLITE_BEFORE,
            lexicon.POLITE_AFTER,
            lexicon.CARRIERS,
            *lexicon.VERBS.values(),
            lexicon.LITTLE,
            lexicon.MUCH,
        )
        tables = [regex.pattern for regex in (*rules, lexicon.BREAKS)]
        tables += [regex.pattern for _, regex in PLACES]
        words = {word for text in sources for word in _PLAIN.findall(text)}
        real = _english()  # a regular expression holds stems too, which are no words
        inside = {word for text in tables for word in _PLAIN.findall(text) if word in real}
        found = frozenset(word for word in words | inside if len(word) > 3) | _SHORT
        _kept[vocabulary] = found
    return found


def _near(word: str) -> set[str]:
    """Return what one wrong, missing, doubled or swapped letter makes of a word."""
    cut = [(word[:n], word[n:]) for n in range(len(word) + 1)]
    out = {a + b[1:] for a, b in cut if b}
    out |= {a + b[1] + b[0] + b[2:] for a, b in cut if len(b) > 1}
    if len(word) > 3:
        out |= {a + letter + b[1:] for a, b in cut if b for letter in _LETTERS}
        out |= {a + letter + b for a, b in cut for letter in _LETTERS}
    return out - {word}


def respelled(words: Wording, vocabulary: Vocabulary, text: str | None) -> Wording | None:
    """Return a sentence with its slips put right, or None where there is none.

    A word is put right only where it is not English, is not said in the recording, and exactly
    one known word is a letter away: what could be two words stays as it is, and is not understood.

    Args:
        words: the sentence.
        vocabulary: what can be asked for.
        text: the transcript, whose words are no slips.
    """
    known, english = _known(vocabulary), _english()
    said = {normalised(word.text) for word in split_words(text or "")}
    changes: list[tuple[int, int, str]] = []
    for match in _WORD.finditer(words.low):
        word = match.group()
        if word in known or word in english or word in said or word.rstrip("s") in known:
            continue
        near = {one for one in _near(word) if one in known}
        near = {one for one in near if one[0] == word[0]} or near
        if len(near) > 1:  # a swap is the likelier slip, and the ending is kept
            near = {one for one in near if sorted(one) == sorted(word)} or near
            near = {one for one in near if one[-1] == word[-1]} or near
        if len(near) != 1:
            continue
        changes.append((*match.span(), near.pop()))
    if not changes or len(changes) > MOST_RESPELLED:
        return None
    raw, low = words.raw, words.low
    for start, end, by in reversed(changes):
        raw, low = raw[:start] + by + raw[end:], low[:start] + by + low[end:]
    return Wording(raw, low, words.quotes)
