"""Labelled recordings of a corpus on disk, through the registered corpus readers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from stepedit_core.errors import StepeditError
from stepedit_core.pairs import CorpusItem
from stepedit_core.registry.corpora import find_reader

__all__ = ["labelled"]


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
        StepeditError: if none is left.
    """
    items = [
        item
        for item in find_reader(path, layout).items(Path(path))
        if item.labels.get(attribute) and item.speaker and (not only or item.corpus in only)
    ]
    if not items:
        raise StepeditError(f"{os.fspath(path)}: no recording with a speaker and its {attribute}")
    return sorted(items, key=lambda item: item.id)
