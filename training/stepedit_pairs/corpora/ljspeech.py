"""LJ Speech, and the many sets in its layout."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import ClassVar

from stepedit_core.errors import StepeditError
from stepedit_core.pairs import CorpusItem
from stepedit_core.storage.tables import text_lines
from stepedit_pairs.corpora.manifest import Manifest

__all__ = ["INDEX", "LjSpeech", "is_lj_index"]

INDEX = "metadata.csv"


def is_lj_index(path: Path) -> bool:
    """Return whether a file's first line is ``id|text`` or ``id|text|normalised text``."""
    if not path.is_file():
        return False
    try:
        line = next(islice(text_lines(path), 1), (1, ""))[1]
    except StepeditError:
        return path.parent.joinpath("wavs").is_dir()  # its encoding is wrong, the layout is not
    first, *rest = line.split("|")
    return len(rest) in (1, 2) and bool(first.strip()) and not set(first) & set(" \t,;")


@dataclass(frozen=True)
class LjSpeech:
    """LJ Speech: ``metadata.csv`` with ``LJ001-0001|text|normalised text``, and ``wavs/``.

    The normalised text is used, since it is what is said. Source: Ito & Johnson 2017,
    keithito.com/LJ-Speech-Dataset.

    Attributes:
        encoding: of the index; None to find it.
    """

    name: ClassVar[str] = "ljspeech"
    encoding: str | None = None

    def recognises(self, path: os.PathLike[str]) -> bool:
        """Return whether a folder has such an index."""
        return is_lj_index(Path(path) / INDEX)

    def items(self, path: os.PathLike[str]) -> Iterator[CorpusItem]:
        """Yield the rows of the index in their order; raises as a manifest does."""
        yield from Manifest(self.encoding).items(Path(path) / INDEX)
