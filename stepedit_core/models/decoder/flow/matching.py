"""Conditional flow matching: from noise to a mel spectrogram in a few Euler steps.

Lipman et al., "Flow Matching for Generative Modeling", 2023; classifier-free guidance as in Le et
al., "Voicebox", 2023.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stepedit_core.errors import EngineError
from stepedit_core.models.decoder.flow.dit import DiT, DiTCache

__all__ = ["CausalConditionalCFM", "FlowCache", "cosine_times", "euler_steps"]

FlowCache = list[DiTCache]
"""A stream's past, one entry per solver step."""


def cosine_times(progress: Tensor) -> Tensor:
    """Return the solver's times ``1 - cos(pi/2 * progress)``: steps are small where it begins.

    Args:
        progress: float, 0 to 1, any shape.
    """
    return 1 - torch.cos(progress * 0.5 * torch.pi)


def euler_steps(count: int) -> list[tuple[float, float]]:
    """Return (time, step length) of every Euler step on the cosine schedule.

    Times are `cosine_times` of ``k / count``. The time is summed up in float32 and each step ends
    where the schedule says, as the public solver does it.

    Raises:
        EngineError: if ``count`` is less than 1.
    """
    if count < 1:
        raise EngineError(f"decoder: n_steps must be at least 1, not {count}")
    grid = cosine_times(torch.linspace(0, 1, count + 1))
    steps: list[tuple[float, float]] = []
    time, length = grid[0], grid[1] - grid[0]
    for index in range(1, count + 1):
        steps.append((float(time), float(length)))
        time = time + length
        if index < count:
            length = grid[index + 1] - time
    return steps


class CausalConditionalCFM(nn.Module):
    """The solver around the velocity estimator."""

    def __init__(self, estimator: DiT, inference_cfg_rate: float = 0.7) -> None:
        """Keep the estimator.

        Args:
            estimator: the velocity estimator.
            inference_cfg_rate: guidance strength; 0.7 means 1.7 times the conditional velocity
                minus 0.7 times the unconditional one.
        """
        super().__init__()
        self.estimator = estimator
        self.guidance = inference_cfg_rate

    def velocity(
        self,
        x: Tensor,
        t: float,
        mu: Tensor,
        speaker: Tensor,
        cond: Tensor,
        mask: Tensor | None = None,
        cache: DiTCache | None = None,
    ) -> Tensor:
        """Return the guided velocity at time ``t``; arguments as in `forward`, doubled batch."""
        dtype = self.estimator.in_proj.weight.dtype
        time = torch.full((1,), t, device=x.device)
        # A compiled estimator is for whole sequences; caches are Python objects.
        estimate = self.estimator if cache is None else self.estimator.forward
        both = estimate(torch.cat([x, x]).to(dtype), mu, time, speaker, cond, mask, cache)
        with_condition, without = both.to(x.dtype).chunk(2)
        return (1.0 + self.guidance) * with_condition - self.guidance * without

    def forward(
        self,
        noise: Tensor,
        mu: Tensor,
        speaker: Tensor,
        cond: Tensor,
        n_steps: int = 10,
        mask: Tensor | None = None,
        cache: FlowCache | None = None,
    ) -> Tensor:
        """Solve from noise to mel.

        The state is kept in float32 whatever the estimator's dtype is.

        Args:
            noise: ``(batch, bins, frames)``.
            mu: encoder output, same shape.
            speaker: projected speaker vector, ``(batch, bins)``.
            cond: prompt mel, then zeros, same shape as ``noise``.
            n_steps: Euler steps.
            mask: bool ``(batch, frames)``, true where a frame is real; None for all.
            cache: a stream's past, extended in place.

        Returns:
            float32, same shape as ``noise``.
        """
        dtype = self.estimator.in_proj.weight.dtype
        twice = [torch.cat([x, torch.zeros_like(x)]).to(dtype) for x in (mu, speaker, cond)]
        twice_mask = None if mask is None else torch.cat([mask, mask])
        x = noise.float()
        for index, (time, length) in enumerate(euler_steps(n_steps)):
            past = None if cache is None else cache[index]
            v = self.velocity(x, time, twice[0], twice[1], twice[2], twice_mask, past)
            x = x + length * v
        return x

    def empty_cache(self, n_steps: int) -> FlowCache:
        """Return the cache of a stream that has not begun."""
        return [self.estimator.empty_cache() for _ in range(n_steps)]
