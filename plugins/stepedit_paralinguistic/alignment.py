"""When each word is spoken: forced alignment where there is an aligner, otherwise pauses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from stepedit_core import AlignmentError, MissingDependencyError, Span, Utterance
from stepedit_core.dsp.alignment import align_words
from stepedit_core.dsp.vad import speech_spans
from stepedit_core.dsp.words import Word

__all__ = ["Alignment", "align"]

FloatArray = npt.NDArray[np.float64]

# A pause may lie this far (in seconds of speech) from where syllables expect a word to end at
# the cost of one; punctuation is worth four of that; a pause inside a word costs five.
_DRIFT, _PUNCTUATION, _INSIDE = 0.3, 4.0, 5.0


@dataclass(frozen=True)
class Alignment:
    """Times of the words of an utterance.

    Attributes:
        aligner: ``pocketsphinx`` or ``pauses``.
        words: start and end of each word, in seconds, in order.
        speech: where speech begins and ends.
        why: why no forced alignment was made, or None.
    """

    aligner: str
    words: tuple[Span, ...]
    speech: Span
    why: str | None = None

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
    knows all words. Otherwise stretches of speech between pauses (Silero VAD) are matched with
    stretches of words, whose expected durations come from their syllables.

    Args:
        utterance: the recording.
        words: at least one.
        text: what the words were split from; its punctuation tells where pauses are likely.
    """
    spans = speech_spans(utterance, min_speech=0.05, min_silence=0.09, pad=0.0)
    spans = spans or [Span(0.0, utterance.seconds)]
    speech = Span(spans[0].start, spans[-1].end)
    times, why = _forced(utterance, words)
    if times is None:
        return Alignment("pauses", _by_pauses(spans, words, text), speech, why)
    last = times[-1]
    if last.start < speech.end < last.end:
        times = (*times[:-1], Span(last.start, speech.end))
    speech = Span(min(speech.start, times[0].start), max(speech.end, times[-1].end))
    return Alignment("pocketsphinx", times, speech)


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


def _by_pauses(spans: Sequence[Span], words: Sequence[Word], text: str) -> tuple[Span, ...]:
    """Spread words over stretches of speech; a pause ends a word where that fits best."""
    lengths = np.array([span.seconds for span in spans])
    nominal = np.array([max(word.seconds, 0.05) for word in words])
    ends = np.cumsum(nominal) / nominal.sum() * lengths.sum()
    likely = [_pause_after(text, left, right) for left, right in pairwise(words)]
    after = _match(np.cumsum(lengths)[:-1], ends[:-1], likely)
    edges = [0, *[word + 1 for word in after if word is not None], len(words)]
    stretches: list[list[Span]] = [[spans[0]]]
    for span, word in zip(spans[1:], after, strict=True):
        if word is None:
            stretches[-1].append(span)
        else:
            stretches.append([span])
    times: list[Span] = []
    for stretch, (first, last) in zip(stretches, pairwise(edges), strict=True):
        times += _spread(stretch, nominal[first:last])
    return tuple(times)


def _pause_after(text: str, word: Word, following: Word) -> bool:
    """Say whether punctuation stands between two words, tags left out."""
    between = re.sub(r"\[[^\[\]]*\]", "", text[word.end : following.start])
    return any(not letter.isspace() and letter not in "'’-" for letter in between)


def _match(pauses: FloatArray, ends: FloatArray, likely: Sequence[bool]) -> list[int | None]:
    """Return for each pause the word that it follows, or None for a pause inside a word.

    Dynamic programming over (pauses, word ends), both in seconds of speech without pauses;
    words are used once and in order.
    """
    n, m = len(pauses), len(ends)
    best = np.zeros((n + 1, m + 1))
    best[1:, 0] = _INSIDE * np.arange(1, n + 1)
    choice = np.zeros((n + 1, m + 1), dtype=int)  # 0: inside a word, 1: word unused, 2: match
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            match = ((pauses[i - 1] - ends[j - 1]) / _DRIFT) ** 2
            match -= _PUNCTUATION if likely[j - 1] else 0.0
            costs = (
                best[i - 1, j] + _INSIDE,
                best[i, j - 1],
                best[i - 1, j - 1] + match,
            )
            choice[i, j] = int(np.argmin(costs))
            best[i, j] = costs[choice[i, j]]
    found: list[int | None] = [None] * n
    i, j = n, m
    while i > 0 and j > 0:
        if choice[i, j] == 2:
            found[i - 1] = j - 1
            i, j = i - 1, j - 1
        elif choice[i, j] == 1:
            j -= 1
        else:
            i -= 1
    return found


def _spread(stretch: Sequence[Span], nominal: FloatArray) -> list[Span]:
    """Share the speech of some spans among words by their expected durations."""
    lengths = np.array([span.seconds for span in stretch])
    total = np.concatenate([[0.0], np.cumsum(lengths)])
    edges = np.concatenate([[0.0], np.cumsum(nominal)]) / nominal.sum() * total[-1]

    def moment(edge: float, *, ending: bool) -> float:
        place = np.searchsorted(total, edge, side="left" if ending else "right")
        which = min(max(int(place) - 1, 0), len(stretch) - 1)
        return float(stretch[which].start + min(edge - total[which], lengths[which]))

    return [
        Span(moment(a, ending=False), moment(b, ending=True)) for a, b in pairwise(edges.tolist())
    ]
