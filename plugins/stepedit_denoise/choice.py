"""Which network removes the noise where none is named."""

from __future__ import annotations

from stepedit_core.dsp.enhancement import NetName, missing_package

__all__ = ["best_net"]

ORDER: tuple[NetName, ...] = ("rnnoise", "deepfilternet", "hush")
"""RNNoise succeeds as often as DeepFilterNet in half of its time. Choosing by how far RNNoise and
Hush agree, and by how impulsive the noise is, was measured and succeeded no more often."""


def best_net() -> NetName | None:
    """Return the first network whose package is there, or None."""
    return next((name for name in ORDER if missing_package(name) is None), None)
