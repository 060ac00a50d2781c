"""One spelling for the labels that corpora give: that of the edits' plugins."""

from __future__ import annotations

from stepedit_core.labels.spelling import labels_by_spelling, plain
from stepedit_core.registry.registry import get_registry

__all__ = ["NEUTRAL", "attribute_of", "own_spelling"]

NEUTRAL = "neutral"


def own_spelling(attribute: str, label: str) -> str:
    """Return a label as the attribute's edit spells it; an unknown one in plain form.

    Args:
        attribute: such as ``emotion`` or ``style``.
        label: as the corpus spells it; what stands before a colon, as in ``character:Pirate``, is
            left out.
    """
    word = plain(label.rpartition(":")[2])
    return labels_by_spelling(get_registry()).get(attribute, {}).get(word, word)


def attribute_of(label: str) -> str | None:
    """Return which attribute a bare label belongs to, such as ``emotion``, or None."""
    spelt = labels_by_spelling(get_registry())
    return next((name for name, labels in spelt.items() if plain(label) in labels), None)
