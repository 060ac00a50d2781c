"""Classifier-free guidance: the logits after two prompts, and how they are joined."""

from __future__ import annotations

from collections.abc import Sequence, Sized

from torch import Tensor

__all__ = ["compared_rows", "guided"]


def compared_rows(
    prompts: Sequence[Sized], against: Sequence[list[int]] | None, rows: Sequence[list[int]]
) -> list[list[int]]:
    """Return the second prompts with what is copied before the first step.

    Args:
        prompts: of the items.
        against: the second prompts.
        rows: the items' prompts with what is copied.

    Raises:
        ValueError: if there is not one second prompt for each, as long as it.
    """
    others = [] if against is None else list(against)
    if list(map(len, others)) != list(map(len, prompts)):
        raise ValueError("guidance needs a second prompt as long as its prompt, for each")
    return [other + row[len(other) :] for other, row in zip(others, rows, strict=True)]


def guided(logits: Tensor, guidance: float) -> Tensor:
    """Return logits moved away from those after the second prompts (Ho and Salimans 2022).

    Args:
        logits: ``(2 * batch, tokens)``, those after the items' prompts first.
        guidance: how far; 1 gives the items' own, 0 the others'.

    Returns:
        float32 ``(batch, tokens)``.
    """
    asked, unasked = logits.float().chunk(2)
    return unasked + guidance * (asked - unasked)
