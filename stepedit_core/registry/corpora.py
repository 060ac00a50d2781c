"""The reader of a corpus on disk, among those that plugins bring by ``stepedit_corpora``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from stepedit_core.errors import StepeditError
from stepedit_core.registry.registry import Registry, get_registry

if TYPE_CHECKING:
    from stepedit_core.pairs import CorpusReader

__all__ = ["FALLBACK", "find_reader"]

FALLBACK = "folder"
"""Name of the reader of any folder of audio: used where no more specific one knows the folder."""


def find_reader(
    corpus: str | os.PathLike[str], layout: str | None = None, registry: Registry | None = None
) -> CorpusReader:
    """Return the reader of a corpus: the one asked for, or the only one that recognises it.

    Args:
        corpus: manifest, folder or dataset.
        layout: name of the reader to use.
        registry: where readers are registered; the default registry if not given.

    Raises:
        StepeditError: if the corpus does not exist, the layout is unknown, or none or several
            readers recognise it; the text lists what there is.
    """
    known: Mapping[str, CorpusReader] = (registry or get_registry()).named(
        "stepedit_corpora", lambda reader: str(reader.name)
    )
    if not Path(corpus).exists():
        raise StepeditError(f"{os.fspath(corpus)}: no such file or folder")
    if layout is not None:
        if layout not in known:
            raise StepeditError(f"no corpus layout {layout!r}; there is {', '.join(known)}")
        return known[layout]
    found = {name: reader for name, reader in known.items() if reader.recognises(Path(corpus))}
    if len(found) > 1:
        found.pop(FALLBACK, None)
    if len(found) == 1:
        return next(iter(found.values()))
    if not found and Path(corpus).is_dir() and not any(Path(corpus).iterdir()):
        raise StepeditError(f"{os.fspath(corpus)}: the folder is empty")
    names = ", ".join(found or known)
    if not found and Path(corpus).is_file():
        raise StepeditError(
            f"{os.fspath(corpus)} is no corpus; give a manifest (.csv, .tsv, .jsonl), a Parquet "
            "file, or the folder of the recordings"
        )
    what = "could be several layouts" if found else "has no layout that is known here"
    raise StepeditError(f"{os.fspath(corpus)} {what}; name its layout: one of {names}")
