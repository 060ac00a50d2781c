"""What the reference decoder is conditioned on: positions in the reference, and the edit.

Content alone finds a place badly where the codes differ much from the source's: in noise, or at
another pace. Where the edit says at which pace it goes through its source, the place is known:
the reference's mel is then taken from there as well, by interpolation, and attention is pulled
there. And what the codes cannot carry, such as a recording's level or that its noise is not
wanted, the decoder learns of the edit's name. Both begin with hardly any effect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from stepedit_core.codes import SEMANTIC_PER_GROUP
from stepedit_core.llm_route.source_map import SourceMap

__all__ = [
    "Conditioning",
    "EditEmbedding",
    "SourceMelCondition",
    "label_ids",
    "source_frames",
    "source_positions",
]

NEPER_DB = 8.685889638
"""dB in one unit of a natural logarithm of amplitudes."""
_AROUND, _PAUSE, _SOFT = 9, -8.0, 1.5
"""Frames (20 ms) over which a level is taken; dB that are left in a pause, and how sharply."""
_QUARTER = 0.25
"""Of a row: the middles of a row's two frames lie this far from its own."""


class Conditioning(NamedTuple):
    """Conditions of a padded batch of rows.

    Attributes:
        positions: in the reference, float ``(batch, n)``, NaN where not known; None: nowhere.
        labels: int64 ``(batch, n)``, 0 is none; None: none of them.
    """

    positions: Tensor | None = None
    labels: Tensor | None = None

    def after(self, row: int) -> Conditioning:
        """Return the conditions from a row on."""
        return Conditioning(*(None if one is None else one[:, row:] for one in self))


def source_positions(
    maps: Sequence[SourceMap | None], rows: Sequence[int], taught: Sequence[str] | None = None
) -> Tensor | None:
    """Return the positions of rows, float32 ``(batch, most rows)``, NaN where not known.

    Args:
        maps: of each utterance; None where nothing is known.
        rows: of each utterance; a map's further ones are left out, missing ones not known.
        taught: labels that the decoder was taught. What other edits made is not placed: the
            source's sound may be what they are to change. None: all of them.

    Returns:
        None if nothing is known of any.
    """
    if all(one is None or one.positions is None for one in maps):
        return None
    padded = []
    for one, count in zip(maps, rows, strict=True):
        positions = torch.full((count,), torch.nan)
        if one is not None and one.positions is not None:
            known = torch.from_numpy(np.array(one.positions[:count], dtype=np.float32))
            if one.condition and taught is not None and one.condition not in taught:
                known[_edited(one, len(known))] = torch.nan
            positions[: len(known)] = known
        padded.append(positions)
    return pad_sequence(padded, batch_first=True, padding_value=torch.nan)


def label_ids(
    maps: Sequence[SourceMap | None], rows: Sequence[int], known: Sequence[str]
) -> Tensor | None:
    """Return the labels of rows, int64 ``(batch, most rows)``: 0 is none, others count from 1.

    Args:
        maps: of each utterance.
        rows: of each utterance.
        known: labels that were taught; others count as none.
    """
    numbers = {label: number for number, label in enumerate(known, start=1)}
    given = [0 if one is None else numbers.get(one.condition, 0) for one in maps]
    if not any(given):
        return None
    padded = []
    for one, number, count in zip(maps, given, rows, strict=True):
        labels = torch.full((count,), number)
        if one is not None:
            labels *= _edited(one, count)
        padded.append(labels)
    return pad_sequence(padded, batch_first=True)


def _edited(source_map: SourceMap, count: int) -> Tensor:
    """Return which rows the edit may have changed, bool ``(count,)``."""
    edited = torch.ones(count, dtype=torch.bool)
    if source_map.edited is not None:
        known = torch.from_numpy(np.repeat(source_map.edited, SEMANTIC_PER_GROUP)[:count])
        edited[: len(known)] = known
    return edited


def source_frames(positions: Tensor) -> Tensor:
    """Return the reference frame (20 ms) of each frame, ``(batch, 2 * n)``, of rows' positions."""
    both = torch.stack([positions - _QUARTER, positions + _QUARTER], dim=-1)
    return (2 * both + 0.5).flatten(1)


class SourceMelCondition(nn.Module):
    """The reference's mel at known positions."""

    def __init__(self, width: int, bins: int) -> None:
        """Make the layers; at first they take a twentieth of what is found.

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
            frames: positions, ``(batch, t)``; NaN where not known.
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


class EditEmbedding(nn.Module):
    """A vector for each kind of edit that the decoder was taught."""

    def __init__(
        self,
        labels: Sequence[str],
        width: int,
        bounds: Mapping[str, Sequence[float]],
        blocks: int = 0,
    ) -> None:
        """Make the tables, of zeros.

        Args:
            labels: names, as `Plan.label` gives them.
            width: channels of the decoder.
            bounds: of some labels: dB that the mel may be below the reference's where there is
                speech, in pauses, and that it may be above it; see `bounded`.
            blocks: of the decoder that are conditioned by vectors of their own, too; 0: none.

        Raises:
            ValueError: if bounds are of no label, or are not three numbers from 0 up.
        """
        super().__init__()
        self.names = tuple(labels)
        self.bounds = {self.names.index(name) + 1: tuple(dbs) for name, dbs in bounds.items()}
        if any(len(dbs) != 3 or min(dbs) < 0 for dbs in self.bounds.values()):
            raise ValueError(f"bounds must be three levels in dB from 0 up, not {dict(bounds)}")
        self.table = nn.Embedding(len(self.names) + 1, width, padding_idx=0)
        self.again = nn.ModuleList(
            nn.Embedding(len(self.names) + 1, width, padding_idx=0) for _ in range(blocks)
        )
        for table in (self.table, *self.again):
            nn.init.zeros_(table.weight)

    def put_in(self, x: Tensor, labels: Tensor | None, block: int | None = None) -> Tensor:
        """Return the input of the decoder's blocks, or of one of them, with the labels' vectors.

        Args:
            x: frames, ``(batch, 2 * n, width)``.
            labels: of rows, ``(batch, n)``; None tells nothing.
            block: number of a block; None: before all of them.
        """
        if labels is None or (block is not None and not self.again):
            return x
        table = self.table if block is None else self.again[block]
        found: Tensor = table(labels) * (labels > 0)[..., None]
        return x + found.repeat_interleave(2, dim=1)

    def bounded(self, mel: Tensor, labels: Tensor, placed: Tensor, known: Tensor) -> Tensor:
        """Keep what is made near the reference's mel at its place, for labels with bounds.

        An edit that takes something away may not add, and what it takes away by mistake stays
        audible: the spectral floor of speech enhancement (Berouti et al. 1979).

        Args:
            mel: log-mel that was made, ``(batch, t, bins)``.
            labels: of rows, ``(batch, t / 2)``.
            placed: the reference's log-mel at the positions, ``(batch, t, bins)``.
            known: where positions are known, bool ``(batch, t)``.
        """
        wide = labels.repeat_interleave(2, dim=1)
        for number, (speech, pause, up) in self.bounds.items():
            down = _floor(mel, placed, speech, pause)
            low, high = placed - down / NEPER_DB, placed + up / NEPER_DB
            inside = torch.minimum(torch.maximum(mel, low), high)
            mel = torch.where(((wide == number) & known)[..., None], inside, mel)
        return mel


def _floor(mel: Tensor, placed: Tensor, speech: float, pause: float) -> Tensor:
    """Return how far below the reference frames may be, in dB, ``(batch, t, 1)``.

    What is left of the reference's level, as a mean over 180 ms, tells speech from pauses.
    """
    left = NEPER_DB * (mel.logsumexp(2) - placed.logsumexp(2))
    left = F.avg_pool1d(left[:, None], _AROUND, 1, _AROUND // 2, count_include_pad=False)[:, 0]
    is_pause = torch.sigmoid((_PAUSE - left) / _SOFT)[..., None]
    return speech + (pause - speech) * is_pause
