"""Non-verbal sounds at places marked in the text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from functools import partial
from typing import Literal

import numpy as np
from pydantic import field_validator, model_validator

from stepedit_core import (
    Edit,
    ForeignWordsError,
    Insertion,
    Outcome,
    Plan,
    Prompt,
    Rendered,
    Route,
    Utterance,
    conditioning_label,
)
from stepedit_core.dsp.words import normalised, split_words, without_tags
from stepedit_paralinguistic.prompt import instruction
from stepedit_paralinguistic.tags import (
    Placed,
    canonical,
    read,
    remarks,
    squared,
    tags_of,
    with_spelling,
)

__all__ = ["MIN_MATCH", "SYNTHESISED", "Paralinguistic"]

MAX_CHARACTERS = 20_000
MOST_WORDS_PER_SECOND = 20
MIN_MATCH = 0.8
"""Least share of words that the text and the transcript must have in common."""

SYNTHESISED: dict[str, float] = {
    "sigh": 1.3,
    "inhale": 0.45,
    "laugh": 1.1,
    "chuckle": 0.65,
    "exhale": 0.6,
    "giggle": 1.0,
    "cough": 0.75,
    "breath": 1.0,
    "uhm": 0.5,
    "Confirmation-en": 0.4,
    "Surprise-oh": 0.5,
    "Surprise-ah": 0.5,
    "Surprise-wa": 0.5,
    "Surprise-yo": 0.5,
    "Question-ei": 0.4,
    "Question-ah": 0.4,
    "Question-en": 0.4,
    "Question-yi": 0.4,
    "Question-oh": 0.4,
}
"""Tags that the dsp route can synthesise, with their usual length in seconds."""
_OTHER_SECONDS = 0.6
_DECODED_AS: Mapping[str, str] = {"breath": "sigh", "exhale": "sigh"}
"""Tags whose sounds a decoder that is conditioned on labels is given as another tag's.

Their own labels were learned from few sounds: of 16 recorded ones that were encoded and decoded, 5
breaths and 4 exhalations are heard as breaths by their own labels, 12 and 15 as sighs."""
Backend = Literal["auto", "recorded", "synthesised"]


class Paralinguistic(Edit):
    """Add non-verbal sounds (laughs, breaths, interjections) at tags in the text.

    The text is the utterance's own words with tags in square brackets where sounds belong,
    such as ``You are late again [sigh], my friend.`` Tags that the transcript has already are
    in the audio already and stay.
    """

    text: str
    """The words spoken, with tags such as [laugh] where sounds belong."""
    tags: Literal["2025", "2026"] = "2026"
    """Model version whose tags go to the prompt: ten of 2025 or 22 of 2026. Spellings of
    either are taken."""
    backend: Backend | None = None
    """Where the dsp route takes sounds from: recorded (a library of other people's sounds, brought
    into the speaker's voice), synthesised (recipes), or auto, which is also what happens where none
    is named: recorded where the library has the tag, synthesised otherwise."""

    @field_validator("text")
    @classmethod
    def _has_tags_and_words(cls, value: str) -> str:
        """Refuse unknown tags, and a text without a tag or words; other brackets become square."""
        if len(value) > MAX_CHARACTERS:
            raise ValueError(f"the text has {len(value)} characters; {MAX_CHARACTERS} are the most")
        value = squared(value)
        words, placed = read(value)
        if not placed:
            raise ValueError("the text has no tag; put one such as [laugh] where the sound belongs")
        if not words:
            raise ValueError("the text has tags alone; give the words spoken with the tags in them")
        return value.strip()

    @model_validator(mode="after")
    def _known_to_version(self) -> Paralinguistic:
        """Refuse tags that the chosen model version does not know."""
        for placed in self.placed:
            canonical(placed.tag, self.tags)
        return self

    @property
    def placed(self) -> list[Placed]:
        """All tags of the text, in order."""
        return read(self.text)[1]

    def added(self, utterance: Utterance) -> list[Placed]:
        """Return the tags that the utterance does not have yet at the same place."""
        there = Counter((tag.tag, tag.word) for tag in tags_of(utterance.transcript or ""))
        new = []
        for placed in self.placed:
            key = (placed.tag, placed.word)
            if there[key]:
                there[key] -= 1
            else:
                new.append(placed)
        return new

    def prompt(self, utterance: Utterance) -> Prompt:
        """Return the prompt with the tagged text and the words as they are."""
        spoken = utterance.transcript or ""
        return Prompt.edit(instruction(with_spelling(self.text, self.tags), spoken))

    def transcript_after(self, utterance: Utterance) -> str:
        """Return the text with its tags, in the spelling of the model version.

        Later prompts describe the audio, and the audio has the sounds.
        """
        return with_spelling(self.text, self.tags)

    def plan(self, utterance: Utterance) -> Plan:
        """Return the plan: the added sounds at their places, and what they usually last.

        The label is the tag, where all tags are one; breaths are decoded as sighs.
        """
        plan = super().plan(utterance)
        if plan.problem:
            return plan
        try:
            self._refuse_foreign_words(utterance)
        except ForeignWordsError as error:
            return plan.but(problem=str(error))
        tags = {_DECODED_AS.get(placed.tag, placed.tag) for placed in self.placed}
        lengths = [SYNTHESISED.get(tag.tag, _OTHER_SECONDS) for tag in self.added(utterance)]
        return plan.but(
            length_ratio=1.0 + sum(lengths) / max(utterance.seconds, 0.1),
            insertions=self._insertions(utterance, lengths),
            label=conditioning_label(self.name, *(tags if len(tags) == 1 else ())),
            fits=partial(self._fit, utterance),
        )

    def _fit(self, utterance: Utterance, outcome: Outcome) -> float:
        """Return how sure the plugin's ear is of the sounds that an outcome has more."""
        from stepedit_paralinguistic.ear import fit_of

        return fit_of(utterance, outcome, [placed.tag for placed in self.added(utterance)])

    def pieces_problem(self) -> str | None:
        """Return that the text stands for all words."""
        return "gives all words"

    def needs_transcript(self, route: Route) -> bool:
        """Return whether the route needs the words: the prompt says them."""
        return route == "llm"

    def _refuse_foreign_words(self, utterance: Utterance) -> None:
        from stepedit_paralinguistic.insertion import refuse_foreign_words

        refuse_foreign_words(self, utterance)

    def _insertions(self, utterance: Utterance, lengths: Sequence[float]) -> tuple[Insertion, ...]:
        """Return the added sounds at their places, with the silence around them."""
        from stepedit_paralinguistic.insertion import LEAD, TAIL, places

        # There are no places in an utterance without speech.
        return tuple(
            Insertion(at, LEAD + length + TAIL)
            for at, length in zip(places(self, utterance), lengths, strict=False)
        )

    def problem(self, utterance: Utterance) -> str | None:
        """Refuse a text whose words are not the utterance's, or that adds nothing."""
        if utterance.transcript is None:
            return None
        spoken = len(split_words(utterance.transcript))
        if spoken > MOST_WORDS_PER_SECOND * utterance.seconds + 20:
            return f"{spoken} words are not said in {utterance.seconds:.1f} s; check the transcript"
        if lost := self._lost(utterance.transcript):
            return (
                f"{lost!r} is neither a tag nor spoken; put a tag such as [laugh], or leave it out"
            )
        ratio, first = word_match(self.text, utterance.transcript)
        if ratio < MIN_MATCH:
            return (
                f"without its tags the text is not what is spoken ({ratio:.0%} of the words "
                f"match; first difference at {first!r}, spoken: "
                f"{_shortened(utterance.transcript)!r}); put tags into the words of the transcript"
            )
        if not self.added(utterance):
            return "the transcript has all these tags already; add a new one"
        return None

    def _lost(self, transcript: str) -> str | None:
        """Return what stands in round brackets and is not spoken: a tag that was meant, or None."""
        heard = " ".join(normalised(word.text) for word in split_words(transcript))
        for remark in remarks(self.text):
            words = " ".join(normalised(word.text) for word in split_words(remark))
            if words and f" {words} " not in f" {heard} ":
                return _shortened(remark)
        return None

    def route_problem(self, route: Route) -> str | None:
        """Say which tags signal processing lacks, and what the llm prompt cannot express."""
        if route == "llm" and self.backend is not None:
            return (
                "paralinguistic: the llm prompt has no words for backend=; "
                "leave it out or use the dsp route"
            )
        missing = sorted({tag.tag for tag in self.placed if self.source_of(tag.tag) is None})
        if route == "dsp" and missing:
            names = ", ".join(f"[{tag}]" for tag in missing)
            why = {
                "recorded": "no recording in the library; leave backend= out",
                "synthesised": "no published recipe to synthesise it from; leave backend= out",
            }.get(self.backend or "", "neither a recording nor a published recipe")
            return (
                f"no dsp route for {names}: {why}, use the llm route with an engine, or another tag"
            )
        return super().route_problem(route)

    def source_of(self, tag: str) -> Literal["recorded", "synthesised"] | None:
        """Return where the dsp route takes a tag's sound from, or None where from nowhere."""
        from stepedit_paralinguistic.recorded import RECORDED

        if self.backend != "synthesised" and tag in RECORDED:
            return "recorded"
        return "synthesised" if self.backend != "recorded" and tag in SYNTHESISED else None

    def draws(self, route: Route) -> bool:
        """Return whether another draw may fare better: by either route, it is another sound."""
        return True

    def render(self, utterance: Utterance, rng: np.random.Generator) -> Rendered:
        """Insert recorded or synthesised sounds in the speaker's voice; see the README.

        Raises:
            RouteError: if a tag has no dsp route or the words do not fit.
        """
        from stepedit_paralinguistic.insertion import insert_events

        return insert_events(self, utterance, rng)


def word_match(text: str, transcript: str) -> tuple[float, str]:
    """Return the share of words that two texts have in common, 0..1, and their first difference."""
    ours = [normalised(word.text) for word in split_words(without_tags(text))]
    theirs = [normalised(word.text) for word in split_words(without_tags(transcript))]
    if ours == theirs:
        return 1.0, "end"
    # Words that are everywhere would make the comparison of long texts quadratic.
    matcher = SequenceMatcher(None, ours, theirs, autojunk=max(len(ours), len(theirs)) > 1000)
    blocks = matcher.get_matching_blocks()
    at = blocks[0].size if blocks[0].a == blocks[0].b == 0 else 0
    first = ours[at] if at < len(ours) else "end"
    return matcher.ratio() if ours or theirs else 1.0, first


def _shortened(text: str, limit: int = 60) -> str:
    """Return a text cut to a length that fits into a message."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
