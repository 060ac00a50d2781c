"""Which networks remove the noise where none is named, and how much of the input stays."""

from __future__ import annotations

from stepedit_core.dsp.enhancement import NetName, missing_package

__all__ = ["ENSEMBLE", "best_nets", "by_agreement"]

ENSEMBLE: tuple[NetName, ...] = ("rnnoise", "deepfilternet")
"""Networks whose mean ``backend=ensemble`` takes."""
ORDER: tuple[NetName, ...] = ("deepfilternet", "rnnoise", "hush")
"""Which one is taken where not both are there: the one that loses the fewest words."""
# In voices behind the speech and in rooms RNNoise takes speech for noise, and the networks differ
# by this much against their mean. DeepFilterNet errs less there, and more of the input keeps words.
# Chosen on speakers of LibriSpeech train-clean-100: training/log/2026-11-30-noise.
_DISAGREE_DB, _MORE_INPUT = -6.0, 0.1


def best_nets() -> tuple[NetName, ...]:
    """Return the networks that are asked, of those that are installed, if any is."""
    there = tuple(name for name in ORDER if missing_package(name) is None)
    return ENSEMBLE if set(ENSEMBLE) <= set(there) else there[:1]


def by_agreement(disagreement_db: float, strength: float) -> tuple[tuple[NetName, ...], float]:
    """Return the networks whose mean is taken, and its share of the output.

    Args:
        disagreement_db: power of the difference of `ENSEMBLE` over that of its mean, in dB.
        strength: above 0, at most 1: the share that is asked for. All of it stays all.
    """
    if disagreement_db <= _DISAGREE_DB:
        return ENSEMBLE, strength
    return ORDER[:1], max(strength / 2, strength - min(_MORE_INPUT, 1 - strength))
