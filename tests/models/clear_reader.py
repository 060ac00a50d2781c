"""A fake phone network that hears code n as phone n, and its words, for tests of what reads."""

from __future__ import annotations

import gzip
from pathlib import Path

import torch
from torch import Tensor

from stepedit_core.codes import DualCodes
from stepedit_core.models.reader import BLANK, FRAMES_PER_GROUP, PhoneNetwork
from stepedit_core.models.text.pronunciations import PHONES, Pronunciations


class ClearNetwork(PhoneNetwork):
    """Hears linguistic code ``n`` as phone ``n``, and any above as no phone."""

    def __init__(self, sure: float = 10.0) -> None:
        super().__init__(4, 1)
        self.sure = sure

    def forward(self, linguistic: Tensor, semantic: Tensor, groups: Tensor) -> Tensor:
        heard = linguistic.clamp(max=BLANK).repeat_interleave(FRAMES_PER_GROUP // 2, dim=1)
        logits = self.sure * torch.nn.functional.one_hot(heard, BLANK + 1).float()
        return logits.log_softmax(-1)


def spoken(text: str, each: int = 2) -> DualCodes:
    """Return codes that say phones, each so many times; ``_`` is silence."""
    linguistic = [
        BLANK if name == "_" else PHONES.index(name) for name in text.split() for _ in range(each)
    ]
    linguistic += [BLANK] * (len(linguistic) % 2)
    return DualCodes(linguistic, [0] * (3 * len(linguistic) // 2))


def write_dictionary(folder: Path, lines: str) -> Pronunciations:
    """Write a pronouncing dictionary under the name that models have it, and return it."""
    path = folder / "pronunciations.txt.gz"
    path.write_bytes(gzip.compress(lines.encode(), mtime=0))
    return Pronunciations(path)
