"""Readers of corpora on disk, and how the right one is found."""

from __future__ import annotations

import os
from codecs import lookup
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from stepedit_core.errors import StepeditError
from stepedit_pairs.corpora.acted import CremaD, EmoDb, JlCorpus, Ravdess
from stepedit_pairs.corpora.esd import Esd
from stepedit_pairs.corpora.folder import Folder
from stepedit_pairs.corpora.libri import LibriSpeech, LibriTts
from stepedit_pairs.corpora.ljspeech import LjSpeech
from stepedit_pairs.corpora.manifest import Manifest
from stepedit_pairs.corpora.stored import HuggingFace
from stepedit_pairs.corpora.tagged import Tagged
from stepedit_pairs.corpora.vctk import Vctk

if TYPE_CHECKING:
    from stepedit_core.pairs import CorpusReader
    from stepedit_core.registry.registry import Registry

__all__ = ["READERS", "configured_reader", "find_reader"]

READERS: tuple[CorpusReader, ...] = (
    Manifest(),
    HuggingFace(),
    LjSpeech(),
    LibriSpeech(),
    LibriTts(),
    Vctk(),
    CremaD(),
    Ravdess(),
    EmoDb(),
    Esd(),
    JlCorpus(),
    Tagged(),
    Folder(),
)
"""The built-in readers; plugins bring more by ``stepedit_corpora``."""

FALLBACK = Folder.name
"""The reader of any folder of audio: used only where no more specific one knows the folder."""


def find_reader(
    registry: Registry, corpus: str | os.PathLike[str], layout: str | None = None
) -> CorpusReader:
    """Return the reader of a corpus: the one asked for, or the only one that recognises it.

    Args:
        registry: where readers are registered.
        corpus: manifest, folder or dataset.
        layout: name of the reader to use.

    Raises:
        StepeditError: if the corpus does not exist, the layout is unknown, or none or several
            readers recognise it; the text lists what there is.
    """
    known: Mapping[str, CorpusReader] = registry.named(
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
    names = ", ".join(found or known)
    what = "could be several layouts" if found else "has no layout that is known here"
    raise StepeditError(f"{os.fspath(corpus)} {what}; say --layout with one of {names}")


def configured_reader(
    reader: CorpusReader, encoding: str | None = None, delimiter: str | None = None
) -> CorpusReader:
    """Return a reader of tables with their encoding and delimiter set.

    Raises:
        StepeditError: if there is no such encoding, or the reader reads no tables.
    """
    given = {"encoding": encoding, "delimiter": delimiter}
    told = {name: value for name, value in given.items() if value is not None}
    if encoding is not None:
        try:
            lookup(encoding)
        except LookupError as error:
            raise StepeditError(
                f"no encoding {encoding!r}; give --encoding one such as cp1252 or gb18030"
            ) from error
    if not told:
        return reader
    if not is_dataclass(reader) or not told.keys() <= {field.name for field in fields(reader)}:
        raise StepeditError(
            f"the corpus layout {reader.name!r} reads no tables; leave --{min(told)} out"
        )
    return replace(reader, **told)
