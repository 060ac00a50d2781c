"""Decode part of an answer, with a little of what is around it, near to how the whole sounds.

Most of a decoder's view is local: convolutions, and a reference that is looked up by content and
place. What lies further away than the context changes the sound little. It is not the sound of the
whole, for which all of the answer is decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from torch import Tensor

from stepedit_core.codes import GROUP_SIZE, SEMANTIC_PER_GROUP
from stepedit_core.models.decoder.decoder import DecodeInput, Decoder
from stepedit_core.models.decoder.vocoder import SeededSourceNoise, SourceNoise

__all__ = ["CONTEXT", "speak_excerpts"]

CONTEXT = 3
"""Groups on either side of an excerpt whose mel is made with it."""
_HEARD = 1
"""Groups on either side of an excerpt that the vocoder speaks with it."""


def speak_excerpts(
    decoder: Decoder,
    items: Sequence[DecodeInput],
    excerpts: Sequence[tuple[int, int]],
    context: int = CONTEXT,
    heard: int = _HEARD,
) -> list[npt.NDArray[np.float32]]:
    """Return the sound of some groups of each answer, float32 at the decoder's rate.

    The source's noise is that of the whole at the same place. Decoders whose reference need not
    lie on its codes' grid count the flow's noise from the reference's beginning: they make all of
    the mel.

    Args:
        decoder: of one checkpoint.
        items: whole answers.
        excerpts: first group of each, and the group after its last one.
        context: groups on either side whose mel is made with it.
        heard: groups on either side that the vocoder speaks with it, at most ``context``.
    """
    size, frames = _samples(decoder), SEMANTIC_PER_GROUP * decoder.flow.factor
    counts = [-(-len(item.tokens) // GROUP_SIZE) for item in items]
    asked = list(zip(excerpts, counts, strict=True))
    local = decoder.flow.aligned_reference
    wide = [_around(one, count, context if local else count) for one, count in asked]
    near = [_around(one, count, heard) for one, count in asked]
    mels = decoder.mels([_part(item, *own, size) for item, own in zip(items, wide, strict=True)])
    cut = [
        mel[:, frames * (begin - first) : frames * (end - first)]
        for mel, (first, _), (begin, end) in zip(mels, wide, near, strict=True)
    ]
    parts = [_part(item, *own, size) for item, own in zip(items, near, strict=True)]
    return [
        wave[size * (first - begin) : size * (stop - begin)]
        for wave, (begin, _), (first, stop) in zip(
            decoder.voiced(parts, cut), near, excerpts, strict=True
        )
    ]


def _around(excerpt: tuple[int, int], groups: int, more: int) -> tuple[int, int]:
    """Return an excerpt of so many groups, widened by some on either side."""
    return max(0, excerpt[0] - more), min(groups, excerpt[1] + more)


def _samples(decoder: Decoder) -> int:
    """Return the samples of a group."""
    return SEMANTIC_PER_GROUP * decoder.flow.factor * decoder.vocoder.hop


def _part(item: DecodeInput, begin: int, end: int, size: int) -> DecodeInput:
    """Return the input of some groups; a group has ``size`` samples."""
    noise = item.source_noise or SeededSourceNoise(item.seed)
    return replace(
        item,
        tokens=item.tokens[GROUP_SIZE * begin : GROUP_SIZE * end],
        source_noise=_Later(noise, size * begin) if begin else noise,
        source_map=item.source_map and item.source_map.part(begin, end),
    )


class _Later:
    """Source noise from a sample on."""

    def __init__(self, noise: SourceNoise, skipped: int) -> None:
        self._noise, self._skipped = noise, skipped

    def __call__(self, samples: int, harmonics: int) -> Tensor:
        """Return the next draws, float32, shape ``(samples, harmonics)``."""
        drawn = self._noise(self._skipped + samples, harmonics)[self._skipped :]
        self._skipped = 0
        return drawn
