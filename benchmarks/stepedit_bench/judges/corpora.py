"""Labelled recordings of a corpus on disk, through the registered corpus readers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from stepedit_core.errors import StepeditError
from stepedit_core.pairs import CorpusItem
from stepedit_core.registry.corpora import find_reader

__all__ = ["labelled", "labelled_each"]


def labelled(
    path: str | os.PathLike[str],
    layout: str | None = None,
    only: Sequence[str] = (),
    attribute: str = "emotion",
) -> list[CorpusItem]:
    """Return the recordings that carry a label and a speaker, in a stable order.

    Args:
        path: folder or manifest.
        layout: name of a registered corpus reader.
        only: corpora to keep within a manifest that holds several.
        attribute: which label is needed.

    Raises:
        StepeditError: if none is left, or a corpus to keep has none.
    """
    return sorted(_of_corpora(_with_label(path, layout, attribute), only), key=lambda item: item.id)


def labelled_each(
    paths: Sequence[str | os.PathLike[str]],
    layout: str | None = None,
    only: Sequence[str] = (),
    attribute: str = "emotion",
) -> list[list[CorpusItem]]:
    """Return the same for several paths; a corpus to keep must be in one of them.

    Raises:
        StepeditError: if none is left, or a corpus to keep has none.
    """
    found = [_with_label(path, layout, attribute) for path in paths]
    _of_corpora([item for items in found for item in items], only)
    kept = ([item for item in items if not only or item.corpus in only] for items in found)
    return [sorted(items, key=lambda item: item.id) for items in kept]


def _of_corpora(items: Sequence[CorpusItem], only: Sequence[str]) -> list[CorpusItem]:
    """Return the items of some corpora, or all where none is named.

    Raises:
        StepeditError: if one has no items.
    """
    there = dict.fromkeys(item.corpus for item in items if item.corpus)
    for name in only:
        if name not in there:
            known = ", ".join(sorted(there)[:20]) or "none has a name"
            raise StepeditError(f"--only {name}: no corpus of labelled recordings; there: {known}")
    return [item for item in items if not only or item.corpus in only]


def _with_label(
    path: str | os.PathLike[str], layout: str | None, attribute: str
) -> list[CorpusItem]:
    items = [
        item
        for item in find_reader(path, layout).items(Path(path))
        if item.labels.get(attribute) and item.speaker
    ]
    if not items:
        raise StepeditError(f"{os.fspath(path)}: no recording with a speaker and its {attribute}")
    return items
