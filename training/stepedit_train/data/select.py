"""Select the recordings of corpora for the cache, and their splits."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stepedit_core.errors import StepeditError
from stepedit_core.pairs import CorpusItem
from stepedit_core.registry.corpora import find_reader
from stepedit_core.storage.stored_json import json_lines
from stepedit_core.storage.tables import table_rows
from stepedit_train.seeds import share_of
from stepedit_train.settings import Settings

__all__ = ["CorpusSettings", "Selected", "refusal", "select_items", "split_of"]

_NON_COMMERCIAL = re.compile(r"\bNC\b|non.?commercial", re.IGNORECASE)


class CorpusSettings(Settings):
    """One corpus of the cache."""

    path: Path
    """Manifest or folder."""
    layout: str | None = None
    """Corpus reader; found from the look of the path if not given."""
    name: str | None = None
    """Name of the corpus; that of its items if not given."""
    include: tuple[str, ...] = ("*",)
    """Patterns of item ids, one of which must match."""
    licence: str | None = None
    """Licence of items that state none."""
    phonemes_column: str | None = None
    """Column of a manifest that holds phoneme symbols."""


@dataclass(frozen=True)
class Selected:
    """A recording to cache.

    Attributes:
        item: of the corpus, with licence and corpus filled in.
        split: ``train``, ``dev`` or ``test``.
        phonemes: symbols, where the corpus has them.
    """

    item: CorpusItem
    split: str
    phonemes: str | None


def refusal(item: CorpusItem, *, allow_non_commercial: bool = False) -> str | None:
    """Return why a recording may not be trained on, or None."""
    if not item.licence:
        return "no licence is stated"
    if _NON_COMMERCIAL.search(item.licence) and not allow_non_commercial:
        return f"non-commercial licence ({item.licence})"
    return None


def split_of(item: CorpusItem, dev_share: float) -> str:
    """Return the split of a recording's speaker: the corpus's own dev split stays dev.

    Any other split of a corpus than ``train`` is the test.

    Args:
        item: of a corpus.
        dev_share: part of the other speakers that is kept for validation.
    """
    if item.split == "dev":
        return "dev"
    if item.split not in (None, "train"):
        return "test"
    who = item.speaker or item.id
    return "dev" if share_of("dev", item.corpus, who) < dev_share else "train"


def _phonemes(path: Path, column: str) -> dict[str, str]:
    """Return the phonemes of a manifest's recordings, by their path in it; raises StepeditError."""
    rows: Iterator[tuple[int, Mapping[str, Any]]]
    if path.suffix == ".jsonl":
        rows = json_lines(path)
    else:
        column = column.lower()  # as names of a table's columns are
        rows = table_rows(path, {"path", column})
    found: dict[str, str] = {}
    for line, row in rows:
        if row.get(column):
            if not row.get("path"):
                raise StepeditError(f"{path}, line {line}: a row without a path")
            found[str(row["path"])] = str(row[column])
    return found


def select_items(settings: CorpusSettings, path: Path, dev_share: float) -> Iterator[Selected]:
    """Yield the recordings of a corpus that its settings include, in order.

    Args:
        settings: of the corpus.
        path: where it is.
        dev_share: see :func:`split_of`.

    Raises:
        StepeditError: if the corpus is absent, or no reader or several recognise it.
    """
    reader = find_reader(path, settings.layout)
    known = _phonemes(path, settings.phonemes_column) if settings.phonemes_column else {}
    for item in reader.items(path):
        if not any(fnmatch.fnmatch(item.id, pattern) for pattern in settings.include):
            continue
        item = replace(
            item,
            licence=item.licence or settings.licence,
            corpus=settings.name or item.corpus,
        )
        yield Selected(item, split_of(item, dev_share), known.get(item.id))
