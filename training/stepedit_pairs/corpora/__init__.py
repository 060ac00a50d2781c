"""Readers of corpora on disk."""

from __future__ import annotations

from codecs import lookup
from dataclasses import fields, is_dataclass, replace
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

__all__ = ["READERS", "configured_reader"]

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
