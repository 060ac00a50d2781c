"""PocketSphinx (Huggins-Daines et al. 2006) as a recogniser: HMMs and a trigram, no network.

It is far behind Whisper in accuracy, and is here for that reason: it shares neither data nor
method with neural recognisers, so that speech which only a neural decoder can guess counts as
damaged. Read its word error as a difference to that of the recording before the edit.
"""

from __future__ import annotations

import importlib.metadata

import numpy as np

from stepedit_bench.measuring.extras import need
from stepedit_bench.measuring.recogniser import RATE, Recogniser
from stepedit_core.utterance import Utterance

__all__ = ["PocketSphinx"]


class PocketSphinx(Recogniser):
    """US English model and trigram of pip ``pocketsphinx``; the decoder is kept."""

    languages = frozenset({"en"})

    def __init__(self) -> None:
        """Load acoustic model, dictionary and trigram, once."""
        library = need("pocketsphinx", "pocketsphinx", "the second speech recogniser")
        super().__init__(f"pocketsphinx {importlib.metadata.version('pocketsphinx')}, en-us")
        self._decoder = library.Decoder(samprate=RATE, cmn="batch", loglevel="FATAL")

    def transcribe(self, utterance: Utterance) -> str:
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
        return "" if found is None else str(found.hypstr)
