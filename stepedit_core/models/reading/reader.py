"""How well codes say a text, by a network that hears phones and a pronouncing dictionary."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from stepedit_core.codes import LINGUISTIC_PER_GROUP, SEMANTIC_PER_GROUP, DualCodes
from stepedit_core.errors import CheckpointError
from stepedit_core.models.pronunciations import PHONES, WORD
from stepedit_core.models.reading.network import BLANK, PhoneNetwork
from stepedit_core.models.weights import load_into, read_state_dict

if TYPE_CHECKING:
    from stepedit_core.models.pronunciations import Pronunciations

__all__ = ["READER", "PhoneReader", "phones_of"]

READER = "reader.safetensors"
"""Name of the file in a model folder."""
_TAG = re.compile(r"\[[^\[\]]*\]")


def phones_of(text: str, pronunciations: Pronunciations) -> list[int] | None:
    """Return the phones of a text as indices of ``PHONES``, or None if a word is not known.

    Args:
        text: tags in brackets are left out.
        pronunciations: dictionary.
    """
    words = _TAG.sub(" ", text)
    if any(character.isalnum() for character in WORD.sub("", words)):
        return None  # digits, or words of another script
    spelled: list[int] = []
    for match in WORD.finditer(words):
        phones = pronunciations.phones(match[0])
        if phones is None:
            return None
        spelled += [PHONES.index(phone) for phone in phones]
    return spelled or None


class PhoneReader:
    """Reads codes as phones.

    Args:
        network: hears phones in codes.
        pronunciations: dictionary of the model.
    """

    def __init__(self, network: PhoneNetwork, pronunciations: Pronunciations) -> None:
        self.network, self.pronunciations = network.eval(), pronunciations

    @classmethod
    def load(cls, folder: Path, pronunciations: Pronunciations | None) -> PhoneReader | None:
        """Return the reader of a model folder; None if it has none, or no dictionary.

        Raises:
            CheckpointError: if the file is damaged or holds something else.
        """
        path = folder / READER
        if pronunciations is None or not path.is_file():
            return None
        weights = {name: tensor.float() for name, tensor in read_state_dict(path).items()}
        try:
            network = PhoneNetwork.shaped_as(weights)
        except (KeyError, IndexError, ValueError) as error:
            raise CheckpointError(f"{path}: holds no phone reader (lacks {error})") from error
        load_into(network, weights, file=path)
        return cls(network, pronunciations)

    def reads(self, text: str) -> bool:
        """Return whether a text can be read at all: English words of the dictionary."""
        return phones_of(text, self.pronunciations) is not None

    @torch.inference_mode()
    def hear(self, codes: Sequence[DualCodes]) -> Tensor:
        """Return log probabilities of phones and blank, float32 ``(n, 6 * most groups, 40)``."""
        groups = [one.groups for one in codes]
        linguistic = _padded([one.linguistic for one in codes], groups, LINGUISTIC_PER_GROUP)
        semantic = _padded([one.semantic for one in codes], groups, SEMANTIC_PER_GROUP)
        heard: Tensor = self.network(linguistic, semantic, torch.tensor(groups))
        return heard

    @torch.inference_mode()
    def score(self, codes: DualCodes, text: str) -> float | None:
        """Return how well codes say a text, 0 at best; None where the text cannot be read.

        The log probability of the text's phones, once each and in order, for each of them
        (Graves et al. 2006, eq. 8); minus infinity where there is no room for them.

        Args:
            codes: of any length.
            text: the words.
        """
        phones = phones_of(text, self.pronunciations)
        if phones is None or not codes.groups:
            return None
        heard = self.hear([codes])[0]
        loss = F.ctc_loss(
            heard[:, None],
            torch.tensor([phones]),
            torch.tensor([len(heard)]),
            torch.tensor([len(phones)]),
            blank=BLANK,
            reduction="sum",
        )
        return -float(loss) / len(phones)


def _padded(streams: Sequence[npt.NDArray[np.int64]], groups: Sequence[int], per: int) -> Tensor:
    """Return the whole groups of streams of codes as int64 ``(n, per * most groups)``."""
    rows = torch.zeros(len(streams), per * max(groups), dtype=torch.int64)
    for row, stream, count in zip(rows, streams, groups, strict=True):
        row[: per * count] = torch.from_numpy(stream[: per * count].astype(np.int64))
    return rows
