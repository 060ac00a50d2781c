"""Which network removes the noise where none is named."""

from __future__ import annotations

from stepedit_core.dsp.enhancement import NetName, missing_package

__all__ = ["ENSEMBLE", "best_nets"]

ENSEMBLE: tuple[NetName, ...] = ("rnnoise", "deepfilternet")
"""Networks whose mean ``backend=ensemble`` takes."""
ORDER: tuple[NetName, ...] = ("deepfilternet", "rnnoise", "hush")
"""DeepFilterNet loses the fewest words in each kind of noise and in rooms that was tried; RNNoise
takes a quarter of its time."""


def best_nets() -> tuple[NetName, ...]:
    """Return the network that loses the fewest words, of those that are installed, if any is."""
    return tuple(name for name in ORDER if missing_package(name) is None)[:1]
