"""Word times of an utterance: forced alignment where there is an aligner, otherwise pauses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from stepedit_core import AlignmentError, MissingDependencyError, Span, Utterance
from stepedit_core.dsp.alignment import align_words, guessed_words
from stepedit_core.dsp.pauses import align_by_pauses
from stepedit_core.dsp.vad import speech_spans
from stepedit_core.dsp.words import Word

__all__ = ["Alignment", "align"]


@dataclass(frozen=True)
class Alignment:
    """Times of the words of an utterance.

    Attributes:
        aligner: ``pocketsphinx`` or ``pauses``.
        words: start and end of each word, in seconds, in order.
        speech: where speech begins and ends.
        why: why no forced alignment was made, or None.
        guessed: words that the aligner's dictionary lacks; their sound is guessed.
    """

    aligner: str
    words: tuple[Span, ...]
    speech: Span
    why: str | None = None
    guessed: tuple[str, ...] = ()

    def gap(self, word: int) -> Span:
        """Return the time between a word and the one before it; ends of speech count as edges."""
        if word <= 0:
            return Span(0.0, self.speech.start)
        if word >= len(self.words):
            return Span(self.speech.end, max(self.speech.end, self.words[-1].end))
        return Span(self.words[word - 1].end, max(self.words[word - 1].end, self.words[word].start))


def align(utterance: Utterance, words: Sequence[Word], text: str) -> Alignment:
    """Align words with an utterance.

    English is aligned by pocketsphinx (Huggins-Daines et al. 2006) where it is installed and
    knows most words. Otherwise stretches of speech between pauses (Silero VAD) are matched with
    stretches of words, whose expected durations come from their syllables.

    Args:
        utterance: the recording.
        words: at least one.
        text: what the words were split from; its punctuation tells where pauses are likely.
    """
    return _aligned(utterance, tuple(words), text)


@lru_cache(maxsize=8)
def _aligned(utterance: Utterance, words: tuple[Word, ...], text: str) -> Alignment:
    """Align words, once for an edit's plan and its rendering."""
    spans = speech_spans(utterance, min_speech=0.05, min_silence=0.09, pad=0.0)
    spans = spans or [Span(0.0, utterance.seconds)]
    speech = Span(spans[0].start, spans[-1].end)
    times, why = _forced(utterance, words)
    if times is None:
        return Alignment("pauses", align_by_pauses(spans, words, text), speech, why)
    last = times[-1]
    if last.start < speech.end < last.end:
        times = (*times[:-1], Span(last.start, speech.end))
    speech = Span(min(speech.start, times[0].start), max(speech.end, times[-1].end))
    guessed = tuple(dict.fromkeys(guessed_words(words)))
    return Alignment("pocketsphinx", times, speech, guessed=guessed)


def _forced(
    utterance: Utterance, words: Sequence[Word]
) -> tuple[tuple[Span, ...] | None, str | None]:
    """Return word times by pocketsphinx, or None and why there are none."""
    if (utterance.language or "en").split("-")[0].lower() != "en":
        return None, f"forced alignment is for English, not for {utterance.language}"
    try:
        return tuple(align_words(utterance, words)), None
    except (AlignmentError, MissingDependencyError) as error:
        return None, str(error)
