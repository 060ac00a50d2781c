"""What a referenced decoder is given, and what it keeps of a reference."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import torch
from torch import Tensor

from stepedit_core.llm_route.source_map import SourceMap
from stepedit_core.models.decoder.convnext import masked, time_mask
from stepedit_core.models.decoder.reference.attention import Remembered
from stepedit_core.models.decoder.reference.monotonic_path import PathState

__all__ = ["KnownReference", "MelBatch", "ReferencedStreamCache", "mel_statistics", "padding_mask"]


@dataclass(frozen=True)
class MelBatch:
    """Padded input of one pass.

    Attributes:
        rows: int64 ``(batch, n, 2)``, what is to be spoken.
        lengths: int64 ``(batch,)``, rows of each.
        prompt_rows: int64 ``(batch, p, 2)``, the reference's token rows.
        prompt_lengths: int64 ``(batch,)``.
        prompt_mel: float ``(batch, 2 * p, bins)``, on the tokens' time grid.
        speaker: float ``(batch, speaker_size)``.
        positions: of the rows in the reference, float ``(batch, n)``, NaN where not known.
        labels: of the rows, int64 ``(batch, n)``.
    """

    rows: Tensor
    lengths: Tensor
    prompt_rows: Tensor
    prompt_lengths: Tensor
    prompt_mel: Tensor
    speaker: Tensor
    positions: Tensor | None = None
    labels: Tensor | None = None

    def tensors(self) -> tuple[Tensor | None, ...]:
        """Return all that a pass depends on besides the weights."""
        return tuple(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True)
class KnownReference:
    """What depends on references alone, and so is computed once for a stream.

    Attributes:
        copy: what the attention keeps that finds mel frames.
        early: of the attention before the mel blocks.
        late: of the attention amid them.
        voice: of each utterance, ``(batch, width)``.
        conditions: of each mel block, ``(batch, width)``.
        mask: of the reference's frames, `time_mask`; None where nothing is padded.
    """

    copy: Remembered
    early: Remembered
    late: Remembered
    voice: Tensor
    conditions: tuple[Tensor, ...]
    mask: Tensor | None

    @property
    def mel(self) -> Tensor:
        """The reference's mel, brought to small numbers, ``(batch, r, bins)``."""
        return self.copy.values[:, 0, :-1]


@dataclass
class ReferencedStreamCache:
    """What a stream carries from chunk to chunk: the reference, and rows that convolutions need.

    Attributes:
        reference: looked at once.
        source_map: of all that will be said.
        past: rows that were given already and are needed still, ``(n, 2)``.
        gone: rows before those.
        path: the path of ``past``.
    """

    reference: KnownReference
    source_map: SourceMap | None = None
    past: Tensor = field(default_factory=lambda: torch.zeros(0, 2, dtype=torch.int64))
    gone: int = 0
    path: PathState | None = None


def padding_mask(rows: Tensor, lengths: Tensor) -> Tensor | None:
    """Return `time_mask` of padded rows ``(batch, n, ...)``, or None where nothing is padded."""
    count = rows.shape[1]
    return time_mask(lengths, count) if bool((lengths != count).any()) else None


def mel_statistics(mel: Tensor, mask: Tensor | None) -> Tensor:
    """Return mean and deviation per bin, ``(batch, 2 * bins)``, of ``(batch, frames, bins)``."""
    count = mel.shape[1] if mask is None else mask.sum(1).clamp_min(1.0).to(mel.dtype)
    mean = masked(mel, mask).sum(1) / count
    spread = masked((mel - mean[:, None]) ** 2, mask).sum(1) / count
    return torch.cat([mean, (spread + 1e-4).sqrt()], dim=1)
