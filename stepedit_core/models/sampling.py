"""Pick the next token: the public sampling rules, vectorised over a batch.

Randomness is one uniform number per item and step, drawn beforehand from a counter-based
generator (Philox) keyed by the item's seed alone. An item therefore gets the same numbers
alone or in a batch, and on every device; nothing is drawn while tokens are made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = ["GREEDY", "Sampling", "pick", "repeated_id", "uniforms"]

# The largest uniform number: below one by more than float64 rounding of a sum of
# probabilities, so the picked place is always inside the distribution.
_BELOW_ONE = 1.0 - 1e-9


@dataclass(frozen=True)
class Sampling:
    """How to pick a token from logits; the defaults are the public system's.

    The order is: repetition rule, temperature, top-k, top-p. With ``top_k=50`` and the
    repetition rule this is the public first release (whose library defaulted to 50); with
    ``repetition_window=0`` it is the later one.

    Attributes:
        temperature: divides the logits; 0 takes the largest logit (greedy).
        top_k: keep the k largest logits.
        top_p: keep the smallest set of tokens whose probabilities reach p.
        repetition_window: the newest id may not follow again at once if it occurs at least
            ``repetition_count`` times among this many last ids of prompt and output; 0 is off.
        repetition_count: see above.
    """

    temperature: float = 0.7
    top_k: int | None = None
    top_p: float | None = None
    repetition_window: int = 10
    repetition_count: int = 2

    def __post_init__(self) -> None:
        """Refuse values that no distribution can have."""
        if self.temperature < 0:
            raise ValueError(f"temperature {self.temperature} is below 0")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k {self.top_k} is below 1")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p {self.top_p} is outside (0, 1]")
        if self.repetition_window < 0 or self.repetition_count < 2:
            raise ValueError("repetition_window must be at least 0, repetition_count at least 2")

    @property
    def greedy(self) -> bool:
        """Tell whether the largest logit is taken."""
        return self.temperature == 0


GREEDY = Sampling(temperature=0.0, repetition_window=0)
"""Take the largest logit, without the repetition rule."""


def uniforms(seeds: Sequence[int], steps: int) -> Tensor:
    """Return float64 numbers in ``[0, 1)``, shape ``(len(seeds), steps)``, on the CPU.

    A row depends on its seed only, and its first numbers do not depend on ``steps``.

    Raises:
        ValueError: if a seed is negative.
    """
    if any(seed < 0 for seed in seeds):
        raise ValueError("seeds must not be negative")
    rows = [np.random.Generator(np.random.Philox(seed)).random(steps) for seed in seeds]
    return torch.from_numpy(np.stack(rows)) if rows else torch.empty(0, steps)


def repeated_id(recent: Tensor, count: int = 2) -> Tensor:
    """Return the id that the repetition rule bans next, int64 ``(batch,)``, -1 for none.

    Args:
        recent: int64 ``(batch, window)``, the last ids, newest last; -1 before the start of
            the prompt, which switches the rule off (the public code needs a full window).
        count: occurrences of the newest id, itself included, from which on it is banned.
    """
    newest = recent[:, -1]
    often = (recent == newest[:, None]).sum(dim=1) >= count
    return torch.where(often & (recent[:, 0] >= 0), newest, -1)


def pick(logits: Tensor, sampling: Sampling, uniform: Tensor) -> Tensor:
    """Return one index per row, int64 ``(batch,)``.

    Inverse-CDF sampling in float64 (float32 on devices without it).

    Args:
        logits: ``(batch, tokens)``; -inf where forbidden.
        sampling: the rules; the repetition rule is not applied here.
        uniform: ``(batch,)``, the noise of this step; unused when greedy.
    """
    if sampling.greedy:
        return logits.argmax(dim=-1)
    scores = logits.float() / sampling.temperature
    if sampling.top_k is not None and sampling.top_k < scores.shape[-1]:
        least = scores.topk(sampling.top_k, dim=-1).values[:, -1:]
        scores = scores.masked_fill(scores < least, -torch.inf)
    if sampling.top_p is not None and sampling.top_p < 1:
        scores = _nucleus(scores, sampling.top_p)
    exact = torch.float32 if scores.device.type == "mps" else torch.float64
    cumulative = scores.softmax(dim=-1).to(exact).cumsum(dim=-1)
    target = uniform.to(exact).clamp(max=_BELOW_ONE)[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, target, right=True).squeeze(1)


def _nucleus(scores: Tensor, top_p: float) -> Tensor:
    """Keep the smallest set of tokens reaching ``top_p`` (Holtzman et al. 2020)."""
    ordered, order = scores.sort(dim=-1, descending=False)
    tail = ordered.softmax(dim=-1).cumsum(dim=-1) <= 1 - top_p
    tail[:, -1] = False
    return scores.masked_fill(tail.scatter(1, order, tail), -torch.inf)
