"""The ``replay`` stage: a small file of training rows, against forgetting when edits are added."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from stepedit_core.errors import counted
from stepedit_core.models.lm.chat import preferred_encoding
from stepedit_core.models.text import load_tokenizer
from stepedit_train.lm.mixture import Source, pair_sources, reading_mixture
from stepedit_train.lm.rows import Example
from stepedit_train.lm.store import save_examples
from stepedit_train.seeds import rng_of
from stepedit_train.settings import MixtureRow, MixtureSettings, resolve_path

__all__ = [
    "REPLAY",
    "ReplaySettings",
    "chosen_rows",
    "make_replay",
]

REPLAY = "replay.npz"
"""Name of the file in a model folder."""


class ReplaySettings(MixtureSettings):
    """Settings of the replay stage."""

    model: Path
    """Folder of the language model whose vocabulary the rows are written in."""
    data: tuple[Source, ...]
    """Data that the model was trained on; their shares have no effect here."""
    out: Path | None = None
    """The file; None is ``replay.npz`` in the model's folder."""
    cache: Path | None = None
    """``examples`` folder of the training run, so that rows need not be tokenised again."""
    rows: int = Field(default=2000, ge=1)
    """Rows, the same number of every edit as far as there are so many."""
    max_tokens: int = Field(default=450, ge=16)
    """Longer rows are left out."""
    dev_share: float = Field(default=0.03, ge=0, lt=1)
    """Part of the speakers that is kept for validation, as in training; they stay out."""
    seed: int = Field(default=0, ge=0)
    """Seed of the choice of rows."""

    @classmethod
    def of_mixture(cls, rows: Sequence[MixtureRow]) -> dict[str, Any]:
        """Return the pair folders of the language model."""
        return {"data": pair_sources(rows)}


def chosen_rows(examples: Sequence[Example], count: int, seed: int) -> list[Example]:
    """Return ``count`` examples, drawn so that all edits have about as many."""
    by_edit: dict[str, list[Example]] = {}
    for at in rng_of(seed, "replay").permutation(len(examples)):
        by_edit.setdefault(examples[at].edit, []).append(examples[at])
    chosen: list[Example] = []
    rarest_first = sorted(by_edit.values(), key=len)
    for place, rows in enumerate(rarest_first):
        fair = (count - len(chosen)) // (len(rarest_first) - place)
        chosen += rows[:fair]
    return chosen


def make_replay(settings: ReplaySettings) -> Iterator[str]:
    """Write the file; yield lines that say what is in it.

    Raises:
        StepeditError: if there are no rows, or a file is missing or damaged.
    """
    model = resolve_path(settings, settings.model)
    sources = [
        source.model_copy(update={"path": resolve_path(settings, source.path), "share": 1.0})
        for source in settings.data
    ]
    mixture = yield from reading_mixture(
        sources,
        load_tokenizer(model),
        preferred_encoding(model),
        max_tokens=settings.max_tokens,
        dev_share=settings.dev_share,
        seed=settings.seed,
        cache=None if settings.cache is None else resolve_path(settings, settings.cache),
    )
    chosen = chosen_rows(mixture.train, settings.rows, settings.seed)
    # Names are long and not needed; speakers keep validation apart.
    named = [dataclasses.replace(one, name=str(at)) for at, one in enumerate(chosen)]
    out = model / REPLAY if settings.out is None else resolve_path(settings, settings.out)
    save_examples(out, named, Counter())
    counts = Counter(one.edit for one in chosen)
    for edit, count in sorted(counts.items()):
        yield f"{edit}: {counted(count, 'row')}"
    yield f"{counted(len(chosen), 'row')}, {out.stat().st_size / 1e6:.2f} MB in {out}"
