"""Cuts whose truth is known: what a measure of cuts by phones has to tell apart.

The measure is `stepedit_core.dsp.phone_joins`. It has to refuse the word left as it was, half of it
left, and half of a neighbour taken as well; and to pass a word that was put between two others and
is taken out again to the sample.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from stepedit_core.alignment import Alignment, TimedWord
from stepedit_core.dsp.cutting import Cut, cut_out
from stepedit_core.dsp.phone_joins import PhoneOdds, PhonesAround, phones_around
from stepedit_core.utterance import Utterance

__all__ = ["UNDONE", "control_odds", "controls", "odds_at", "put_between"]

UNDONE = "word put in and taken out again"
"""Name of the control that has to pass."""


def odds_at(speech: Utterance, cut: Cut, expected: PhonesAround) -> PhoneOdds:
    """Return how likely a rest of the word, or a loss beside it, is at the join of a cut.

    Args:
        speech: the recording before the cut.
        cut: what is cut out of it.
        expected: what was heard before.
    """
    return expected.odds(cut_out(speech, cut), cut.seconds)


def control_odds(
    speech: Utterance, known: Alignment, word: int, other: int
) -> Iterator[tuple[str, PhoneOdds]]:
    """Yield the odds of the controls of one word, by name; none where none of its phones is heard.

    Args:
        speech: the recording.
        known: its words.
        word: index of one that has neighbours.
        other: index of the word that is put before it and taken out again.
    """
    expected = phones_around(speech, known, word, word + 1)
    if expected is None:
        return
    for name, wrong in controls(known, word).items():
        yield name, odds_at(speech, wrong, expected)
    longer, undone = put_between(speech, known, word, other)
    assert longer.alignment is not None
    heard = phones_around(longer, longer.alignment, word, word + 1)
    if heard is not None:
        yield UNDONE, odds_at(longer, undone, heard)


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
