"""How well codes say a text, by a network that hears phones and a pronouncing dictionary."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from stepedit_core.codes import LINGUISTIC_PER_GROUP, SEMANTIC_PER_GROUP, DualCodes
from stepedit_core.dsp.words import without_tags
from stepedit_core.errors import CheckpointError
from stepedit_core.models.checkpoint.weights import load_into, read_state_dict
from stepedit_core.models.reader.bound import prefix_log_probability
from stepedit_core.models.reader.network import (
    BLANK,
    FRAMES_PER_GROUP,
    PhoneNetwork,
    phones_loss,
)
from stepedit_core.models.text.numerals import spell_numerals
from stepedit_core.models.text.pronunciations import PHONES, WORD

if TYPE_CHECKING:
    from stepedit_core.models.text.pronunciations import Pronunciations

__all__ = ["READER", "PhoneReader", "phones_of"]

READER = "reader.safetensors"
"""Name of the file in a model folder."""
ANYTHING = BLANK + 1
"""Class of whatever a frame sounds like most, for words that nobody can spell."""
_RUN = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_LATIN = re.compile(r"[A-Za-z]")
_FEWEST = 5
"""Phones for each unknown word below which too little of a text is known."""


def phones_of(
    text: str, pronunciations: Pronunciations, unknown: int | None = None
) -> list[int] | None:
    """Return the phones of a text as indices of ``PHONES``, or None if a word is not known.

    Args:
        text: tags in brackets are left out, numerals read in English.
        pronunciations: dictionary.
        unknown: what to write for a word in Latin letters that it lacks; None: give up.
    """
    spelled: list[int] = []
    for match in _RUN.finditer(spell_numerals(without_tags(text))):
        phones = pronunciations.phones(match[0]) if WORD.fullmatch(match[0]) else None
        if phones is not None:
            spelled += [PHONES.index(phone) for phone in phones]
        elif unknown is not None and _LATIN.search(match[0]):
            spelled.append(unknown)
        else:
            return None
    return spelled or None


class PhoneReader:
    """Reads codes as phones.

    Args:
        network: hears phones in codes.
        pronunciations: dictionary of the model.
    """

    def __init__(self, network: PhoneNetwork, pronunciations: Pronunciations) -> None:
        self.network, self.pronunciations = network.eval(), pronunciations
        # Many answers are read against one text.
        self._spelled = lru_cache(maxsize=64)(self._spell)

    @classmethod
    def load(cls, folder: Path, pronunciations: Pronunciations | None) -> PhoneReader | None:
        """Return the reader of a model folder; None if it has none, or no dictionary.

        Raises:
            CheckpointError: if the file is damaged or holds something else.
        """
        path = folder / READER
        if pronunciations is None or not path.is_file():
            return None
        weights = read_state_dict(path)
        try:
            network = PhoneNetwork.shaped_as(weights)
        except (KeyError, IndexError, ValueError) as error:
            raise CheckpointError(f"{path}: holds no phone reader (lacks {error})") from error
        load_into(network, weights, file=path)
        return cls(network, pronunciations)

    def reads(self, text: str) -> bool:
        """Return whether a text can be read at all: words that the dictionary has, most of it."""
        return self._phones(text) is not None

    def count(self, text: str) -> int:
        """Return how many phones a text has; 0 where it cannot be read."""
        return len(self._phones(text) or ())

    def _phones(self, text: str) -> list[int] | None:
        """Return what is to be heard, or None where too little of it is known."""
        return self._spelled(text)

    def _spell(self, text: str) -> list[int] | None:
        phones = phones_of(text, self.pronunciations, ANYTHING)
        is_known = phones is not None and phones.count(ANYTHING) <= len(phones) / _FEWEST
        return phones if is_known else None

    @torch.inference_mode()
    def hear(self, answers: Sequence[DualCodes]) -> Tensor:
        """Return log probabilities of phones and blank, float32 ``(answers, 6 * groups, 40)``.

        Args:
            answers: codes of equal length.
        """
        groups = answers[0].groups
        linguistic, semantic = (
            torch.from_numpy(
                np.stack([stream[: per * groups] for stream in streams], dtype=np.int64)
            )
            for streams, per in (
                ([one.linguistic for one in answers], LINGUISTIC_PER_GROUP),
                ([one.semantic for one in answers], SEMANTIC_PER_GROUP),
            )
        )
        heard: Tensor = self.network(linguistic, semantic, torch.full((len(answers),), groups))
        return heard

    def score(self, codes: DualCodes, text: str) -> float | None:
        """Return how well codes say a text, as `scores` does of several."""
        return self.scores([codes], text)[0]

    @torch.inference_mode()
    def scores(self, answers: Sequence[DualCodes], text: str) -> list[float | None]:
        """Return how well each of several codes says a text, 0 at best.

        The log probability of the text's phones, once each and in order, for each of them
        (`phones_loss`); minus infinity where there is no room for them. For a word that the
        dictionary lacks, frames count as what is heard there most clearly, whatever that is:
        the wildcard of Cai et al. 2022, "W-CTC", with that class in place of all of them together.

        Args:
            answers: of any lengths; those of equal ones are read together.
            text: the words.

        Returns:
            None for what cannot be read: a text of other words, or no codes.
        """
        phones = self._phones(text)
        found: list[float | None] = [None] * len(answers)
        if phones is None:
            return found
        lengths: dict[int, list[int]] = {}
        for place, codes in enumerate(answers):
            lengths.setdefault(codes.groups, []).append(place)
        wanted, count = torch.tensor(phones), torch.tensor([len(phones)])
        for length, places in lengths.items():
            if not length:
                continue
            heard = self.hear([answers[place] for place in places])
            heard = torch.cat([heard, heard.amax(-1, keepdim=True)], dim=-1)
            for place, own in zip(places, torch.split(heard, 1), strict=True):
                loss = phones_loss(own, torch.tensor([length]), wanted, count)
                found[place] = -float(loss) / len(phones)
        return found

    @torch.inference_mode()
    def best_score(self, codes: DualCodes, text: str) -> float:
        """Return what `score` cannot exceed, however an answer that begins with codes goes on.

        Infinite where nothing can be told: too few codes, or words that the dictionary lacks.

        Args:
            codes: what has been said so far.
            text: the words of the whole answer.
        """
        phones = self._phones(text)
        frames = FRAMES_PER_GROUP * codes.groups - self.network.reach
        if phones is None or ANYTHING in phones or frames < 1:
            return math.inf
        heard = self.hear([codes])[0, :frames].double().numpy()
        return prefix_log_probability(heard, phones) / len(phones)
