"""PocketSphinx (Huggins-Daines et al. 2006, ICASSP): a second recogniser and an aligner, English.

As a recogniser it is far behind Whisper, and shares neither data nor method with neural ones.
As an aligner it is the most exact of those that run on no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, ClassVar

import numpy as np

from stepedit_core import (
    Aligner,
    AlignmentError,
    Recogniser,
    StepeditError,
    TimedWord,
    Transcription,
    Utterance,
)
from stepedit_core.dsp.alignment import align_words
from stepedit_core.dsp.phones import missing_phones
from stepedit_core.dsp.words import Word
from stepedit_listen.ctc import CtcAligner
from stepedit_listen.refining import MISPLACED, at_pauses

__all__ = ["SphinxAligner", "SphinxRecogniser"]

RATE = 16_000
_CURE = "pocketsphinx is not installed: pip install 'stepedit[align]'"


def _absent() -> str | None:
    return None if find_spec("pocketsphinx") else _CURE


@cache
def _decoder() -> Any:
    """Load acoustic model, dictionary and trigram, once."""
    import pocketsphinx

    # Batch normalisation: the live kind would let one utterance change the next one's words.
    return pocketsphinx.Decoder(samprate=RATE, cmn="batch", loglevel="FATAL")


class SphinxRecogniser(Recogniser):
    """US English model and trigram of the package pocketsphinx."""

    name: ClassVar[str] = "pocketsphinx"
    languages: ClassVar[frozenset[str] | None] = frozenset({"en"})
    rank: ClassVar[int] = 40

    def __init__(self, model: str | None = None, *, threads: int = 1) -> None:
        """Load the model that comes with the package."""
        if _absent():
            raise StepeditError(f"recogniser pocketsphinx: {_CURE}")
        self.label = self.title()
        self._decoder = _decoder()

    @classmethod
    def title(cls, model: str | None = None) -> str:
        """Return package, version and acoustic model."""
        return f"PocketSphinx {version('pocketsphinx')}, en-us"

    @classmethod
    def missing(cls) -> str | None:
        """Say what has to be installed."""
        return _absent()

    def transcribe(self, utterance: Utterance) -> Transcription:
        """Return the words heard."""
        samples = np.clip(utterance.resample(RATE).samples, -1, 1)
        # The front end goes on from the utterance before, batch normalisation or not: without a
        # new one the words would depend on what was heard earlier.
        self._decoder.reinit_feat()
        self._decoder.start_utt()
        try:
            self._decoder.process_raw((samples * 32767).astype("<i2").tobytes(), full_utt=True)
        finally:
            self._decoder.end_utt()
        found = self._decoder.hyp()
        return Transcription("" if found is None else str(found.hypstr), "en", self.label)


class SphinxAligner(Aligner):
    """Forced alignment by hidden Markov models, 10 ms; confidences from CTC phones."""

    name: ClassVar[str] = "pocketsphinx"
    languages: ClassVar[frozenset[str] | None] = frozenset({"en"})
    rank: ClassVar[int] = 10

    @classmethod
    def missing(cls) -> str | None:
        """Say what has to be installed."""
        return _absent()

    def align(self, utterance: Utterance, words: Sequence[Word]) -> list[TimedWord]:
        """Return one timed word for each word.

        Confidences are the CTC aligner's, where that is installed; where it alone finds a way
        through the recording, its times hold.
        """
        second = CtcAligner().align(utterance, words) if not missing_phones() else None
        try:
            spans = align_words(utterance, words)
        except AlignmentError:
            if second is None:
                raise
            return second
        sure = [None] * len(words) if second is None else [word.confidence for word in second]
        timed = [
            TimedWord(word.text, span.start, span.end, confidence)
            for word, span, confidence in zip(words, spans, sure, strict=True)
        ]
        return at_pauses(utterance, timed, MISPLACED)
