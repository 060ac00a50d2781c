"""The decoder's own output in training: as reference, and as target of what it knew before.

An edit of an edited recording takes its voice from what the decoder made before. A decoder that
saw recordings alone makes what it left out a little larger each time (exposure bias; the remedy is
scheduled sampling, Bengio et al. 2015): `with_self_generated`.

Whoever adds an edit to a decoder has no recordings of the edits that it was taught before. What it
made then of any recording, told any of its labels, is what it should make now (learning without
forgetting, Li & Hoiem 2016, with whole outputs in place of class probabilities): `with_distilled`.
"""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import torch
from torch import Tensor

from stepedit_core.models.decoder.reference.conditioning import NEPER_DB
from stepedit_core.models.decoder.reference.model import FACTOR, MelBatch, ReferencedMelDecoder
from stepedit_train.decoder.examples import MelTrainBatch

__all__ = [
    "with_distilled",
    "with_self_generated",
]

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
def _decoded_by(teacher: ReferencedMelDecoder, batch: MelTrainBatch, chosen: Tensor) -> Tensor:
    """Return the mels that the decoder made of some items, ``(items, 2 * n, bins)``."""
    given = (getattr(batch, field.name)[chosen] for field in fields(MelBatch))
    made: Tensor = teacher(MelBatch(*given))
    return made.to(batch.mel.dtype)


def with_distilled(
    teacher: ReferencedMelDecoder,
    batch: MelTrainBatch,
    chosen: Tensor,
    rng: np.random.Generator,
) -> MelTrainBatch:
    """Return a batch in which the targets of some items are what the decoder made before.

    Args:
        teacher: the decoder as it was, whose first labels are those of the one that learns.
        batch: of recordings.
        chosen: bool ``(batch,)``; these items are told labels at random, or none.
        rng: draws labels and noise.
    """
    if not chosen.any():
        return batch
    mel, prompt = batch.mel.clone(), batch.prompt_mel.clone()
    taught = 0 if teacher.labels is None else len(teacher.labels.names)
    labels, places = _draw_labels(batch, chosen, taught, rng)
    found = replace(batch, labels=labels, positions=places, prompt_mel=prompt, mel=mel)
    for item in torch.nonzero(chosen).flatten().tolist():
        if rng.random() < NOISY:
            frames = FACTOR * int(batch.prompt_lengths[item])
            prompt[item, :frames] = _noise_in(prompt[item, :frames], rng)
    mel[chosen] = _decoded_by(teacher, found, chosen)
    return found


@torch.no_grad()
def _decoded_again(model: ReferencedMelDecoder, batch: MelTrainBatch, chosen: Tensor) -> Tensor:
    """Return the mels of some references, decoded from their own codes in their own voice."""
    rows, lengths = batch.prompt_rows[chosen], batch.prompt_lengths[chosen]
    mel, places = batch.prompt_mel[chosen], torch.arange(rows.shape[1], device=rows.device)
    positions = places.to(mel.dtype).expand(len(rows), -1)
    own = MelBatch(
        rows,
        lengths,
        rows,
        lengths,
        mel,
        batch.speaker[chosen],
        positions,
        torch.zeros_like(rows[..., 0]),
    )
    inside = torch.arange(mel.shape[1], device=mel.device) < FACTOR * lengths[:, None]
    return torch.where(inside[..., None], model(own).to(mel.dtype), mel)


def with_self_generated(
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
    mels[chosen] = _decoded_again(model, batch, chosen)
    return replace(batch, prompt_mel=mels)
