"""Put generated groups' audio into a recording's own samples, at its level."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from stepedit_core.codes import GROUP_SECONDS, DualCodes, FreeGroups, answer_starts
from stepedit_core.dsp.offset import offset_of
from stepedit_core.dsp.splicing import Patch, splice
from stepedit_core.errors import EngineError
from stepedit_core.llm_route.level import levelled
from stepedit_core.utterance import Span, Utterance

__all__ = ["splice_groups"]

SHORTEST_LEVEL = 0.3
"""Seconds from which a part has an active level of its own."""


def splice_groups(
    source: Utterance,
    audio: Utterance,
    codes: DualCodes,
    free: tuple[FreeGroups, ...],
    level: tuple[float, float] | None = (0.0, 0.0),
) -> tuple[Utterance, dict[str, Any]]:
    """Put the generated groups' audio into the source's own samples, at the source's level.

    Args:
        source: what was edited.
        audio: all of the answer, decoded.
        codes: of the source.
        free: parts that were generated.
        level: how far the edit moves the level there, as of `Plan`.

    Raises:
        EngineError: if the decoded audio ends before a free part does.
    """
    decoded = audio.resample(source.sample_rate)
    gain = _level_gain(source, decoded, codes, free)
    patches = []
    for part, start in zip(free, answer_starts(free), strict=True):
        new = decoded.slice(Span(start * GROUP_SECONDS, (start + part.length) * GROUP_SECONDS))
        if new.seconds < (part.length - 1) * GROUP_SECONDS or len(new.samples) == 0:
            raise EngineError(
                f"the decoded audio lasts {decoded.seconds:.2f} s and ends before the edited "
                f"part, which begins at {start * GROUP_SECONDS:.2f} s"
            )
        begin = max(0.0, codes.start + part.start * GROUP_SECONDS)
        end = min(source.seconds, codes.start + part.stop * GROUP_SECONDS)
        new = new.replace(samples=new.samples * np.float32(gain))
        # What keeps the level is right by the gain: other words may be softer than the old ones.
        if level not in (None, (0.0, 0.0)) and end - begin >= SHORTEST_LEVEL:
            new, _ = levelled(source.slice(Span(begin, end)), new, level)
        patches.append(Patch(Span(begin, end), new.samples))
    edited, placed = splice(source, patches)
    return edited, {
        "free_groups": [dataclasses.asdict(part) for part in free],
        "output_spans": [list(span) for span in placed],
        "gain_db": round(float(20 * np.log10(gain)), 2),
    }


def _level_gain(
    source: Utterance, decoded: Utterance, codes: DualCodes, free: tuple[FreeGroups, ...]
) -> float:
    """Return the gain that brings decoded audio to the source's level, at most 12 dB.

    Both are compared where codes were copied: there, any difference in level comes from the
    engine (which may have limited the peak of what it encoded), not from the edit.
    """
    before, after = [], []
    at, shift = 0, 0
    for part in (*free, FreeGroups(codes.groups, codes.groups, 0)):
        begin, end = at * GROUP_SECONDS, part.start * GROUP_SECONDS
        moved = shift * GROUP_SECONDS
        before.append(source.slice(Span(codes.start + begin, codes.start + end)).samples)
        after.append(decoded.slice(Span(begin + moved, end + moved)).samples)
        shift += part.length - (part.stop - part.start)
        at = part.stop
    powers = [_power(np.concatenate(x), source.sample_rate) for x in (before, after)]
    if min(powers) <= 1e-10:
        return 1.0
    return float(np.clip(np.sqrt(powers[0] / powers[1]), 10**-0.6, 10**0.6))


def _power(samples: npt.NDArray[np.float32], rate: int) -> float:
    """Return the mean power of samples without their constant offset; 0 of none."""
    flat = samples - np.float32(offset_of(samples, rate))
    return float(np.mean(flat**2)) if len(flat) else 0.0
