"""Regions of an utterance: by seconds, words, sentences or a speaker, resolved to spans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stepedit_core.alignment import Alignment, TimedWord, find_phrase
from stepedit_core.dsp.words import split_words
from stepedit_core.errors import AlignmentError
from stepedit_core.recording.hearing import place_words
from stepedit_core.recording.speakers import with_speakers
from stepedit_core.utterance import Span, Utterance

__all__ = ["Where"]

_AROUND = 0.03
"""How far from an aligned border its quietest place is looked for, in seconds."""
_WINDOW = 0.01


@dataclass(frozen=True)
class Where:
    """The region of a masked edit; exactly one of its kinds is given.

    Attributes:
        spans: (start, end) in seconds.
        words: a phrase of the transcript.
        occurrence: which one, from 1, where the phrase is said several times.
        sentences: numbers of sentences, from 1; -1 is the last.
        speaker: all that a speaker says; voices are told apart as A, B, ... where no labels name
            speakers.
        margins: all but so many seconds at the start and at the end.
    """

    spans: tuple[Span, ...] = ()
    words: str | None = None
    occurrence: int | None = None
    sentences: tuple[int, ...] = ()
    speaker: str | None = None
    margins: tuple[float, float] | None = None

    def needs_words(self) -> bool:
        """Return whether the region is known only when the words are timed."""
        return not self.spans and self.margins is None

    def problem(self, text: str) -> str | None:
        """Say why a transcript holds no such region, without timing it; None where it may."""
        if not self.needs_words() or self.speaker is not None:
            return None
        try:
            if self.words is not None:
                # Words that are not timed yet have no times to name.
                find_phrase([word.text for word in split_words(text)], self.words, self.occurrence)
            else:
                self._indices(_untimed(text))
        except AlignmentError as error:
            return str(error)
        return None

    def resolve(self, utterance: Utterance) -> tuple[Span, ...]:
        """Return the region in seconds; borders between words lie at the quietest place.

        Raises:
            AlignmentError: if the words, sentences or speaker are not there, or cannot be timed,
                or the margins leave nothing.
        """
        if self.margins is not None:
            return (self._within(self.margins, utterance.seconds),)
        if not self.needs_words():
            return self.spans
        known = place_words(utterance)
        if self.speaker is not None:
            known = with_speakers(utterance, known)
        spans = []
        for first, stop in _runs(self._indices(known)):
            start = _quietest(utterance, known.gap(first, utterance.seconds))
            end = _quietest(utterance, known.gap(stop, utterance.seconds))
            if first == 0:
                start = max(0.0, known.words[0].start - _AROUND)
            if stop == len(known.words):
                end = min(utterance.seconds, known.words[-1].end + _AROUND)
            spans.append(Span(start, max(end, start)))
        return tuple(spans)

    def runs_of_words(self, utterance: Utterance) -> tuple[range, ...]:
        """Return the region as indices of words; one counts where its middle lies in the region.

        Raises:
            AlignmentError: as `resolve` does.
        """
        if self.words is not None or self.sentences:
            indices = self._indices(_untimed(utterance.transcript or ""))
        else:
            words = place_words(utterance).words
            spans = self.resolve(utterance)
            middles = [(word.start + word.end) / 2 for word in words]
            indices = [
                n
                for n, middle in enumerate(middles)
                if any(span.start <= middle < span.end for span in spans)
            ]
        return tuple(range(first, stop) for first, stop in _runs(indices))

    @staticmethod
    def _within(margins: tuple[float, float], seconds: float) -> Span:
        """Return what margins leave of an utterance."""
        before, after = margins
        if before + after >= seconds:
            raise AlignmentError(
                f"margins of {before:g} and {after:g} s leave nothing of {seconds:g} s"
            )
        return Span(before, seconds - after)

    def _indices(self, known: Alignment) -> list[int]:
        """Return the indices of the region's words."""
        if self.words is not None:
            return list(known.find(self.words, self.occurrence))
        if self.speaker is not None:
            said = [n for n, who in enumerate(known.speakers) if who == self.speaker]
            if not said:
                there = ", ".join(sorted({who for who in known.speakers if who})) or "none is known"
                raise AlignmentError(f"no speaker {self.speaker!r}; there is: {there}")
            return said
        sentences = known.sentences
        chosen: set[int] = set()
        for number in self.sentences:
            place = number - 1 if number > 0 else len(sentences) + number
            if number == 0 or not 0 <= place < len(sentences):
                raise AlignmentError(
                    f"no sentence {number}: there {'is' if len(sentences) == 1 else 'are'} "
                    f"{len(sentences)}, counted from 1"
                )
            chosen |= set(range(sentences[place].first, sentences[place].stop))
        return sorted(chosen)


def _untimed(text: str) -> Alignment:
    """Return an alignment whose times mean nothing, to look words up in."""
    words = tuple(TimedWord(word.text, n, n) for n, word in enumerate(split_words(text)))
    return Alignment(text, words, "none")


def _runs(indices: Sequence[int]) -> list[tuple[int, int]]:
    """Return neighbouring indices as (first, stop) runs."""
    runs: list[tuple[int, int]] = []
    for index in indices:
        if runs and runs[-1][1] == index:
            runs[-1] = (runs[-1][0], index + 1)
        else:
            runs.append((index, index + 1))
    return runs


def _quietest(utterance: Utterance, gap: Span) -> float:
    """Return the quietest place of a pause, or near a border without one, in seconds."""
    rate = utterance.sample_rate
    low = max(0.0, gap.start - (0.0 if gap.seconds > _AROUND else _AROUND))
    high = min(utterance.seconds, gap.end + (0.0 if gap.seconds > _AROUND else _AROUND))
    first, last = round(low * rate), round(high * rate)
    size = max(1, round(_WINDOW * rate))
    part = utterance.samples[first:last].astype(np.float64)
    if len(part) <= size:
        return (low + high) / 2
    total = np.concatenate([[0.0], np.cumsum((part - part.mean()) ** 2)])
    power = total[size:] - total[:-size]
    return (first + int(np.argmin(power)) + size // 2) / rate
