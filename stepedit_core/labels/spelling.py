"""Spellings: how corpora and judges write the labels of an edit.

A plugin states them in its pair builder (``LabelledPairs.spellings``); readers of corpora and of
judges' answers take them from there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from stepedit_core.labels.profile import builder_of

if TYPE_CHECKING:
    from stepedit_core.registry.registry import Registry

__all__ = ["by_spelling", "labels_by_spelling", "plain"]


def plain(label: str) -> str:
    """Return a label in lower case, words joined by underscores."""
    return label.strip().lower().replace(" ", "_").replace("-", "_")


def by_spelling(table: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return the label that each spelling means.

    Args:
        table: label to its other spellings, all of them plain.
    """
    return {name: label for label, others in table.items() for name in (label, *others)}


def labels_by_spelling(registry: Registry) -> Mapping[str, Mapping[str, str]]:
    """Return the label that each spelling means, by attribute, such as ``emotion``.

    Args:
        registry: knows the edits and their pair builders.
    """
    return _stated(registry, frozenset(registry.manager.get_plugins()))


@lru_cache(maxsize=4)
def _stated(registry: Registry, plugins: frozenset[object]) -> Mapping[str, Mapping[str, str]]:
    """Ask the pair builders of all edits, once for the plugins that are loaded."""
    builders = [builder_of(registry, name) for name in registry.edits()]
    return {
        str(getattr(builder, "attribute", "")): by_spelling(spellings)
        for builder in builders
        if (spellings := getattr(builder, "spellings", None))
    }
