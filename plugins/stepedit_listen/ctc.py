"""Forced alignment on a CTC phone recogniser: Viterbi over the phones of the transcript.

Phones and their frame posteriors come from the package hama (Apache-2.0; English and Korean,
weights inside); words are spelled by its grapheme-to-phoneme model, so that names and typing
errors have phones, too. Source of the method: Kuerzinger et al. 2020, CTC-Segmentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import numpy as np

from stepedit_core import Aligner, AlignmentError, StepeditError, TimedWord, Utterance, counted
from stepedit_core.dsp.phones import (
    PHONE_SECONDS,
    missing_phones,
    phone_posteriors,
    phone_signs,
    spelled_phones,
    viterbi,
)
from stepedit_core.dsp.words import Word, normalised

__all__ = ["CtcAligner"]


class CtcAligner(Aligner):
    """CTC Viterbi over hama's phones: 20 ms frames, knows every word that has letters."""

    name: ClassVar[str] = "ctc"
    languages: ClassVar[frozenset[str] | None] = frozenset({"en"})
    rank: ClassVar[int] = 20

    def __init__(self, model: str | None = None, *, threads: int = 1) -> None:
        """Load the packaged models."""
        if missing := missing_phones():
            raise StepeditError(f"aligner ctc: {missing}")

    @classmethod
    def missing(cls) -> str | None:
        """Say what has to be installed."""
        return missing_phones()

    def align(self, utterance: Utterance, words: Sequence[Word]) -> list[TimedWord]:
        """Return one timed word for each word; those without letters have confidence 0."""
        from stepedit_listen.matching import spread_between
        from stepedit_listen.refining import MISPLACED, at_pauses

        spelled = [spelled_phones(normalised(word.text)) for word in words]
        phones = np.array([p for one in spelled for p in one], dtype=np.int64)
        scores = phone_posteriors(utterance)
        if len(phones) == 0:
            raise AlignmentError("no word of the transcript can be spelled in phones")
        if len(scores) < len(phones):
            raise AlignmentError(
                f"the recording is too short for its {counted(len(words), 'word')}: "
                f"{len(scores) * PHONE_SECONDS:.2f} s"
            )
        spikes, sure = viterbi(scores, phones, phone_signs()[1])
        placed: list[TimedWord | None] = []
        at = 0
        for word, own in zip(words, spelled, strict=True):
            if not own:
                placed.append(None)
                continue
            first, last = spikes[at], spikes[at + len(own) - 1]
            confidence = float(np.exp(np.mean(sure[at : at + len(own)])))
            # CTC marks a phone by a spike late in it; the margins are medians against PocketSphinx.
            start = max(0.0, float(first) * PHONE_SECONDS - 0.07)
            end = min(utterance.seconds, float(last) * PHONE_SECONDS + 0.03)
            placed.append(TimedWord(word.text, start, max(start, end), confidence))
            at += len(own)
        spread = spread_between(words, _apart(placed), utterance.seconds)
        return at_pauses(utterance, spread, MISPLACED)


def _apart(placed: Sequence[TimedWord | None]) -> list[TimedWord | None]:
    """Let words that overlap meet in the middle of what both claim."""
    result = list(placed)
    known = [n for n, word in enumerate(result) if word is not None]
    for a, b in pairwise(known):
        left, right = result[a], result[b]
        if left is not None and right is not None and left.end > right.start:
            middle = (left.end + right.start) / 2
            result[a] = TimedWord(left.text, left.start, max(left.start, middle), left.confidence)
            result[b] = TimedWord(right.text, middle, max(middle, right.end), right.confidence)
    return result
