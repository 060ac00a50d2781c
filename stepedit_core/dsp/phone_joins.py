"""Whether the join of a cut says the phones beside it and none of those that went.

A recogniser of words expects sentences: where a cut leaves words that do not go together ("we have
[seen] how quietly"), it hears others that do. A recogniser of phones has no such expectation. It
hears the recording before the cut, and says how likely each of these is around the join: the phones
beside the words, the same with a rest of the words between them, and the same with some of them
taken. The words are gone where no rest is likelier than none.

Source: CTC (Graves et al. 2006, ICML), summed over all paths.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stepedit_core.alignment import Alignment
from stepedit_core.dsp.phones import (
    PHONE_SECONDS,
    borders_as_blanks,
    log_likelihoods,
    phone_posteriors,
    phone_scores,
    phone_signs,
    spelled_phones,
    timed_phones,
    viterbi,
)
from stepedit_core.dsp.words import normalised
from stepedit_core.utterance import Span, Utterance

__all__ = ["TAKEN", "PhoneOdds", "PhonesAround", "phones_around"]

TAKEN = 3.0
"""Nats by which fewer phones may be likelier: what is heard of a phone depends on the next one."""
_MOST_TAKEN = 3
_BESIDE = 3
"""Words on either side that are listened to."""
_MARGIN = 0.05
_LATE = 0.02
"""Seconds by which CTC marks the end of a word's last phone later than where two words meet."""

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class PhoneOdds:
    """Log-likelihoods of wrong readings of a join over that of the right one, in nats.

    Attributes:
        rest: of the best one in which a rest of the words is left.
        taken: of the best one in which phones of a neighbour are missing.
    """

    rest: float
    taken: float

    @property
    def has_no_rest(self) -> bool:
        """Whether the words are gone."""
        return self.rest <= 0

    @property
    def is_whole(self) -> bool:
        """Whether their neighbours are whole."""
        return self.taken <= TAKEN

    @property
    def is_right(self) -> bool:
        """Whether the words are gone and their neighbours are whole."""
        return self.has_no_rest and self.is_whole

    @property
    def against(self) -> float:
        """What speaks against the join, in nats: 0 where it is just right, below where better."""
        return max(self.rest, self.taken - TAKEN)


@dataclass(frozen=True)
class PhonesAround:
    """What is heard around some words in the recording before the cut.

    Attributes:
        span: what is listened to, in seconds of the recording.
        before: phones before the words.
        gone: phones of the words.
        after: phones after them.
    """

    span: Span
    before: tuple[str, ...]
    gone: tuple[str, ...]
    after: tuple[str, ...]

    def readings(self) -> Iterator[tuple[str, list[str]]]:
        """Yield what may be heard after a cut: first what should be, then what should not."""
        before, gone, after = map(list, (self.before, self.gone, self.after))
        yield "right", before + after
        for n in range(1, len(gone) + 1):
            yield "rest", before + gone[:n] + after
        for n in range(1, len(gone)):
            yield "rest", before + gone[n:] + after
        for n in range(1, _MOST_TAKEN + 1):
            if len(before) >= n:
                yield "taken", before[: len(before) - n] + after
            if len(after) >= n:
                yield "taken", before + after[n:]

    def odds(self, made: Utterance, less: float) -> PhoneOdds:
        """Return how likely a rest of the words, or a loss beside them, is at a join.

        Args:
            made: the recording after the cut.
            less: how much shorter it got, in seconds.

        Raises:
            MissingDependencyError: if hama is not installed.
        """
        start, end = self.span
        scores, signs = phone_scores(made.slice(Span(start, max(start, end - less))))
        column = {sign: n for n, sign in enumerate(signs)}
        kinds, readings = zip(*self.readings(), strict=True)
        found = log_likelihoods(scores, [[column[sign] for sign in one] for one in readings])
        best = {"rest": -np.inf, "taken": -np.inf}
        for kind, one in zip(kinds[1:], found[1:], strict=True):
            best[kind] = max(best[kind], float(one))
        right = float(found[0])
        return PhoneOdds(best["rest"] - right, best["taken"] - right)


def phones_around(
    utterance: Utterance, alignment: Alignment, first: int, stop: int
) -> PhonesAround | None:
    """Return the phones around words that are to be cut out; None where none of them is heard.

    Where a phone belongs is told by the spelled phones of the words, which CTC lays along the
    same recording.

    Args:
        utterance: the recording before the cut.
        alignment: its words, English ones.
        first: index of the first word that goes.
        stop: index after the last word that goes.

    Raises:
        MissingDependencyError: if hama is not installed.
    """
    words = alignment.words
    low, high = max(0, first - _BESIDE), min(len(words), stop + _BESIDE)
    start = max(0.0, words[low].start - _MARGIN)
    span = Span(start, min(utterance.seconds, words[high - 1].end + _MARGIN))
    part = utterance.slice(span)
    spelled = [spelled_phones(normalised(word.text)) for word in words[low:high]]
    posteriors = phone_posteriors(part)
    marks = _marks(posteriors, spelled)
    borders = []
    for place in (first, stop):
        left = [marks[n][1] for n in range(place - low) if n in marks]
        right = [marks[n][0] for n in range(place - low, high - low) if n in marks]
        if left and right:
            borders.append((left[-1] + right[0]) / 2)
        elif 0 < place < len(words):
            borders.append((words[place - 1].end + words[place].start) / 2 - span.start + _LATE)
        else:
            borders.append(-1.0 if place == 0 else part.seconds + 1.0)
    heard = timed_phones(*borders_as_blanks(posteriors))
    around = PhonesAround(
        span,
        tuple(sign for sign, second in heard if second <= borders[0]),
        tuple(sign for sign, second in heard if borders[0] < second <= borders[1]),
        tuple(sign for sign, second in heard if second > borders[1]),
    )
    return around if around.gone and (around.before or around.after) else None


def _marks(
    posteriors: FloatArray, spelled: Sequence[Sequence[int]]
) -> dict[int, tuple[float, float]]:
    """Return where the first and last phone of each word is marked; none where they do not fit."""
    phones = np.array([phone for word in spelled for phone in word], dtype=np.int64)
    if not 0 < len(phones) <= len(posteriors):
        return {}
    frames, _ = viterbi(posteriors, phones, phone_signs()[1])
    seconds, found, at = frames * PHONE_SECONDS, {}, 0
    for number, word in enumerate(spelled):
        if word:
            found[number] = (float(seconds[at]), float(seconds[at + len(word) - 1]))
        at += len(word)
    return found
