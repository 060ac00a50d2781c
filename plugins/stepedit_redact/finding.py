"""Private words in a transcript: e-mail addresses, numbers of phones and cards, names, own words.

The rules work on words as they are said or written: "jane at example dot com", "four one five",
"415-555-0123". They stand in this file and its neighbours; nothing is asked over a network.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from stepedit_core.dsp.words import normalised, split_words
from stepedit_redact.spoken import DigitRun, Token, digit_runs, digits_of, luhn

__all__ = ["Hit", "Kind", "PatternKind", "find_emails", "find_patterns", "find_phrases", "merged"]

PatternKind = Literal["email", "phone", "card", "number"]
Kind = Literal["email", "phone", "card", "number", "name", "word"]

_PHONE = range(7, 16)  # ITU-T E.164: at most 15 digits; local numbers have 7
_CARD = range(13, 20)  # ISO/IEC 7812-1
_LEAST_NUMBER, _LEAST_CUED = 4, 5
_REACH = 6
"""How many words before a number may say what it is."""
_PHONE_CUES = frozenset(
    {
        *("phone", "telephone", "mobile", "cell", "call", "dial", "text", "ring", "fax", "tel"),
        *("extension", "whatsapp", "reach"),
    }
)
_CARD_CUES = frozenset(
    {"card", "visa", "mastercard", "amex", "credit", "debit", "discover", "maestro", "iban"}
)
_CODE_CUES = frozenset({"cvv", "cvc", "pin"})
_CUES_ZH = {"电话": "phone", "手机": "phone", "号码": "phone", "卡号": "card", "银行卡": "card"}

_AT, _DOT = frozenset({"at"}), frozenset({"dot", "point", "period", "点"})
_LINKS = frozenset({"dot", "point", "period", "underscore", "dash", "hyphen", "minus", "plus"})
_HOSTS = frozenset(
    {"gmail", "hotmail", "outlook", "yahoo", "icloud", "protonmail", "proton", "aol", "gmx", "qq"}
)
_MAIL_CUES = frozenset({"email", "mail", "address", "emails", "mailbox"})
_COPULAS = frozenset({"is", "to", "me", "at", "s", "use", "via", "on"})
_MOST_LOCAL, _MOST_DOMAIN = 8, 5
_TOP_LEVELS = frozenset({"com", "org", "net", "edu", "gov", "io", "de", "cn", "uk"})
_TOP_LEVEL = re.compile(r"[a-z]{2,12}")


@dataclass(frozen=True, order=True)
class Hit:
    """Words that are private.

    Attributes:
        first: index of the first word.
        stop: index after the last word.
        kind: what they are.
    """

    first: int
    stop: int
    kind: Kind


def find_patterns(tokens: Sequence[Token], kinds: Iterable[PatternKind]) -> list[Hit]:
    """Return the hits of the patterns, in order; those of different kinds may overlap.

    Args:
        tokens: words of the transcript.
        kinds: which patterns.
    """
    asked: set[str] = set(kinds)
    found = find_emails(tokens) if "email" in asked else []
    if asked & {"phone", "card", "number"}:
        for run in digit_runs(tokens):
            kind = _kind_of(tokens, run, asked)
            if kind is not None:
                found.append(Hit(_with_plus(tokens, run.first), run.stop, kind))
    return sorted(found)


def find_phrases(tokens: Sequence[Token], phrases: Sequence[str]) -> list[Hit]:
    """Return every place where one of the user's own words or phrases is said.

    "Jane" is found in "Jane's", and "415 555" in "four one five five five five".
    """
    said = [token.word for token in tokens]
    found: list[Hit] = []
    for phrase in phrases:
        asked = [normalised(word.text) for word in split_words(phrase)]
        size = len(asked)
        for first in range(len(said) - size + 1 if size else 0):
            window = said[first : first + size]
            whole = window[:-1] == asked[:-1]
            if whole and window[-1] in (asked[-1], f"{asked[-1]}'s", f"{asked[-1]}s'"):
                found.append(Hit(first, first + size, "word"))
        digits = "".join(digits_of(word) or "?" for word in asked)
        if len(digits) > 2 and digits.isdecimal():
            runs = [run for run in digit_runs(tokens) if digits in run.digits]
            found += [Hit(run.first, run.stop, "word") for run in runs]
    return sorted(set(found))


def merged(hits: Iterable[Hit]) -> list[Hit]:
    """Return hits in order, those that overlap made one; the longer one says the kind."""
    result: list[Hit] = []
    for hit in sorted(hits):
        if result and hit.first < result[-1].stop:
            last = result[-1]
            longer = max(last, hit, key=lambda one: one.stop - one.first)
            result[-1] = Hit(last.first, max(last.stop, hit.stop), longer.kind)
        else:
            result.append(hit)
    return result


# Numbers -----------------------------------------------------------------------------------


def _kind_of(tokens: Sequence[Token], run: DigitRun, asked: set[str]) -> PatternKind | None:
    """Return the kind of a run of digits among those asked for, or None.

    A number too long for a telephone is hidden wherever cards or phones are: with one digit
    misheard a card number fails its check.
    """
    size = len(run.digits)
    near = _cues_before(tokens, run.first)
    is_card = size in _CARD and luhn(run.digits)
    cued_card = (near & _CARD_CUES and size >= _LEAST_NUMBER) or (near & _CODE_CUES and size >= 3)
    if "card" in asked and (is_card or cued_card or size > _PHONE[-1]):
        return "card"
    if run.is_amount and not near & _PHONE_CUES:
        return None
    if "phone" in asked:
        cued = bool(near & _PHONE_CUES) and size >= _LEAST_CUED
        if cued or size >= _PHONE[0] or _is_cut(tokens, run):
            return "phone"
    if "number" in asked and size >= _LEAST_NUMBER:
        return "number"
    return None


def _is_cut(tokens: Sequence[Token], run: DigitRun) -> bool:
    """Return whether digits said one by one begin or end the transcript: part of a longer one."""
    at_edge = run.first == 0 or run.stop == len(tokens)
    single = [len(digits_of(token.word) or "") == 1 for token in tokens[run.first : run.stop]]
    return at_edge and len(single) >= _LEAST_NUMBER and all(single)


def _cues_before(tokens: Sequence[Token], first: int) -> set[str]:
    """Return the words shortly before a number; Mandarin cues under their English names."""
    words = [token.word for token in tokens[max(0, first - _REACH) : first]]
    joined = "".join(words)
    return set(words) | {name for cue, name in _CUES_ZH.items() if cue in joined}


def _with_plus(tokens: Sequence[Token], first: int) -> int:
    """Return the first token of a number, a "plus" that is said before it included."""
    return first - 1 if first and tokens[first - 1].word == "plus" else first


# E-mail addresses --------------------------------------------------------------------------


def find_emails(tokens: Sequence[Token]) -> list[Hit]:
    """Return e-mail addresses, written ("jane@example.com") or said ("jane at example dot com")."""
    found = []
    for at, token in enumerate(tokens):
        domain = at + 1 if token.word in _AT else at
        if at == 0 or not (token.word in _AT or "@" in token.before):
            continue
        stop = _domain_end(tokens, domain, written="@" in token.before)
        if stop is not None:
            found.append(Hit(_local_start(tokens, at), stop, "email"))
    return found


def _domain_end(tokens: Sequence[Token], first: int, *, written: bool) -> int | None:
    """Return the index after the domain that begins at a word, or None where there is none."""
    if first >= len(tokens):
        return None
    end = first + 1 if tokens[first].word in _HOSTS or written else None
    at = first + 1
    while at < len(tokens) and at - first <= _MOST_DOMAIN:
        token = tokens[at]
        if token.is_glued and token.before == ".":
            end = at = at + 1  # "example.com"
        elif token.is_glued or token.word in _LINKS - _DOT:
            at += 1  # "my-example"
        elif token.word in _TOP_LEVELS and _ends_sentence(token.before):
            end = at = at + 1  # "at example. com", as recognisers write it
        elif token.word in _DOT and at + 1 < len(tokens) and not _ends_sentence(token.before):
            spelled = _spelled_end(tokens, at + 1)
            if spelled is None:
                break
            end = at = spelled
        elif end is None and not _ends_sentence(token.before):
            at += 1  # a domain of several words, its dot still to come
        else:
            break
    return end


def _spelled_end(tokens: Sequence[Token], first: int) -> int | None:
    """Return the index after a part of a domain: one word, or letters said one by one."""
    if not _TOP_LEVEL.fullmatch(tokens[first].word) and len(tokens[first].word) != 1:
        return None
    stop = first + 1
    if len(tokens[first].word) == 1:
        while stop < len(tokens) and len(tokens[stop].word) == 1 and stop - first < 4:
            stop += 1
    return stop


def _local_start(tokens: Sequence[Token], at: int) -> int:
    """Return the first token of the part before the "at"."""
    floor = max(0, at - _MOST_LOCAL)
    cue = [n for n in range(floor, at) if tokens[n].word in _MAIL_CUES]
    if cue:
        # "my e-mail address is jane smith at ...": all that follows the cue
        first = cue[-1] + 1
        while first < at - 1 and tokens[first].word in _COPULAS:
            first += 1
        return min(first, at - 1)
    first = at - 1
    while first > floor:
        here, before = tokens[first], tokens[first - 1]
        linked = here.is_glued or here.word in _LINKS or before.word in _LINKS
        short = _is_short(here.word) or _is_short(before.word)
        if not linked and (not short or before.word in _COPULAS | {"i", "a"}):
            break
        first -= 1
    return first


def _is_short(word: str) -> bool:
    """Return whether a word is a letter or a number: addresses are spelled with them."""
    return len(word) == 1 or digits_of(word) is not None


def _ends_sentence(between: str) -> bool:
    """Return whether a sentence ends between two words."""
    return any(mark in between for mark in ".!?。！？")
