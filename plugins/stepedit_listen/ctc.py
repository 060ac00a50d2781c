"""Forced alignment on a CTC phone recogniser: Viterbi over the phones of the transcript.

Phones and their frame posteriors come from the package hama (Apache-2.0; English and Korean,
weights inside); words are spelled by its grapheme-to-phoneme model, so that names and typing
errors have phones, too. Source of the method: Kuerzinger et al. 2020, CTC-Segmentation.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from stepedit_core import Aligner, AlignmentError, StepeditError, TimedWord, Utterance
from stepedit_core.dsp.words import Word, normalised

__all__ = ["CtcAligner", "absent", "viterbi"]

RATE, FRAME = 16_000, 0.02
_CURE = "hama is not installed: pip install 'stepedit[listen]'"
_NEVER = -1e9

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


def absent() -> str | None:
    """Say what has to be installed, or return None."""
    return None if find_spec("hama") else _CURE


@cache
def _phone_model() -> Any:
    import hama

    return hama.ASRModel()


@cache
def _speller() -> Any:
    import hama

    return hama.G2PModel()


@cache
def _phones(word: str) -> tuple[int, ...]:
    """Return the ids of a word's phones; a word of digits or other signs may have none."""
    known = {token: n for n, token in enumerate(_phone_model().decoder_tokens)}
    plain = "".join(
        letter
        for letter in unicodedata.normalize("NFKD", word)
        if letter.isascii() and (letter.isalpha() or letter == "'")
    )
    if not plain:
        return ()
    found = _speller().predict(plain).alignments
    return tuple(known[part.phoneme] for part in found if part.phoneme.strip() in known)


def _posteriors(utterance: Utterance) -> FloatArray:
    """Return log posteriors of phones, float32 ``(frames of 20 ms, phones)``."""
    model = _phone_model()
    samples = np.clip(utterance.resample(RATE).samples, -1, 1).reshape(1, -1)
    feeds = {
        "waveform": np.ascontiguousarray(samples, dtype=np.float32),
        "waveform_lengths": np.array([samples.shape[1]], dtype=np.int64),
    }
    scores, lengths = model.session.run(["log_probs", "out_lengths"], feeds)
    rows = np.asarray(scores[0][: int(np.ravel(lengths)[0])], dtype=np.float32)
    return rows - np.logaddexp.reduce(rows, axis=1, keepdims=True)


class CtcAligner(Aligner):
    """CTC Viterbi over hama's phones: 20 ms frames, knows every word that has letters."""

    name: ClassVar[str] = "ctc"
    languages: ClassVar[frozenset[str] | None] = frozenset({"en"})
    rank: ClassVar[int] = 20

    def __init__(self, model: str | None = None, *, threads: int = 1) -> None:
        """Load the packaged models."""
        if absent():
            raise StepeditError(f"aligner ctc: {_CURE}")

    @classmethod
    def missing(cls) -> str | None:
        """Say what has to be installed."""
        return absent()

    def align(self, utterance: Utterance, words: Sequence[Word]) -> list[TimedWord]:
        """Return one timed word for each word; those without letters have confidence 0."""
        from stepedit_listen.matching import spread_between
        from stepedit_listen.refining import MISPLACED, at_pauses

        spelled = [_phones(normalised(word.text)) for word in words]
        phones = np.array([p for one in spelled for p in one], dtype=np.int64)
        scores = _posteriors(utterance)
        if len(phones) == 0:
            raise AlignmentError("no word of the transcript can be spelled in phones")
        if len(scores) < len(phones):
            raise AlignmentError(
                f"the recording is too short for its {len(words)} words: "
                f"{len(scores) * FRAME:.2f} s"
            )
        spikes, sure = viterbi(scores, phones, _phone_model().blank_id)
        placed: list[TimedWord | None] = []
        at = 0
        for word, own in zip(words, spelled, strict=True):
            if not own:
                placed.append(None)
                continue
            first, last = spikes[at], spikes[at + len(own) - 1]
            confidence = float(np.exp(np.mean(sure[at : at + len(own)])))
            # CTC marks a phone by a spike late in it; the margins are medians against PocketSphinx.
            start = max(0.0, float(first) * FRAME - 0.07)
            end = min(utterance.seconds, float(last) * FRAME + 0.03)
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


def viterbi(scores: FloatArray, phones: IntArray, blank: int) -> tuple[IntArray, FloatArray]:
    """Return the likeliest frame of each phone along a CTC path, and its log posterior.

    Args:
        scores: log posteriors ``(frames, phones)``.
        phones: ids in order, at most as many as frames.
        blank: id of the blank.

    Returns:
        int64 ``(phones,)`` frames where each phone's posterior is largest on the path, and
        float32 ``(phones,)`` log posteriors there.
    """
    frames, count = len(scores), len(phones)
    states = np.full(2 * count + 1, blank, dtype=np.int64)
    states[1::2] = phones
    emit = scores[:, states]
    skip = np.zeros(len(states), dtype=bool)
    skip[3::2] = phones[1:] != phones[:-1]
    best = np.full(len(states), _NEVER, dtype=np.float64)
    best[:2] = emit[0, :2]
    back = np.zeros((frames, len(states)), dtype=np.int8)
    for t in range(1, frames):
        one = np.r_[_NEVER, best[:-1]]
        two = np.where(skip, np.r_[_NEVER, _NEVER, best[:-2]], _NEVER)
        choices = np.stack([best, one, two])
        back[t] = np.argmax(choices, axis=0)
        best = choices.max(axis=0) + emit[t]
    state = len(states) - (1 if best[-1] >= best[-2] else 2)
    path = np.empty(frames, dtype=np.int64)
    for t in range(frames - 1, -1, -1):
        path[t] = state
        state -= int(back[t, state])
    spikes = np.zeros(count, dtype=np.int64)
    sure = np.full(count, _NEVER, dtype=np.float32)
    for frame in np.flatnonzero(path % 2):
        n = path[frame] // 2
        if emit[frame, path[frame]] > sure[n]:
            spikes[n], sure[n] = frame, emit[frame, path[frame]]
    return spikes, sure
