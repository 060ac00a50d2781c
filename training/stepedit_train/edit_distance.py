"""Levenshtein distance, by RapidFuzz."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from stepedit_core.errors import MissingDependencyError

__all__ = ["edit_distance"]


def edit_distance(a: Sequence[Hashable], b: Sequence[Hashable]) -> int:
    """Return the fewest insertions, deletions and substitutions that lead from ``a`` to ``b``.

    Raises:
        MissingDependencyError: if RapidFuzz is not installed.
    """
    try:
        from rapidfuzz.distance import Levenshtein
    except ImportError as error:
        raise MissingDependencyError(
            "edit distances need rapidfuzz: pip install 'stepedit[train]'"
        ) from error
    return Levenshtein.distance(a, b)
