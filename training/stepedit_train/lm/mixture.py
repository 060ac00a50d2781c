"""Mixtures of pairs and of pre-training rows, held-out speakers, and batches of equal size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, overload

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor
from torch.utils.data import Dataset

from stepedit_core.errors import StepeditError, counted
from stepedit_core.models.lm.chat import MAX_TOKENS, PromptEncoding
from stepedit_core.models.lm.step1 import alignment_tensor
from stepedit_core.models.text.base import TextTokenizer
from stepedit_train.batching import BatchPlan
from stepedit_train.data.codes import cached_tokenizer
from stepedit_train.lm.documents import Kind
from stepedit_train.lm.noise import NoiseSettings, with_noise
from stepedit_train.lm.rows import IGNORED, Example
from stepedit_train.lm.store import RowStore, load_examples, read_cached, stored_rows
from stepedit_train.seeds import rng_of, share_of
from stepedit_train.settings import MixtureRow, Settings

__all__ = [
    "Mixture",
    "PackedBatches",
    "PretrainMixture",
    "PretrainSource",
    "Rows",
    "Source",
    "collate",
    "pair_sources",
    "read_sources",
    "reading_mixture",
]


Indices = npt.NDArray[np.int64]


class Source(Settings):
    """One folder of `stepedit pairs`, or one file of pre-tokenised examples (``.npz``)."""

    renamed: ClassVar[Mapping[str, str]] = {"confined": "insertions_only"}

    path: Path
    """The folder or file."""
    share: float = Field(default=1.0, gt=0)
    """Times that its rows are seen in an epoch: 0.5 takes half of them, 2 takes each twice."""
    insertions_only: bool = False
    """Copy all but what was put in (``details.at`` of the rows), as engines do that keep the
    rest: ``GenerationPolicy.regenerate="insertions"``."""
    codes_by: Path | None = None
    """Folder of the audio tokenizer that encodes rows without codes; without it they are left
    out."""
    validated: bool = False
    """Hold rows out for validation even where no speaker falls into ``dev_share``."""


def pair_sources(rows: Sequence[MixtureRow]) -> list[dict[str, Any]]:
    """Return the data of the sources that a mixture names for the language model."""
    return [
        {
            "path": row.path,
            "share": row.language_model,
            "insertions_only": row.insertions_only,
        }
        for row in rows
        if row.language_model
    ]


@dataclass(frozen=True)
class Mixture:
    """Examples to train on and to validate on.

    Attributes:
        train: with repetitions, as the shares ask.
        dev: of speakers that are not in ``train``.
        skipped: rows left out, by reason.
    """

    train: list[Example]
    dev: list[Example]
    skipped: Counter[str]


def _repeated(examples: list[Example], share: float, seed: int, name: str) -> list[Example]:
    """Take every example ``floor(share)`` times and a seeded part of them once more."""
    chosen = _repetitions(len(examples), share, rng_of(seed, "share", name))
    return [examples[index] for index in chosen.tolist()]


def _repetitions(count: int, share: float, rng: np.random.Generator) -> Indices:
    """Return indices: every one ``floor(share)`` times, and a part of them once more."""
    whole = int(share)
    extra = np.sort(rng.permutation(count)[: round((share - whole) * count)])
    return np.concatenate([np.tile(np.arange(count), whole), extra])


def reading_mixture(
    sources: Sequence[Source],
    tokenizer: TextTokenizer,
    encoding: PromptEncoding,
    *,
    max_tokens: int = MAX_TOKENS,
    dev_share: float = 0.02,
    seed: int = 0,
    cache: Path | None = None,
) -> Generator[str, None, Mixture]:
    """Read pair folders, keep some speakers for validation, and mix; yield a line per source.

    Rows of edits that need the words are aligned when they are first read, which takes minutes.

    Args:
        sources: folders (or files of examples), their paths absolute.
        tokenizer: the language model's.
        encoding: prompt encoding of the model.
        max_tokens: longer examples are left out.
        dev_share: part of the speakers that is kept for validation.
        seed: of the rows that a fractional share takes.
        cache: folder for pre-tokenised rows; None reads the shards every time.

    Raises:
        StepeditError: if no row of a source, or of all, is left; the text says why.
    """
    train: list[Example] = []
    dev: list[Example] = []
    skipped: Counter[str] = Counter()
    for source in sources:
        path = source.path
        yield f"reading {path}"
        if path.suffix == ".npz":
            examples, left_out = load_examples(path)
        else:
            examples, left_out = read_cached(
                path,
                tokenizer,
                encoding,
                max_tokens=max_tokens,
                cache=cache,
                insertions_only=source.insertions_only,
                codes_by=source.codes_by,
            )
        skipped += left_out
        if not examples:
            raise StepeditError(f"{path}: no row of it can be trained on ({_reasons(left_out)})")
        yield f"{counted(len(examples), 'row')} of {path.name}"
        kept, held = _held_out(examples, dev_share, needed=source.validated)
        dev += held
        train += _repeated(kept, source.share, seed, path.name)
    if not train:
        raise StepeditError(f"no row is left to train on ({_reasons(skipped)})")
    return Mixture(train, dev, skipped)


def _reasons(skipped: Mapping[str, int]) -> str:
    return "; ".join(f"{count}: {why}" for why, count in skipped.items()) or "the folder is empty"


def _held_out(
    examples: Sequence[Example], dev_share: float, *, needed: bool
) -> tuple[list[Example], list[Example]]:
    """Return examples to train on and to validate on, of other speakers where that can be.

    Args:
        examples: of one source.
        dev_share: part of the speakers to hold out.
        needed: hold out the speaker who is nearest to that part where none is in it, or rows
            where there is one speaker, or one with most of the rows.
    """
    kept = [one for one in examples if share_of("sft", one.speaker) >= dev_share]
    held = [one for one in examples if share_of("sft", one.speaker) < dev_share]
    if held or not needed or not dev_share or len(examples) < 2:
        return kept, held
    nearest = min({one.speaker for one in kept}, key=lambda name: share_of("sft", name))
    count = sum(one.speaker == nearest for one in kept)
    if count <= len(kept) // 2:
        names = {one.name for one in kept if one.speaker == nearest}
    else:
        order = sorted((one.name for one in kept), key=lambda name: share_of("sft-row", name))
        names = set(order[: max(1, round(dev_share * len(order)))])
    return (
        [one for one in kept if one.name not in names],
        [one for one in kept if one.name in names],
    )


class PackedBatches(Dataset[list[Example]]):
    """The batches of a whole run, each within a token budget and one item for the Trainer.

    Every pass over the examples is packed anew. An index stands for one batch of the run, and
    what is random about it depends on seed and index alone, so a run may be resumed anywhere.

    Args:
        examples: what to batch.
        tokens: budget, padding included.
        seed: of the grouping and the noise.
        count: number of batches; None is one pass.
        noise: what is changed, and the vocabulary; None changes nothing.
        lengths: ids of each example, for sequences that make examples when they are asked.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        tokens: int,
        seed: int,
        count: int | None = None,
        noise: tuple[NoiseSettings, TextTokenizer] | None = None,
        lengths: Sequence[int] | None = None,
    ) -> None:
        self.examples = examples
        self.seed, self.noise = seed, noise
        costs = [len(one.ids) for one in examples] if lengths is None else lengths
        plan = BatchPlan(costs, tokens, seed)
        self.batches = plan.epoch(0)
        self.per_pass = len(self.batches)
        passes = 1
        while count is not None and len(self.batches) < count:
            self.batches += plan.epoch(passes)
            passes += 1
        self.batches = self.batches[:count]

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self.batches)

    def __getitem__(self, index: int) -> list[Example]:
        """Return a batch."""
        batch = [self.examples[i] for i in self.batches[index]]
        if self.noise is None:
            return batch
        rng = rng_of(self.seed, "noise", index)
        return [with_noise(one, *self.noise, rng) for one in batch]


def collate(batches: Sequence[Sequence[Example]], aligned: bool = False) -> dict[str, Tensor]:
    """Pad the examples of batches on the right.

    Args:
        batches: lists of examples.
        aligned: add ``alignment``, for models with a ``source_alignment``.

    Returns:
        ``input_ids``, ``attention_mask`` and ``labels``, int64, shape ``(examples, longest)``;
        ``alignment``, float32, shape ``(examples, columns)``.
    """
    examples = [example for batch in batches for example in batch]
    longest = max(len(example.ids) for example in examples)

    def padded(values: list[int], fill: int) -> list[int]:
        return values + [fill] * (longest - len(values))

    tensors = {
        "input_ids": torch.tensor([padded(one.shown or one.ids, 0) for one in examples]),
        "attention_mask": torch.tensor([padded([1] * len(one.ids), 0) for one in examples]),
        "labels": torch.tensor([padded(one.labels, IGNORED) for one in examples]),
    }
    if aligned:
        tensors["alignment"] = alignment_tensor([one.alignment for one in examples])
    return tensors


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
    """Times that its rows are seen in an epoch: 0.5 takes half of them, 2 takes each twice."""


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
        train.append((store, _repeated_rows(kept, source.share, seed, number)))
        if dev_share > 0:
            dev.setdefault(source.kind, []).append((store, np.flatnonzero(held)))
        skipped += Counter({f"{why} ({source.kind})": n for why, n in store.skipped.items()})
    rows = Rows(train)
    if not len(rows):
        reasons = "; ".join(f"{count}: {reason}" for reason, count in sorted(skipped.items()))
        raise StepeditError(f"no row is left to train on ({reasons or 'all are held out'})")
    some = {kind: _some(held, dev_rows, seed, kind) for kind, held in sorted(dev.items())}
    return PretrainMixture(rows, {kind: one for kind, one in some.items() if len(one)}, skipped)


def _repeated_rows(rows: Indices, share: float, seed: int, number: int) -> Indices:
    """Take every row ``floor(share)`` times and a seeded part of them once more."""
    return rows[_repetitions(len(rows), share, rng_of(seed, "share", number))]


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
