"""Zero-shot speech in the utterance's voice."""

from __future__ import annotations

import difflib
import math
import re

from pydantic import field_validator, model_validator

from stepedit_clone.prompt import DIALECTS, Dialect, target_text
from stepedit_core import Edit, Plan, Prompt, Route, Utterance
from stepedit_core.dsp.words import TAG_BRACKETS, read_seconds, split_words

__all__ = ["Clone"]

_LEADING_TAG = re.compile(r"^\s*[\[［【〔<＜]([^\[\]［］【】〔〕<>＜＞]*)[\]］】〕>＞]\s*")
_OTHER_BRACKETS = re.compile(
    f"[{re.escape(TAG_BRACKETS[::2])}][^{re.escape(TAG_BRACKETS)}]*[{re.escape(TAG_BRACKETS[1::2])}]?"
)
MAX_CHARACTERS = 20_000
"""Most characters of a text to say."""


class Clone(Edit):
    """Say other words in the utterance's voice, prosody and style (zero-shot cloning).

    The utterance is the voice prompt. Pinyin with a tone digit (``guo4``) fixes the reading of
    a character and is kept as written; tags such as ``[laugh]`` may stand inside the text.
    """

    text: str
    """The words to say; a leading ``[Cantonese]`` and the like is the same as ``dialect``."""
    dialect: Dialect | None = None
    """Dialect or language of the text: Sichuanese, Cantonese, Japanese or Korean; none for
    Mandarin and English."""

    @field_validator("dialect", mode="before")
    @classmethod
    def _known_dialect(cls, value: object) -> object:
        """Refuse an unknown dialect with a suggestion."""
        if value is None or value in DIALECTS:
            return value
        known = ", ".join(DIALECTS)
        raise ValueError(f"unknown dialect{_suggestion(str(value))}; there is {known}, or none")

    @model_validator(mode="before")
    @classmethod
    def _split_tag(cls, data: object) -> object:
        """Read a leading dialect tag of the text as the dialect."""
        if not isinstance(data, dict) or not isinstance(data.get("text"), str):
            return data
        match = _LEADING_TAG.match(data["text"])
        tag = match.group(1).strip() if match else ""
        near = _nearest(tag) if tag else None
        if match is None or near is None:
            return data
        if tag.casefold() != near.casefold():
            raise ValueError(f"unknown tag [{tag}] before the text; did you mean [{near}]?")
        if data.get("dialect") not in (None, near):
            raise ValueError(f"the text begins with [{near}] and dialect is {data['dialect']}")
        return {**data, "text": data["text"][match.end() :], "dialect": near}

    @field_validator("text")
    @classmethod
    def _has_words(cls, value: str) -> str:
        """Strip blanks; refuse a text without a word."""
        if len(value) > MAX_CHARACTERS:
            raise ValueError(f"the text has {len(value)} characters; {MAX_CHARACTERS} are the most")
        if other := _OTHER_BRACKETS.search(value):
            raise ValueError(f"{other.group()[:40]} stands in the text; a tag looks like [laugh]")
        if not split_words(value):
            raise ValueError("there is no word to say; give the text to speak")
        return value.strip()

    def prompt(self, utterance: Utterance) -> Prompt:
        """Return the clone prompt: the voice in the system turn, the text in the user turn."""
        spoken = (utterance.transcript or "").strip()
        return Prompt.clone(spoken, target_text(self.text, self.dialect))

    def transcript_after(self, utterance: Utterance) -> str:
        """Return the words to say, without the dialect's tag."""
        return self.text

    def plan(self, utterance: Utterance) -> Plan:
        """Return the plan, with the duration that the new words are expected to have."""
        return super().plan(utterance).but(length_ratio=self._length_ratio(utterance))

    def saying(self, text: str) -> Clone:
        """Return the clone of other words, in the same dialect."""
        return self.model_copy(update={"text": text})

    def needs_transcript(self, route: Route) -> bool:
        """Return whether the route needs the words: the prompt says them."""
        return route == "llm"

    def _length_ratio(self, utterance: Utterance) -> float:
        """Return the duration of the new words over the utterance's, from syllables and letters.

        Both texts are timed as they are read on average. Of how much slower or faster than that
        the speaker is, the square root is kept: one short utterance says little of a tempo, and
        half of its logarithm comes nearest. Without a transcript the utterance's duration stands
        for its words. Kept within 0.05..20.
        """
        new, seconds = read_seconds(self.text), max(utterance.seconds, 0.05)
        old = read_seconds(utterance.transcript or "") or seconds
        return min(20.0, max(0.05, new / math.sqrt(seconds * old)))

    def route_problem(self, route: Route) -> str | None:
        """Return why there is no dsp route: signal processing cannot speak new words."""
        if route == "dsp":
            return (
                "clone has no dsp route: signal processing cannot speak new words in a voice; "
                "use the llm route with an engine"
            )
        return super().route_problem(route)


def _nearest(tag: str) -> Dialect | None:
    """Return the dialect that a tag means or nearly spells, if any."""
    by_fold = {dialect.casefold(): dialect for dialect in DIALECTS}
    close = difflib.get_close_matches(tag[:40].casefold(), by_fold, n=1, cutoff=0.7)
    return by_fold[close[0]] if close else None


def _suggestion(value: str) -> str:
    """Return a suggestion for a near miss."""
    near = _nearest(value)
    return f"; did you mean {near!r}?" if near else ""
