"""Walk a batch through its sources: which of their codes may be said next.

As in `constraint_state`, a decode step asks nothing of the host. Of places in the source that say
the same so far, all are kept in view until the group ends; the last one is then where the row is.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from stepedit_core.codes import GROUP_SIZE, SEMANTIC_PER_GROUP
from stepedit_core.llm_route.omissions import Passage
from stepedit_core.models.lm.constraints import CODE_COUNT, Follow, Plan

__all__ = ["Following"]

_TABLES = ("_groups", "_stays", "_first", "_last", "_count", "_run")


class Following:
    """Where each row of a batch stands in its source; rows that follow none have no places.

    Attributes:
        place: int64 ``(rows,)``, where the next group begins if the row goes on.
        within: int64 ``(rows,)``, tokens of the present group that are said.
        alive: bool ``(rows, places + 1)``, places at which the present group may begin.
    """

    def __init__(self, plans: Sequence[Plan], device: torch.device) -> None:
        """Lay the passages out as tables, padded to the longest."""
        passages = [_passage(item) for item in plans]
        most = max((len(one.groups) for one in passages if one is not None), default=0)
        rows = len(plans)
        self._groups = torch.zeros(rows, most + 1, GROUP_SIZE, dtype=torch.int64)
        self._stays = torch.zeros(rows, most + 1, dtype=torch.bool)
        self._first = torch.ones(rows, most + 1, dtype=torch.int64)
        self._last = torch.zeros(rows, most + 1, dtype=torch.int64)
        self._count = torch.zeros(rows, dtype=torch.int64)
        self._run = torch.zeros(rows, most + 1, dtype=torch.int64)
        for row, one in enumerate(passages):
            if one is None:
                continue
            count = len(one.groups)
            self._groups[row, :count] = torch.from_numpy(one.groups)
            self._stays[row, :count] = torch.from_numpy(one.stays)
            self._first[row, :count] = torch.from_numpy(one.first)
            self._last[row, :count] = torch.from_numpy(one.last)
            self._run[row, :count] = torch.tensor(_runs(one))
            self._count[row] = count
        for name in _TABLES:
            setattr(self, name, getattr(self, name).to(device))
        self.place = torch.zeros(rows, dtype=torch.int64, device=device)
        self.within = torch.zeros(rows, dtype=torch.int64, device=device)
        self.alive = torch.zeros(rows, most + 1, dtype=torch.bool, device=device)
        self._look()

    @property
    def follows(self) -> Tensor:
        """Bool ``(rows,)``: the row follows a source."""
        return self._count > 0

    @property
    def ended(self) -> Tensor:
        """Bool ``(rows,)``: the row has come to the end of its source, or follows none."""
        return (self.within == 0) & (self.place >= self._count)

    def ahead(self, said: Tensor) -> Tensor:
        """Return by how many groups the present one lies further in its source than it would.

        Args:
            said: groups that each row has said, float32 ``(rows,)``.

        Returns:
            float32 ``(rows,)``; NaN for rows that follow no source.
        """
        return torch.where(self.follows, self.place / SEMANTIC_PER_GROUP - said, torch.nan)

    def _look(self) -> None:
        """Open all places at which the next group may begin."""
        places = torch.arange(self.alive.shape[1], device=self.place.device)[None]
        at = self.place.clamp(max=self.alive.shape[1] - 1)[:, None]
        stay = (places == at) & self._stays.gather(1, at)
        ahead = (places >= self._first.gather(1, at)) & (places <= self._last.gather(1, at))
        open_now = (stay | ahead) & (places <= self._count[:, None])
        self.alive = torch.where((self.within == 0)[:, None], open_now, self.alive)

    def held(self, scores: Tensor, plain: Tensor, first: int, with_end: bool) -> Tensor:
        """Return scores in which rows that follow a source have nothing but its codes.

        Args:
            scores: ``(rows, columns)``.
            plain: the same without the rule against repetition, which does not hold for them.
            first: audio token of the first column.
            with_end: the end of turn is the last column.
        """
        rows, columns = scores.shape
        count = columns - with_end
        slot = self.within.clamp(max=GROUP_SIZE - 1)[:, None, None]
        tokens = self._groups.gather(2, slot.expand(-1, self._groups.shape[1], 1)).squeeze(2)
        is_place = torch.arange(tokens.shape[1], device=tokens.device) < self._count[:, None]
        column = tokens - first
        fits = self.alive & is_place & (column >= 0) & (column < count)
        allowed = torch.zeros(rows, columns + 1, dtype=torch.bool, device=scores.device)
        allowed.scatter_(1, torch.where(fits, column, columns), True)
        allowed = allowed[:, :columns]
        if with_end:
            allowed[:, -1] = self.alive.gather(1, self._count[:, None]).squeeze(1)
        only = plain.masked_fill(~allowed, -torch.inf)
        return torch.where((self.follows & ~self.ended)[:, None], only, scores)

    def advance(self, sampled: Tensor) -> Tensor:
        """Move rows that follow a source on by one token.

        Args:
            sampled: int64 ``(rows,)``, picked under ``held``; ``CODE_COUNT`` is the end.

        Returns:
            Bool ``(rows,)``: rows that ended without saying one.
        """
        over = self.follows & ((sampled == CODE_COUNT) | self.ended)
        slot = self.within.clamp(max=GROUP_SIZE - 1)[:, None, None]
        tokens = self._groups.gather(2, slot.expand(-1, self._groups.shape[1], 1)).squeeze(2)
        is_place = torch.arange(tokens.shape[1], device=tokens.device) < self._count[:, None]
        self.alive &= is_place & (tokens == sampled[:, None])
        self._go_on(1)
        self.place = torch.where(over, self._count, self.place)
        self.within = torch.where(over | ~self.follows, 0, self.within)
        self._look()
        return over

    def _go_on(self, count: int) -> None:
        """Count tokens of the present group, and go to where it ends."""
        places = torch.arange(self.alive.shape[1], device=self.place.device)[None]
        here = torch.where(self.alive, places, -1).amax(dim=1)
        here = torch.where(self.ended, self.place, here)
        within = self.within + count
        groups = torch.div(within, GROUP_SIZE, rounding_mode="floor")
        self.within = torch.where(self.ended, 0, within - GROUP_SIZE * groups)
        # Until its end a group may still turn out to be a later one.
        self.place = torch.where(groups > 0, here + SEMANTIC_PER_GROUP * groups, here)
        self.place = torch.where(groups > 0, torch.minimum(self.place, self._count), self.place)

    def left(self) -> Tensor:
        """Return how many tokens come next without a choice, int64 ``(rows,)``."""
        single = self.alive.sum(dim=1) == 1
        places = torch.arange(self.alive.shape[1], device=self.place.device)[None]
        here = torch.where(self.alive, places, 0).amax(dim=1)
        begun = self.within > 0
        after = (here + SEMANTIC_PER_GROUP).clamp(max=self._run.shape[1] - 1)
        inside = GROUP_SIZE - self.within + GROUP_SIZE * self._run.gather(1, after[:, None])[:, 0]
        at = self.place.clamp(max=self._run.shape[1] - 1)
        between = GROUP_SIZE * self._run.gather(1, at[:, None])[:, 0]
        left = torch.where(begun, torch.where(single, inside, 0), between)
        return torch.where(self.follows & ~self.ended, left, 0)

    def skip(self, count: int) -> Tensor:
        """Move rows on by so many tokens that come without a choice; return them.

        Returns:
            int64 ``(rows, count)``; nonsense for rows that have ended or follow nothing.
        """
        places = torch.arange(self.alive.shape[1], device=self.place.device)[None]
        here = torch.where(self.alive, places, 0).amax(dim=1)
        here = torch.where(self.within > 0, here, self.place)
        step = self.within[:, None] + torch.arange(count, device=here.device)
        group = torch.div(step, GROUP_SIZE, rounding_mode="floor")
        at = (here[:, None] + SEMANTIC_PER_GROUP * group).clamp(max=self._groups.shape[1] - 1)
        rows = torch.arange(len(at), device=at.device)[:, None]
        tokens = self._groups[rows, at, step - GROUP_SIZE * group]
        total = self.within + count
        groups = torch.div(total, GROUP_SIZE, rounding_mode="floor")
        moving = self.follows & ~self.ended
        place = torch.minimum(here + SEMANTIC_PER_GROUP * groups, self._count)
        self.within = torch.where(moving, total - GROUP_SIZE * groups, self.within)
        self.place = torch.where(moving, place, self.place)
        self.alive = torch.where((moving & (self.within > 0))[:, None],
                                 places == self.place[:, None], self.alive)  # fmt: skip
        self._look()
        return tokens

    def end(self, over: Tensor) -> None:
        """End rows here and now; ``over`` is bool ``(rows,)``."""
        self.place = torch.where(over, self._count, self.place)
        self.within = torch.where(over, 0, self.within)

    def select(self, rows: Tensor) -> Following:
        """Return the state of some rows, int64 ``(kept,)``."""
        taken = Following.__new__(Following)
        for name in (*_TABLES, "place", "within", "alive"):
            setattr(taken, name, getattr(self, name)[rows])
        return taken

    def join(self, other: Following) -> Following:
        """Return the state of both batches, the other's rows last."""
        both = Following.__new__(Following)
        width = max(self.alive.shape[1], other.alive.shape[1])
        for name in (*_TABLES, "place", "within", "alive"):
            sides = []
            for one in (getattr(self, name), getattr(other, name)):
                if one.dim() > 1:
                    spare = (0, width - one.shape[1])
                    one = F.pad(one, (0, 0, *spare) if one.dim() == 3 else spare)
                sides.append(one)
            setattr(both, name, torch.cat(sides))
        return both


def _passage(item: Plan) -> Passage | None:
    """Return what a row follows."""
    first = item.body[0] if item.body else None
    return first.passage if isinstance(first, Follow) else None


def _runs(passage: Passage) -> list[int]:
    """Return how many groups follow each place without a choice."""
    count = len(passage.groups)
    runs = [0] * (count + SEMANTIC_PER_GROUP)
    for place in range(count - 1, -1, -1):
        if passage.stays[place] and passage.last[place] < passage.first[place]:
            runs[place] = 1 + runs[place + SEMANTIC_PER_GROUP]
    return runs[:count]
