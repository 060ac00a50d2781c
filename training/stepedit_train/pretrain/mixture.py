"""The mixture of sources: what is trained on, and what is kept for validation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt
from pydantic import Field

from stepedit_core.errors import StepeditError
from stepedit_core.models.text.base import TextTokenizer
from stepedit_train.data.codes import cached_tokenizer
from stepedit_train.pretrain.rows import Kind
from stepedit_train.pretrain.store import RowStore, stored_rows
from stepedit_train.seeds import rng_of
from stepedit_train.settings import Settings
from stepedit_train.sft.rows import Example

__all__ = ["PretrainMixture", "PretrainSource", "Rows", "read_sources"]

Indices = npt.NDArray[np.int64]


class PretrainSource(Settings):
    """One source of rows."""

    path: Path
    """Cache of the data stage (with the layer of codes, unless its texts alone are read); for
    ``text`` also a .txt, .md, .jsonl or .parquet file (field or column ``text``), or a folder of
    such files."""
    kind: Kind
    """``text``; ``codes`` of recordings; ``read``: words, then their codes; ``write``: codes, then
    their words."""
    share: float = Field(default=1.0, gt=0)
    """How often its rows are seen in an epoch: 0.5 takes half of them, 2 takes each twice."""


class Rows(Sequence[Example]):
    """Chosen rows of several stores, made into examples when they are asked for.

    Args:
        chosen: stores, and the indices of their rows, int64 ``(n,)``.

    Attributes:
        lengths: ids of each row.
    """

    def __init__(self, chosen: Sequence[tuple[RowStore, Indices]]) -> None:
        self._stores = [store for store, _ in chosen]
        none = [np.zeros(0, np.int64)]
        self._store = np.repeat(np.arange(len(chosen)), [len(rows) for _, rows in chosen])
        self._row = np.concatenate([*none, *(rows for _, rows in chosen)])
        self.lengths: list[int] = np.concatenate(
            [*none, *(store.lengths[rows] for store, rows in chosen)]
        ).tolist()

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._row)

    def sizes(self) -> dict[Kind, tuple[int, int]]:
        """Return the number of rows and of their ids, by kind."""
        counts: dict[Kind, tuple[int, int]] = {}
        for number, store in enumerate(self._stores):
            rows = self._row[self._store == number]
            before = counts.get(store.kind, (0, 0))
            tokens = int(store.lengths[rows].sum())
            counts[store.kind] = (before[0] + len(rows), before[1] + tokens)
        return counts

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        """Return an example, or several."""
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        store = self._stores[int(self._store[index])]
        return store.example(int(self._row[index]))

    def __iter__(self) -> Iterator[Example]:
        """Yield the examples in order."""
        return (self[at] for at in range(len(self)))


@dataclass(frozen=True)
class PretrainMixture:
    """Rows to train on and to validate on.

    Attributes:
        train: with repetitions, as the shares ask.
        dev: by kind, of speakers and documents that are not in ``train``.
        skipped: what was left out, by reason.
    """

    train: Rows
    dev: dict[Kind, Rows]
    skipped: Counter[str]


def read_sources(
    sources: Sequence[PretrainSource],
    tokenizer: TextTokenizer,
    *,
    max_tokens: int,
    dev_share: float,
    dev_rows: int,
    seed: int,
    folder: Path,
) -> PretrainMixture:
    """Tokenise the sources where that is not yet done, keep some for validation, and mix.

    Args:
        sources: their paths absolute.
        tokenizer: the language model's.
        max_tokens: ids in a row at most.
        dev_share: part of the speakers and documents that is kept for validation, besides
            recordings that their cache keeps for it; 0 validates on nothing.
        dev_rows: rows of a kind that validation takes at most.
        seed: of what is drawn.
        folder: where pre-tokenised rows are kept.

    Raises:
        StepeditError: if a source cannot be read, codes are of several tokenizers, or no row is
            left to train on.
    """
    _check_tokenizers(sources)
    train: list[tuple[RowStore, Indices]] = []
    dev: dict[Kind, list[tuple[RowStore, Indices]]] = {}
    skipped: Counter[str] = Counter()
    for number, source in enumerate(sources):
        store = stored_rows(source.path, source.kind, tokenizer, max_tokens, folder)
        held = store.draws < dev_share
        kept = np.flatnonzero(~held & (store.draws >= 0))
        train.append((store, _repeated(kept, source.share, seed, number)))
        if dev_share > 0:
            dev.setdefault(source.kind, []).append((store, np.flatnonzero(held)))
        skipped += Counter({f"{why} ({source.kind})": n for why, n in store.skipped.items()})
    rows = Rows(train)
    if not len(rows):
        reasons = "; ".join(f"{count}: {reason}" for reason, count in sorted(skipped.items()))
        raise StepeditError(f"no row is left to train on ({reasons or 'all are held out'})")
    some = {kind: _some(held, dev_rows, seed, kind) for kind, held in sorted(dev.items())}
    return PretrainMixture(rows, {kind: one for kind, one in some.items() if len(one)}, skipped)


def _repeated(rows: Indices, share: float, seed: int, number: int) -> Indices:
    """Take every row ``floor(share)`` times and a seeded part of them once more."""
    whole = int(share)
    order = rng_of(seed, "share", number).permutation(len(rows))
    extra = np.sort(order[: round((share - whole) * len(rows))])
    return np.concatenate([np.tile(rows, whole), rows[extra]])


def _some(held: Sequence[tuple[RowStore, Indices]], count: int, seed: int, kind: Kind) -> Rows:
    """Return at most ``count`` of the rows, drawn from all sources alike."""
    sizes = [len(rows) for _, rows in held]
    taken = rng_of(seed, "dev", kind).permutation(sum(sizes))[:count]
    edges = np.cumsum([0, *sizes])
    parts = []
    for (store, rows), first, stop in zip(held, edges, edges[1:], strict=False):
        inside = np.sort(taken[(taken >= first) & (taken < stop)]) - first
        parts.append((store, rows[inside]))
    return Rows(parts)


def _check_tokenizers(sources: Sequence[PretrainSource]) -> None:
    known = {
        name: source.path
        for source in sources
        if source.kind != "text" and (name := cached_tokenizer(source.path)) is not None
    }
    if len(known) > 1:
        places = ", ".join(map(str, known.values()))
        raise StepeditError(f"the codes of these caches are of different tokenizers: {places}")
