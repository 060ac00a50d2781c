"""Words of which a phrase needs at least one: a cheap test before its regular expression is run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from stepedit_core import ValueSlot

__all__ = ["required_words"]

_PIECE = re.compile(r"\{(\w+)\}|([\[\]()|?])|([a-z0-9][a-z0-9'-]*)|(\s+)|(.)", re.IGNORECASE)
Words = frozenset[str]
_NONE: Words = frozenset()


def required_words(phrase: str, slots: Mapping[str, ValueSlot]) -> Words:
    """Return words of which any text that a phrase matches holds at least one; empty: unknown.

    Args:
        phrase: as a plugin writes it.
        slots: a choice needs one of its words, in any ending; other slots need none.
    """
    tokens = [match.groups() for match in _PIECE.finditer(phrase.lower())]
    return _alternatives(iter(tokens), slots)[0]


def _alternatives(
    tokens: Iterator[tuple[str, ...]], slots: Mapping[str, ValueSlot]
) -> tuple[Words, str]:
    """Return what alternatives need up to a closing bracket, and which one it was."""
    found: list[Words] = []
    needs: list[Words] = []
    closing = ""
    for slot, bracket, word, _, other in tokens:
        if slot:
            needs.append(_slot_needs(slots[slot]))
        elif bracket in ("[", "("):
            inner, end = _alternatives(tokens, slots)
            needs.append(_NONE if end == "]" else inner)
        elif bracket == "?":
            needs[-1:] = [_NONE]
        elif bracket == "|":
            found.append(_best(needs))
            needs = []
        elif bracket:
            closing = bracket
            break
        elif word or other:
            needs.append(frozenset((word or other,)))
    found.append(_best(needs))
    return (_NONE if not all(found) else frozenset().union(*found)), closing


def _best(needs: list[Words]) -> Words:
    """Return the most telling of what a sequence needs: few words, long ones."""
    known = [one for one in needs if one]
    return min(known, key=lambda one: (len(one), -min(map(len, one))), default=_NONE)


def _slot_needs(slot: ValueSlot) -> Words:
    """Return the stems of a choice's words."""
    if slot.kind != "choice":
        return _NONE
    spoken = [word for one in slot.choices.values() for _, word in one.phrases()]
    needs = [required_words(word, {}) for word in spoken]
    stems = (word[:-1] if len(word) > 3 else word for one in needs for word in one)
    return frozenset(stems) if all(needs) else _NONE
