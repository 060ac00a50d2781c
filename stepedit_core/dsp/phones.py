"""Phones that are heard, by the CTC phone recogniser of the package hama (Apache-2.0).

It was trained on English and Korean; its weights and its grapheme-to-phoneme model lie in the
package, so that names and typing errors have phones, too. Sources: connectionist temporal
classification (Graves et al. 2006, ICML); forced alignment on it (Kuerzinger et al. 2020,
CTC-Segmentation).
"""

from __future__ import annotations

import platform
import unicodedata
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt

from stepedit_core.dsp.letter_to_sound import MOST_DIGITS, spelled_out
from stepedit_core.dsp.words import normalised, split_words
from stepedit_core.errors import MissingDependencyError
from stepedit_core.utterance import Utterance

__all__ = [
    "PHONE_SECONDS",
    "borders_as_blanks",
    "log_likelihoods",
    "missing_phones",
    "phone_likelihood",
    "phone_posteriors",
    "phone_scores",
    "phone_signs",
    "spelled_phones",
    "text_phones",
    "timed_phones",
    "viterbi",
]

PHONE_RATE, PHONE_SECONDS = 16_000, 0.02
"""Sample rate that the recogniser reads, in Hz, and seconds of its frames."""
_BORDER = "<wb>"
_NEVER = -1e9

FloatArray = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@cache
def missing_phones() -> str | None:
    """Say why no phones are heard on this machine, or return None."""
    if find_spec("hama") is None:
        return "hama is not installed: pip install hama"
    from hama._engine import available

    # Its wheel is of every platform, and brings libraries for Linux and macOS alone.
    system = f"{platform.system()} on {platform.machine()}"
    return None if available() else f"hama has no library for {system}"


def phone_signs() -> tuple[list[str], int]:
    """Return the signs in the order of the posteriors, and which of them is the blank.

    Raises:
        MissingDependencyError: if hama is not installed.
    """
    model = _model()
    return [str(sign) for sign in model.decoder_tokens], int(model.blank_id)


def phone_posteriors(utterance: Utterance) -> FloatArray:
    """Return log posteriors of the signs, float32 ``(frames of 20 ms, signs)``.

    Args:
        utterance: any rate.

    Raises:
        MissingDependencyError: if hama is not installed.
    """
    model = _model()
    samples = np.clip(utterance.resample(PHONE_RATE).samples, -1, 1).reshape(1, -1)
    feeds = {
        "waveform": np.ascontiguousarray(samples, dtype=np.float32),
        "waveform_lengths": np.array([samples.shape[1]], dtype=np.int64),
    }
    scores, lengths = model.session.run(["log_probs", "out_lengths"], feeds)
    rows = np.asarray(scores[0][: int(np.ravel(lengths)[0])], dtype=np.float32)
    return rows - np.logaddexp.reduce(rows, axis=1, keepdims=True)


def phone_scores(utterance: Utterance) -> tuple[Floats, list[str]]:
    """Return log posteriors ``(frames of 20 ms, signs)``, and the signs; the last is the blank.

    The border of two words, which is no sound, counts as a blank.

    Args:
        utterance: any rate.

    Raises:
        MissingDependencyError: if hama is not installed.
    """
    return borders_as_blanks(phone_posteriors(utterance))


def borders_as_blanks(posteriors: FloatArray) -> tuple[Floats, list[str]]:
    """Return posteriors in the form of `phone_scores`.

    Args:
        posteriors: as `phone_posteriors` returns them.
    """
    rows = posteriors.astype(np.float64)
    signs, blank = phone_signs()
    border = signs.index(_BORDER)
    rows[:, blank] = np.logaddexp(rows[:, blank], rows[:, border])
    order = [n for n in range(len(signs)) if n not in (blank, border)]
    return rows[:, [*order, blank]], [*(signs[n] for n in order), signs[blank]]


def timed_phones(scores: Floats, signs: Sequence[str]) -> list[tuple[str, float]]:
    """Return the phones heard, in order, each with the second at which it is surest.

    CTC marks a phone late: times are good to about 50 ms.

    Args:
        scores: as `phone_scores` returns them.
        signs: of its columns.
    """
    found = []
    best = scores.argmax(axis=1)
    for sign, frames in groupby(range(len(best)), key=lambda frame: int(best[frame])):
        if sign < len(signs) - 1:
            surest = max(frames, key=lambda frame: float(scores[frame, sign]))
            found.append((signs[sign], surest * PHONE_SECONDS))
    return found


@cache
def spelled_phones(word: str) -> tuple[int, ...]:
    """Return the ids of a word's phones; numbers are read in English, other signs have none.

    Args:
        word: as `dsp.words.normalised` returns it.

    Raises:
        MissingDependencyError: if hama is not installed.
    """
    if word.isdecimal() and len(word) <= MOST_DIGITS:
        return tuple(phone for part in spelled_out(word) for phone in spelled_phones(part))
    known = {token: n for n, token in enumerate(_model().decoder_tokens)}
    plain = "".join(
        letter
        for letter in unicodedata.normalize("NFKD", word)
        if letter.isascii() and (letter.isalpha() or letter == "'")
    )
    if not plain:
        return ()
    found = _speller().predict(plain).alignments
    return tuple(known[part.phoneme] for part in found if part.phoneme.strip() in known)


def text_phones(text: str) -> IntArray:
    """Return the ids of the phones of a text's words, int64 ``(phones,)``.

    Args:
        text: English; words without phones are passed over.

    Raises:
        MissingDependencyError: if hama is not installed.
    """
    words = [normalised(word.text) for word in split_words(text)]
    return np.array([one for word in words for one in spelled_phones(word)], dtype=np.int64)


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


def log_likelihoods(scores: Floats, readings: Sequence[Sequence[int]]) -> Floats:
    """Return the log-likelihoods of sequences of phones, each over all CTC paths.

    Args:
        scores: log posteriors ``(frames, signs)``, the last sign is the blank.
        readings: columns of ``scores``, in order.
    """
    blank = scores.shape[1] - 1
    longest = max(len(phones) for phones in readings)
    # Shorter ones end in states that are never read.
    states = np.full((len(readings), 2 * longest + 1), blank)
    skips = np.zeros(states.shape, dtype=bool)
    for n, phones in enumerate(readings):
        states[n, 1 : 2 * len(phones) : 2] = phones
        skips[n, 3 : 2 * len(phones) : 2] = np.asarray(phones[1:]) != np.asarray(phones[:-1])
    padded = np.full((len(readings), states.shape[1] + 2), _NEVER)
    padded[:, 2:4] = scores[0, states[:, :2]]
    for row in scores[1:]:
        skipped = np.where(skips, padded[:, :-2], _NEVER)
        reached = np.logaddexp(np.logaddexp(padded[:, 2:], padded[:, 1:-1]), skipped)
        padded[:, 2:] = reached + row[states]
    ends = np.array([2 * len(phones) for phones in readings])
    at = np.arange(len(readings))
    # Beside the last phone and the blank after it stands the padding where there is no phone.
    return np.asarray(np.logaddexp(padded[at, 2 + ends], padded[at, 1 + ends]))


def phone_likelihood(utterance: Utterance, text: str) -> float | None:
    """Return how likely a text is what is said: log-likelihood over all CTC paths for each phone.

    Args:
        utterance: any rate.
        text: English; words without phones are passed over.

    Returns:
        At most 0; None where no word of the text has phones.

    Raises:
        MissingDependencyError: if hama is not installed.
    """
    names = phone_signs()[0]
    phones = [names[one] for one in text_phones(text).tolist()]
    if not phones:
        return None
    scores, signs = phone_scores(utterance)
    column = {sign: at for at, sign in enumerate(signs)}
    return float(log_likelihoods(scores, [[column[one] for one in phones]])[0]) / len(phones)


@cache
def _model() -> Any:
    """Load the recogniser, once."""
    if missing := missing_phones():
        raise MissingDependencyError(missing)
    import hama

    return hama.ASRModel()


@cache
def _speller() -> Any:
    """Load the grapheme-to-phoneme model, once."""
    import hama

    return hama.G2PModel()
