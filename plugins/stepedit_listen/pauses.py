"""Words spread over stretches of speech: the aligner of last resort, for any language."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from stepedit_core import Aligner, AlignmentError, TimedWord, Utterance
from stepedit_core.dsp.pauses import align_by_pauses
from stepedit_core.dsp.vad import speech_spans
from stepedit_core.dsp.words import Word

__all__ = ["PauseAligner"]


class PauseAligner(Aligner):
    """Pauses and syllables, no model: words are a few tenths of a second off."""

    name: ClassVar[str] = "pauses"
    rank: ClassVar[int] = 90
    is_coarse: ClassVar[bool] = True

    def align(self, utterance: Utterance, words: Sequence[Word]) -> list[TimedWord]:
        """Return one timed word for each word; none has a confidence."""
        spans = speech_spans(utterance, min_speech=0.05, min_silence=0.09, pad=0.0)
        if not spans:
            raise AlignmentError("no speech is found in the recording")
        times = align_by_pauses(spans, words, utterance.transcript or "")
        return [
            TimedWord(word.text, span.start, max(span.start, span.end))
            for word, span in zip(words, times, strict=True)
        ]
