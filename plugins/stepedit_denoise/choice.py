"""Which network removes the noise where none is named: by what two of them take away.

RNNoise tells speech from what is no speech, and so leaves other voices; Hush was trained to take
voices behind a voice away. Where Hush takes away more than RNNoise, and both differ by nearly as
much as there is speech, voices are behind the speech, and Hush is taken. What RNNoise takes away is
impulsive where there are clicks, for which DeepFilterNet is better. In all else RNNoise is as good
as any, in less time than DeepFilterNet.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from stepedit_core import Utterance
from stepedit_core.dsp.enhancement import NetName, enhanced_by_net, missing_package

__all__ = ["best_net", "choose"]

FloatArray = npt.NDArray[np.float64]

# On six recordings of LibriSpeech (train-clean-100) at 5 dB: the difference over what Hush leaves
# is -1 to 1 dB in babble, and -4 dB or less where Hush takes away more than RNNoise otherwise;
# kurtosis of what RNNoise takes away is 500 and more of clicks, and 25 at most of all else.
_VOICES_DB, _CLICKS = -2.5, 100.0


def best_net() -> NetName | None:
    """Return the network that is tried first, of those whose packages are there."""
    order: tuple[NetName, ...] = ("rnnoise", "deepfilternet", "hush")
    return next((name for name in order if missing_package(name) is None), None)


def choose(utterance: Utterance) -> tuple[NetName | None, FloatArray | None, dict[str, Any]]:
    """Return the network to take, what it makes of the recording, and what was heard.

    Args:
        utterance: any rate and length, without a constant offset.

    Returns:
        The network, or None where none is installed; its speech, ``(n,)``; ``heard`` is ``voices``,
        ``clicks`` or ``noise``, where RNNoise is there to tell.
    """
    first = best_net()
    if first is None:
        return None, None, {}
    speech = enhanced_by_net(utterance, first).astype(np.float64)
    if first != "rnnoise":
        return first, speech, {}
    samples = utterance.samples.astype(np.float64)
    if missing_package("hush") is None:
        nearest = enhanced_by_net(utterance, "hush").astype(np.float64)
        if _voices_behind(samples, speech, nearest):
            return "hush", nearest, {"heard": "voices"}
    if _kurtosis(samples - speech) > _CLICKS and missing_package("deepfilternet") is None:
        other = enhanced_by_net(utterance, "deepfilternet").astype(np.float64)
        return "deepfilternet", other, {"heard": "clicks"}
    return first, speech, {"heard": "noise"}


def _voices_behind(samples: FloatArray, speech: FloatArray, nearest: FloatArray) -> bool:
    """Return whether Hush takes away more than RNNoise, and much more than noise.

    Args:
        samples: the recording.
        speech: what RNNoise leaves of it.
        nearest: what Hush leaves of it.
    """
    apart, left = (float(np.mean(part**2)) for part in (speech - nearest, nearest))
    gone, more = (float(np.mean((samples - part) ** 2)) for part in (speech, nearest))
    return more > gone and apart > left * 10 ** (_VOICES_DB / 10)


def _kurtosis(samples: FloatArray) -> float:
    """Return the excess kurtosis of samples; 0 of none."""
    power = np.square(samples - samples.mean())
    mean = float(power.mean())
    return float(np.mean(power**2)) / mean**2 - 3 if mean > 0 else 0.0
