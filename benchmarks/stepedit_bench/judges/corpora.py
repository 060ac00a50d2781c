"""Labelled recordings of a corpus on disk, through the registered corpus readers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from stepedit_core.errors import StepeditError
from stepedit_core.pairs import CorpusItem
from stepedit_core.registry.registry import get_registry

if TYPE_CHECKING:
    from stepedit_core.pairs import CorpusReader

__all__ = ["labelled", "reader_for"]

_ANY = "folder"
"""The reader that takes every folder of audio; it counts only where no other one does."""


def reader_for(path: str | os.PathLike[str], layout: str | None = None) -> CorpusReader:
    """Return the reader of a corpus: the one named, or the only one that recognises it.

    Raises:
        StepeditError: if the path is absent, or none or several readers take it.
    """
    readers = get_registry().named("stepedit_corpora", lambda reader: str(reader.name))
    if not Path(path).exists():
        raise StepeditError(f"{os.fspath(path)}: no such file or folder")
    if layout is not None:
        if layout not in readers:
            raise StepeditError(f"no corpus layout {layout!r}; there is {', '.join(readers)}")
        return cast("CorpusReader", readers[layout])
    found = [name for name, reader in readers.items() if reader.recognises(path)]
    if len(found) > 1 and _ANY in found:
        found.remove(_ANY)
    if len(found) != 1:
        raise StepeditError(
            f"{os.fspath(path)}: {', '.join(found) or 'no reader'} recognises it; say --layout "
            f"with one of {', '.join(found or readers)}"
        )
    return cast("CorpusReader", readers[found[0]])


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
        for item in reader_for(path, layout).items(Path(path))
        if item.labels.get(attribute) and item.speaker and (not only or item.corpus in only)
    ]
    if not items:
        raise StepeditError(f"{os.fspath(path)}: no recording with a speaker and its {attribute}")
    return sorted(items, key=lambda item: item.id)
