"""Forced alignment of the words of a recording by PocketSphinx, and grammars; English only.

Words that the aligner's dictionary lacks (a number in digits, a name, a slip of the pen, an
accent) are aligned too: spelled out, without their accents, or by a guess from their letters.
A grammar tells how likely one of several ways of saying something is.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from stepedit_core.dsp.letter_to_sound import (
    MOST_DIGITS,
    guessed_phones,
    spelled_out,
    without_accents,
)
from stepedit_core.dsp.offset import without_offset
from stepedit_core.dsp.words import Word, normalised
from stepedit_core.errors import AlignmentError, MissingDependencyError, counted
from stepedit_core.utterance import Span, Utterance

__all__ = [
    "LEAST_KNOWN",
    "Phones",
    "align_words",
    "grammar_scores",
    "guessed_words",
    "pronunciations",
]

Phones = tuple[str, ...]
"""Phones of the CMU dictionary, in order."""

LEAST_KNOWN = 0.5
"""Least share of words that the dictionary must have; below it the language is another one."""

_RATE, _FRAMES_PER_SECOND = 16_000, 100
_MOST_WORDS_PER_SECOND = 20
_MOST_WAYS = 4
"""Most ways of saying a word that are looked up."""
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
    pcm = _pcm(utterance)
    with _LOCK:
        decoder = _decoder()
        entries = [_entries(decoder, word) for word in words]
        unknown = [word.text for word, given in zip(words, entries, strict=True) if given is None]
        if len(unknown) > (1 - LEAST_KNOWN) * len(words):
            raise AlignmentError(
                f"pocketsphinx knows {len(words) - len(unknown)} of "
                f"{counted(len(words), 'word')}, not "
                f"{unknown[0][:40]!r}"
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


def pronunciations(word: Word) -> list[Phones]:
    """Return the ways in which a word is said: the dictionary's, or a guess from its letters.

    Raises:
        MissingDependencyError: if pocketsphinx is not installed.
    """
    with _LOCK:
        decoder = _decoder()
        entries = _entries(decoder, word)
        if entries is None:
            return [tuple(guessed_phones(word.text, syllables=round(6 * word.seconds)))]
        if len(entries) > 1:
            return [tuple(phone for part in entries for phone in _phones(decoder, part))]
        (entry,) = entries
        names = [entry, *(f"{entry}({n})" for n in range(2, _MOST_WAYS + 1))]
        return [found for found in (_phones(decoder, name) for name in names) if found]


def grammar_scores(
    versions: Sequence[Utterance], grammars: Sequence[Sequence[Sequence[Phones]]]
) -> list[list[float]]:
    """Return how likely each version of a stretch is by each grammar, as PocketSphinx counts it.

    Only differences between the grammars of one version mean anything.

    Args:
        versions: any rate.
        grammars: each a sequence of words, a word being the ways in which it may be said.

    Returns:
        For each version a log-likelihood for each grammar; -inf where there is no way through it.

    Raises:
        AlignmentError: if pocketsphinx cannot listen for a grammar.
        MissingDependencyError: if pocketsphinx is not installed.
    """
    sounds = [_pcm(version) for version in versions]
    with _LOCK:
        decoder = _decoder()
        names = [f"grammar{n}" for n in range(len(grammars))]
        try:
            for name, words in zip(names, grammars, strict=True):
                rule = " ".join(
                    f"({' | '.join(_named(decoder, way) for way in ways)})" for ways in words
                )
                decoder.add_jsgf_string(
                    name, f"#JSGF V1.0; grammar {name}; public <said> = {rule};"
                )
            return [[_score(decoder, name, pcm) for name in names] for pcm in sounds]
        except RuntimeError as error:
            raise AlignmentError(f"pocketsphinx failed: {error}") from error


def _score(decoder: Any, name: str, pcm: bytes) -> float:
    """Return the log-likelihood of 16-bit samples by a grammar that was added."""
    decoder.reinit_feat()
    decoder.activate_search(name)
    decoder.start_utt()
    try:
        decoder.process_raw(pcm, full_utt=True)
    finally:
        decoder.end_utt()
    found = decoder.hyp()
    return -np.inf if found is None else float(decoder.get_logmath().log(found.best_score))


def _phones(decoder: Any, entry: str) -> Phones:
    """Return the phones of an entry of the dictionary; none where there is none."""
    return tuple((decoder.lookup_word(entry) or "").split())


def _named(decoder: Any, phones: Phones) -> str:
    """Return the name of an entry of the dictionary that is said as given."""
    name = "~" + "-".join(phones).lower()
    if decoder.lookup_word(name) is None:
        decoder.add_word(name, " ".join(phones), True)
    return name


def _pcm(utterance: Utterance) -> bytes:
    """Return 16-bit samples at the rate of the model."""
    heard = without_offset(utterance).resample(_RATE).samples
    return (np.clip(heard, -1, 1) * 32_767).astype("<i2").tobytes()


def _entries(decoder: Any, word: Word) -> list[str] | None:
    """Return the dictionary's entries for a word, or None where it has none."""
    spoken = normalised(word.text)
    for form in (spoken, without_accents(spoken)):
        if decoder.lookup_word(form) is not None:
            return [form]
    return spelled_out(spoken) if spoken.isdecimal() and len(spoken) <= MOST_DIGITS else None


def _guess(decoder: Any, word: Word) -> str:
    """Return the name of a dictionary entry that sounds as a word's letters suggest."""
    return _named(decoder, tuple(guessed_phones(word.text, syllables=round(6 * word.seconds))))


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
