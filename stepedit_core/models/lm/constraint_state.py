"""Walk a batch through its constraints with tensor operations only.

A decode step asks nothing of the host: segments lie in tables, and every item has a cursor.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from stepedit_core.codes import GROUP_SIZE, LINGUISTIC_PER_GROUP, LINGUISTIC_SIZE
from stepedit_core.models.lm.columns import Part
from stepedit_core.models.lm.constraints import (
    CODE_COUNT,
    Copy,
    Follow,
    Plan,
    Segment,
    most_tokens,
)
from stepedit_core.models.lm.following import Following

__all__ = ["ConstraintState"]

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_NEVER = 2**40
"""Tokens that no answer reaches."""
_TABLES = ("_is_copy", "_is_end", "_least", "_most", "_offset", "_anywhere", "_tokens", "_elastic")


class ConstraintState:
    """Where each item of a batch stands in its plan's body.

    Attributes:
        has_copies: some tokens of a body come without a choice.
        following: where those items stand that follow their source; None: there are none.
        segment: int64 ``(batch,)``, the present segment.
        place: int64 ``(batch,)``, tokens already emitted in it.
        cut: bool ``(batch,)``, the last free segment ended by its maximum although it could
            have been shorter: the model may have had more to say.
    """

    def __init__(self, plans: Sequence[Plan], device: torch.device) -> None:
        """Lay the bodies out as tables ``(batch, segments + 1)``; the last entry is the end."""
        width = max(len(p.body) for p in plans) + 1
        copied = max(1, *(_copied_tokens(p) for p in plans))
        shape = (len(plans), width)
        self._is_copy = torch.zeros(shape, dtype=torch.bool)
        self._is_end = torch.ones(shape, dtype=torch.bool)
        self._least = torch.zeros(shape, dtype=torch.int64)
        self._most = torch.ones(shape, dtype=torch.int64)
        self._offset = torch.zeros(shape, dtype=torch.int64)
        self._anywhere = torch.zeros(shape, dtype=torch.bool)
        self._tokens = torch.zeros(len(plans), copied, dtype=torch.int64)
        for row, item in enumerate(plans):
            self._fill(row, item.body)
        follow = any(isinstance(segment, Follow) for p in plans for segment in p.body)
        self.following = Following(plans, device) if follow else None
        self.has_copies = follow or bool(self._is_copy.any())
        self._elastic = ~self._is_copy & (self._least < self._most)
        for name in _TABLES:
            setattr(self, name, getattr(self, name).to(device))
        self.segment = torch.zeros(len(plans), dtype=torch.int64, device=device)
        self.place = torch.zeros(len(plans), dtype=torch.int64, device=device)
        self.cut = torch.zeros(len(plans), dtype=torch.bool, device=device)

    def _fill(self, row: int, body: Sequence[Segment]) -> None:
        used = 0
        for at, segment in enumerate(body):
            self._is_end[row, at] = False
            # Its end is known by its place alone.
            most = _NEVER if isinstance(segment, Follow) else most_tokens(segment)
            self._most[row, at] = most
            if isinstance(segment, Copy):
                self._is_copy[row, at] = True
                self._offset[row, at] = used
                end = used + len(segment.tokens)
                self._tokens[row, used:end] = torch.tensor(segment.tokens)
                used = end
            elif not isinstance(segment, Follow):
                self._least[row, at] = GROUP_SIZE * segment.min_groups
                self._anywhere[row, at] = not segment.end_at_boundary

    def _here(self, table: Tensor) -> Tensor:
        return table.gather(1, self.segment[:, None]).squeeze(1)

    @property
    def ended(self) -> Tensor:
        """Bool ``(batch,)``: the item's last segment is done."""
        return self._here(self._is_end)

    def copies_left(self) -> Tensor:
        """Return how many copied tokens come next, int64 ``(batch,)``; 0 in free segments."""
        left = self._here(self._most) - self.place
        left = torch.where(self._here(self._is_copy), left, 0)
        return left if self.following is None else left + self.following.left()

    def allowed(self) -> Tensor:
        """Return bool ``(batch, CODE_COUNT + 1)``: tokens that may be sampled now."""
        semantic = (self.place % GROUP_SIZE >= LINGUISTIC_PER_GROUP)[:, None]
        columns = torch.arange(CODE_COUNT + 1, device=self.place.device)[None]
        code = torch.where(semantic, columns >= LINGUISTIC_SIZE, columns < LINGUISTIC_SIZE)
        return torch.where(columns == CODE_COUNT, self.may_end()[:, None], code)

    def restrict(self, scores: Tensor, plain: Tensor, columns: Part) -> Tensor:
        """Return scores of a step's columns in which what may not come now is forbidden.

        Args:
            scores: ``(batch, columns)``; may be changed.
            plain: the same without the rule against repetition.
            columns: of the step.
        """
        if columns.with_end:
            scores[:, -1].masked_fill_(~self.may_end(), -torch.inf)
        if self.following is None:
            return scores
        return self.following.held(scores, plain, columns.first, columns.with_end)

    def may_end(self) -> Tensor:
        """Return bool ``(batch,)``: items that may end their segment now."""
        boundary = (self.place % GROUP_SIZE == 0) | self._here(self._anywhere)
        return (self.place >= self._here(self._least)) & boundary

    def end(self, over: Tensor) -> None:
        """End items here and now; ``over`` is bool ``(batch,)``."""
        self.segment.masked_fill_(over, self._is_end.shape[1] - 1)
        self.place.masked_fill_(over, 0)
        if self.following is not None:
            self.following.end(over)

    def select(self, rows: Tensor) -> ConstraintState:
        """Return the state of some items, int64 ``(kept,)``."""
        taken = copy.copy(self)
        for name in (*_TABLES, "segment", "place", "cut"):
            setattr(taken, name, getattr(self, name)[rows])
        taken.following = None if self.following is None else self.following.select(rows)
        return taken

    def join(self, other: ConstraintState) -> ConstraintState:
        """Return the state of both batches, the other's items last.

        Either both have items that follow their source, or none has.
        """
        both = copy.copy(self)
        if self.following is not None and other.following is not None:
            both.following = self.following.join(other.following)
        both.has_copies = self.has_copies or other.has_copies
        for name in _TABLES:
            mine, its = getattr(self, name), getattr(other, name)
            width = max(mine.shape[1], its.shape[1])
            # As the entries after a body's end are.
            fill = int(name in ("_is_end", "_most", "_elastic"))
            wide = [F.pad(one, (0, width - one.shape[1]), value=fill) for one in (mine, its)]
            setattr(both, name, torch.cat(wide))
        for name in ("segment", "place", "cut"):
            setattr(both, name, torch.cat([getattr(self, name), getattr(other, name)]))
        return both

    def advance(self, sampled: Tensor) -> Tensor:
        """Move every item on by one token and return what it emits, int64 ``(batch,)``.

        Args:
            sampled: int64 ``(batch,)``, indices picked under ``allowed``; not looked at where
                tokens are copied.

        Returns:
            Audio token indices; -1 where the item has ended without emitting one.
        """
        if not self.has_copies:
            return self._speak(sampled)
        over = ~self._here(self._is_copy) & (sampled == CODE_COUNT)
        self.segment += (over & ~self.ended).long()
        self.place.masked_fill_(over, 0)
        copying, ended = self._here(self._is_copy), self.ended
        at = (self._here(self._offset) + self.place).clamp(max=self._tokens.shape[1] - 1)
        copied = self._tokens.gather(1, at[:, None]).squeeze(1)
        token = torch.where(copying, copied, sampled)
        self.place += 1
        self._close()
        if self.following is not None:
            self.following.advance(sampled)
            self._end_followed()
        return torch.where(ended, -1, token)

    def _end_followed(self) -> None:
        """End items that have come to the end of their source."""
        assert self.following is not None
        over = self.following.follows & self.following.ended
        self.segment.masked_fill_(over, self._is_end.shape[1] - 1)
        self.place.masked_fill_(over, 0)

    def _speak(self, sampled: Tensor) -> Tensor:
        """Do what ``advance`` does where each body is one free segment, in fewer operations."""
        if sampled.device.type == "cpu":
            return torch.from_numpy(self.speak(sampled.numpy())[0])
        known = (sampled, self.segment, self.place, self.cut)
        tables = (one[:, 0] for one in (self._is_end, self._most, self._elastic))
        made: tuple[Tensor, ...] = _spoken(torch, *known, *tables)
        token, self.segment, self.place, self.cut, _ = made
        return token

    def speak(self, sampled: Ints) -> tuple[Ints, Bools]:
        """Do what ``advance`` does where each body is one free segment, on a CPU.

        Args:
            sampled: int64 ``(batch,)``, indices picked under ``allowed``.

        Returns:
            Audio token indices, -1 where the item has ended without emitting one; and who has
            ended now.
        """
        known = (one.numpy() for one in (self.segment, self.place, self.cut))
        tables = (one.numpy()[:, 0] for one in (self._is_end, self._most, self._elastic))
        token, *moved, ended = _spoken(np, sampled, *known, *tables)
        self.segment, self.place, self.cut = (torch.from_numpy(one) for one in moved)
        return token, ended

    def may_end_on_host(self) -> Bools:
        """Return what ``may_end`` does, on a CPU."""
        place, segment = self.place.numpy(), self.segment.numpy()
        row = np.arange(len(segment))
        boundary = (place % GROUP_SIZE == 0) | self._anywhere.numpy()[row, segment]
        allowed: Bools = (place >= self._least.numpy()[row, segment]) & boundary
        return allowed

    def skip(self, count: int) -> Tensor:
        """Move every unended item on by ``count`` copied tokens; return them ``(batch, count)``.

        ``count`` must not exceed ``copies_left`` of any item that has not ended.
        """
        at = (self._here(self._offset) + self.place)[:, None]
        at = at + torch.arange(count, device=at.device)
        tokens = self._tokens.gather(1, at.clamp(max=self._tokens.shape[1] - 1))
        ended = self.ended
        self.place += count
        self._close()
        if self.following is not None:
            follows = self.following.follows[:, None]
            tokens = torch.where(follows, self.following.skip(count), tokens)
            self._end_followed()
        return torch.where(ended[:, None], -1, tokens)

    def _close(self) -> None:
        """Step into the next segment where the present one is full."""
        full = (self.place >= self._here(self._most)) & ~self.ended
        elastic = self._here(self._elastic)
        self.segment += full.long()
        self.place.masked_fill_(full, 0)
        self.cut |= full & elastic & self.ended


def _copied_tokens(item: Plan) -> int:
    return sum(len(s.tokens) for s in item.body if isinstance(s, Copy))


def _spoken(
    xp: Any, token: Any, segment: Any, place: Any, cut: Any, is_empty: Any, most: Any, elastic: Any
) -> tuple[Any, Any, Any, Any, Any]:
    """Return tokens, the next segment, place and cut, and who has ended, by NumPy or by torch."""
    ended = is_empty | (segment != 0)
    over = ended | (token == CODE_COUNT)
    place = place + 1
    full = place >= most
    closed = over | full
    return (
        xp.where(over, -1, token),
        xp.where(ended, segment, closed),
        xp.where(closed, 0, place),
        cut | full & elastic & ~over,
        closed,
    )
