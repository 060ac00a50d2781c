"""The starting noise of flow matching: one column per mel frame, from a seed or given."""

from __future__ import annotations

import threading

import numpy as np
import torch
from torch import Tensor

from stepedit_core.errors import EngineError

__all__ = ["FlowNoise"]

NOISE_STREAM = 1
"""Keeps these draws apart from other uses of the same seed."""


class FlowNoise:
    """Standard normal noise whose column index is the mel frame index from the prompt's start.

    The public system draws this buffer from the global generator when the module is built, so
    every process decodes differently, and caps it at 30000 frames. Here it comes from a seed (or
    an explicit tensor) and grows as far as it is asked for; columns that were handed out never
    change when it grows.
    """

    def __init__(self, seed: int = 0, channels: int = 80, *, values: Tensor | None = None) -> None:
        """Make a noise source.

        Args:
            seed: seed of the columns, 0 or more; not used when ``values`` is given.
            channels: mel bins.
            values: explicit noise, float, shape ``(1, channels, frames)`` or
                ``(channels, frames)``.

        Raises:
            ValueError: if ``values`` has another shape.
        """
        self.channels = channels
        self._lock = threading.Lock()
        self._rng: np.random.Generator | None = None
        if values is None:
            self._rng = np.random.default_rng((seed, NOISE_STREAM))
            self._values = torch.empty(0, channels)
            return
        values = values.detach().squeeze(0) if values.ndim == 3 else values.detach()
        if values.ndim != 2 or values.shape[0] != channels:
            raise ValueError(
                f"noise must have shape (1, {channels}, frames), not {tuple(values.shape)}"
            )
        self._values = values.float().t().contiguous()

    def columns(self, start: int, stop: int) -> Tensor:
        """Return columns ``start`` to ``stop`` (exclusive).

        Returns:
            float32 on the CPU, shape ``(1, channels, stop - start)``.

        Raises:
            EngineError: if the noise was given as a tensor that ends before ``stop``.
        """
        with self._lock:
            if stop > len(self._values):
                self._grow(stop)
            return self._values[start:stop].t().unsqueeze(0)

    def _grow(self, stop: int) -> None:
        """Draw more columns; one stream drawn frame by frame, so that earlier ones stay."""
        if self._rng is None:
            raise EngineError(
                f"flow noise: {stop} frames are needed and the given tensor has "
                f"{len(self._values)}; give a longer one, or a seed"
            )
        count = max(stop - len(self._values), 1024)
        drawn = self._rng.standard_normal((count, self.channels), dtype=np.float32)
        self._values = torch.cat([self._values, torch.from_numpy(drawn)])
