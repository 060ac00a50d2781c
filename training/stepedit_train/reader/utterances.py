"""Training data of the phone reader: utterances as codes and phones, from the pairs."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stepedit_core.codes import LINGUISTIC_PER_GROUP, SEMANTIC_PER_GROUP
from stepedit_core.models.reader import FRAMES_PER_GROUP, phones_of
from stepedit_core.models.text.pronunciations import Pronunciations
from stepedit_core.storage.pair_rows import finished_shards, read_shard, row_codes

__all__ = [
    "CodedUtterance",
    "fingerprint_of",
    "read_utterances",
]

IntArray = npt.NDArray[np.int64]

_SIDES = ("source", "target")
_COLUMNS = ["split", *(f"{side}_{what}" for side in _SIDES for what in ("text", "codes"))]


@dataclass(frozen=True)
class CodedUtterance:
    """An utterance in whole groups.

    Attributes:
        phones: indices of the phones of its text.
        linguistic: int64 ``(2 * groups,)``.
        semantic: int64 ``(3 * groups,)``.
    """

    phones: IntArray
    linguistic: IntArray
    semantic: IntArray

    @property
    def groups(self) -> int:
        """Groups of 120 ms."""
        return len(self.semantic) // SEMANTIC_PER_GROUP

    @property
    def key(self) -> bytes:
        """Bytes that identify the utterance."""
        return b"|".join(part.tobytes() for part in (self.phones, self.linguistic, self.semantic))


def _coded_utterance(
    row: dict[str, Any], side: str, words: Pronunciations
) -> CodedUtterance | None:
    """Return one side of a pair, or None where its text is unknown or does not fit its codes."""
    phones = phones_of(row[f"{side}_text"] or "", words)
    codes = row_codes(row, side)
    if phones is None or codes is None:
        return None
    groups = codes.groups
    repeats = sum(a == b for a, b in itertools.pairwise(phones))
    if len(phones) + repeats > FRAMES_PER_GROUP * groups:
        return None  # blanks part equal neighbours, so there is no room for these phones
    return CodedUtterance(
        np.array(phones),
        codes.linguistic[: LINGUISTIC_PER_GROUP * groups],
        codes.semantic[: SEMANTIC_PER_GROUP * groups],
    )


def read_utterances(
    folders: Sequence[Path], words: Pronunciations
) -> dict[str, list[CodedUtterance]]:
    """Return the different utterances of the splits ``train`` and ``dev``.

    Args:
        folders: runs of `stepedit pairs` with codes; both sides of each row are read.
        words: dictionary.
    """
    found: dict[str, list[CodedUtterance]] = {"train": [], "dev": []}
    seen: set[bytes] = set()
    for path in (shard for folder in folders for shard in finished_shards(folder)):
        for row in read_shard(path, _COLUMNS):
            split = row["split"] or "train"
            for utterance in (_coded_utterance(row, side, words) for side in _SIDES):
                if utterance is None or split not in found or utterance.key in seen:
                    continue
                seen.add(utterance.key)
                found[split].append(utterance)
    return found


def fingerprint_of(utterances: Sequence[CodedUtterance]) -> str:
    """Return a hash of utterances in their order."""
    digest = hashlib.sha256()
    for one in utterances:
        digest.update(one.key)
    return digest.hexdigest()[:16]
