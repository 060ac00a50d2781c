"""What a referenced decoder is told beside the codes: places in the reference, and the edit.

Content alone finds a place badly where the codes differ much from the source's: in noise, or at
another pace. Where the edit says at which pace it goes through its source, the place is known:
the reference's mel is then taken from there as well, by interpolation, and attention is pulled
there. And what the codes cannot carry, such as a recording's level or that its noise is not
wanted, the decoder learns of the edit's name. Both begin without effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from stepedit_core.codes import SEMANTIC_PER_GROUP
from stepedit_core.origin import Origin

__all__ = [
    "TaughtLabels",
    "Told",
    "ToldPlaces",
    "frames_told",
    "labels_told",
    "places_told",
]

_QUARTER = 0.25
"""Of a row: the middles of a row's two frames lie this far from its own."""


class Told(NamedTuple):
    """What is told of a padded batch of rows.

    Attributes:
        places: in the reference, float ``(batch, n)``, NaN where not known; None: nowhere.
        labels: int64 ``(batch, n)``, 0 is none; None: none of them.
    """

    places: Tensor | None = None
    labels: Tensor | None = None

    def after(self, row: int) -> Told:
        """Return what is told from a row on."""
        return Told(*(None if one is None else one[:, row:] for one in self))


def places_told(origins: Sequence[Origin | None], rows: Sequence[int]) -> Tensor | None:
    """Return the places of rows, float32 ``(batch, most rows)``, NaN where not known.

    Args:
        origins: of each utterance; None where nothing is known.
        rows: of each utterance; an origin's further ones are left out, missing ones not known.

    Returns:
        None if nothing is known of any.
    """
    if all(one is None or one.places is None for one in origins):
        return None
    told = []
    for one, count in zip(origins, rows, strict=True):
        places = torch.full((count,), torch.nan)
        if one is not None and one.places is not None:
            known = torch.from_numpy(np.array(one.places[:count], dtype=np.float32))
            places[: len(known)] = known
        told.append(places)
    return pad_sequence(told, batch_first=True, padding_value=torch.nan)


def labels_told(
    origins: Sequence[Origin | None], rows: Sequence[int], known: Sequence[str]
) -> Tensor | None:
    """Return the labels of rows, int64 ``(batch, most rows)``: 0 is none, others count from 1.

    Args:
        origins: of each utterance.
        rows: of each utterance.
        known: labels that were taught; others count as none.
    """
    numbers = {label: number for number, label in enumerate(known, start=1)}
    given = [0 if one is None else numbers.get(one.label, 0) for one in origins]
    if not any(given):
        return None
    told = []
    for one, number, count in zip(origins, given, rows, strict=True):
        labels = torch.full((count,), number)
        if one is not None and one.made is not None:
            made = torch.from_numpy(np.repeat(one.made, SEMANTIC_PER_GROUP)[:count])
            labels[: len(made)] *= made
        told.append(labels)
    return pad_sequence(told, batch_first=True)


def frames_told(places: Tensor) -> Tensor:
    """Return the reference frame (20 ms) of each frame, ``(batch, 2 * n)``, of rows' places."""
    both = torch.stack([places - _QUARTER, places + _QUARTER], dim=-1)
    return (2 * both + 0.5).flatten(1)


class ToldPlaces(nn.Module):
    """The reference's mel at the places that are told."""

    def __init__(self, width: int, bins: int) -> None:
        """Make the layers; at first they take nothing.

        Args:
            width: channels of the decoder.
            bins: of the mel.
        """
        super().__init__()
        self.put_in = nn.Linear(bins + 1, width)
        self.gate = nn.Linear(width, bins)
        for weights in (self.put_in.weight, self.put_in.bias, self.gate.weight):
            nn.init.zeros_(weights)
        nn.init.constant_(self.gate.bias, -3.0)

    def look(self, frames: Tensor, mel: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return mels by linear interpolation, and where they are known.

        Args:
            frames: places, ``(batch, t)``; NaN where not known.
            mel: the reference's, ``(batch, r, bins)``.
            mask: of the reference's frames, `time_mask`; None where nothing is padded. Places
                past the end are the end.

        Returns:
            ``(batch, t, bins)`` and bool ``(batch, t)``; zeros where not known.
        """
        known = frames.isfinite()
        batch, count = mel.shape[:2]
        ends = frames.new_full((batch, 1), count) if mask is None else mask[..., 0].sum(1, True)
        last = (ends - 1).to(frames.dtype).clamp_min(0)
        at = torch.minimum(frames.nan_to_num(0.0).clamp_min(0), last)
        low = at.floor().long()
        high = torch.minimum(low + 1, last.long())
        part = (at - low).to(mel.dtype)[..., None]

        def row(index: Tensor) -> Tensor:
            return mel.gather(1, index[..., None].expand(-1, -1, mel.shape[2]))

        found = row(low) * (1 - part) + row(high) * part
        return found * known[..., None], known

    def condition(self, found: Tensor, known: Tensor) -> Tensor:
        """Return what the decoder's blocks are given of it, ``(batch, t, width)``."""
        given: Tensor = self.put_in(torch.cat([found, known[..., None].to(found.dtype)], -1))
        return given * known[..., None]

    def share(self, x: Tensor, found: Tensor) -> Tensor:
        """Return the part of the output that is taken as it was found, ``(batch, t, bins)``."""
        taken: Tensor = torch.sigmoid(self.gate(x)) * found
        return taken


class TaughtLabels(nn.Module):
    """A vector for each kind of edit that the decoder was taught."""

    def __init__(self, labels: Sequence[str], width: int) -> None:
        """Make the table, of zeros.

        Args:
            labels: names, as `Edit.decoded_as` gives them.
            width: channels of the decoder.
        """
        super().__init__()
        self.names = tuple(labels)
        self.table = nn.Embedding(len(self.names) + 1, width, padding_idx=0)
        nn.init.zeros_(self.table.weight)

    def forward(self, labels: Tensor) -> Tensor:
        """Return vectors of frames ``(batch, 2 * n, width)`` of rows' labels ``(batch, n)``."""
        found: Tensor = self.table(labels) * (labels > 0)[..., None]
        return found.repeat_interleave(2, dim=1)
