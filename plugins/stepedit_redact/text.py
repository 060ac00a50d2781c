"""The transcript after a redaction: tags in square brackets, or other words to say."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from stepedit_core.dsp.words import split_words
from stepedit_redact.finding import Hit, Kind

__all__ = ["STAND_INS", "TAGS", "hidden_text", "standing_in"]

TAGS: Mapping[Kind, str] = {
    "email": "[email]",
    "phone": "[phone]",
    "card": "[card]",
    "number": "[number]",
    "name": "[name]",
    "word": "[redacted]",
}
"""What stands in the transcript for hidden words; brackets hold no words that are said."""
STAND_INS: Mapping[Kind, str] = {
    "email": "an e-mail address",
    "phone": "a phone number",
    "card": "a card number",
    "number": "some number",
    "name": "somebody",
    "word": "something",
}
"""What a model says in place of private words."""
_TAG = re.compile(r"[\[［【〔][^\[\]［］【】〔〕]*[\]］】〕]")


def hidden_text(text: str, hits: Sequence[Hit]) -> str:
    """Return a transcript with a tag in place of each hit.

    Tags that the text had, which may hold anything, become "[redacted]" where something is hidden
    and they are none of ours.
    """
    if not hits:
        return text
    return _with(text, hits, TAGS)


def standing_in(text: str, hits: Sequence[Hit]) -> str:
    """Return a transcript with words in general terms in place of each hit."""
    return _with(text, hits, STAND_INS)


def _with(text: str, hits: Sequence[Hit], instead: Mapping[Kind, str]) -> str:
    """Return a text with each hit replaced, from the end so that places hold."""
    words = split_words(text)
    known = set(TAGS.values())
    parts, stop = [], len(text)
    for hit in sorted(hits, reverse=True):
        start, end = words[hit.first].start, words[hit.stop - 1].end
        if text[start - 1 : start] in ("(", "+") and start:
            # "(415) 555", "+44 20": the sign belongs to the number
            start -= 1 if text[start - 1] == "+" or ")" in text[start:end] else 0
        parts += [text[end:stop], instead[hit.kind]]
        stop = start
    parts.append(text[:stop])
    joined = "".join(reversed(parts))
    return _TAG.sub(lambda tag: tag.group() if tag.group() in known else TAGS["word"], joined)
