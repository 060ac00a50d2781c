"""Which network removes the noise where none is named."""

from __future__ import annotations

from stepedit_core.dsp.enhancement import NetName, missing_package

__all__ = ["ENSEMBLE", "best_nets"]

ENSEMBLE: tuple[NetName, ...] = ("rnnoise", "deepfilternet")
"""Networks whose mean ``backend=ensemble`` takes."""
ORDER: tuple[NetName, ...] = ("rnnoise", "deepfilternet", "hush")
"""RNNoise succeeds as often as DeepFilterNet in a quarter of its time. Choosing by how far RNNoise
and Hush agree, and by how impulsive the noise is, was measured and succeeded no more often; the
ensemble, in five times RNNoise's time, was not shown to either."""


def best_nets() -> tuple[NetName, ...]:
    """Return the first network whose package is there; empty if none is."""
    return tuple(name for name in ORDER if missing_package(name) is None)[:1]
