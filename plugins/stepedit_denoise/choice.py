"""Which network removes the noise where none is named: by how far two of them agree.

RNNoise tells speech from what is no speech. Where other voices are behind the speech it leaves them
or takes the speech along; Hush was trained to keep the nearest voice. Where what both leave differs
by nearly as much as there is of it, Hush is taken. What RNNoise takes away is impulsive where there
are clicks, for which DeepFilterNet is taken. In all else RNNoise is as good as any, in less time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from stepedit_core import Utterance
from stepedit_core.dsp.enhancement import NetName, enhanced_by_net, missing_package

__all__ = ["best_net", "choose"]

FloatArray = npt.NDArray[np.float64]

# On six recordings of LibriSpeech (train-clean-100) at 5 dB the difference over what Hush leaves is
# -1 to 1 dB in babble, and below -2.5 dB but for two of 24 in white noise, hum, clicks and street;
# kurtosis of what RNNoise takes away is 500 and more of clicks, and 25 at most of all else.
_APART_DB, _CLICKS = -2.5, 100.0


def best_net() -> NetName | None:
    """Return the network that is tried first, of those whose packages are there."""
    order: tuple[NetName, ...] = ("rnnoise", "deepfilternet", "hush")
    return next((name for name in order if missing_package(name) is None), None)


def choose(utterance: Utterance) -> tuple[NetName | None, FloatArray | None, dict[str, Any]]:
    """Return the network to take, what it makes of the recording, and what was heard.

    Args:
        utterance: any rate and length, without a constant offset.

    Returns:
        The network, or None where none is installed; its speech, ``(n,)``; and what the choice
        went by, where RNNoise is there: ``apart_db`` and ``kurtosis``.
    """
    first = best_net()
    if first is None:
        return None, None, {}
    speech = enhanced_by_net(utterance, first).astype(np.float64)
    if first != "rnnoise":
        return first, speech, {}
    found: dict[str, Any] = {}
    if missing_package("hush") is None:
        nearest = enhanced_by_net(utterance, "hush").astype(np.float64)
        apart, left = (float(np.mean(part**2)) for part in (speech - nearest, nearest))
        found["apart_db"] = round(10 * float(np.log10(max(apart, 1e-12) / max(left, 1e-12))), 1)
        if found["apart_db"] > _APART_DB:
            return "hush", nearest, found
    found["kurtosis"] = round(_kurtosis(utterance.samples - speech), 1)
    if found["kurtosis"] > _CLICKS and missing_package("deepfilternet") is None:
        other = enhanced_by_net(utterance, "deepfilternet").astype(np.float64)
        return "deepfilternet", other, found
    return first, speech, found


def _kurtosis(samples: FloatArray) -> float:
    """Return the excess kurtosis of samples; 0 of none."""
    power = np.square(samples - samples.mean())
    mean = float(power.mean())
    return float(np.mean(power**2)) / mean**2 - 3 if mean > 0 else 0.0
