"""Whether a word that was cut out is gone and its neighbours are whole, by phones.

A recogniser of words expects sentences: where a cut leaves words that do not go together ("we have
[seen] how quietly"), it hears others that do. A recogniser of phones has no such expectation. What
it hears around a join is compared with what it hears in the recording before the cut, less the
phones of the word; a rest of the word is a phone too many, a neighbour that was cut is one too few.

The measure is held against joins whose truth is known (`controls`): the word left as it was, half
of it left, half of a neighbour taken as well, and a word that was put between two others and is
taken out again to the sample, which has to pass.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from rapidfuzz.distance import Levenshtein

from stepedit_bench.measuring.phones import timed_phones
from stepedit_core.alignment import Alignment, TimedWord
from stepedit_core.dsp.cutting import Cut, cut_out
from stepedit_core.recording.hearing import align
from stepedit_core.utterance import Span, Utterance

__all__ = [
    "CUT",
    "MOST_ERRORS",
    "UNDONE",
    "Around",
    "around",
    "controls",
    "errors_at",
    "errors_of",
    "put_between",
]

CUT, UNDONE = "cut", "word put in and taken out again"
"""Names of the cut that is measured and of the control that has to pass."""

MOST_ERRORS = 1
"""Phones at a join that may be heard otherwise: what is heard of a phone depends on the next."""
_BESIDE, _NEAR = 4, 6
"""Words on either side that are listened to, and phones on either side of a join that count."""
_MARGIN = 0.05
_LATE = 0.02
"""Seconds by which CTC marks the end of a word's last phone later than where two words meet."""


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
    at = word - low
    borders = [
        (laid[n - 1].end + laid[n].start) / 2 + _LATE if 0 < n < len(laid) else limit
        for n, limit in ((at, -1.0), (at + 1, part.seconds + 1.0))
    ]
    heard = timed_phones(part)
    return Around(
        span,
        tuple(phone for phone, second in heard if second <= borders[0]),
        tuple(phone for phone, second in heard if borders[0] < second <= borders[1]),
        tuple(phone for phone, second in heard if second > borders[1]),
    )


def errors_at(speech: Utterance, cut: Cut, expected: Around) -> int:
    """Return how many phones near the join are heard otherwise than expected.

    Args:
        speech: the recording before the cut.
        cut: what is cut out of it.
        expected: what was heard before.
    """
    span = expected.span
    made = cut_out(speech, cut).slice((span.start, span.end - cut.seconds))
    heard = [phone for phone, _ in timed_phones(made)]
    wanted = [*expected.before, *expected.after]
    join = len(expected.before)
    changes = Levenshtein.editops(wanted, heard)
    return sum(join - _NEAR <= change.src_pos <= join + _NEAR for change in changes)


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


def errors_of(
    speech: Utterance, known: Alignment, word: int, cut: Cut, other: int | None = None
) -> dict[str, int]:
    """Return the errors at the join of a cut, and of its controls.

    Args:
        speech: the recording before the cut.
        known: its words.
        word: index of the word that was cut out; it has neighbours.
        cut: what was cut out.
        other: index of a word that is put before it and taken out again; None for no controls.
    """
    expected = around(speech, known, word)
    found = {CUT: errors_at(speech, cut, expected)}
    if other is None:
        return found
    for name, wrong in controls(known, word).items():
        found[name] = errors_at(speech, wrong, expected)
    longer, undone = put_between(speech, known, word, other)
    assert longer.alignment is not None
    found[UNDONE] = errors_at(longer, undone, around(longer, longer.alignment, word))
    return found
