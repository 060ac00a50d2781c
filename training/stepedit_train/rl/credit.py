"""Credit of single codes: an answer is compared with the others to its request part by part.

A reward of a whole answer tells its codes nothing but whether they stood in a good one. Where a
reward says what each part of the request is worth, such as each phone, and which codes say it,
their advantage is taken over the same part of the other answers, as GRPO takes that of a whole
answer (Shao et al. 2024). What was drawn elsewhere in the answer does not count then: less noise,
where errors are local, and no credit for what a code does to parts far from it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stepedit_core.codes import GROUP_SIZE
from stepedit_core.errors import StepeditError
from stepedit_core.reward import PlacedValue

__all__ = ["part_advantages"]


def part_advantages(
    parts: Sequence[Sequence[PlacedValue] | None], groups: Sequence[int], weight: float = 1.0
) -> list[npt.NDArray[np.float32]]:
    """Return what the codes of the answers to one request gain over the other answers.

    Args:
        parts: of each answer; None where an answer has no score: it gets 0 and does not count.
        groups: of codes in each answer.
        weight: of the reward.

    Returns:
        For each answer float32 ``(5 * groups,)``: at each code, the sum over the parts that it
        says of their values above the mean of the same parts.

    Raises:
        StepeditError: if answers have different numbers of parts.
    """
    made = [np.zeros(count * GROUP_SIZE, np.float32) for count in groups]
    known = [at for at, own in enumerate(parts) if own is not None]
    counts = {len(parts[at] or ()) for at in known}
    if len(counts) > 1:
        raise StepeditError(
            f"answers to one request have {sorted(counts)} parts; by_part() gives as many for each"
        )
    if not known:
        return made
    values = np.array([[one.value for one in parts[at] or ()] for at in known], np.float32)
    for row, at in zip(values - values.mean(0), known, strict=True):
        for gain, place in zip(row.tolist(), parts[at] or (), strict=True):
            made[at][GROUP_SIZE * place.begin : GROUP_SIZE * place.end] += weight * gain
    return made
