"""Head-wise position priors for Step1: an option that the public checkpoints do not use.

Square-root ALiBi alone is nearly blind to exact places: a model finds its place in the source
only by content. With ``source_alignment`` in its configuration, each head is one of three kinds:

- ``source``: while the answer is predicted, the score of query ``q`` and key ``k`` inside the
  aligned span of the prompt is lowered by ``slope * sqrt(|tau(q) + offset - (k - start)|)``,
  where ``tau(q)`` is the place of the source that lies at the same time as the token that is
  predicted, and by ``slope * sqrt(q - k)`` for other keys. Before the answer it is ordinary;
- ``recent``: all scores are lowered by ``slope * sqrt(|q + offset - k|)``; an offset of -1 makes
  a head that sees the token before, which search by content (induction) is built on;
- ordinary heads keep square-root ALiBi.

While something is told that the source does not hold, ``tau`` is past its end: those heads then
see the mark that ends the source, and not the speech around the place.

What moves ``tau`` is the edit's own expected length ratio. The ids right before and after the
span belong to it as borders, and places are held within them: heads that look past the
source's end see the mark that ends it.
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
    "pointed",
    "targets",
]

_Heads = Sequence[Mapping[str, Any] | None]

DEFAULT_ALIGNMENT: _Heads = (
    {"kind": "recent", "slope": 8.0, "offset": -1.0},
    {"kind": "recent", "slope": 1.0, "offset": 0.0},
    {"kind": "source", "slope": 8.0, "offset": 0.0},
    {"kind": "source", "slope": 4.0, "offset": 5.0},
    {"kind": "source", "slope": 4.0, "offset": -5.0},
    {"kind": "source", "slope": 2.0, "offset": 0.0},
    {"kind": "source", "slope": 0.5, "offset": 0.0},
    None,
)
"""A rule for eight heads: the token before, and what was just said; the aligned token alone, a
group (120 ms) ahead and behind it, its surroundings, and a wide stretch around it, for answers
that drift from the expected pace; and an ordinary head with hardly any notion of distance, for
the instruction."""

_FIXED = 4  # columns of a record before its bends
_NEVER = 2.0**24  # an answer that no row reaches
AWAY = 2.0**13
"""What the beginnings of stretches away are lowered by in a record, to know them from bends, which
may begin before the answer, too; no answer has so many groups."""
_PAST = 2.0**18  # groups: beyond the end of any source
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
        away: (answer group, groups) of stretches that the source holds nothing of.
    """

    start: int
    stop: int
    answer: int
    kind: Literal["audio", "text"]
    bends: tuple[tuple[float, float], ...]
    away: tuple[tuple[float, float], ...] = ()

    def columns(self) -> list[tuple[float, float]]:
        """Return the pairs of the record: the bends, and stretches away marked as such."""
        return [*self.bends, *((begin - AWAY, groups) for begin, groups in self.away)]

    @classmethod
    def of_record(cls, record: Sequence[float]) -> Alignment:
        """Return the alignment that gave a record, padded or not, without a shift."""
        start, stop, answer, audio, *rest = record
        first, *others = zip(rest[::2], rest[1::2], strict=True)
        pairs = [first, *(pair for pair in others if pair != (0.0, 0.0))]
        return cls(
            int(start),
            int(stop),
            int(answer),
            "audio" if audio else "text",
            tuple(pair for pair in pairs if pair[0] > -AWAY / 2),
            tuple((begin + AWAY, groups) for begin, groups in pairs if begin < -AWAY / 2),
        )

    def record(self, bends: int | None = None, shift: int = 0) -> list[float]:
        """Return the numbers that the model reads, ``4 + 2 * bends`` of them.

        Args:
            bends: pad to this many pairs; None: as many as there are.
            shift: slots of padding before the prompt.
        """
        pairs = self.columns()
        spare = 0 if bends is None else bends - len(pairs)
        places = [self.start + shift, self.stop + shift, self.answer + shift]
        padded = [*pairs, *[(0.0, 0.0)] * spare]
        return [*map(float, places), float(self.kind == "audio"), *(x for b in padded for x in b)]


def alignment_tensor(
    items: Sequence[Alignment | None], shifts: Sequence[int] | None = None
) -> Tensor:
    """Return the records of a batch, float32, shape ``(batch, 4 + 2 * most pairs)``.

    Args:
        items: one for each row; None keeps the ordinary bias for all of the row.
        shifts: slots of padding before each row's prompt; None: none.
    """
    bends = max(1, *(len(item.columns()) for item in items if item is not None), 1)
    none = [0.0, 0.0, _NEVER, *[0.0] * (1 + 2 * bends)]
    shifts = [0] * len(items) if shifts is None else shifts
    rows = [
        none if item is None else item.record(bends, shift)
        for item, shift in zip(items, shifts, strict=True)
    ]
    return torch.tensor(rows, dtype=torch.float32)


def pointed(records: Tensor, ahead: Tensor) -> Tensor:
    """Return records of answers that lie further in their sources than expected.

    Args:
        records: ``(batch, columns)``, see ``alignment_tensor``.
        ahead: groups by which they do, float32 ``(batch,)``; NaN leaves a record as it is.
    """
    begin, pace = records[:, _FIXED], records[:, _FIXED + 1]
    moved = torch.where(ahead.isnan() | (pace == 0), begin, -ahead / pace)
    return torch.cat([records[:, :_FIXED], moved[:, None], records[:, _FIXED + 1 :]], dim=1)


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
    moved, away = torch.zeros_like(time), torch.zeros_like(time, dtype=torch.bool)
    for column in range(_FIXED, records.shape[1], 2):
        begin, change = records[:, column, None], records[:, column + 1, None]
        is_away = begin < -AWAY / 2
        moved = moved + torch.where(is_away, 0.0, change * (time - begin).clamp(min=0))
        since = time - (begin + AWAY)
        away = away | (is_away & (since >= 0) & (since < change))
    moved = torch.where(away, _PAST, moved)
    frame = torch.floor(moved * rate + _EARLY)
    source_group = torch.floor(frame / rate)
    slot = GROUP_SIZE * source_group + (frame - rate * source_group)
    return torch.where(audio, slot + LINGUISTIC_PER_GROUP * semantic, moved - 0.5)


class AlignmentRule:
    """Kinds, slopes and offsets of the heads, on one device.

    Attributes:
        slopes: float32 ``(heads,)``.
        offsets: float32 ``(heads,)``.
        source: bool ``(heads,)``.
        recent: bool ``(heads,)``.
    """

    def __init__(self, slopes: Tensor, offsets: Tensor, source: Tensor, recent: Tensor) -> None:
        self.slopes, self.offsets = slopes, offsets
        self.source, self.recent = source, recent

    @classmethod
    def of(cls, setting: _Heads, device: torch.device) -> AlignmentRule:
        """Return the rule of a checked setting."""
        heads = [head or {"kind": "ordinary", "slope": 0.0, "offset": 0.0} for head in setting]
        return _rule(tuple((h["kind"], h["slope"], h["offset"]) for h in heads), device)

    def put_recent(self, bias: Tensor, distance: Tensor) -> None:
        """Set the bias of recent heads, as ``cost`` has it, where no answer is predicted yet.

        Args:
            bias: float32 ``(heads, rows, keys)``, in place.
            distance: from each key to the query, int64 ``(rows, keys)``.
        """
        for head in self.recent.nonzero().flatten().tolist():
            away = (distance + self.offsets[head]).abs_().sqrt_()
            torch.mul(away, -self.slopes[head], out=bias[head])

    def cost(self, records: Tensor, row: Tensor, keys: int) -> tuple[Tensor, Tensor]:
        """Return what scores are lowered by in place of ALiBi, and where that holds.

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
        shift = torch.where(self.recent, self.offsets, 0.0)[:, None, None]
        elsewhere = ((row[:, None] - key) + shift).abs()
        wanted = (targets(records, index) + start)[:, None] + self.offsets[:, None]
        wanted = wanted.clamp(start[:, None] - 1, stop[:, None])
        there = (wanted[..., None] - key).abs()
        inside = ((key >= start - 1) & (key <= stop))[:, None, None, :]
        distance = torch.where(inside & self.source[:, None, None], there, elsewhere)
        answering = (index >= 0)[:, None, :, None]
        holds = (answering & self.source[:, None, None]) | self.recent[:, None, None]
        return self.slopes[:, None, None] * distance.sqrt(), holds


@lru_cache(maxsize=16)
def _rule(heads: tuple[tuple[str, float, float], ...], device: torch.device) -> AlignmentRule:
    return AlignmentRule(
        torch.tensor([slope for _, slope, _ in heads], dtype=torch.float32, device=device),
        torch.tensor([offset for _, _, offset in heads], dtype=torch.float32, device=device),
        torch.tensor([kind == "source" for kind, _, _ in heads], device=device),
        torch.tensor([kind == "recent" for kind, _, _ in heads], device=device),
    )


def check_rule(setting: Any, heads: int) -> None:
    """Check the ``source_alignment`` of a configuration.

    Raises:
        ValueError: if it is not a list with ``{"kind": "source" or "recent", "slope": number,
            "offset": number}`` or null for each head; slopes are not negative, and recent heads
            do not look ahead.
    """

    def is_number(value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool)

    def is_head(head: Any) -> bool:
        return head is None or (
            isinstance(head, Mapping)
            and set(head) == {"kind", "slope", "offset"}
            and head["kind"] in ("source", "recent")
            and is_number(head["slope"])
            and is_number(head["offset"])
            and head["slope"] >= 0
            and (head["kind"] == "source" or head["offset"] <= 0)
        )

    listed = isinstance(setting, list | tuple)
    if not listed or len(setting) != heads or not all(map(is_head, setting)):
        raise ValueError(
            f"source_alignment must hold kind (source or recent), slope and offset, or null, for "
            f"each of {heads} heads, not {setting!r}"
        )
