"""References that the decoder made itself, as those of edits of its own output are.

An edit of an edited recording takes its voice from what the decoder made before. A decoder that
saw recordings alone makes what it left out a little larger each time.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from stepedit_core.models.decoder.reference.model import FACTOR, MelBatch, ReferencedMelDecoder
from stepedit_train.mel.batches import MelTrainBatch

__all__ = ["with_echoes"]


@torch.no_grad()
def _made_again(model: ReferencedMelDecoder, batch: MelTrainBatch, chosen: Tensor) -> Tensor:
    """Return the mels of some references, decoded from their own codes in their own voice."""
    rows, lengths = batch.prompt_rows[chosen], batch.prompt_lengths[chosen]
    mel, places = batch.prompt_mel[chosen], torch.arange(rows.shape[1], device=rows.device)
    told = places.to(mel.dtype).expand(len(rows), -1)
    own = MelBatch(
        rows,
        lengths,
        rows,
        lengths,
        mel,
        batch.speaker[chosen],
        told,
        torch.zeros_like(rows[..., 0]),
    )
    inside = torch.arange(mel.shape[1], device=mel.device) < FACTOR * lengths[:, None]
    return torch.where(inside[..., None], model(own).to(mel.dtype), mel)


def with_echoes(
    model: ReferencedMelDecoder, batch: MelTrainBatch, share: float, rng: np.random.Generator
) -> MelTrainBatch:
    """Return a batch in which a share of the references is the decoder's own making.

    Args:
        model: makes them, without a gradient.
        batch: of recordings.
        share: of the references.
        rng: chooses them.
    """
    drawn = np.flatnonzero(rng.random(len(batch.rows)) < share)
    if not len(drawn):
        return batch
    chosen = torch.from_numpy(drawn).to(batch.prompt_mel.device)
    mels = batch.prompt_mel.clone()
    mels[chosen] = _made_again(model, batch, chosen)
    return replace(batch, prompt_mel=mels)
