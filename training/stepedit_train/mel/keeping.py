"""Targets that the decoder made itself before, so that it forgets nothing while it learns.

Whoever adds an edit to a decoder has no recordings of the edits that it was taught before. What it
made then of any recording, told any of its labels, is what it should make now: learning without
forgetting (Li & Hoiem 2016), with whole outputs in place of class probabilities.
"""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import torch
from torch import Tensor

from stepedit_core.models.decoder.reference.conditioning import NEPER_DB
from stepedit_core.models.decoder.reference.model import FACTOR, MelBatch, ReferencedMelDecoder
from stepedit_train.mel.batches import MelTrainBatch

__all__ = ["with_kept"]

LABELLED = 0.6
"""Part of the items that are told a label; the others are told none."""
SPANS = 0.3
"""Part of the labelled items of which a stretch alone has the label, and no place: as sounds that
are put in have."""
NOISY = 0.35
"""Part of the references that get noise: a decoder of clean ones would forget to take it away."""
NOISE_DB = (-30.0, -5.0)
"""Level of that noise in each band, relative to the reference's mean over time and bands."""


def _draw_labels(
    batch: MelTrainBatch, chosen: Tensor, taught: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Return labels and places: those of chosen items drawn, stretches of them without a place."""
    assert batch.labels is not None and batch.positions is not None
    labels, places = batch.labels.clone(), batch.positions.clone()
    for item in torch.nonzero(chosen).flatten().tolist():
        labels[item] = 0
        if not taught or rng.random() >= LABELLED:
            continue
        number, rows = int(rng.integers(1, taught + 1)), int(batch.lengths[item])
        if rng.random() >= SPANS:
            labels[item, :rows] = number
            continue
        size = 3 * int(rng.integers(1, max(2, rows // 6)))
        start = int(rng.integers(0, max(1, rows - size)))
        labels[item, start : start + size] = number
        places[item, start : start + size] = torch.nan
    return labels, places


def _noise_in(mel: Tensor, rng: np.random.Generator) -> Tensor:
    """Return a log-mel, ``(frames, bins)``, with steady noise whose spectrum is a random curve."""
    bins = mel.shape[1]
    curve = np.interp(np.arange(bins), np.linspace(0, bins - 1, 6), rng.normal(0.0, 6.0, 6))
    level = float(mel.exp().mean().log()) + (rng.uniform(*NOISE_DB) + curve) / NEPER_DB
    drawn = rng.normal(0.0, 0.4, mel.shape) + level
    return torch.logaddexp(mel, torch.from_numpy(drawn).to(mel))


@torch.no_grad()
def _made_before(before: ReferencedMelDecoder, batch: MelTrainBatch, chosen: Tensor) -> Tensor:
    """Return the mels that the decoder made of some items, ``(items, 2 * n, bins)``."""
    given = (getattr(batch, field.name)[chosen] for field in fields(MelBatch))
    made: Tensor = before(MelBatch(*given))
    return made.to(batch.mel.dtype)


def with_kept(
    before: ReferencedMelDecoder,
    batch: MelTrainBatch,
    chosen: Tensor,
    rng: np.random.Generator,
) -> MelTrainBatch:
    """Return a batch in which the targets of some items are what the decoder made before.

    Args:
        before: the decoder as it was, whose first labels are those of the one that learns.
        batch: of recordings.
        chosen: bool ``(batch,)``; these items are told labels at random, or none.
        rng: draws labels and noise.
    """
    if not chosen.any():
        return batch
    mel, prompt = batch.mel.clone(), batch.prompt_mel.clone()
    taught = 0 if before.labels is None else len(before.labels.names)
    labels, places = _draw_labels(batch, chosen, taught, rng)
    found = replace(batch, labels=labels, positions=places, prompt_mel=prompt, mel=mel)
    for item in torch.nonzero(chosen).flatten().tolist():
        if rng.random() < NOISY:
            frames = FACTOR * int(batch.prompt_lengths[item])
            prompt[item, :frames] = _noise_in(prompt[item, :frames], rng)
    mel[chosen] = _made_before(before, found, chosen)
    return found
