"""Put a target on its source's clock, where both tell the same at the announced pace.

The audio tokenizer cuts silence off both ends of what it encodes. A noisy source keeps what a
clean target loses, so that their codes begin and end at different times; at inference nobody
knows by how much. Targets get those groups back, as repetitions of their own last group, which
is the silence that the tokenizer leaves after the last word.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from stepedit_core.codes import GROUP_SECONDS, GROUP_SIZE
from stepedit_core.models.lm.step1 import Alignment

__all__ = ["on_the_sources_clock"]

_SAME = 0.02
"""Largest relative difference of a target's duration from the announced one."""
_MOST = 25
"""Groups (3 s) that are put back at most on one side."""


def on_the_sources_clock(
    row: Mapping[str, Any], answer: list[int], alignment: Alignment
) -> tuple[list[int], Alignment]:
    """Return the target's ids with silence put back, and the alignment that is left.

    Rows whose target has not the duration that the edit announces (cut pauses, added sounds,
    other words), and rows that do not say where their codes begin, stay as they are.

    Args:
        row: with the starts and durations of source and target, in seconds.
        answer: interleaved ids of the target.
        alignment: the expected one.
    """
    times: list[Any] = [row.get(name) for name in ("source_start", "target_start")]
    lengths: list[Any] = [row.get(name) for name in ("source_seconds", "target_seconds")]
    if None in times + lengths or alignment.kind != "audio" or len(alignment.bends) != 1:
        return answer, alignment
    pace = alignment.bends[0][1]
    if abs(lengths[1] * pace / lengths[0] - 1) > _SAME:
        return answer, alignment
    late = (times[1] - times[0] / pace) / GROUP_SECONDS
    lead = min(_MOST, max(0, round(late)))
    expected = round((alignment.stop - alignment.start) / GROUP_SIZE / pace)
    trail = min(_MOST, max(0, expected - lead - len(answer) // GROUP_SIZE))
    silence = answer[-GROUP_SIZE:]
    moved = dataclasses.replace(alignment, bends=((lead - late, pace),))
    return [*(silence * lead), *answer, *(silence * trail)], moved
