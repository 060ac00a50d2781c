"""Which networks remove the noise where none is named."""

from __future__ import annotations

from stepedit_core.dsp.enhancement import NetName, missing_package

__all__ = ["ENSEMBLE", "best_nets"]

ENSEMBLE: tuple[NetName, ...] = ("rnnoise", "deepfilternet")
"""Networks whose mean ``backend=ensemble`` takes."""
ORDER: tuple[NetName, ...] = ("rnnoise", "deepfilternet", "hush")
"""Where one of the ensemble is absent: RNNoise succeeds as often as DeepFilterNet in half of its
time. Choosing by how far RNNoise and Hush agree, and by how impulsive the noise is, was measured
and succeeded no more often."""


def best_nets() -> tuple[NetName, ...]:
    """Return the ensemble, or the first network whose package is there; empty if none is."""
    there = [name for name in ORDER if missing_package(name) is None]
    return ENSEMBLE if set(ENSEMBLE) <= set(there) else tuple(there[:1])
