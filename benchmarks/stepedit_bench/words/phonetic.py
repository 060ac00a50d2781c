"""Whether a word that was cut out is gone and its neighbours are whole, by phones.

A recogniser of words expects sentences: where a cut leaves words that do not go together ("we have
[seen] how quietly"), it hears others that do. A recogniser of phones has no such expectation. It
hears the recording before the cut, and says how likely each of these is around the join: the phones
beside the word, the same with a rest of the word between them, and the same with some of them
taken. The word is gone where no rest is likelier than none.

The measure is held against joins whose truth is known (`controls`): the word left as it was, half
of it left, half of a neighbour taken as well; and a word that was put between two others and is
taken out again to the sample, which has to pass.

Source: CTC (Graves et al. 2006, ICML), summed over all paths.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from stepedit_bench.measuring.phones import phone_scores, timed_phones
from stepedit_core.alignment import Alignment, TimedWord
from stepedit_core.dsp.cutting import Cut, cut_out, possible_cuts
from stepedit_core.recording.hearing import align
from stepedit_core.utterance import Span, Utterance

__all__ = [
    "CUT",
    "QUIET",
    "UNDONE",
    "Around",
    "Odds",
    "around",
    "controls",
    "log_likelihood",
    "odds_at",
    "odds_of",
    "put_between",
]

CUT, QUIET, UNDONE = "cut", "cut by level and spectrum alone", "word put in and taken out again"
"""Names of the cut that is measured, of the one that nobody listened to, and of the control that
has to pass."""
TAKEN = 3.0
"""Nats by which fewer phones may be likelier: what is heard of a phone depends on the next one."""
_MOST_TAKEN = 3
_BESIDE = 3
"""Words on either side that are listened to."""
_MARGIN = 0.05
_LATE = 0.02
"""Seconds by which CTC marks the end of a word's last phone later than where two words meet."""
_NEVER = -1e9

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Around:
    """What is heard around a word in the recording before the cut.

    Attributes:
        span: what is listened to, in seconds of the recording.
        before: phones before the word.
        word: phones of the word.
        after: phones after it.
    """

    span: Span
    before: tuple[str, ...]
    word: tuple[str, ...]
    after: tuple[str, ...]

    def readings(self) -> Iterator[tuple[str, list[str]]]:
        """Yield what may be heard after a cut: first what should be, then what should not."""
        before, word, after = map(list, (self.before, self.word, self.after))
        yield "gone", before + after
        for n in range(1, len(word) + 1):
            yield "rest", before + word[:n] + after
        for n in range(1, len(word)):
            yield "rest", before + word[n:] + after
        for n in range(1, _MOST_TAKEN + 1):
            if len(before) >= n:
                yield "taken", before[: len(before) - n] + after
            if len(after) >= n:
                yield "taken", before + after[n:]


@dataclass(frozen=True)
class Odds:
    """Log-likelihoods of wrong readings of a join over that of the right one, in nats.

    Attributes:
        rest: of the best one in which a rest of the word is left.
        taken: of the best one in which phones of a neighbour are missing.
    """

    rest: float
    taken: float

    @property
    def has_no_rest(self) -> bool:
        """Whether the word is gone."""
        return self.rest <= 0

    @property
    def is_whole(self) -> bool:
        """Whether its neighbours are whole."""
        return self.taken <= TAKEN

    @property
    def is_right(self) -> bool:
        """Whether the word is gone and its neighbours are whole."""
        return self.has_no_rest and self.is_whole


def log_likelihood(scores: Floats, phones: Sequence[int]) -> float:
    """Return the log-likelihood of a sequence of phones, over all CTC paths.

    Args:
        scores: log posteriors ``(frames, signs)``, the last sign is the blank.
        phones: columns of ``scores``, in order.
    """
    states = np.full(2 * len(phones) + 1, scores.shape[1] - 1)
    states[1::2] = phones
    emitted = scores[:, states]
    skips = np.zeros(len(states), dtype=bool)
    skips[3::2] = states[3::2] != states[1:-2:2]
    reached = np.full(len(states), _NEVER)
    reached[:2] = emitted[0, :2]
    for row in emitted[1:]:
        one = np.concatenate([[_NEVER], reached[:-1]])
        two = np.where(skips, np.concatenate([[_NEVER, _NEVER], reached])[: len(states)], _NEVER)
        reached = np.logaddexp(np.logaddexp(reached, one), two) + row
    return float(np.logaddexp.reduce(reached[-2:]))


def around(speech: Utterance, known: Alignment, word: int) -> Around:
    """Return the phones around a word; where they belong is told by the CTC aligner.

    Args:
        speech: the recording before the cut.
        known: its words.
        word: index of the word.

    Raises:
        StepeditError: if no phones can be heard or laid along.
    """
    low, high = max(0, word - _BESIDE), min(len(known.words), word + 1 + _BESIDE)
    span = Span(
        max(0.0, known.words[low].start - _MARGIN),
        min(speech.seconds, known.words[high - 1].end + _MARGIN),
    )
    part = speech.slice(span)
    text = " ".join(one.text for one in known.words[low:high])
    laid = align(part.replace(transcript=text, alignment=None), "ctc").words
    borders = [
        (laid[n - 1].end + laid[n].start) / 2 + _LATE if 0 < n < len(laid) else limit
        for n, limit in ((word - low, -1.0), (word - low + 1, part.seconds + 1.0))
    ]
    heard = timed_phones(part)
    return Around(
        span,
        tuple(phone for phone, second in heard if second <= borders[0]),
        tuple(phone for phone, second in heard if borders[0] < second <= borders[1]),
        tuple(phone for phone, second in heard if second > borders[1]),
    )


def odds_at(speech: Utterance, cut: Cut, expected: Around) -> Odds:
    """Return how likely a rest of the word, or a loss beside it, is at the join of a cut.

    Args:
        speech: the recording before the cut.
        cut: what is cut out of it.
        expected: what was heard before; at least one phone of the word.
    """
    span = expected.span
    made = cut_out(speech, cut).slice((span.start, span.end - cut.seconds))
    scores, signs = phone_scores(made)
    column = {sign: n for n, sign in enumerate(signs)}
    best: dict[str, float] = {}
    for kind, phones in expected.readings():
        found = log_likelihood(scores, [column[phone] for phone in phones])
        best[kind] = max(best.get(kind, -np.inf), found)
    right = best["gone"]
    return Odds(best["rest"] - right, best.get("taken", -np.inf) - right)


def controls(known: Alignment, word: int) -> dict[str, Cut]:
    """Return cuts that have to be told from right ones.

    Args:
        known: the words of a recording.
        word: index of one that has neighbours.
    """
    own, left, right = (known.words[n].span for n in (word, word - 1, word + 1))
    middle = (own.start + own.end) / 2
    return {
        "nothing cut": Cut(middle, middle),
        "second half left": Cut(own.start, middle),
        "first half left": Cut(middle, own.end),
        "half of the word before taken": Cut((left.start + left.end) / 2, own.end),
        "half of the word after taken": Cut(own.start, (right.start + right.end) / 2),
    }


def put_between(
    speech: Utterance, known: Alignment, word: int, other: int
) -> tuple[Utterance, Cut]:
    """Return a recording with one of its words said before another, and the cut that undoes it.

    Args:
        speech: the recording.
        known: its words.
        word: index of the word before which it is put, and its own index then; at least 1.
        other: index of the word that is put there.
    """
    rate = speech.sample_rate
    gap, said = known.gap(word, speech.seconds), known.words[other]
    at = round((gap.start + gap.end) / 2 * rate)
    added = speech.slice(said.span).samples
    cut = Cut(at / rate, (at + len(added)) / rate)
    new = TimedWord(said.text, cut.start, cut.end)
    later = [
        replace(one, start=one.start + cut.seconds, end=one.end + cut.seconds)
        for one in known.words[word:]
    ]
    words = (*known.words[:word], new, *later)
    text = " ".join(one.text for one in words)
    samples = np.concatenate([speech.samples[:at], added, speech.samples[at:]])
    timed = Alignment(text, words, known.aligner)
    return speech.replace(samples=samples, transcript=text, alignment=timed), cut


def odds_of(
    speech: Utterance, known: Alignment, word: int, cut: Cut, other: int | None = None
) -> dict[str, Odds]:
    """Return the odds at the join of a cut, and at those of its controls.

    Nothing is returned of a word of which no phone is heard before the cut.

    Args:
        speech: the recording before the cut.
        known: its words.
        word: index of the word that was cut out; it has neighbours.
        cut: what was cut out.
        other: index of a word that is put before it and taken out again; None for no controls.
    """
    expected = around(speech, known, word)
    if not expected.word:
        return {}
    quiet, _ = possible_cuts(speech, known, word, word + 1)[0]
    found = {CUT: odds_at(speech, cut, expected), QUIET: odds_at(speech, quiet, expected)}
    if other is None:
        return found
    for name, wrong in controls(known, word).items():
        found[name] = odds_at(speech, wrong, expected)
    longer, undone = put_between(speech, known, word, other)
    assert longer.alignment is not None
    heard = around(longer, longer.alignment, word)
    if heard.word:
        found[UNDONE] = odds_at(longer, undone, heard)
    return found
