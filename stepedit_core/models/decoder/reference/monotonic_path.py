"""Follow the answer through its reference: a monotonic path by content, and a bias towards it.

Attention without positions confuses stretches that sound alike. Most edits keep the order of what
is said, so the frames' likenesses are searched for the best path that only moves forward, as in
Glow-TTS (Kim et al. 2020, section 3.3), on groups of 120 ms and with jumps for what was cut out.
Attention is then pulled towards the path, as far as the path fits: a clone says other words, and
there the pull has to vanish. The path at a group depends on `lag` groups after it and no more, so
that a stream follows the path of the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = [
    "GROUP_FRAMES",
    "MonotonicPath",
    "PathState",
    "frame_positions",
    "group_likeness",
    "search",
]

GROUP_FRAMES, ROWS = 6, 3
"""Mel frames (20 ms) and token rows (40 ms) in a group of codes."""
MOST = 3
"""Groups that the reference moves on at most in one group, unless it jumps."""
JUMP = 0.6
"""What a jump forward costs, in units of likeness (cosine)."""
REACH, FARTHEST = 6.0, 6.0
"""Frames off the path that cost a half, and the most that any distance costs, in nats."""
EXTRA = 2
"""Groups beyond the lag that the places of frames depend on: smoothing, and interpolation."""


@dataclass(frozen=True)
class PathState:
    """Where target groups lie in the reference.

    Attributes:
        place: reference group of each target group, float ``(batch, t)``.
        fit: how much more alike target and reference are on the path than elsewhere, cosine,
            ``(batch, t)``.
        best: likeness of the best path to each reference group after each target group, less
            that of the best of all, ``(batch, t, r)``.
    """

    place: Tensor
    fit: Tensor
    best: Tensor

    def part(self, first: int, stop: int) -> PathState:
        """Return the groups from ``first`` to before ``stop``; a path can go on after them."""
        span = slice(first, stop)
        return PathState(self.place[:, span], self.fit[:, span], self.best[:, span])

    def join(self, after: PathState) -> PathState:
        """Return this path and what follows it."""
        pairs = zip(
            (self.place, self.fit, self.best), (after.place, after.fit, after.best), strict=True
        )
        return PathState(*(torch.cat(pair, 1) for pair in pairs))


def group_likeness(likeness: Tensor, allowed: Tensor | None) -> Tensor:
    """Return the likeness of groups: how well a group's frames are found within another.

    Args:
        likeness: of frames, ``(batch, t, r)``.
        allowed: which reference frames are real, bool ``(batch, r)``; None: all.

    Returns:
        ``(batch, ceil(t / 6), ceil(r / 6))``; where nothing is real, minus infinity.
    """
    if allowed is not None:
        likeness = likeness.masked_fill(~allowed[:, None], -torch.inf)
    batch, t, r = likeness.shape
    wide = F.pad(likeness, (0, -r % GROUP_FRAMES), value=-torch.inf)
    found = wide.reshape(batch, t, -1, GROUP_FRAMES).amax(3)
    count = F.pad(torch.ones(t, device=likeness.device), (0, -t % GROUP_FRAMES))
    count = count.reshape(-1, GROUP_FRAMES).sum(1)
    tall = F.pad(found, (0, 0, 0, -t % GROUP_FRAMES))
    summed: Tensor = tall.reshape(batch, -1, GROUP_FRAMES, found.shape[2]).sum(2)
    return summed / count[:, None]


def _step(best: Tensor) -> tuple[Tensor, Tensor]:
    """Return the best way to each group, ``(batch, r)``, and the group that it comes from."""
    r = best.shape[1]
    ways = F.pad(best, (MOST, 0), value=-torch.inf).unfold(1, r, 1).flip(1)  # by 0 .. MOST
    value, moved = ways.max(1)
    place = torch.arange(r, device=best.device)
    origin = place - moved
    far, far_from = best.cummax(1)
    far = F.pad(far[:, :-1], (1, 0), value=-torch.inf) - JUMP
    far_from = F.pad(far_from[:, :-1], (1, 0))
    jumps = far > value
    return torch.where(jumps, far, value), torch.where(jumps, far_from, origin)


def search(
    scores: Tensor, lag: int, real: Tensor | None = None, before: Tensor | None = None
) -> PathState:
    """Return the best monotonic path, each group's place decided ``lag`` groups later.

    Args:
        scores: likeness of groups, ``(batch, t, r)``; minus infinity where nothing is real.
        lag: groups.
        real: which target groups are no padding, bool ``(batch, t)``; None: all.
        before: likeness of the best path to each reference group before the first target group,
            ``(batch, r)``; None begins anywhere.
    """
    batch, count, r = scores.shape
    finite = scores.isfinite()
    mean = scores.masked_fill(~finite, 0.0).sum(2, keepdim=True)
    mean = mean / finite.sum(2, keepdim=True).clamp_min(1)
    gain = scores - mean
    best = gain.new_zeros(batch, r) if before is None else before
    stay = torch.arange(r, device=scores.device).expand(batch, -1)
    bests, origins = [], []
    for index in range(count):
        value, origin = (best, stay) if before is None and index == 0 else _step(best)
        value = value + gain[:, index]
        if real is not None:
            value = torch.where(real[:, index, None], value, best)
            origin = torch.where(real[:, index, None], origin, stay)
        # Only differences count; without this a long stream would run out of precision.
        best = value - value.amax(1, keepdim=True)
        bests.append(best)
        origins.append(origin)
    table, came = torch.stack(bests, 1), torch.stack(origins, 1)
    place, fit = _decide(table, came, gain, lag, real)
    return PathState(place.to(scores.dtype), fit, table)


def _decide(
    best: Tensor, came: Tensor, gain: Tensor, lag: int, real: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Go back from the best end ``lag`` groups later; return places and mean gains on the way."""
    count = best.shape[1]
    index = torch.arange(count, device=best.device)
    place = best[:, (index + lag).clamp(max=count - 1)].argmax(2)
    total, passed = torch.zeros_like(best[..., 0]), torch.zeros_like(best[..., 0])
    for back in range(lag, -1, -1):
        at = (index + back).clamp(max=count - 1)
        exists = (index + back < count)[None]
        if real is not None:
            exists = exists & real[:, at]
        here = gain[:, at].gather(2, place[..., None])[..., 0]
        total = total + torch.where(exists, here, 0.0)
        passed = passed + exists
        if back:
            before = came[:, at].gather(2, place[..., None])[..., 0]
            place = torch.where(exists, before, place)
    return place, total / passed.clamp_min(1)


def frame_positions(place: Tensor, frames: int, real: Tensor | None = None) -> Tensor:
    """Return the reference frame of each target frame, ``(batch, frames)``, from groups' places.

    Args:
        place: reference group of each target group, ``(batch, t)``; padding stays at the last.
        frames: of the target.
        real: which target groups are no padding, bool ``(batch, t)``; None: all.
    """
    ends = torch.cat([place[:, :1], place, place[:, -1:]], 1)
    smooth = 0.25 * ends[:, :-2] + 0.5 * ends[:, 1:-1] + 0.25 * ends[:, 2:]
    if real is not None:  # smoothing ends with the utterance
        index = torch.arange(place.shape[1], device=place.device)
        smooth = smooth.gather(1, torch.minimum(index, real.sum(1, keepdim=True) - 1))
    middle = (GROUP_FRAMES - 1) / 2
    time = (torch.arange(frames, device=place.device) - middle) / GROUP_FRAMES
    low = time.floor().clamp(0, max(0, place.shape[1] - 2)).long()
    high = (low + 1).clamp(max=place.shape[1] - 1)
    part = (time - low).clamp(0, 1).to(smooth.dtype)
    group = smooth[:, low] + part * (smooth[:, high] - smooth[:, low])
    return group * GROUP_FRAMES + middle


def _real_groups(mask: Tensor | None) -> Tensor | None:
    return None if mask is None else mask[:, ::GROUP_FRAMES, 0] > 0


class MonotonicPath(nn.Module):
    """The path of a decoder, and how strongly its attentions are pulled towards it."""

    def __init__(self, lag: int, heads: Sequence[int]) -> None:
        """Make the weights; at first a path that fits by 0.3 pulls half.

        Args:
            lag: groups after which a place is decided.
            heads: of each attention.
        """
        super().__init__()
        self.lag = lag
        self.pull = nn.ParameterList(nn.Parameter(torch.ones(count)) for count in heads)
        self.slope = nn.Parameter(torch.tensor(25.0))
        self.least = nn.Parameter(torch.tensor(0.3))

    @property
    def lookahead(self) -> int:
        """Rows of tokens after its own that a frame's place depends on, besides their features."""
        return ROWS * (self.lag + EXTRA)

    def search(
        self, likeness: Tensor, own: Tensor | None, other: Tensor | None, before: PathState | None
    ) -> PathState:
        """Return the path of all target groups.

        Args:
            likeness: of frames, ``(batch, frames, r)``.
            own: which target frames are real, `time_mask`; None: all.
            other: the same of the reference.
            before: path of the first groups, which is not looked for again.
        """
        scores = group_likeness(likeness, None if other is None else other[..., 0] > 0)
        real = _real_groups(own)
        if before is None:
            return search(scores, self.lag, real)
        known = before.place.shape[1]
        return before.join(search(scores[:, known:], self.lag, real, before.best[:, -1]))

    def attention_bias(
        self,
        path: PathState,
        frames: int,
        keys: int,
        own: Tensor | None,
        known_positions: Tensor | None = None,
    ) -> list[Tensor]:
        """Return the bias of each attention, ``(batch, heads, frames, keys)``.

        Args:
            path: of all groups.
            frames: of the target.
            keys: frames of the reference.
            own: which target frames are real, `time_mask`; None: all.
            known_positions: reference frames that are known, ``(batch, frames)``; NaN takes the
                path's.
        """
        place = frame_positions(path.place, frames, _real_groups(own))
        fit = path.fit.repeat_interleave(GROUP_FRAMES, 1)[:, :frames]
        sure = torch.sigmoid(self.slope * (fit - self.least))
        if known_positions is not None:
            known = known_positions.isfinite()
            place = torch.where(known, known_positions.nan_to_num(0.0), place)
            sure = torch.where(known, 1.0, sure)
        away = torch.arange(keys, device=place.device) - place[..., None]
        cost = (0.5 * (away / REACH).square()).clamp(max=FARTHEST)
        cost = (sure[..., None] * cost)[:, None]
        return [-F.softplus(pull)[:, None, None] * cost for pull in self.pull]
