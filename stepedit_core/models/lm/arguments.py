"""Check and complete what ``generate`` is given."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from stepedit_core.models.lm.chat import MAX_TOKENS, check_budget
from stepedit_core.models.lm.constraints import CODE_COUNT
from stepedit_core.models.lm.sampling import Sampling
from stepedit_core.models.lm.step1.alignment import Alignment

__all__ = [
    "Ids",
    "allowances",
    "as_list",
    "check_vocabulary",
    "checked_alignments",
    "checked_seeds",
]

Ids = Sequence[int] | Tensor


def as_list(prompt: Ids) -> list[int]:
    """Return the ids of a prompt as a list.

    Raises:
        ValueError: if it is empty.
    """
    ids = prompt.tolist() if isinstance(prompt, Tensor) else [int(i) for i in prompt]
    if not ids:
        raise ValueError("a prompt is empty")
    return ids


def checked_seeds(seeds: Sequence[int] | None, size: int, sampling: Sampling) -> Sequence[int]:
    """Return one seed per prompt; greedy picking needs none.

    Raises:
        ValueError: if seeds are missing or their number differs.
    """
    if seeds is None and sampling.greedy:
        return [0] * size
    if seeds is None:
        raise ValueError("sampling needs one seed per prompt")
    if len(seeds) != size:
        raise ValueError(f"{size} prompts but {len(seeds)} seeds")
    return seeds


def checked_alignments(
    alignments: Sequence[Alignment | None] | None, size: int, setting: object
) -> Sequence[Alignment | None] | None:
    """Return one alignment per prompt, or None for a model whose ``setting`` is None.

    Raises:
        ValueError: if the model needs alignments and none are given, or their number differs.
    """
    if alignments is not None and len(alignments) != size:
        raise ValueError(f"{size} prompts but {len(alignments)} alignments")
    if setting is None:
        return None
    if alignments is None:
        raise ValueError("the model has a source_alignment: give one alignment per prompt")
    return alignments


def allowances(
    rows: Sequence[list[int]], wanted: int | Sequence[int] | None, max_seq_len: int
) -> list[int]:
    """Return how many new ids each item may have.

    Raises:
        BudgetError: if a prompt with its wanted output does not fit.
        ValueError: if the counts differ.
    """
    limit = min(MAX_TOKENS, max_seq_len)
    each = [wanted] * len(rows) if wanted is None or isinstance(wanted, int) else list(wanted)
    if len(each) != len(rows):
        raise ValueError(f"{len(rows)} prompts but {len(each)} output lengths")
    allowed = []
    for row, most in zip(rows, each, strict=True):
        check_budget(len(row), 1 if most is None else most, limit)
        allowed.append(limit - len(row) if most is None else most)
    return allowed


def check_vocabulary(audio_base: int, vocab_size: int) -> None:
    """Check that the audio ids lie inside the model's vocabulary.

    Raises:
        ValueError: if they do not.
    """
    if audio_base + CODE_COUNT > vocab_size:
        raise ValueError(
            f"audio ids {audio_base}..{audio_base + CODE_COUNT - 1} do not fit the "
            f"model's vocabulary of {vocab_size}: the tokenizer is of another model"
        )
