"""Scorer of the redact edit: the secret is not heard again, all else is."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

import numpy as np

from stepedit_core import (
    Case,
    Measures,
    Prepared,
    Score,
    Scorer,
    StepeditError,
    Utterance,
    words_kept,
)
from stepedit_core.dsp.words import normalised, split_words
from stepedit_redact.edit import Redact
from stepedit_redact.finding import Hit, find_phrases
from stepedit_redact.hearing import heard_again
from stepedit_redact.spoken import tokens_of
from stepedit_redact.text import hidden_text

__all__ = ["RedactScorer", "secrets_of"]

SLACK_SECONDS = 0.5
"""How much more than a private word's expected duration may be hidden with it, both sides."""


class RedactScorer(Scorer):
    """Listen for what was private and for all else, and compare the samples.

    What is private says the case, in ``meta["private"]`` (phrases of the transcript), or else the
    edit's own rules. Reached: nothing of it is heard again, the other words are heard as well as
    in the source, and no more samples have changed than the private words need.
    """

    version: ClassVar[int] = 1
    expects_same_duration: ClassVar[bool] = True

    def waives(self, case: Case) -> frozenset[str]:
        """Let words, quality and level change: a mask is no speech."""
        return frozenset({"words", "quality", "level", "loudness"})

    def score(self, case: Case, prepared: Prepared, output: Utterance, measures: Measures) -> Score:
        """Measure recall, false hits, the words that are left, and the samples that are."""
        edit, source = case.edit, prepared.source
        if not isinstance(edit, Redact):
            return Score.failed(f"the redact scorer was given the edit {edit.name}")
        text = source.transcript or ""
        hits = secrets_of(case, edit, source)
        if not hits:
            return Score.failed("the case holds nothing private")
        public = hidden_text(text, hits)
        try:
            heard = measures.transcribe(output.replace(language=source.language))
        except StepeditError as error:
            return Score.failed(f"the words could not be heard: {error}")
        words = split_words(text)
        secrets = [text[words[hit.first].start : words[hit.stop - 1].end] for hit in hits]
        again = [secret for secret in secrets if heard_again(secret, heard, public)]
        understood, rest_error = _rest_kept(measures, source, output, public)
        needed = sum(
            sum(word.seconds for word in words[hit.first : hit.stop]) + SLACK_SECONDS
            for hit in hits
        )
        kept = share_kept(source, output)
        values: dict[str, float | None] = {
            "recall": 1 - len(again) / len(hits),
            "false_hits": float(_false_hits(output, public)),
            "word_error_of_the_rest": rest_error,
            "samples_kept": kept,
        }
        wide = 1 - min(1.0, 2.0 * needed / source.seconds)
        same = edit.by == "replace" or kept >= wide
        return Score(not again and understood is not False and same, values)


def secrets_of(case: Case, edit: Redact, source: Utterance) -> list[Hit]:
    """Return the private words of a case: those that it names, or those that the edit finds."""
    text = source.transcript or ""
    named = case.meta.get("private")
    if named:
        return find_phrases(tokens_of(text), [str(phrase) for phrase in named])
    return edit.hits(text, source.language)


def share_kept(source: Utterance, output: Utterance) -> float:
    """Return the share of an output's samples that are the source's at the same place, or 0."""
    if source.sample_rate != output.sample_rate or len(source.samples) != len(output.samples):
        return 0.0
    return float(np.mean(source.samples == output.samples))


def _rest_kept(
    measures: Measures, source: Utterance, output: Utterance, public: str
) -> tuple[bool | None, float | None]:
    """Return whether the public words are heard, and their error; a silent rest cannot be."""
    if not split_words(public):
        return None, None
    return words_kept(measures, source, output, public)


def _false_hits(output: Utterance, public: str) -> int:
    """Return the number of public words that the output's transcript lacks."""
    wanted = Counter(normalised(word.text) for word in split_words(public))
    given = Counter(normalised(word.text) for word in split_words(output.transcript or ""))
    return sum((wanted - given).values())
