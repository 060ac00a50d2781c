"""Read codes back: how well they say given words, by a hidden Markov model of phones.

Of several answers to a request whose words are known, the one is kept that reads best. A language
model that finds its place in the text by attention now and then says a phrase twice or leaves one
out, at no cost in its own likelihood; a path that must go through all phones once, in order, does
cost something then. Source: Rabiner, "A Tutorial on Hidden Markov Models", 1989 (discrete
emissions, Viterbi); choosing among samples by a recogniser is common in speech synthesis.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stepedit_core.codes import LINGUISTIC_SIZE, DualCodes
from stepedit_core.errors import CheckpointError
from stepedit_core.models.pronunciations import PHONES, WORD

if TYPE_CHECKING:
    from stepedit_core.models.pronunciations import Pronunciations

__all__ = ["READER", "SILENCE", "PhoneReader", "best_path", "phone_states"]

READER = "reader.npz"
"""Name of the file in a model folder."""
SILENCE = len(PHONES)
"""State between words and at both ends, which may be passed over."""
STAY, NEXT, SKIP = np.log(0.45), np.log(0.45), np.log(0.1)
"""Log probabilities of staying in a phone for another 60 ms, of going on, and of leaving one out:
fast speech has phones that are shorter than a code."""
NEVER = -1e9
_TAG = re.compile(r"\[[^\[\]]*\]")

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def phone_states(text: str, pronunciations: Pronunciations) -> IntArray | None:
    """Return the phones of a text with silences around all words, or None if a word is not known.

    Args:
        text: tags in brackets are left out.
        pronunciations: dictionary.
    """
    words = _TAG.sub(" ", text)
    if any(character.isalnum() for character in WORD.sub("", words)):
        return None  # digits, or words of another script
    states = [SILENCE]
    for match in WORD.finditer(words):
        phones = pronunciations.phones(match[0])
        if phones is None:
            return None
        states += [*(PHONES.index(phone) for phone in phones), SILENCE]
    return np.array(states) if len(states) > 1 else None


def best_path(scores: FloatArray, states: IntArray) -> tuple[float, IntArray]:
    """Return the log probability of the likeliest path, and the place in ``states`` per code.

    A path begins and ends at the first or last state or the one beside it, and never goes back.

    Args:
        scores: log probability of each code in each state, ``(codes, states)``.
        states: of the text, as `phone_states` gives them.
    """
    count, size = scores.shape
    leap = np.full(size, NEVER)
    leap[2:] = np.where(states[1:-1] == SILENCE, NEXT, SKIP)
    reached = np.full(size, NEVER)
    reached[:2] = scores[0, :2]
    steps = np.zeros((count, size), dtype=np.int64)
    ways = np.full((3, size), NEVER)
    for place in range(1, count):
        ways[0] = reached + STAY
        ways[1, 1:] = reached[:-1] + NEXT
        ways[2, 2:] = reached[:-2] + leap[2:]
        steps[place] = ways.argmax(0)
        reached = ways.max(0) + scores[place]
    last = size - 1 if reached[-1] >= reached[-2] else size - 2
    path = np.empty(count, dtype=np.int64)
    path[-1] = last
    for place in range(count - 1, 0, -1):
        path[place - 1] = path[place] - steps[place, path[place]]
    return float(reached[last]), path


class PhoneReader:
    """What linguistic codes sound like: the probability of each code in each phone.

    Args:
        emissions: log probabilities, ``(phones + 1, 1024)``, silence last.
        pronunciations: dictionary of the model.

    Raises:
        CheckpointError: if the emissions are of another shape or not finite.
    """

    def __init__(self, emissions: FloatArray, pronunciations: Pronunciations) -> None:
        if emissions.shape != (SILENCE + 1, LINGUISTIC_SIZE) or not np.isfinite(emissions).all():
            raise CheckpointError(
                f"{READER}: emissions must be finite and of shape "
                f"({SILENCE + 1}, {LINGUISTIC_SIZE}), not {emissions.shape}"
            )
        self.emissions, self.pronunciations = emissions, pronunciations

    @classmethod
    def load(cls, folder: Path, pronunciations: Pronunciations | None) -> PhoneReader | None:
        """Return the reader of a model folder; None if it has none, or no dictionary.

        Raises:
            CheckpointError: if the file is damaged.
        """
        path = folder / READER
        if pronunciations is None or not path.is_file():
            return None
        try:
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                emissions = file["emissions"].astype(np.float64)
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise CheckpointError(f"{path}: no phone reader ({error})") from error
        return cls(emissions, pronunciations)

    def reads(self, text: str) -> bool:
        """Return whether a text can be read at all: English words of the dictionary."""
        return phone_states(text, self.pronunciations) is not None

    def score(self, codes: DualCodes, text: str) -> float | None:
        """Return how well codes say a text, 0 at best; None where the text cannot be read.

        The log probability of the best path through the text's phones, less that of the
        likeliest phone of each code, for each phone of the text.

        Args:
            codes: at least one code.
            text: the words.
        """
        states = phone_states(text, self.pronunciations)
        if states is None or not len(codes.linguistic):
            return None
        heard = self.emissions[:, codes.linguistic]
        told, _ = best_path(heard[states].T, states)
        return (told - float(heard.max(0).sum())) / int((states != SILENCE).sum())
