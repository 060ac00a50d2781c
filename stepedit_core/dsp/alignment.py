"""Forced alignment of the words of a recording by PocketSphinx; English only.

Words that the aligner's dictionary lacks (a number in digits, a name, a slip of the pen, an
accent) are aligned too: spelled out, without their accents, or by a guess from their letters.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from stepedit_core.dsp.letter_to_sound import guessed_phones, spelled_out, without_accents
from stepedit_core.dsp.offset import without_offset
from stepedit_core.dsp.words import Word, normalised
from stepedit_core.errors import AlignmentError, MissingDependencyError
from stepedit_core.utterance import Span, Utterance

__all__ = ["LEAST_KNOWN", "align_words", "guessed_words"]

LEAST_KNOWN = 0.5
"""Least share of words that the dictionary must have; below it the language is another one."""

_RATE, _FRAMES_PER_SECOND = 16_000, 100
_MOST_DIGITS = 40
_MOST_WORDS_PER_SECOND = 20
_LOCK = threading.Lock()
"""One decoder serves all threads, and two at a time would crash it."""


def align_words(utterance: Utterance, words: Sequence[Word]) -> list[Span]:
    """Return when each word is spoken, in order, in seconds.

    The language is the caller's to check. Source: pocketsphinx (Huggins-Daines et al. 2006,
    ICASSP) with the US English model that comes with it.

    Args:
        utterance: any rate; it is resampled here.
        words: what is said, all of it.

    Raises:
        AlignmentError: if there are no words, the aligner knows less than `LEAST_KNOWN` of them,
            or it finds no way to lay them along the recording.
        MissingDependencyError: if pocketsphinx is not installed.
    """
    if not words:
        raise AlignmentError("there are no words to align")
    if len(words) > _MOST_WORDS_PER_SECOND * utterance.seconds + 20:
        raise AlignmentError(f"{len(words)} words are not said in {utterance.seconds:.1f} s")
    heard = without_offset(utterance).resample(_RATE).samples
    pcm = (np.clip(heard, -1, 1) * 32_767).astype("<i2").tobytes()
    with _LOCK:
        decoder = _decoder()
        entries = [_entries(decoder, word) for word in words]
        unknown = [word.text for word, given in zip(words, entries, strict=True) if given is None]
        if len(unknown) > (1 - LEAST_KNOWN) * len(words):
            raise AlignmentError(
                f"pocketsphinx does not know {unknown[0][:40]!r} and "
                f"{len(unknown) - 1} more of {len(words)} words"
            )
        said = [
            given if given is not None else [_guess(decoder, word)]
            for word, given in zip(words, entries, strict=True)
        ]
        parts = _aligned(decoder, [part for given in said for part in given], pcm)
    found, at = [], 0
    for given in said:
        found.append(Span(parts[at].start, parts[at + len(given) - 1].end))
        at += len(given)
    return found


def guessed_words(words: Sequence[Word]) -> list[str]:
    """Return the words whose sound `align_words` guesses from their letters.

    Raises:
        MissingDependencyError: if pocketsphinx is not installed.
    """
    with _LOCK:
        decoder = _decoder()
        return [word.text for word in words if _entries(decoder, word) is None]


def _entries(decoder: Any, word: Word) -> list[str] | None:
    """Return the dictionary's entries for a word, or None where it has none."""
    spoken = normalised(word.text)
    for form in (spoken, without_accents(spoken)):
        if decoder.lookup_word(form) is not None:
            return [form]
    return spelled_out(spoken) if spoken.isdecimal() and len(spoken) <= _MOST_DIGITS else None


def _guess(decoder: Any, word: Word) -> str:
    """Return the name of a dictionary entry that sounds as a word's letters suggest."""
    phones = guessed_phones(word.text, syllables=round(6 * word.seconds))
    name = "~" + "-".join(phones).lower()
    if decoder.lookup_word(name) is None:
        decoder.add_word(name, " ".join(phones), True)
    return name


def _aligned(decoder: Any, spoken: list[str], pcm: bytes) -> list[Span]:
    """Lay entries of the dictionary along 16-bit samples; raises as ``align_words`` does."""
    # Its noise estimate would let one recording change the times of the next.
    decoder.reinit_feat()
    try:
        decoder.set_align_text(" ".join(spoken))
        decoder.start_utt()
        try:
            decoder.process_raw(pcm, full_utt=True)
        finally:
            decoder.end_utt()
        found = [part for part in decoder.seg() or () if not part.word.startswith(("<", "["))]
    except RuntimeError as error:
        raise AlignmentError(f"pocketsphinx failed: {error}") from error
    if len(found) != len(spoken):
        raise AlignmentError("pocketsphinx could not align the words with the audio")
    return [
        Span(part.start_frame / _FRAMES_PER_SECOND, (part.end_frame + 1) / _FRAMES_PER_SECOND)
        for part in found
    ]


@cache
def _decoder() -> Any:
    """Load the English model that comes with pocketsphinx, once."""
    try:
        import pocketsphinx
    except ImportError as error:
        raise MissingDependencyError(
            "aligning words needs pocketsphinx: pip install 'stepedit[align]'"
        ) from error
    # Batch normalisation: the live kind would carry over from one recording to the next.
    return pocketsphinx.Decoder(samprate=_RATE, lm=None, cmn="batch", loglevel="FATAL")
