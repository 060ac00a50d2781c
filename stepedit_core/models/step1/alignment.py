"""A time-aligned position prior for Step1: an option that the public checkpoints do not use.

Square-root ALiBi alone lets a model find its place in the source only by content. With the
prior some heads measure, while they predict the answer, the distance to the place of the
source that lies at the same time: the score of head ``h`` for query ``q`` and key ``k`` inside
the aligned span is lowered by ``slope[h] * sqrt(|tau(q) + offset[h] - (k - start)|)``, and for
all other keys by ``slope[h] * sqrt(q - k)``. Heads without a slope, and all rows before the
answer, keep the ordinary bias. What moves time is the edit's own expected length ratio.

The ids right before and after the span belong to it as borders, and places are held within
them: heads that look past the source's end see the mark that ends it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor

from stepedit_core.codes import GROUP_SIZE, LINGUISTIC_PER_GROUP, SEMANTIC_PER_GROUP

__all__ = [
    "DEFAULT_ALIGNMENT",
    "Alignment",
    "AlignmentRule",
    "alignment_tensor",
    "check_rule",
    "targets",
]

DEFAULT_ALIGNMENT: Mapping[str, list[float | None]] = {
    "slopes": [None, None, 8.0, 4.0, 4.0, 2.0, 0.5, None],
    "offsets": [0.0, 0.0, 0.0, 5.0, -5.0, 0.0, 0.0, 0.0],
}
"""A rule for eight heads: one that sees the aligned token alone, one each a group (120 ms)
ahead and behind, two that look around it, and three ordinary ones: two for what was just said
and one without any notion of distance, for the instruction and for search by content."""

_FIXED = 4  # columns of a record before its bends
_NEVER = 2.0**24  # an answer that no row reaches
_EARLY = 1e-4  # keeps exact ratios from falling into the frame before by rounding


@dataclass(frozen=True)
class Alignment:
    """Where the answer stands in the source, as expected before it is known.

    Attributes:
        start: first slot of the aligned span of the prompt.
        stop: slot after its last.
        answer: slot of the first answer token: the length of the prompt.
        kind: ``"audio"`` for interleaved codes, ``"text"`` for text ids.
        bends: (answer group, change of pace) pairs, the first at group 0. The pace is in
            source groups (audio) or text ids (text) per answer group of 120 ms.
    """

    start: int
    stop: int
    answer: int
    kind: Literal["audio", "text"]
    bends: tuple[tuple[float, float], ...]

    def record(self, bends: int | None = None, shift: int = 0) -> list[float]:
        """Return the numbers that the model reads, ``4 + 2 * bends`` of them.

        Args:
            bends: pad to this many bends; None: as many as there are.
            shift: slots of padding before the prompt.
        """
        spare = 0 if bends is None else bends - len(self.bends)
        places = [self.start + shift, self.stop + shift, self.answer + shift]
        padded = [*self.bends, *[(0.0, 0.0)] * spare]
        return [*map(float, places), float(self.kind == "audio"), *(x for b in padded for x in b)]


def alignment_tensor(
    items: Sequence[Alignment | None], shifts: Sequence[int] | None = None
) -> Tensor:
    """Return the records of a batch, float32, shape ``(batch, 4 + 2 * most bends)``.

    Args:
        items: one for each row; None keeps the ordinary bias for all of the row.
        shifts: slots of padding before each row's prompt; None: none.
    """
    bends = max(1, *(len(item.bends) for item in items if item is not None), 1)
    none = [0.0, 0.0, _NEVER, *[0.0] * (1 + 2 * bends)]
    shifts = [0] * len(items) if shifts is None else shifts
    rows = [
        none if item is None else item.record(bends, shift)
        for item, shift in zip(items, shifts, strict=True)
    ]
    return torch.tensor(rows, dtype=torch.float32)


def targets(records: Tensor, index: Tensor) -> Tensor:
    """Return the place in the aligned span that each answer token corresponds to.

    A token of an audio span is mapped by the middle of the time that it covers (60 ms of a
    linguistic, 40 ms of a semantic one) to the token of its own kind that covers that time in
    the source. A text span is passed through evenly.

    Args:
        records: ``(batch, columns)``, see ``alignment_tensor``.
        index: int64 ``(batch, rows)``, indices of answer tokens; negative ones give nonsense.

    Returns:
        float32 ``(batch, rows)``: token indices within the span.
    """
    group = torch.div(index, GROUP_SIZE, rounding_mode="floor")
    place = index - GROUP_SIZE * group
    semantic = place >= LINGUISTIC_PER_GROUP
    rate = torch.where(semantic, float(SEMANTIC_PER_GROUP), float(LINGUISTIC_PER_GROUP))
    number = place - LINGUISTIC_PER_GROUP * semantic
    audio = records[:, 3, None] > 0
    within = torch.where(audio, (number + 0.5) / rate, (place + 0.5) / GROUP_SIZE)
    time = group + within
    moved = torch.zeros_like(time)
    for column in range(_FIXED, records.shape[1], 2):
        begin, change = records[:, column, None], records[:, column + 1, None]
        moved = moved + change * (time - begin).clamp(min=0)
    frame = torch.floor(moved * rate + _EARLY)
    source_group = torch.floor(frame / rate)
    slot = GROUP_SIZE * source_group + (frame - rate * source_group)
    return torch.where(audio, slot + LINGUISTIC_PER_GROUP * semantic, moved - 0.5)


class AlignmentRule:
    """Slopes and offsets of the heads, on one device.

    Attributes:
        slopes: float32 ``(heads,)``; where a head has none, its ordinary slope.
        offsets: float32 ``(heads,)``.
        aligned: bool ``(heads,)``.
    """

    def __init__(self, slopes: Tensor, offsets: Tensor, aligned: Tensor) -> None:
        self.slopes, self.offsets, self.aligned = slopes, offsets, aligned

    @classmethod
    def of(
        cls, setting: Mapping[str, Any], ordinary: Tensor, device: torch.device
    ) -> AlignmentRule:
        """Return the rule of a checked setting; ``ordinary`` are the ALiBi slopes."""
        slopes = tuple(setting["slopes"])
        return _rule(slopes, tuple(setting["offsets"]), tuple(ordinary.tolist()), device)

    def cost(self, records: Tensor, row: Tensor, keys: int) -> tuple[Tensor, Tensor]:
        """Return what the aligned heads' scores are lowered by, and where that holds.

        Args:
            records: float32 ``(batch, columns)``.
            row: ``(rows,)``, slots of the queries.
            keys: number of keys, from slot 0.

        Returns:
            float32 ``(batch, heads, rows, keys)``, and bool ``(batch, heads, rows, 1)``.
        """
        key = torch.arange(keys, device=row.device)
        start, stop, answer = (records[:, column, None] for column in range(3))
        index = row[None] + 1 - answer.long()
        inside = ((key >= start - 1) & (key <= stop))[:, None, None, :]
        wanted = (targets(records, index) + start)[:, None] + self.offsets[:, None]
        wanted = wanted.clamp(start[:, None] - 1, stop[:, None])
        there = (wanted[..., None] - key).abs()
        behind = (row[:, None] - key).clamp(min=0).to(torch.float32)
        distance = torch.where(inside, there, behind)
        holds = (index >= 0)[:, None, :, None] & self.aligned[:, None, None]
        return self.slopes[:, None, None] * distance.sqrt(), holds


@lru_cache(maxsize=16)
def _rule(
    slopes: tuple[float | None, ...],
    offsets: tuple[float, ...],
    ordinary: tuple[float, ...],
    device: torch.device,
) -> AlignmentRule:
    filled = [plain if own is None else own for own, plain in zip(slopes, ordinary, strict=True)]
    return AlignmentRule(
        torch.tensor(filled, dtype=torch.float32, device=device),
        torch.tensor(offsets, dtype=torch.float32, device=device),
        torch.tensor([own is not None for own in slopes], device=device),
    )


def check_rule(setting: Any, heads: int) -> None:
    """Check the ``source_alignment`` of a configuration.

    Raises:
        ValueError: if it is not ``{"slopes": [...], "offsets": [...]}`` with one number for
            each head (a slope may be null, and is not negative).
    """

    def is_number(value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool)

    ok = (
        isinstance(setting, Mapping)
        and set(setting) == {"slopes", "offsets"}
        and all(isinstance(v, list | tuple) and len(v) == heads for v in setting.values())
        and all(s is None or (is_number(s) and s >= 0) for s in setting["slopes"])
        and all(map(is_number, setting["offsets"]))
    )
    if not ok:
        raise ValueError(
            f"source_alignment must hold slopes and offsets, one of each for all {heads} heads "
            f"(a slope of null leaves a head ordinary), not {setting!r}"
        )
